"$OX" --version
