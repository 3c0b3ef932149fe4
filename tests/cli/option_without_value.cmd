"$OX" run "$DATA/linear.onnx" --input
