"$OX" ops --json --markdown
