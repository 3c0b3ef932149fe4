"$OX" show "$DATA/explained.onnx"
