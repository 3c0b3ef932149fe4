"$OX" explain "$DATA/linear.onnx" -r "$DATA/one.npy" -o no.onnx
