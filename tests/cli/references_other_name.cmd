"$OX" explain "$DATA/linear.onnx" -r "$DATA/other_name.npz" -o out.onnx
