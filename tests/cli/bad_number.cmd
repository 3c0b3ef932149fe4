"$OX" run "$DATA/linear.onnx" --threads=many
