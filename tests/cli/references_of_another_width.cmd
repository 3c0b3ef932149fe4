"$OX" explain "$DATA/linear.onnx" -r "$DATA/wide.npy" -o out.onnx
