"$OX" explain "$DATA/linear.onnx" -r "x=$DATA/zeros.npy" --target=1 --feature-names="$DATA/names.txt" -q -o out.onnx
"$OX" run out.onnx -i "$DATA/named.csv" -o -
