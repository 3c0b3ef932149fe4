"$OX" ops > /dev/full
