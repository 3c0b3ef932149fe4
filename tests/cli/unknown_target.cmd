"$OX" explain "$DATA/linear.onnx" -r "$DATA/x.npy" --target=best -o out.onnx
