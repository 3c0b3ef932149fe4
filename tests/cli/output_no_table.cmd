"$OX" run "$DATA/several.onnx" -i "a=$DATA/a.npy" -i "ids=$DATA/ids.npy" -i "rate=$DATA/rate.npy" -o out.csv
