"$OX" plot "$DATA/images.npz" --sample=2 -o out.png
