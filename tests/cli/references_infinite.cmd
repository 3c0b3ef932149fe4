"$OX" explain "$DATA/linear.onnx" -r "$DATA/infinite.npy" -o out.onnx
