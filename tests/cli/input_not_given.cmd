"$OX" run "$DATA/several.onnx" -i "a=$DATA/a.npy"
