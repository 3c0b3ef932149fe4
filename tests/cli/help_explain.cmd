"$OX" explain --help
