"$OX" run "$DATA/explained.onnx" -o out.npz -i "$DATA/misspelt.csv"
