"$OX" explain "$DATA/linear.onnx" -r "$DATA/zeros.npy" --method=permutation --samples=9223372036854775807 -o e.onnx
