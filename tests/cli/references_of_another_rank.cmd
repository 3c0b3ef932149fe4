"$OX" explain "$DATA/linear.onnx" -r "$DATA/deep.npy" -o out.onnx
