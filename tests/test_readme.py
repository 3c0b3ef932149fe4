"""The README's blocks work when pasted."""

import os
import pathlib
import re
import subprocess

from PIL import Image

from conftest import BUILD, ROOT
from package import ox  # noqa: F401, a fixture

TEXT = (ROOT / "README.md").read_text()


def block(language):
    return re.search(rf"```{language}\n(.*?)```", TEXT[TEXT.index("## From the shell"):],
                     re.S).group(1)


def test_first_screen(ox, tmp_path, monkeypatch):  # noqa: F811
    """Its first block makes a picture."""
    code = re.search(r"```python\n(.*?)```", TEXT, re.S).group(1)
    assert TEXT.index(code) < TEXT.index("## Why") and "plots.image" in code
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    exec(code, {"onnxexplainer": ox})
    with Image.open("digits.png") as picture:
        assert picture.width > 2 * picture.height


def test_pictures():
    """What is shown is there."""
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text()):
            assert (page.parent / path).is_file(), (page, path)


def test_shell(tmp_path):
    """In a folder that looks like the checkout, so that nothing is left behind in it."""
    (tmp_path / "build").mkdir()
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = {**os.environ, "PATH": f"{BUILD.resolve()}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-e"], input=block("sh"), cwd=tmp_path, env=environment,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = {path.name for path in (tmp_path / "build").iterdir()}
    assert made == {"digits.onnx", "graph.html", "digits.npz", "digits.png", "all.onnx",
                    "why3not8.onnx"}


def test_c(tmp_path):
    (tmp_path / "readme.c").write_text(block("c"))
    build = pathlib.Path(BUILD).resolve()
    subprocess.run(["cc", "-std=c11", "-Wall", "-Werror", f"-I{ROOT / 'include'}", "readme.c", "-o",
                    "readme", f"-L{build}", "-lonnxexplainer", f"-Wl,-rpath,{build}"],
                   cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "readme"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and re.fullmatch(r"pixel 400: -?[\d.e-]+\n", done.stdout), done.stderr
