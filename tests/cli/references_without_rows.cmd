"$OX" explain "$DATA/linear.onnx" -r "$DATA/none.npy" -o out.onnx
