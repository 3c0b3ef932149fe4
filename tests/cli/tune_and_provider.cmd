"$OX" run "$DATA/linear.onnx" -i "$DATA/x.npy" --tune --provider=cuda
