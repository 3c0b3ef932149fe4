"$OX" run "$DATA/linear.onnx" -i "$DATA/objects.npy"
