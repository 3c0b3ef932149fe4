"$OX" explain "$DATA/spare.onnx" -r "x=$DATA/x.npy" --output-name=y --feature-names="$DATA/names.txt" -q -o out.onnx
"$OX" run out.onnx -i "$DATA/spare.csv"
