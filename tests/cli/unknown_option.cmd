"$OX" run "$DATA/linear.onnx" --fast
