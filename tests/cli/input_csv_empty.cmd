"$OX" run "$DATA/linear.onnx" -i "$DATA/empty.csv"
