"$OX" check "$DATA/explained.onnx"
