"$OX" explain "$DATA/root.onnx" -r "$DATA/x.npy" --cache=file --target=1 -q -o out.onnx
"$OX" explain "$DATA/root.onnx" -r "$DATA/x.npy" --cache=file --target=0 -q --strict -o none.onnx
"$OX" explain "$DATA/root.onnx" -r "$DATA/x.npy" --cache=file --target=1 -q --strict -o no.onnx || echo $?
ls
