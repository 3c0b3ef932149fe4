"$OX" explain "$DATA/linear.onnx" -r "$DATA/zeros.npy" --fix=z=1 -o e.onnx
