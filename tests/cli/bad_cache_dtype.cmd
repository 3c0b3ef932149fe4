"$OX" explain "$DATA/linear.onnx" -r "$DATA/x.npy" --cache-dtype=int8
