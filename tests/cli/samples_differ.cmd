"$OX" run "$DATA/spare.onnx" -i "x=$DATA/x.npy" -i "other=$DATA/few_rows.npy" -o o.npz
