"$OX" run "$DATA/explained.onnx" -i "$DATA/x.npy" -q --stats
