"$OX" plot "$DATA/images.npz" --image "$DATA/x.npy" -o out.png
