"$OX" explain "$DATA/linear.onnx" -r input --prefix=new_ -q -o out.onnx
"$OX" show out.onnx | head -9
