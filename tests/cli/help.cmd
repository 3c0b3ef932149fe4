"$OX" --help
