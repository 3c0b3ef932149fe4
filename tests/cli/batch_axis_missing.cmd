"$OX" run "$DATA/linear.onnx" -i "$DATA/one.npy"
