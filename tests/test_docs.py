"""What docs/ shows works: blocks of a page run one behind the other in a folder that has the files
which the page speaks of (stages.py), each says what is written under it, and links lead somewhere."""

import contextlib
import importlib.util
import io
import os
import re
import subprocess
import sys

import pytest

from conftest import BUILD, ROOT
from package import folder_of_package, ox  # noqa: F401, a fixture
from stages import STAGES, stage

DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.M | re.S)
LANGUAGES = ("python", "sh", "c", "text", "json", "html")  # html: test_web.py
NEEDS = re.compile(r'title="with (\w+)"')


def pages():
    return {str(path.relative_to(DOCS).with_suffix("")): path.read_text()
            for path in sorted(DOCS.rglob("*.md"))}


def blocks(text):
    """(language, what stands behind it, code) of each."""
    return [match.groups() for match in BLOCK.finditer(text)]


def lacks(remark):
    """Whether a block is for a package that is not installed here, which its title names."""
    needs = NEEDS.search(remark)
    return needs is not None and importlib.util.find_spec(needs.group(1)) is None


def dispatcher(folder):
    """The command `onnxexplainer` of an installed package, in a folder for PATH."""
    program = folder / "onnxexplainer"
    program.write_text(f"#!/bin/sh\nPYTHONPATH={folder_of_package()} exec {sys.executable} "
                       "-m onnxexplainer \"$@\"\n")
    program.chmod(0o755)


def run_shell(code, folder):
    environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "NO_COLOR": "1"}
    done = subprocess.run(["sh", "-e"], input=code, cwd=folder, env=environment,
                          capture_output=True, text=True)
    assert done.returncode == 0, code + done.stderr
    return done.stdout


def run_python(code, names):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, "<page>", "exec"), names)
    return said.getvalue()


def run_c(code, folder):
    (folder / "program.c").write_text(code)
    build = BUILD.resolve()
    subprocess.run(["cc", "-std=c11", "-Wall", "-Werror", f"-I{ROOT / 'include'}", "program.c",
                    "-o", "program", f"-L{build}", "-lonnxexplainer", f"-Wl,-rpath,{build}"],
                   cwd=folder, check=True)
    return run_shell("./program", folder)


NUMBER = re.compile(r"[-+−]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def agree(said, shown):
    """The same words, and numbers to a part in 100: what is printed is what the page shows."""
    said, shown = said.replace("\u2212", "-").strip(), shown.replace("\u2212", "-").strip()
    assert NUMBER.sub("#", said) == NUMBER.sub("#", shown), (said, shown)
    for a, b in zip(NUMBER.findall(said), NUMBER.findall(shown)):
        assert float(a) == pytest.approx(float(b), rel=1e-2, abs=2e-3), (said, shown)


@pytest.mark.parametrize("page", sorted(STAGES))
def test_page(page, ox, shared, tmp_path, monkeypatch):  # noqa: F811
    text, said, names, ran = pages()[page], None, {}, 0
    (tmp_path / "bin").mkdir()
    dispatcher(tmp_path / "bin")
    stage(page, tmp_path, shared)
    monkeypatch.chdir(tmp_path)
    for language, remark, code in blocks(text):
        if language == "text":
            assert said is not None, "shown under nothing that ran"
            agree(said, code)
        elif lacks(remark):
            said = None # what it makes is on the stage
        elif language == "python":
            said = run_python(code, names)
        elif language == "sh":
            said = run_shell(code, tmp_path)
        elif language == "c":
            said = run_c(code, tmp_path)
        ran += language in ("python", "sh", "c")
    assert ran


def test_every_block_runs():
    """A page with code is on a stage, and a block says its language."""
    for page, text in pages().items():
        assert len(re.findall("^```", text, re.M)) % 2 == 0, page
        found = {language for language, _, _ in blocks(text)}
        assert found <= set(LANGUAGES), (page, found)
        assert page in STAGES or not found & {"python", "sh", "c"}, page
