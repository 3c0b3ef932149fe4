"$OX" explain "$DATA/norule.onnx" -r "$DATA/x.npy" -o out.onnx
