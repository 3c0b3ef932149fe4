"$OX" run "$DATA/linear.onnx" -i "$DATA/version.npy"
