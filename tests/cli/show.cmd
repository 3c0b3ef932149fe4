"$OX" show "$DATA/linear.onnx" --nodes
