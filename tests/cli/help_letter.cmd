"$OX" ops -h
