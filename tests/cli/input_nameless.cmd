"$OX" run "$DATA/several.onnx" -i "$DATA/a.npy"
