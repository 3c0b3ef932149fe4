"$OX" run "$DATA/cnn.onnx" -i x.png --pixels=0-255
