"$OX" explain "$DATA/linear.onnx" -r "$DATA/zeros.npy" --target=1 -q -o out.onnx
"$OX" run out.onnx -i "$DATA/x.npy"
ls
