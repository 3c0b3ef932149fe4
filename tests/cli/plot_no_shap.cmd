"$OX" plot "$DATA/x.npz" -o out.png
