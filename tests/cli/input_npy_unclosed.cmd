"$OX" run "$DATA/linear.onnx" -i "$DATA/unclosed.npy"
