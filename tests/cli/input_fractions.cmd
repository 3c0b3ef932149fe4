"$OX" run "$DATA/several.onnx" -i "ids=$DATA/fractions.npy"
