"$OX" explain "$DATA/linear.onnx" -r "$DATA/only.npz" -q -o out.onnx
"$OX" run out.onnx -i "$DATA/x.npy"
