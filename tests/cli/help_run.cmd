"$OX" run --help
