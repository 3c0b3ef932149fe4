"$OX" explain "$DATA/linear.onnx" -r "z=$DATA/x.npy" -o out.onnx
