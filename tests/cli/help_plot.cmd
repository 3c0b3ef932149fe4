"$OX" plot --help
