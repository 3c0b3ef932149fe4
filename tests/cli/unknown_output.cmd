"$OX" explain "$DATA/linear.onnx" -r "$DATA/x.npy" --output-name=z -o out.onnx
