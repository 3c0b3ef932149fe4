"""page.py PAGE HEADER: makes the two parts of a page, before and after the mark @GRAPH@, arrays of
C."""

import pathlib
import sys

head, tail = pathlib.Path(sys.argv[1]).read_bytes().split(b"@GRAPH@")
lines = [f"/* Made by cmake/page.py of {pathlib.Path(sys.argv[1]).name}. */"]
for name, part in (("head", head), ("tail", tail)):
    lines.append(f"static const unsigned char ox_page_{name}[] = {{")
    lines += ["    " + ", ".join(map(str, part[i:i + 20])) + "," for i in range(0, len(part), 20)]
    lines.append("};")
pathlib.Path(sys.argv[2]).write_text("\n".join(lines) + "\n")
