"$OX" explain "$DATA/linear.onnx" --references=fill:0
