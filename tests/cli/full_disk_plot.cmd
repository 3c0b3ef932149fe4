"$OX" plot "$DATA/images.npz" -o /dev/full
