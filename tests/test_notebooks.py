"""The notebooks of docs/notebooks, executed where the wheel is installed and nothing else: they show
what they keep, but for rounding."""

import base64
import json
import os
import re
import subprocess

import numpy as np
import pytest

from conftest import ROOT
from wheel import installed  # noqa: F401, a fixture

FOLDER = ROOT / "docs/notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def texts(notebook):
    """What its cells print and show, as text."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            data = output.get("data", {"text/plain": output.get("text")})
            yield "".join(data["text/plain"])
            if "text/html" in data:
                yield "".join(data["text/html"])


def pictures(notebook):
    return [base64.b64decode(output["data"]["image/png"]) for cell in notebook["cells"]
            for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]


def agree(found, kept):
    """The same words, and numbers to the digits that are printed."""
    assert NUMBER.sub("#", found) == NUMBER.sub("#", kept)
    for a, b in zip(NUMBER.findall(found), NUMBER.findall(kept), strict=True):
        digits = len(b.partition(".")[2])
        assert abs(float(a) - float(b)) <= 1.01 * 10 ** -digits, (a, b)


@pytest.mark.parametrize("name", NAMES)
def test_notebook(installed, name, tmp_path, request):  # noqa: F811
    env = dict(installed.env)
    if name == "text":
        env["MODELS"] = str(request.getfixturevalue("shared") / "models")
    file, out = FOLDER / f"{name}.ipynb", tmp_path / "out.ipynb"
    if os.environ.get("OX_UPDATE"):
        out = file
    done = subprocess.run([installed.python, ROOT / "tools/notebook", file, "-o", out], env=env,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found, kept = json.loads(out.read_text()), json.loads(file.read_text())
    for a, b in zip(texts(found), texts(kept), strict=True):
        agree(a, b)
    assert len(pictures(found)) == len(pictures(kept))
    assert all(picture.startswith(b"\x89PNG") for picture in pictures(found))
    assert "False" not in "".join(texts(kept))  # what they claim


def test_notebooks_are_listed():
    listed = re.findall(r"^\| \[(\w+)\.ipynb\]", (FOLDER / "README.md").read_text(), re.M)
    assert listed == NAMES == ["image", "table", "text"]


def test_form():
    """As Jupyter wants it: version 4.5, a name for each cell, code with its number and outputs."""
    for name in NAMES:
        notebook = json.loads((FOLDER / f"{name}.ipynb").read_text())
        assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
        cells = notebook["cells"]
        assert len({cell["id"] for cell in cells}) == len(cells)
        code = [cell for cell in cells if cell["cell_type"] == "code"]
        assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
        assert any(cell["outputs"] for cell in code)


def test_recorded_values():
    """The table's claim again, on its own: the numbers kept beside SHAP's differ by their last
    digit at most."""
    notebook = json.loads((FOLDER / "table.ipynb").read_text())
    table, = [text for text in texts(notebook) if "network, SHAP" in text and "<" not in text]
    numbers = np.array([row.split()[1:] for row in table.splitlines()[1:]], float)
    assert numbers.shape == (10, 4)
    assert np.abs(numbers[:, ::2] - numbers[:, 1::2]).max() <= 1.01e-4
    recorded = np.load(ROOT / "examples/diabetes/data.npz")
    for column, model in ((0, "network"), (2, "trees")):
        assert np.abs(numbers[:, column] - recorded[f"{model}_shap"][0]).max() <= 0.51e-4
