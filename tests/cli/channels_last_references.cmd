"$OX" explain "$DATA/cnn.onnx" -r "$DATA/nhwc.npy" -o no.onnx
