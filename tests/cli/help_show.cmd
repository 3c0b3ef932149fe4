"$OX" show --help
