"""Inputs whose batch axes are called differently, as tf2onnx does it (unk__1, unk__2), or not at
all, have one batch."""

import json
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper

rng = np.random.default_rng(0)
W = rng.normal(size=(5, 3)).astype("f")
REFERENCES = {"x": rng.normal(size=(5, 3)).astype("f"), "z": rng.normal(size=(5, 2)).astype("f")}
SAMPLES = {"x": rng.normal(size=(7, 3)).astype("f"), "z": rng.normal(size=(7, 2)).astype("f")}


def model(x, z, y):
    nodes = [helper.make_node("Concat", ["x", "z"], ["c"], axis=1),
             helper.make_node("MatMul", ["c", "w"], ["d"]), helper.make_node("Tanh", ["d"], ["y"])]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", T.FLOAT, [x, 3]),
                     helper.make_tensor_value_info("z", T.FLOAT, [z, 2])],
        [helper.make_tensor_value_info("y", T.FLOAT, [y, 3])], [numpy_helper.from_array(W, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


NAMES = [("A", "B", "A"), ("N", None, "C"), (None, None, None), ("unk__1", "unk__2", "unk__3")]


@pytest.mark.parametrize("hold", (False, True))
@pytest.mark.parametrize("names", NAMES, ids=str)
def test_one_batch(cli, tmp_path, names, hold):
    onnx.save(model(*names), tmp_path / "m.onnx")
    np.savez(tmp_path / "r.npz", **(REFERENCES if not hold else {"x": REFERENCES["x"]}))
    np.savez(tmp_path / "x.npz", **SAMPLES)
    subprocess.run([cli, "explain", tmp_path / "m.onnx", "-r", tmp_path / "r.npz", "-q", "-o",
                    tmp_path / "e.onnx", "--target=1", *(["--hold=z"] if hold else [])], check=True)
    made = onnx.load(tmp_path / "e.onnx").graph
    axes = {v.type.tensor_type.shape.dim[0].dim_param for v in (*made.input, *made.output)}
    assert len(axes) == 1
    expected = None
    for batch in ((), ("--batch=4",)):
        subprocess.run([cli, "run", tmp_path / "e.onnx", "-i", tmp_path / "x.npz", "-q", "-o",
                        tmp_path / "o.npz", *batch], check=True)
        found = dict(np.load(tmp_path / "o.npz"))
        expected = expected or found
        assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in expected.items()}
        assert all(np.allclose(found[k], expected[k], atol=1e-6) for k in found)
    f = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    for i in range(7):
        z = np.repeat(SAMPLES["z"][i:i + 1], 5, 0) if hold else REFERENCES["z"]
        base = f.run(None, {"x": REFERENCES["x"], "z": z})[0][:, 1].mean()
        y = f.run(None, {k: v[i:i + 1] for k, v in SAMPLES.items()})[0][0, 1]
        phi = sum(v[i].sum() for k, v in expected.items() if k.endswith("_shap"))
        assert abs(expected["base_value"][i] - base) < 1e-5 and abs(phi - (y - base)) < 1e-5


V = rng.normal(size=(4, 3)).astype("f")
LSTM = {"w": rng.normal(size=(1, 20, 4)).astype("f"), "r": rng.normal(size=(1, 20, 5)).astype("f"),
        "v": rng.normal(size=(5, 3)).astype("f")}


def two_symbols(first, second, layer=None, state=False):
    """[first, second, 4] to [first, second, 3], with a sum along the first, or an LSTM."""
    nodes = [helper.make_node("CumSum", ["x", "zero"], ["c"]), helper.make_node("MatMul", ["c", "v"], ["d"]),
             helper.make_node("Tanh", ["d"], ["y"])]
    constants = {"v": V, "zero": np.int64(0)}
    inputs = [helper.make_tensor_value_info("x", T.FLOAT, [first, second, 4])]
    if layer is not None:
        nodes = [helper.make_node("LSTM", ["x", "w", "r"], ["h"], hidden_size=5, layout=layer),
                 helper.make_node("Squeeze", ["h", "one"], ["s"]), helper.make_node("MatMul", ["s", "v"], ["y"])]
        constants = LSTM | {"one": np.int64([1 + layer])}
    if state:
        inputs.append(helper.make_tensor_value_info("s", T.FLOAT, [second, 4]))
        nodes[0] = helper.make_node("CumSum", ["a", "zero"], ["c"])
        nodes.insert(0, helper.make_node("Add", ["x", "s"], ["a"]))
    graph = helper.make_graph(
        nodes, "g", inputs, [helper.make_tensor_value_info("y", T.FLOAT, [first, second, 3])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("made, why", [
    (two_symbols("T", "N"), "by its name"),
    (two_symbols("Seq_Len", "B"), "by its name"),
    (two_symbols("rows", "batch_size"), "by its name"),
    (two_symbols("T", "N", state=True), "all explained inputs have it"),
    (two_symbols("a", "b", state=True), "all explained inputs have it"),
    (two_symbols("a", "b", layer=0), "its recurrent layer has samples there"),
], ids=["T", "length", "batch", "state", "neutral", "layer"])
def test_the_second_axis_is_the_batch(cli, tmp_path, made, why):
    onnx.save(made, tmp_path / "m.onnx")
    names = [v.name for v in made.graph.input]
    shapes = {"x": lambda n: (6, n, 4), "s": lambda n: (n, 4)}
    r, x = ({k: rng.normal(size=shapes[k](n)).astype("f") for k in names} for n in (2, 3))
    np.savez(tmp_path / "r.npz", **r)
    np.savez(tmp_path / "x.npz", **x)
    done = subprocess.run([cli, "explain", tmp_path / "m.onnx", "-r", tmp_path / "r.npz", "-o",
                           tmp_path / "e.onnx", "--target=5:1"], check=True, capture_output=True, text=True)
    first, second = (d.dim_param for d in made.graph.input[0].type.tensor_type.shape.dim[:2])
    assert f'note: the batch is "{second}", axis 1 of input "x", not "{first}": {why}' in done.stderr
    subprocess.run([cli, "run", tmp_path / "e.onnx", "-i", tmp_path / "x.npz", "-q", "-o", tmp_path / "o.npz"],
                   check=True)
    out = np.load(tmp_path / "o.npz")
    f = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    base, y = (f.run(None, v)[0][5, :, 1] for v in (r, x))
    np.testing.assert_allclose(out["y"][5, :, 1], y, rtol=0, atol=1e-6)
    np.testing.assert_allclose(out["base_value"], base.mean().repeat(3), rtol=0, atol=1e-5)
    phi = out["x_shap"].sum((0, 2)) + (out["s_shap"].sum(1) if "s" in names else 0)
    np.testing.assert_allclose(phi, y - base.mean(), rtol=0, atol=2e-5)


@pytest.mark.parametrize("made", [two_symbols("N", "T"), two_symbols("B", "N"), two_symbols("a", "b"),
                                  two_symbols("a", "N"), two_symbols("T", "z"),
                                  two_symbols("batch", "T", layer=0), two_symbols("a", "b", layer=1)],
                         ids=["N", "B", "neutral", "rows", "T", "layer", "layout"])
def test_the_first_axis_stays_the_batch(cli, tmp_path, made):
    """Where nothing says surely that another is meant."""
    onnx.save(made, tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", rng.normal(size=(2, 6, 4)).astype("f"))
    done = subprocess.run([cli, "explain", tmp_path / "m.onnx", "-r", tmp_path / "r.npy", "-o",
                           tmp_path / "e.onnx"], capture_output=True, text=True)
    assert "the batch is" not in done.stderr and ", 2 references" in done.stderr, done.stderr


def test_the_table_of_samples_behind_other_axes(cli, tmp_path):
    """What `run` prints and `check` compares, of samples in the second axis of inputs and outputs."""
    made = two_symbols("T", "N", state=True)
    onnx.save(made, tmp_path / "m.onnx")
    r, x = ({"x": rng.normal(size=(6, n, 4)).astype("f"), "s": rng.normal(size=(n, 4)).astype("f")} for n in (2, 3))
    np.savez(tmp_path / "r.npz", **r)
    np.savez(tmp_path / "x.npz", **x)
    f = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    base, y = (f.run(None, v)[0].transpose(1, 0, 2).reshape(-1, 18) for v in (r, x))
    for target, places in (("5:1", [16]), ("0:2,5:1", [2, 16])):
        subprocess.run([cli, "explain", "m.onnx", "-rr.npz", "-oe.onnx", "-q", f"--target={target}"], cwd=tmp_path,
                       check=True)
        told = json.loads(subprocess.run([cli, "run", "e.onnx", "-ix.npz", "--json"], cwd=tmp_path, check=True,
                                         capture_output=True, text=True).stdout)["samples"]
        assert [(row["sample"], row["target"]) for row in told] == [(n, k) for n in range(3) for k in places]
        want = [(y[row["sample"], row["target"]], base[:, row["target"]].mean()) for row in told]
        np.testing.assert_allclose([(row["value"], row["base_value"]) for row in told], want, atol=1e-5)
        np.testing.assert_allclose([row["sum"] for row in told], [a - b for a, b in want], atol=2e-5)
        done = subprocess.run([cli, "check", "e.onnx", "-ix.npz", "--json"], cwd=tmp_path, capture_output=True,
                              text=True)
        gaps = json.loads(done.stdout)["completeness"]["gaps"]
        assert done.returncode == 0 and np.abs(np.float64(gaps)).max() < 1e-4, done.stdout
