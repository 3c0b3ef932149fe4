"$OX" explain "$DATA/linear.onnx" -r "$DATA/zeros.npy" --fix=x=maybe -o e.onnx
