"$OX" explain "$DATA/linear.onnx"
