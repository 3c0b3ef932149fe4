"""Explained models in ONNX Runtimes from the oldest on: the values of the newest. `tools/setup` installs the
oldest; tools/check-versions all others, from the library (1.19 and later carry it) as well."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import onnx
import pytest

import test_tools

ROOT = pathlib.Path(__file__).parent.parent
FOLDERS = sorted((ROOT / "build" / "onnxruntimes").glob("*"))
DIGITS = ROOT / "examples" / "digits"
FORMS = {"functions": [], "no_functions": ["--no-functions"], "chunk": ["--chunk=1"],
         "file": ["--cache=file"], "incoming": ["--references=input"]}


def test_there_is_one():
    assert any(f.name == "oldest" for f in FOLDERS), "tools/setup installs it"


@pytest.fixture(scope="module")
def explained(cli, tmp_path_factory):
    """{(model, form): (path, path of its inputs, values)}."""
    folder, made = tmp_path_factory.mktemp("versions"), {}
    models = {name: (build(), r, x) for name, (build, r, x) in test_tools.MODELS.items()}
    models["digits"] = (onnx.load(DIGITS / "digits.onnx"), np.load(DIGITS / "references.npy"),
                        np.load(DIGITS / "input.npy")[:3])
    for name, (model, r, x) in models.items():
        given = model.graph.input[0].name
        onnx.save(model, folder / "m.onnx")
        np.save(folder / "r.npy", r)
        for form, options in FORMS.items():
            path = folder / f"{name}_{form}.onnx"
            references = [] if form == "incoming" else ["-r", folder / "r.npy"]
            subprocess.run([cli, "explain", folder / "m.onnx", *references, "--target=1", "-q", "-o",
                            path, *options], check=True)
            feed = {given: x} | ({f"{given}_references": r} if form == "incoming" else {})
            np.savez(path.with_suffix(".npz"), **feed)
            made[name, form] = path, path.with_suffix(".npz")
    values = in_python(None, made, folder)
    return {key: (*files, values[key]) for key, files in made.items()}


def in_python(packages, files, folder):
    """By a Python that finds these packages first, all models in one process."""
    script = pathlib.Path(__file__).parent / "run_elsewhere.py"
    found = {key: folder / f"{'_'.join(key)}_found.npz" for key in files}
    environment = os.environ | ({"PYTHONPATH": str(packages)} if packages else {})
    subprocess.run([sys.executable, script, "onnxruntime",
                    *(f for key in files for f in (*files[key][:2], found[key]))], check=True,
                   env=environment)
    return {key: dict(np.load(path)) for key, path in found.items()}


def in_c(library, path, given, folder, cli):
    """By the command line, with kernels where they fit."""
    subprocess.run([cli, "run", path, "-i", given, f"--runtime={library}", "-q", "-o",
                    folder / "found.npz"], check=True)
    return dict(np.load(folder / "found.npz"))


def check(found, wanted, which):
    assert set(found) == set(wanted)
    for key, value in found.items():
        scale = np.abs(wanted[key]).max()
        np.testing.assert_allclose(value, wanted[key], rtol=0, atol=1e-5 * scale,
                                   err_msg=f"{key} of {which}")


def runs(packages, key):
    """Up to 1.18 ONNX Runtime aborts where it looks for attention behind a LayerNormalization without a bias of
    which the result is used twice."""
    (info,) = packages.glob("onnxruntime-*.dist-info")
    minor = int(info.name.split("-")[1].split(".")[1])
    return minor > 18 or key[0] != "layers"


@pytest.mark.parametrize("packages", FOLDERS, ids=lambda f: f.name)
def test_version(packages, explained, tmp_path, cli):
    files = {key: each for key, each in explained.items() if runs(packages, key)}
    for key, found in in_python(packages, files, tmp_path).items():
        check(found, explained[key][2], key)
    for library in (packages / "onnxruntime" / "capi").glob("libonnxruntime.so.*"):
        for key, (path, given, wanted) in explained.items():
            check(in_c(library, path, given, tmp_path, cli), wanted, key)
