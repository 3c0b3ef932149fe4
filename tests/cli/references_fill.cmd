"$OX" explain "$DATA/linear.onnx" --references=fill:zero
