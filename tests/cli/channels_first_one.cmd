"$OX" run "$DATA/last.onnx" -i "$DATA/chw.npy"
