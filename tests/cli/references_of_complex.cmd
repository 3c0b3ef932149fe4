"$OX" explain "$DATA/linear.onnx" -r "$DATA/complex.npy" -o out.onnx
