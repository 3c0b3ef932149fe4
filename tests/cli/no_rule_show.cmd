"$OX" show "$DATA/norule.onnx" > /dev/null
