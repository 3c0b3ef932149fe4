"$OX" show a.onnx -- -b.onnx
