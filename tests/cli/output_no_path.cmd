"$OX" explain "$DATA/linear.onnx" -r "$DATA/x.npy" -q -o ""
