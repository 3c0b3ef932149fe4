# A model that says little of how it was explained.
"$OX" check "$DATA/explained.onnx" -i "$DATA/x.npy" | tail -1
