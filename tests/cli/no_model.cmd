"$OX" show
