"$OX" explain "$DATA/linear.onnx" -r "$DATA/x.npz" --target=all -q -o out.onnx
"$OX" run out.onnx -i "$DATA/x.csv"
