"$OX" explain "$DATA/linear.onnx" -r "$DATA/x.npy" --hold=z -o out.onnx
