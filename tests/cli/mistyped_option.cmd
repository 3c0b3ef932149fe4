"$OX" explain "$DATA/linear.onnx" --refrences="$DATA/zeros.npy"
