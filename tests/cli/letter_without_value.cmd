"$OX" run "$DATA/linear.onnx" -i
