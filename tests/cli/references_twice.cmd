"$OX" explain "$DATA/linear.onnx" -r "x=$DATA/zeros.npy" -r "x=$DATA/zeros.npy" -o e.onnx
