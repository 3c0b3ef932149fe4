"$OX" run "$DATA/linear.onnx" -o out.npz -i "$DATA/x.npy" -i "$DATA/x.npy"
