"$OX" explain "$DATA/spare.onnx" -r "$DATA/spare.npz" --output-name=y --hold=other -o out.onnx
