"$OX" show ""
