"$OX" explain "$DATA/linear.onnx" -r "$DATA/x.npy" --feature-names="$DATA/few.txt" -q -o out.onnx
