"$OX" explain "$DATA/linear.onnx" -r "$DATA/zeros.npy" --groups="$DATA/names.txt" --groups="$DATA/few.txt" -o e.onnx
