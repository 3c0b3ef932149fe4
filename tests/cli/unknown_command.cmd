"$OX" explode
