"$OX" run "$DATA/linear.onnx" -i "$DATA/stray.npz"
