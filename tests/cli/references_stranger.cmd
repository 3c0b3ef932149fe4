"$OX" explain "$DATA/linear.onnx" -r "$DATA/stranger.npz" -o out.onnx
