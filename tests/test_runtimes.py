"""Explained models without functions in runtimes that are not ONNX Runtime: the same values."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import small_bert
import test_portable

PACKAGES = pathlib.Path(__file__).parent.parent / "build" / "runtimes"
RNG = np.random.default_rng(4)
IMAGES, BLANKS = (RNG.normal(size=(rows, 1, 8, 8)).astype(np.float32) for rows in (2, 3))


def weights(name, *shape):
    return numpy_helper.from_array((RNG.normal(size=shape) / 3).astype(np.float32), name)


def images():
    """A U-Net in small: strides, a pool, a way back up, a skip."""
    nodes = [("Conv", "x f1", "a", {"pads": [1] * 4}), ("Relu", "a", "b", {}),
             ("MaxPool", "b", "c", {"kernel_shape": [2, 2], "strides": [2, 2]}),
             ("Conv", "c f2", "d", {"pads": [1] * 4, "strides": [2, 2]}), ("Sigmoid", "d", "e", {}),
             ("ConvTranspose", "e f3", "f", {"strides": [4, 4]}), ("Concat", "b f", "g", {"axis": 1}),
             ("Conv", "g f4", "y", {})]
    graph = helper.make_graph(
        [helper.make_node(op, i.split(), o.split(), **a) for op, i, o, a in nodes], "images",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [weights("f1", 4, 1, 3, 3), weights("f2", 4, 4, 3, 3), weights("f3", 4, 4, 4, 4),
         weights("f4", 1, 8, 1, 1)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


MODELS = {"images": (images, BLANKS, IMAGES),
          **{name: (made, test_portable.R, test_portable.X)
             for name, made in test_portable.MODELS.items()}}


def elsewhere(runtime, path, x, folder):
    """What it computes in another runtime."""
    np.savez(folder / "x.npz", **x)
    script = pathlib.Path(__file__).parent / "run_elsewhere.py"
    subprocess.run([sys.executable, script, runtime, path, folder / "x.npz", folder / "found.npz"],
                   check=True, env={**os.environ, "PYTHONPATH": str(PACKAGES)})
    return np.load(folder / "found.npz")


def check(found, wanted, total, names=None):
    """The same values, and sums of `total` [N] magnitudes that add up."""
    for key, value in wanted.items():
        if key != "completeness_gap" and (names is None or key in names):
            scale = np.abs(value).max()
            np.testing.assert_allclose(found[key], value, rtol=0, atol=1e-5 * scale + 1e-7)
    if names is None:
        assert np.abs(found["completeness_gap"]).max() <= 1e-5 * (total.max() + 1)


@pytest.mark.parametrize("runtime", ["openvino", "tract"])
@pytest.mark.parametrize("name", MODELS)
def test_elsewhere(explain, run, tmp_path, name, runtime):
    assert (PACKAGES / runtime).is_dir(), "tools/setup installs the runtimes into build/runtimes"
    made, references, x = MODELS[name]
    path = explain(made(), references, "--no-functions", "--target=3", "--gap")
    found = elsewhere(runtime, path, {"x": x}, tmp_path)
    check(found, run(path, x), np.abs(found["x_shap"]).sum(axis=tuple(range(1, x.ndim))))


@pytest.mark.parametrize("runtime", ["openvino", "tract"])
def test_masks_that_are_explained(explain, run, tmp_path, runtime):
    """Ids and mask of a BERT, of which all get values: sample and reference are equal in masked places,
    and where one is hidden scores lie 1e15 apart."""
    path = explain(small_bert.small_bert(), small_bert.R, "--no-functions", "--target=1", "--gap")
    found, wanted = elsewhere(runtime, path, small_bert.X, tmp_path), run(path, small_bert.X)
    check(found, wanted, sum(np.abs(found[f"{n}_shap"]).sum(axis=1) for n in small_bert.X))


FREE = {"dynamo_vit_mnist"}  # tract infers their batch from its symbol
TRAINED = ["cnn_bn_maxpool_digits", "resnet_mnist", "unet_deconv_mnist", "vit_digits",
           "dynamo_vit_mnist", "lstm_digits"]


@pytest.mark.parametrize("runtime", ["openvino", "tract"])
@pytest.mark.parametrize("name", TRAINED)
def test_trained(explain, run, shared, tmp_path, name, runtime):
    folder = shared / "models" / name
    references, x = (np.load(folder / f"{part}.npy")[:3] for part in ("background", "input"))
    path = explain(folder / "model.onnx", references, "--no-functions", "--target=3", "--gap")
    feed = {onnx.load(path).graph.input[0].name: x}
    runtime = "tract_free" if runtime == "tract" and name in FREE else runtime
    found, wanted = elsewhere(runtime, path, feed, tmp_path), run(path, feed)
    (shap,) = (value for key, value in found.items() if key.endswith("_shap"))
    check(found, wanted, np.abs(shap).sum(axis=tuple(range(1, shap.ndim))))


@pytest.mark.parametrize("runtime", ["openvino", "tract"])
def test_trained_bert(explain, run, shared, tmp_path, runtime):
    """MiniLM, of which the ids are explained and the mask is held."""
    folder = shared / "models" / "minilm_l3_topics"
    x = {name: np.load(folder / f"input_{name}.npy")[:2] for name in ("input_ids", "attention_mask")}
    references = {"input_ids": np.load(folder / "background_input_ids.npy")[:3]}
    path = explain(folder / "model.onnx", references, "--no-functions",
                   "--hold=attention_mask", "--target=1", "--gap")
    found, wanted = elsewhere(runtime, path, x, tmp_path), run(path, x)
    check(found, wanted, np.abs(found["input_ids_shap"]).sum(axis=1))


def recurrent(kind, steps, **attributes):
    gates, hidden = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], 6
    nodes = [("Transpose", "x", "s", {"perm": [1, 0, 2]}),
             (kind, "s w r b", " h", {"hidden_size": hidden, **attributes}),
             ("Squeeze", "h first", "l", {}), ("MatMul", "l v", "y", {})]
    graph = helper.make_graph(
        [helper.make_node(op, i.split(), o.split(" "), **a) for op, i, o, a in nodes], "recurrent",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", steps, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [weights("w", 1, gates * hidden, 3), weights("r", 1, gates * hidden, hidden),
         weights("b", 1, 2 * gates * hidden), weights("v", hidden, 4),
         numpy_helper.from_array(np.array([0]), "first")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("runtime, kind", [
    ("openvino", "LSTM"), ("openvino", "GRU"), ("openvino", "RNN"), ("tract", "GRU")])
def test_many_steps(explain, run, tmp_path, runtime, kind):
    """More than are unrolled: a Scan, whose body reads nothing of the graph around it."""
    references, x = (RNG.normal(size=(rows, 100, 3)).astype(np.float32) for rows in (3, 2))
    path = explain(recurrent(kind, 100), references, "--no-functions", "--target=3", "--gap")
    assert "Scan" in [n.op_type for n in onnx.load(path).graph.node]
    found = elsewhere(runtime, path, {"x": x}, tmp_path)
    check(found, run(path, x), np.abs(found["x_shap"]).sum(axis=(1, 2)))


@pytest.mark.parametrize("runtime", ["openvino", "tract"])
def test_unread_borders(explain, run, tmp_path, runtime):
    """Strides that leave the last rows unread, where the walk back cuts off."""
    nodes = [helper.make_node("Conv", ["x", "f1"], ["a"], strides=[3, 3], pads=[1, 0, 0, 1]),
             helper.make_node("Sigmoid", ["a"], ["b"]),
             helper.make_node("ConvTranspose", ["b", "f2"], ["c"], strides=[2, 2], pads=[1, 1, 0, 0]),
             helper.make_node("Tanh", ["c"], ["d"]), helper.make_node("Flatten", ["d"], ["y"])]
    graph = helper.make_graph(
        nodes, "borders", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", "K"])],
        [weights("f1", 4, 1, 3, 3), weights("f2", 4, 2, 3, 3)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    path = explain(model, BLANKS, "--no-functions", "--target=3", "--gap")
    found = elsewhere(runtime, path, {"x": IMAGES}, tmp_path)
    check(found, run(path, IMAGES), np.abs(found["x_shap"]).sum(axis=(1, 2, 3)))
