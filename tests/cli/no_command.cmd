"$OX"
