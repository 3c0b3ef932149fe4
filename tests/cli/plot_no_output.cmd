"$OX" plot "$DATA/images.npz"
