"""The recipes of CONTRIBUTING.md: each lists the files that name its example."""

import re

import pytest

from conftest import ROOT

RECIPE = re.compile(r"^## An? [^\n]*, as `(\w+)`: (\d+) files\n(.*?)(?=^## |\Z)",
                    re.MULTILINE | re.DOTALL)
RECIPES = RECIPE.findall((ROOT / "CONTRIBUTING.md").read_text())


def names(path, example):
    """Whether the file names it, in whatever spelling."""
    plain = re.sub(r"[-_]", "", path.read_text()).lower()
    return example.replace("_", "").lower() in plain


def test_recipes_are_there():
    assert len(RECIPES) == 5


@pytest.mark.parametrize("example, count, text", RECIPES, ids=[r[0] for r in RECIPES])
def test_files(example, count, text):
    listed = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert len(set(listed)) == len(listed) == int(count)
    assert [file for file in listed if not names(ROOT / file, example)] == []
    sources = [path for folder in ("include", "src", "cli", "ops")
               for path in sorted((ROOT / folder).rglob("*.[chi]*"))]
    found = {str(path.relative_to(ROOT)) for path in sources if names(path, example)}
    assert found == {file for file in listed if file.endswith((".c", ".h", ".inc"))
                     and not file.startswith("tests/")}
