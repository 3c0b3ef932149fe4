"""Models whose weights are large: external data, and weights that are used in two places."""

import pathlib
import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from conftest import data_file

WIDTH, HIDDEN = 64, 4096
RNG = np.random.default_rng(5)
W1 = (RNG.normal(size=(WIDTH, HIDDEN)) / 8).astype(np.float32)
W2 = (RNG.normal(size=(HIDDEN, WIDTH)) / 64).astype(np.float32)
X, R = (RNG.normal(size=(rows, WIDTH)).astype(np.float32) for rows in (2, 5))


def wide(batch="N"):
    """Two layers of 1 MB each."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w1"], ["h"], name="first"),
         helper.make_node("Relu", ["h"], ["a"], name="relu"),
         helper.make_node("MatMul", ["a", "w2"], ["y"], name="second")], "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, WIDTH])],
        [numpy_helper.from_array(W1, "w1"), numpy_helper.from_array(W2, "w2")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def base():
    return (np.maximum(R @ W1, 0) @ W2).mean(axis=0)


def check(outputs, x=X):
    y = np.maximum(x @ W1, 0) @ W2
    np.testing.assert_allclose(outputs["y"], y, rtol=1e-4, atol=1e-4)
    at = np.arange(len(x)), outputs["shap_target"]
    np.testing.assert_allclose(outputs["x_shap"].sum(axis=1), (y - base())[at], rtol=1e-4,
                               atol=1e-4)


def stored(path):
    """Bytes of the model and its second file."""
    second = data_file(path)
    return pathlib.Path(path).stat().st_size + (second.stat().st_size if second else 0)


@pytest.fixture
def external(tmp_path):
    """A model with external data in a folder of its own."""
    (tmp_path / "source").mkdir()
    path = tmp_path / "source" / "wide.onnx"
    onnx.save_model(wide(), path, save_as_external_data=True, location="weights.bin",
                    size_threshold=1024)
    return path


@pytest.mark.parametrize("split", [[], ["--external-data"]])
@pytest.mark.parametrize("options", [[], ["--chunk=2"], ["--cache=file"], ["--no-functions"]])
def test_external(external, explain, run, tmp_path, options, split):
    """The result stands on its own, wherever it is: one file, or two on request."""
    before = {p.name: p.read_bytes() for p in external.parent.iterdir()}
    path = pathlib.Path(explain(external, R, *options, *split))
    files = [p for p in (path, data_file(path)) if p is not None]
    assert len(files) == 1 + len(split)
    assert {p.name: p.read_bytes() for p in external.parent.iterdir()} == before
    onnx.checker.check_model(str(path), full_check=True)
    (tmp_path / "elsewhere").mkdir()
    for p in files:
        shutil.move(p, tmp_path / "elsewhere")
    shutil.rmtree(external.parent)
    check(run(str(tmp_path / "elsewhere" / path.name), X))


def test_external_beside(external, cli, explain, run):
    """Into the source's own folder, over an explained model of before."""
    for target in ("3", "top"):
        path = explain(external, R, f"--target={target}", "--external-data")
        for p in (path, data_file(path)):
            shutil.move(p, external.parent / pathlib.Path(p).name)
    check(run(str(external.parent / pathlib.Path(path).name), X))
    assert onnx.load(external).graph.initializer[0].name == "w1"


@pytest.mark.parametrize("batch, options", [("N", []), ("N", ["--chunk=2"]), (1, []),
                                            ("N", ["--chunk=1", "--cache=none"])])
def test_stored_once(explain, run, batch, options):
    """In one file, also where the body of a Scan needs the weights, which a runtime may get as
    bytes."""
    path = explain(wide(batch), R, *options, "--cache=none")
    assert stored(path) < 1.2 * (W1.nbytes + W2.nbytes) and data_file(path) is None
    for x in X[:1], X[1:]:
        check(run(path, x), x)


def test_places_of_shared_weights(explain):
    """A body has them as sums of what is outside, which ONNX Runtime computes at load: what
    it lays out in its own way are initializers of the body."""
    made = onnx.load(explain(wide(), R, "--chunk=2", "--cache=none"))
    body, = [a.g for n in made.graph.node if n.op_type == "Scan" for a in n.attribute
             if a.name == "body"]
    assert not any(len(i.raw_data) >= 1024 for i in body.initializer)
    shared = {n.input[0] for n in body.node if n.op_type == "Sum" and len(n.input) == 1}
    assert {"w1", "w2"} == shared & {i.name for i in made.graph.initializer}
    assert not shared & {i.name for i in body.input}
    onnx.checker.check_model(made, full_check=True)


def convolutions(path, folder):
    """How many convolutions of a Scan's body ONNX Runtime runs in its blocked layout, of how many."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    made = onnx.load(folder / "optimized.onnx")
    nodes = [n for scan in made.graph.node for a in scan.attribute if a.name == "body"
             for n in a.g.node if n.op_type == "Conv"]
    return sum(n.domain == "com.microsoft.nchwc" for n in nodes), len(nodes)


def test_shared_filters(explain, tmp_path):
    """Filters that a body shares are laid out in blocks, as its own would be."""
    width = 192
    filters = (RNG.normal(size=(2, width, width, 3, 3)) / 40).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "f0"], ["h"], pads=[1] * 4),
         helper.make_node("Relu", ["h"], ["a"]),
         helper.make_node("Conv", ["a", "f1"], ["b"], pads=[1] * 4),
         helper.make_node("ReduceMean", ["b"], ["y"], axes=[2, 3], keepdims=0)], "image",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", width, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", width])],
        [numpy_helper.from_array(f, f"f{i}") for i, f in enumerate(filters)])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    r = RNG.normal(size=(2, width, 4, 4)).astype(np.float32)
    path = explain(made, r, "--chunk=1", "--cache=none", "--target=0")
    assert data_file(path) is None and stored(path) < 1.2 * filters.nbytes
    blocked, count = convolutions(path, tmp_path)
    assert count >= 3 and blocked == count


def test_large_cache(explain, run):
    """Kept activations are stored once, too."""
    r = RNG.normal(size=(100, WIDTH)).astype(np.float32)
    path = explain(wide(), r, "--cache=file")
    outputs = run(path, X)
    y, y0 = (np.maximum(rows @ W1, 0) @ W2 for rows in (X, r))
    at = np.arange(2), outputs["shap_target"]
    np.testing.assert_allclose(outputs["x_shap"].sum(axis=1), (y - y0.mean(axis=0))[at], rtol=1e-4,
                               atol=1e-4)
    assert stored(path) < 1.3 * (W1.nbytes + W2.nbytes + len(r) * HIDDEN * 4)


@pytest.mark.parametrize("options", [[], ["--chunk=2", "--cache=none"]])
def test_memory(cli, tmp_path, options):
    """Explaining takes, at its peak, at most 2.5 times the model's size."""
    made = wide()
    weights = [np.zeros((WIDTH, 96 * 1024), np.float32), np.zeros((96 * 1024, WIDTH), np.float32)]
    for tensor, array in zip(made.graph.initializer, weights):
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(made, tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", R)
    # A process starts with the memory of its parent counted, which a fresh one has little of.
    script = """if True:
        import resource, subprocess, sys
        subprocess.run(sys.argv[1:], check=True)
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"""
    done = subprocess.run([sys.executable, "-c", script, cli, "explain", "m.onnx", "-r", "r.npy",
                           "-o", "e.onnx", "-q", *options], cwd=tmp_path, check=True,
                          capture_output=True, text=True)
    assert int(done.stdout) * 1024 <= 2.5 * (tmp_path / "m.onnx").stat().st_size
