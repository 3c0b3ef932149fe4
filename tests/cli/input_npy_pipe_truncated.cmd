cat "$DATA/truncated.npy" | "$OX" run "$DATA/linear.onnx" -i -
