"$OX" --help=json | head -n 2
"$OX" ops --help=json
