"$OX" explain "$DATA/linear.onnx" -r "$DATA/nan.npy" -o out.onnx
