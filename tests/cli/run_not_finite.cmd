"$OX" explain "$DATA/linear.onnx" -r "$DATA/zeros.npy" -q -o out.onnx
"$OX" run out.onnx -i "$DATA/nan.npy" -q -o out.csv
"$OX" run out.onnx -i "$DATA/nan.npy" -q --strict -o - || echo $?
"$OX" run out.onnx -i "$DATA/x.npy" -q --strict -o out.json
ls
