"$OX" explain "$DATA/root.onnx" -r "$DATA/zeros.npy" --at=g -o no.onnx
