"$OX" explain "$DATA/linear.onnx" -r "$DATA/x.npy" --hold=x -o out.onnx
