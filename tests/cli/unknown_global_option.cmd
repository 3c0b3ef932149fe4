"$OX" --fast
