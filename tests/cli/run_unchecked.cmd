"$OX" explain "$DATA/root.onnx" -r "$DATA/pixels.npy" --output-name=h --target=0 -q -o out.onnx
"$OX" run out.onnx -i "$DATA/pixels.npy" -o out.npz | tail -n 1
"$OX" run out.onnx -i "$DATA/pixels.npy" -q --strict -o no.npz || echo $?
"$OX" explain "$DATA/root.onnx" -r "$DATA/pixels.npy" --output-name=h --target=0 --gap -q -o out.onnx
"$OX" run out.onnx -i "$DATA/pixels.npy" -q --strict -o out.npz
ls
