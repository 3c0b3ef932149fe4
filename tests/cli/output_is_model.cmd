"$OX" explain "$DATA/linear.onnx" -r "$DATA/x.npy" -o "$DATA/linear.onnx"
