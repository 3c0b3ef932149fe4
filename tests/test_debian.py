"""Debian's part: the sources that machines are built of (tools/debian-sources), and what the
packages say of themselves. What the packages hold is looked at by tools/check-reproducible."""

import os
import re
import subprocess

from conftest import ROOT

# A mirror that lacks the newest version: a part of it comes, then an error.
APT_GET = """#!/bin/sh
for word in "$@"; do
    case $word in
    update) exit 0 ;;
    */*) echo older >older.dsc && exit 0 ;;
    esac
done
echo newest >newest.dsc
exit 100
"""
DPKG_SOURCE = """#!/bin/sh
mkdir "$4" && cp "$3" "$4/"
"""


def test_sources_from_a_mirror_that_lacks_the_newest(tmp_path):
    for name, text in ("apt-get", APT_GET), ("dpkg-source", DPKG_SOURCE):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    done = subprocess.run([ROOT / "tools/debian-sources", tmp_path / "sources", "one", "two"],
                          env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for package in "one", "two":
        assert [p.name for p in (tmp_path / "sources" / package).iterdir()] == ["older.dsc"]


def test_copyright_has_years_and_every_licence():
    """Of what is linked into the library, too: its licence wants to be there."""
    text = (ROOT / "debian/copyright").read_text()
    named = re.findall(r"^License: (\S+)$", text, re.M)
    assert sorted(named) == ["Apache-2.0", "BSD-3-clause", "BSD-3-clause-intel"]
    assert re.search(r"^Copyright: \d{4} ", text, re.M)
    assert re.findall(r"\d{4}-\d{4} (Intel Corp|The University of Tennessee)", text) == [
        "Intel Corp", "The University of Tennessee"]
