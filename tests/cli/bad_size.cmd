"$OX" explain "$DATA/linear.onnx" -r "$DATA/x.npy" --memory=8X
