"""docs/rules.md has a formula for every operator of the table."""

import json
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent


def operators(cli):
    done = subprocess.run([cli, "ops", "--json"], capture_output=True, text=True, check=True)
    return [row["op"] for row in json.loads(done.stdout)]


def test_every_operator(cli):
    named = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "rules.md").read_text()))
    assert set(operators(cli)) <= named


def test_sorted(cli):
    names = operators(cli)
    assert names == sorted(names) and len(names) == len(set(names))
