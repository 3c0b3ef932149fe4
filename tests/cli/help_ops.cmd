"$OX" ops --help
