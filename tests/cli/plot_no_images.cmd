"$OX" plot "$DATA/table.npz" -o out.png
