"""The wheel as `pip install .` makes it, installed into a virtual environment with nothing beside
it but what it requires: these packages are links to those of the tests, so that no index is asked.
"""

import fcntl
import importlib.metadata
import os
import re
import subprocess
import sys
import textwrap

import pytest

from conftest import ROOT

DIGITS = ROOT / "examples" / "digits"
PRELUDE = f"""
import pathlib, sys
import numpy as np
import onnxexplainer as ox
DIGITS = pathlib.Path({str(DIGITS)!r})
references, samples = np.load(DIGITS / "references.npy"), np.load(DIGITS / "input.npy")

def refused(kind, text, function, *arguments, **options):
    try:
        function(*arguments, **options)
    except kind as error:
        assert text in str(error), error
    else:
        raise AssertionError("not refused: " + text)
"""


def call(*command, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def required(names):
    """The distributions of these names and of all that they require."""
    found, waiting = {}, list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = importlib.metadata.distribution(name)
            waiting += [re.match(r"[\w.-]+", line).group() for line in found[name].requires or ()
                        if ";" not in line]
    return found.values()


def link(distributions, folder):
    """Links the files of the distributions into a folder of packages."""
    for distribution in distributions:
        for top in {file.parts[0] for file in distribution.files if file.parts[0] != ".."}:
            if top != "__pycache__" and not (folder / top).exists():
                (folder / top).symlink_to(distribution.locate_file(top))


PIP = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]


def clean():
    """The environment without what would lead to other libraries or packages."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("ONNXRUNTIME_", "PYTHON"))}


def build(folder):
    """The wheel of this checkout. The build folder stays, so that one is built at a time."""
    (ROOT / "build").mkdir(exist_ok=True)
    with open(ROOT / "build/wheel.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        call(*PIP, "wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", folder, ROOT,
             env=clean())
    wheel, = folder.glob("onnxexplainer-*.whl")
    return wheel


class Installed:
    """A virtual environment that has the wheel."""

    def __init__(self, folder, wheel):
        self.env, self.folder, self.wheel = clean(), folder / "venv", wheel
        call(sys.executable, "-m", "venv", "--without-pip", self.folder)
        self.python = self.folder / "bin/python"
        self.packages, = self.folder.glob("lib/python*/site-packages")
        link(required(["numpy", "onnxruntime"]), self.packages)
        call(*PIP, "--python", self.python, "install", "--no-index", wheel, env=self.env)

    def run(self, code, *arguments, path=()):
        """Runs a program, which may also import from the folders of `path`; what it prints."""
        env = self.env | ({"PYTHONPATH": os.pathsep.join(map(str, path))} if path else {})
        return call(self.python, "-c", textwrap.dedent(code), *arguments, cwd=self.folder, env=env)


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    return Installed(folder, build(folder))


@pytest.fixture
def run(installed):
    """Runs a program after PRELUDE; what it prints."""
    def run(code, *arguments, path=()):
        return installed.run(PRELUDE + textwrap.dedent(code), *arguments, path=path)
    return run
