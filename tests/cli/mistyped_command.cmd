"$OX" expalin
