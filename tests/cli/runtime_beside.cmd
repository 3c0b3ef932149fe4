# Where nothing else is said, ONNX Runtime is the one beside the library.
unset ONNXRUNTIME_ROOT ONNXRUNTIME_LIBRARY
"$OX" run "$DATA/linear.onnx" -i "$DATA/x.npy" -q -o o.csv
head -2 o.csv
