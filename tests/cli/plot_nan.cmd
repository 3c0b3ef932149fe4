"$OX" plot "$DATA/broken.npz" -o out.png
