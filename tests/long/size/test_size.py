"""What is large: models and caches beyond 2 GiB, graphs of 10,000 nodes. Disk: 8 GB, memory: 10 GB."""

import os
import pathlib
import resource
import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[3]
CLI = str(pathlib.Path(os.environ.get("OX_BUILD", ROOT / "build")) / "onnxexplainer")
GIB = 2**30
NODES = [1250, 2500, 5000, 10_000]


def ox(folder, *words):
    """Seconds of processor time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([CLI, *map(str, words)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def value(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])


def model(nodes, inputs, outputs, weights):
    graph = helper.make_graph(nodes, "large", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


# ---- weights -----------------------------------------------------------------------------------------

ROWS, COLUMNS = 16, 40_000_000  # 2.38 GiB, all zero but for some of the last columns
FILLED = 50


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """y = relu(x W) summed, W being a file with a hole."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    filled = rng.normal(size=(ROWS, FILLED)).astype(np.float32)
    with open(folder / "weights.bin", "wb") as file:
        for row in range(ROWS):
            file.seek(((row + 1) * COLUMNS - FILLED) * 4)
            file.write(filled[row].tobytes())
    size = (folder / "weights.bin").stat().st_size
    assert size == ROWS * COLUMNS * 4 > 2 * GIB
    w = TensorProto(name="W", data_type=TensorProto.FLOAT, dims=[ROWS, COLUMNS],
                    data_location=TensorProto.EXTERNAL)
    for key, text in ("location", "weights.bin"), ("length", str(size)):
        w.external_data.add(key=key, value=text)
    axes = numpy_helper.from_array(np.array([1]), "axes")
    nodes = [helper.make_node("MatMul", ["x", "W"], ["h"]), helper.make_node("Relu", ["h"], ["a"]),
             helper.make_node("ReduceSum", ["a", "axes"], ["y"], keepdims=1)]
    (folder / "large.onnx").write_bytes(
        model(nodes, [value("x", ROWS)], [value("y", 1)], [w, axes]).SerializeToString())
    np.save(folder / "x.npy", rng.normal(size=(1, ROWS)).astype(np.float32))
    np.save(folder / "r.npy", rng.normal(size=(1, ROWS)).astype(np.float32))
    return folder, filled.astype(np.float64)


def test_weights_beyond_two_gib(large):
    folder, w = large
    ox(folder, "show", "large.onnx")
    seconds = ox(folder, "explain", "large.onnx", "-rr.npy", "--cache=none", "--memory=6G", "-oe.onnx")
    written = sum(p.stat().st_size for p in folder.glob("e.onnx*"))
    assert written > 2 * GIB
    ran = ox(folder, "run", "e.onnx", "-ix.npy", "--no-tune", "-oout.npz")
    x, r = (np.load(folder / f"{n}.npy").astype(np.float64) for n in "xr")
    out = np.load(folder / "out.npz")
    a, b = x @ w, r @ w
    slopes = np.where(a == b, 0, (np.maximum(a, 0) - np.maximum(b, 0)) / (a - b))
    right = (x - r) * (slopes @ w.T)
    assert np.allclose(out["y"], np.maximum(a, 0).sum(), rtol=1e-4)
    assert np.allclose(out["x_shap"], right, rtol=1e-3, atol=1e-4)
    print(f"{written / GIB:.2f} GiB written: explain {seconds:.1f} s, run {ran:.1f} s")


# ---- caches ------------------------------------------------------------------------------------------

def test_cache_beyond_two_gib(tmp_path):
    """What is kept of the references lies in a second file, and gives what keeping nothing gives."""
    width, stages, references = 4096, 24, 4000
    rng = np.random.default_rng(1)
    weights = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32) / 16, n)
               for n, s in (("w", (16, width)), ("v", (width, 1)))]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h0"])]
    for i in range(stages):
        nodes += [helper.make_node("Tanh", [f"h{i}"], [f"t{i}"]),
                  helper.make_node("Add", [f"t{i}", f"h{i}"], [f"h{i + 1}"])]
    nodes.append(helper.make_node("MatMul", [f"h{stages}", "v"], ["y"]))
    onnx.save(model(nodes, [value("x", 16)], [value("y", 1)], weights), tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", rng.normal(size=(references, 16)).astype(np.float32))
    np.save(tmp_path / "x.npy", rng.normal(size=(1, 16)).astype(np.float32))
    found = {}
    for cache in "file", "none":
        seconds = ox(tmp_path, "explain", "m.onnx", "-rr.npy", f"--cache={cache}", "--memory=8G",
                     "--cache-limit=4G", "--chunk=100", "-oe.onnx")
        written = sum(p.stat().st_size for p in tmp_path.glob("e.onnx*"))
        ran = ox(tmp_path, "run", "e.onnx", "-ix.npy", "--no-tune", "-oout.npz")
        print(f"cache {cache}: {written / GIB:.2f} GiB, explain {seconds:.1f} s, run {ran:.1f} s")
        assert cache == "none" or written > 2 * GIB
        found[cache] = np.load(tmp_path / "out.npz")["x_shap"]
        for path in tmp_path.glob("e.onnx*"):
            path.unlink()
    scale = np.abs(found["none"]).max()
    assert np.abs(found["file"] - found["none"]).max() < 1e-4 * scale


# ---- many nodes --------------------------------------------------------------------------------------

def chain(count):
    names = ["x", *(f"a{i}" for i in range(1, count)), "y"]
    weights = [numpy_helper.from_array(np.float32([1.01, 0.99, 1, 1]), "w")]
    nodes = [helper.make_node("Tanh", [names[i]], [names[i + 1]]) if i % 2 else
             helper.make_node("Mul", [names[i], "w"], [names[i + 1]]) for i in range(count)]
    return model(nodes, [value("x", 4)], [value("y", 4)], weights)


def fan(count):
    """Branches that all read the input and meet in one sum."""
    names = [f"a{i}" for i in range(count)]
    nodes = [helper.make_node(("Tanh", "Sigmoid", "Relu", "Softplus")[i % 4], ["x"], [n])
             for i, n in enumerate(names)]
    nodes.append(helper.make_node("Sum", names, ["y"]))
    return model(nodes, [value("x", 4)], [value("y", 4)], [])


def residual(count):
    """Every third node adds what came two before."""
    nodes, last = [], "x"
    for i in range(count // 3):
        nodes += [helper.make_node("Relu", [last], [f"r{i}"]), helper.make_node("Neg", [f"r{i}"], [f"n{i}"]),
                  helper.make_node("Add", [f"n{i}", last], [f"s{i}"])]
        last = f"s{i}"
    nodes.append(helper.make_node("Identity", [last], ["y"]))
    return model(nodes, [value("x", 4)], [value("y", 4)], [])


@pytest.mark.parametrize("make", [chain, fan, residual], ids=lambda f: f.__name__)
def test_nodes(make, tmp_path):
    """Time of explaining over the nodes: the exponent that fits."""
    np.save(tmp_path / "r.npy", np.zeros((1, 4), np.float32))
    times = []
    for count in NODES:
        onnx.save(make(count), tmp_path / "m.onnx")
        times.append(min(ox(tmp_path, "explain", "m.onnx", "-rr.npy", "--cache=none", "-oe.onnx")
                         for _ in range(2)))
    exponent = np.polyfit(np.log(NODES), np.log(times), 1)[0]
    print(f"{make.__name__}: {', '.join(f'{t:.2f} s' for t in times)}: nodes^{exponent:.2f}")
    assert exponent < 1.25, times
