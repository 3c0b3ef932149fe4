"$OX" run "$DATA/linear.onnx" -i "$DATA/fields.npy"
