"$OX" explain "$DATA/switched.onnx" -r "x=$DATA/zeros.npy" --fix=flag=0 --target=1 -q -o e.onnx
"$OX" run e.onnx -i "$DATA/x.npy" -q -o o.csv
cut -d, -f5-8 o.csv
