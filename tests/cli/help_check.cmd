"$OX" check --help
