"$OX" run "$DATA/linear.onnx" --inp "$DATA/x.npy"
