"""Sessions of the library's own: the kernels registered with them, by the command line and in C."""

import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from conftest import BUILD

KERNELS = "libonnxexplainer_ops.so"


def network(seed=0):
    """Relu between two products, so that the explained model has functions."""
    rng = np.random.default_rng(seed)
    made = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]>
        graph (float[N, 6] x) => (float[N, 3] y) {
            h = MatMul(x, A)
            r = Relu(h)
            y = MatMul(r, B)
        }""")
    for name, shape in {"A": (6, 5), "B": (5, 3)}.items():
        made.graph.initializer.append(
            numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name))
    return made


@pytest.fixture
def explained(explain):
    rng = np.random.default_rng(1)
    return explain(network(), rng.standard_normal((4, 6)).astype(np.float32))


@pytest.fixture
def samples(tmp_path):
    path = tmp_path / "samples.npy"
    np.save(path, np.random.default_rng(2).standard_normal((7, 6)).astype(np.float32))
    return str(path)


# Opens a session in a process of its own and says whether the kernels are in its memory.
OPEN = """
import ctypes, sys
from library import Error, struct
library, model, no_kernels = sys.argv[1:]
library = ctypes.CDLL(library)
library.ox_session_open.restype = ctypes.c_void_p
options, error = struct("ox_session_options")(no_kernels=bool(int(no_kernels))), Error()
opened = library.ox_session_open(model.encode(), ctypes.byref(options), ctypes.byref(error))
assert opened, error.message
print("libonnxexplainer_ops" in open("/proc/self/maps").read())
"""


def opens_with_kernels(model, library=BUILD / "libonnxexplainer.so", no_kernels=False, ops=None):
    environment = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parent)}
    environment |= {"ONNXEXPLAINER_OPS": str(ops)} if ops else {}
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(library), model, str(int(no_kernels))],
        capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout == "True\n"


def test_a_session_registers_the_kernels_beside_the_library(explained):
    assert opens_with_kernels(explained)
    assert not opens_with_kernels(explained, no_kernels=True)


@pytest.mark.parametrize("kind", ("plain", "portable", "unlisted"))
def test_a_session_loads_the_kernels_for_models_that_have_functions(explain, explained, tmp_path,
                                                                    kind):
    if kind == "plain":
        path = str(tmp_path / "plain.onnx")
        onnx.save(network(), path)
    elif kind == "portable":
        references = np.random.default_rng(1).standard_normal((4, 6)).astype(np.float32)
        path = explain(network(), references, "--no-functions")
    else: # which does not say of which it has kernels
        model = onnx.load(explained)
        del model.metadata_props[:]
        path = str(tmp_path / "unlisted.onnx")
        onnx.save(model, path)
    assert opens_with_kernels(path) == (kind == "unlisted")


def test_a_session_goes_without_kernels_that_are_not_there(explained, tmp_path):
    alone = tmp_path / "lib" / "libonnxexplainer.so"
    alone.parent.mkdir()
    shutil.copy(BUILD / "libonnxexplainer.so", alone)
    assert not opens_with_kernels(explained, alone)
    assert opens_with_kernels(explained, alone, ops=BUILD / KERNELS)
    shutil.copy(BUILD / KERNELS, alone.parent)
    assert opens_with_kernels(explained, alone)


def test_kernels_made_for_something_else_are_as_if_missing(explained, tmp_path):
    alone = tmp_path / "libonnxexplainer.so"
    shutil.copy(BUILD / "libonnxexplainer.so", alone)
    (tmp_path / KERNELS).write_bytes(b"not a library")
    assert not opens_with_kernels(explained, alone)


def command(cli, *arguments, **environment):
    return subprocess.run([cli, *arguments], capture_output=True, text=True,
                          env=os.environ | environment)


@pytest.mark.parametrize("kind", ["missing", "broken"])
def test_kernels_that_the_user_names_are_used_or_an_error(cli, explained, samples, tmp_path, kind):
    path = tmp_path / "ops.so"
    if kind == "broken":
        path.write_bytes(b"not a library")
    done = command(cli, "run", explained, "-i", samples, ONNXEXPLAINER_OPS=str(path))
    reason = "No such file or directory" if kind == "missing" else "not a library of kernels"
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == f"onnxexplainer: ONNXEXPLAINER_OPS: {path}: {reason}\n"
    done = command(cli, "run", explained, "-i", samples, "--no-kernels",
                   ONNXEXPLAINER_OPS=str(path))
    assert done.returncode == 0 and done.stderr == ""


def test_models_without_our_functions_ask_for_no_kernels(cli, samples, tmp_path):
    onnx.save(network(), tmp_path / "plain.onnx")
    done = command(cli, "run", str(tmp_path / "plain.onnx"), "-i", samples,
                   ONNXEXPLAINER_OPS="missing.so")
    assert done.returncode == 0 and done.stderr == ""


def test_results_are_the_same_with_and_without_kernels(cli, explained, samples, tmp_path):
    paths = [str(tmp_path / "with.npz"), str(tmp_path / "without.npz")]
    for path, flags in zip(paths, ([], ["--no-kernels"])):
        done = command(cli, "run", explained, "-i", samples, "-o", path, *flags)
        assert done.returncode == 0, done.stderr
    kernels, plain = map(np.load, paths)
    for name in plain.files:
        np.testing.assert_allclose(kernels[name], plain[name], rtol=1e-5, atol=1e-6)


def test_any_program_registers_with_one_call(explained, samples):
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(str(BUILD / KERNELS))
    x = np.load(samples)
    results = [onnxruntime.InferenceSession(explained, o, providers=["CPUExecutionProvider"])
               .run(["x_shap"], {"x": x})[0] for o in (options, None)]
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-6)
