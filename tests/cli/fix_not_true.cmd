"$OX" explain "$DATA/switched.onnx" -r "$DATA/zeros.npy" --fix=flag=2 -o e.onnx
