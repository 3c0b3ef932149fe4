"$OX" check "$DATA/explained.onnx" -i "$DATA/x.npy" --model="$DATA/spare.onnx"
