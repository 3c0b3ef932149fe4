"$OX" run "$DATA/linear.onnx" -i missing.npy
