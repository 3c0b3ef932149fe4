"$OX" check "$DATA/linear.onnx" -i "$DATA/x.npy" --tolerance=-1
