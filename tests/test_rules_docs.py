"""docs/rules.md has a formula for every operator that has a rule."""

import json
import re
import subprocess

from conftest import ROOT


def test_every_operator(cli):
    done = subprocess.run([cli, "ops", "--json"], capture_output=True, text=True, check=True)
    ruled = {row["op"] for row in json.loads(done.stdout)
             if row["state"] in ("differentiated", "decomposed")}
    named = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "rules.md").read_text()))
    assert sorted(ruled - named) == []
