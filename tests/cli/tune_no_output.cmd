"$OX" tune "$DATA/linear.onnx"
