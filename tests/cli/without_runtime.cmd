# What needs no running works without ONNX Runtime; what does says so.
export ONNXRUNTIME_ROOT=nowhere ONNXRUNTIME_LIBRARY=
"$OX" explain "$DATA/linear.onnx" -r "$DATA/x.npy" -o free.onnx && echo explained
"$OX" explain "$DATA/fixed.onnx" -r "$DATA/x.npy" -o fixed.onnx && echo explained
"$OX" explain "$DATA/linear.onnx" -r "$DATA/x.npy" -o kept.onnx --cache=file
"$OX" run free.onnx -i "$DATA/x.npy"
code=$?
rm free.onnx fixed.onnx
exit $code
