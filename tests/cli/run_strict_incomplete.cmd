"$OX" explain "$DATA/norule.onnx" -r "$DATA/zeros.npy" --force -q -o out.onnx
"$OX" run out.onnx -i "$DATA/x.npy" --strict -q -o out.npz
code=$?
rm out.onnx
exit $code
