"$OX" explain "$DATA/fixed.onnx" -r "$DATA/zeros.npy" --target=1 -q -o out.onnx
"$OX" run out.onnx -i "$DATA/x.npy"
