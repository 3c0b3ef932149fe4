"$OX" run "$DATA/linear.onnx" -i "$DATA/only.npz"
