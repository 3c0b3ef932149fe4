"$OX" explain "$DATA/norule.onnx" -r "$DATA/zeros.npy" --force -q -o out.onnx
for out in out.npz out.csv out.json; do
    "$OX" run out.onnx -i "$DATA/x.npy" -q -o $out || exit 1
done
ls
