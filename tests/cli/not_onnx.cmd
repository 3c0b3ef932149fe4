"$OX" explain "$DATA/text.onnx" -r "$DATA/x.npy" -o out.onnx
