cat "$DATA/x.npz" | "$OX" run "$DATA/linear.onnx" -i /dev/stdin -q -o o.csv
cat o.csv
