"$OX" run "$DATA/large.onnx" -i "$DATA/large.npy" -q -o o.csv
cat o.csv
