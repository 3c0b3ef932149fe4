"$OX" run "$DATA/linear.onnx" -o out.npz -i "$DATA/headless.csv"
