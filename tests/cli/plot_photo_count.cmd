"$OX" plot "$DATA/images.npz" --image="$DATA/nhwc.npy" -o p.png
