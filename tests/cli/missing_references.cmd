"$OX" explain "$DATA/linear.onnx" -r missing.npy -o out.onnx
