"$OX" tune a.onnx -- -b.onnx
