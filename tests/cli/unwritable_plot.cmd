"$OX" plot "$DATA/images.npz" -o missing/out.png
