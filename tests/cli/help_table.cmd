"$OX" explain --help=table | head -n 3
