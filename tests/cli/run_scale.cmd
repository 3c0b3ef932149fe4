"$OX" explain "$DATA/linear.onnx" -r "$DATA/unit.npy" -o out.onnx
"$OX" run out.onnx -i "$DATA/bytes.npy" -o out.npz | tail -n 1
"$OX" run out.onnx -i "$DATA/pixels.npy" -o out.npz | tail -n 1
"$OX" run out.onnx -i "$DATA/bytes.npy" -q -o out.npz
"$OX" explain "$DATA/linear.onnx" -r "$DATA/bytes.npy" -o raw.onnx
"$OX" run raw.onnx -i "$DATA/bytes.npy" -o out.npz | tail -n 1
"$OX" run raw.onnx -i "$DATA/unit.npy" -o out.npz | tail -n 1
