"$OX" explain missing.onnx -r "$DATA/x.npy" -o out.onnx
