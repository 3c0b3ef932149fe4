"$OX" run "$DATA/spare.onnx" -i photo.png -o o.npz
