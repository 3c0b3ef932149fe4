"$OX" explain "$DATA/linear.onnx" -r "$DATA/zeros.npy" --integrate=4:Tanh -o no.onnx
