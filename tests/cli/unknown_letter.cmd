"$OX" explain -qx "$DATA/linear.onnx"
