"$OX" explain "$DATA/last.onnx" -r "$DATA/nchw.npy" -o e.onnx
