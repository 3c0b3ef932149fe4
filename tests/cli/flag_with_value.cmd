"$OX" ops --json=yes
