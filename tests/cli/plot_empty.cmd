"$OX" plot "$DATA/no_images.npz" -o p.png
