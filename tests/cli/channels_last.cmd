"$OX" run "$DATA/cnn.onnx" -i "$DATA/nhwc.npy"
