"$OX" run "$DATA/linear.onnx" -o out.npz -i "$DATA/other_name.npz"
