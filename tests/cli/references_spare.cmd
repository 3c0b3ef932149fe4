"$OX" explain "$DATA/spare.onnx" -r "$DATA/spare.npz" --output-name=y -o out.onnx
