"$OX" explain "$DATA/spare.onnx" -r "$DATA/x.npy" --output-name=y -q -o out.onnx
"$OX" show out.onnx | grep inputs:
