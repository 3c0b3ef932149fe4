"$OX" explain "$DATA/linear.onnx" -r "$DATA/x.npy" --target=2 -o out.onnx
