"$OX" explain "$DATA/truncated.onnx" -r "$DATA/x.npy" -o out.onnx
