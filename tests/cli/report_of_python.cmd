"$OX" report
