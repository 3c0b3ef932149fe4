"$OX" explain "$DATA/several.onnx" -r "$DATA/a.npy" --output-name=y --hold=rate -o out.onnx
