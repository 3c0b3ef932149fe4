"$OX" explain - --references="$DATA/zeros.npy" --target 0-1 --gap -qo - < "$DATA/linear.onnx" | "$OX" run - -i "$DATA/x.npy"
