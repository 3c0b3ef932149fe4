cp "$DATA/linear.onnx" .
"$OX" explain linear.onnx -r "$DATA/zeros.npy"
ls
