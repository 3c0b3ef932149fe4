"$OX" run "$DATA/linear.onnx" -i "$DATA/x.npy" --provider=abacus
