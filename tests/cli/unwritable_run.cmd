"$OX" run "$DATA/linear.onnx" -i "$DATA/x.npy" -q -o missing/out.npz
