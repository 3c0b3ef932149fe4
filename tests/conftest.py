"""Fixtures: the command line of the build under test, explaining by it, and running by
onnxruntime's Python, which is independent of the library's own runner."""

import os
import pathlib
import re
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("OX_BUILD", ROOT / "build"))

# The command line runs on the onnxruntime that the tests use, unless the user chose another.
if "ONNXRUNTIME_ROOT" not in os.environ:
    for library in pathlib.Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"):
        os.environ.setdefault("ONNXRUNTIME_LIBRARY", str(library))


# Nothing is kept from one test to the next; tests/test_plans.py is about what is kept.
os.environ["ONNXEXPLAINER_CACHE"] = ""


def data_file(path):
    """The second file of a model that was written, which is named after its contents; None where
    it has none."""
    path = pathlib.Path(path)
    found = [p for p in path.parent.iterdir()
             if re.fullmatch(re.escape(path.name) + r"\.[0-9a-f]{16}\.data", p.name)]
    assert len(found) <= 1, found
    return found[0] if found else None


@pytest.fixture(scope="session")
def cli():
    """Path of the command line."""
    return str(BUILD / "onnxexplainer")


@pytest.fixture(scope="session")
def shared():
    """Folder of real models and images next to the checkout."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("no ../shared folder")
    return folder


@pytest.fixture
def explain(cli, tmp_path):
    """explain(model, references, *options): path of the explained model. `model` is a path or a
    ModelProto; `references` an array, a path, a dict of them by input name, or None."""
    count = iter(range(1_000_000))

    def file(value, suffix):
        if isinstance(value, (str, os.PathLike)):
            return str(value)
        path = tmp_path / f"{next(count)}{suffix}"
        if suffix == ".onnx":
            onnx.save(value, path)
        else:
            np.save(path, value)
        return str(path)

    def explain(model, references, *options):
        out = str(tmp_path / f"{next(count)}.explained.onnx")
        command = [cli, "explain", file(model, ".onnx"), "-o", out, *options]
        if isinstance(references, dict):
            for name, value in references.items():
                command += ["--references", f"{name}={file(value, '.npy')}"]
        elif references is not None:
            command += ["--references", file(references, ".npy")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
        return out

    return explain


@pytest.fixture
def run():
    """run(model, inputs): outputs by name. `model` is a path or a ModelProto; `inputs` an array
    for a model with one input, or a dict by name."""

    def run(model, inputs):
        if isinstance(model, onnx.ModelProto):
            model = model.SerializeToString()
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        if not isinstance(inputs, dict):
            inputs = {session.get_inputs()[0].name: inputs}
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, inputs)))

    return run
