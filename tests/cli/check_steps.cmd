"$OX" check "$DATA/linear.onnx" -i "$DATA/x.npy" --steps=100000
