"""Categories: one SHAP value per column, whatever encodes it."""

import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(11)
W = rng.normal(size=(12, 2)).astype(np.float32)


def ml(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), domain="ai.onnx.ml", **attributes)


def make(nodes, kind, shape, outputs=2, **constants):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", outputs])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    return helper.make_model(graph, ir_version=9, opset_imports=[
        helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)])


HEAD = [helper.make_node("Reshape", ["o", "flat"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["h"]),
        helper.make_node("Tanh", ["h"], ["y"])]


def shapley(f, x, r):
    """Exact values of three players, by all orders; f of rows [n, 3]."""
    import itertools

    phi = np.zeros((len(x), 3, 2))
    for order in itertools.permutations(range(3)):
        for k in range(len(x)):
            for ref in r:
                now = ref.copy()
                for i in order:
                    before = f(now[None])[0]
                    now[i] = x[k, i]
                    phi[k, i] += (f(now[None])[0] - before) / 6 / len(r)
    return phi


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.FLOAT])
def test_one_hot_encoder(explain, run, kind):
    """A linear model: the exact Shapley values of columns."""
    dtype = np.int64 if kind == TensorProto.INT64 else np.float32
    x, r = rng.integers(0, 4, (5, 3)).astype(dtype), rng.integers(0, 4, (4, 3)).astype(dtype)
    model = make([ml("OneHotEncoder", "x", "o", cats_int64s=[0, 1, 2, 3]), HEAD[0],
                  helper.make_node("MatMul", ["f", "w"], ["y"])], kind, ["N", 3],
                 flat=np.int64([-1, 12]), w=W)
    out = run(explain(model, {"x": r}, "--target=all"), {"x": x})

    def f(rows):
        return (np.eye(4)[rows.astype(int)].reshape(len(rows), 12)) @ W

    assert out["x_shap"].shape == (5, 2, 3)
    np.testing.assert_allclose(out["x_shap"].transpose(0, 2, 1), shapley(f, x, r), atol=1e-5)


def test_numbers_are_cut_off(explain, run):
    """As in ONNX Runtime: 1.9 is category 1, and the same as 1.2."""
    model = make([ml("OneHotEncoder", "x", "o", cats_int64s=[0, 1, 2, 3]), *HEAD],
                 TensorProto.FLOAT, ["N", 3], flat=np.int64([-1, 12]), w=W)
    x, r = np.float32([[1.9, 0.5, 3.0]]), np.float32([[1.2, 2.5, 0.9]])
    out = run(explain(model, {"x": r}, "--target=all"), {"x": x})
    assert (out["x_shap"][:, :, 0] == 0).all() and (out["x_shap"][:, :, 1:] != 0).all()
    np.testing.assert_allclose(out["x_shap"].sum(-1), out["y"] - out["base_value"], atol=1e-6)


def test_label_encoder(explain, run):
    """Numbers for numbers; unknown ones get the default."""
    model = make([ml("LabelEncoder", "x", "e", keys_int64s=[0, 1, 2, 3], default_float=-1.0,
                     values_floats=[0.5, -2.0, 3.0, 0.25]),
                  helper.make_node("MatMul", ["e", "w"], ["h"]),
                  helper.make_node("Tanh", ["h"], ["y"])], TensorProto.INT64, ["N", 3], w=W[:3])
    x, r = rng.integers(0, 6, (6, 3)), rng.integers(0, 6, (4, 3))
    out = run(explain(model, {"x": r}, "--target=all"), {"x": x})
    np.testing.assert_allclose(out["x_shap"].sum(-1), out["y"] - out["base_value"], atol=1e-6)
    same = (x[:, None] == r[None]).all(1)
    assert (out["x_shap"].transpose(0, 2, 1)[same] == 0).all()


@pytest.mark.parametrize("keepdims", [0, 1])
def test_bins(explain, run, keepdims):
    """KBinsDiscretizer's export: comparisons, the index of the one that holds, its category."""
    edges = np.float32([-0.5, 0.2, 0.9])
    nodes = [helper.make_node("Less", ["x", "edges"], ["l"]),
             helper.make_node("Cast", ["l"], ["below"], to=TensorProto.FLOAT),
             helper.make_node("Pad", ["below", "ends", "last"], ["all"]),
             helper.make_node("ArgMax", ["all"], ["bin"], axis=1, keepdims=keepdims),
             ml("OneHotEncoder", "bin", "o", cats_int64s=[0, 1, 2, 3]), *HEAD]
    model = make(nodes, TensorProto.FLOAT, ["N", 1], edges=edges, ends=np.int64([0, 0, 0, 1]),
                 last=np.float32(1), flat=np.int64([-1, 4]), w=W[:4])
    x, r = np.float32([[-2], [0], [0.5], [3], [0.2]]), np.float32([[-1], [0.3], [2]])
    out = run(explain(model, {"x": r}, "--target=all"), {"x": x})
    bins = np.searchsorted(edges, x[:, 0], side="right")
    np.testing.assert_allclose(out["y"], np.tanh(W[bins]), atol=1e-6)
    np.testing.assert_allclose(out["x_shap"].sum(-1), out["y"] - out["base_value"], atol=1e-6)


def test_bins_as_numbers(explain, run):
    """KBinsDiscretizer(encode="ordinal"): the index itself is the feature; the last bin is 0 x + 1."""
    edges = np.float32([-0.5, 0.2, 0.9])
    nodes = [helper.make_node("Less", ["x", "edges"], ["l"]),
             helper.make_node("Cast", ["l"], ["below"], to=TensorProto.FLOAT),
             helper.make_node("Mul", ["x", "zero"], ["none"]),
             helper.make_node("Add", ["none", "one"], ["last"]),
             helper.make_node("Concat", ["below", "last"], ["all"], axis=1),
             helper.make_node("ArgMax", ["all"], ["bin"], axis=1),
             helper.make_node("Cast", ["bin"], ["b"], to=TensorProto.FLOAT),
             helper.make_node("MatMul", ["b", "w"], ["h"]), helper.make_node("Tanh", ["h"], ["y"])]
    model = make(nodes, TensorProto.FLOAT, ["N", 1], edges=edges, zero=np.float32(0),
                 one=np.float32(1), w=W[:1])
    x, r = np.float32([[-2], [0], [0.5], [3], [0.2]]), np.float32([[-1], [0.3], [2]])
    out = run(explain(model, {"x": r}, "--target=all"), {"x": x})
    bins, base = (np.searchsorted(edges, v[:, 0], side="right")[:, None] for v in (x, r))
    np.testing.assert_allclose(out["base_value"][0], np.tanh(base * W[:1]).mean(0), atol=1e-6)
    np.testing.assert_allclose(out["x_shap"].sum(-1), np.tanh(bins * W[:1]) - out["base_value"],
                               atol=1e-6)


@pytest.mark.parametrize("categories", [[0, 1, 2, 3], [2, 0]])
def test_winner_of_numbers(explain, run, categories):
    """Ties are the first one's, as of ArgMax."""
    nodes = [helper.make_node("ArgMax", ["x"], ["i"], axis=-1, keepdims=0),
             ml("OneHotEncoder", "i", "o", cats_int64s=categories, zeros=1),
             helper.make_node("MatMul", ["o", "w"], ["h"]), helper.make_node("Tanh", ["h"], ["y"])]
    model = make(nodes, TensorProto.FLOAT, ["N", 4], w=W[:len(categories)])
    x, r = rng.integers(0, 3, (6, 4)).astype(np.float32), rng.integers(0, 3, (5, 4)).astype(np.float32)
    out = run(explain(model, {"x": r}, "--target=all"), {"x": x})
    np.testing.assert_allclose(out["x_shap"].sum(-1), out["y"] - out["base_value"], atol=1e-5)


def test_scores_one_behind_the_other(explain, run):
    """QuadraticDiscriminantAnalysis' export: a score a class along the batch, and back."""
    nodes = [helper.make_node("Mul", ["x", "x"], ["q"]),
             helper.make_node("ReduceSum", ["q", "one"], ["a"], keepdims=1),
             helper.make_node("ReduceSum", ["x", "one"], ["b"], keepdims=1),
             helper.make_node("Concat", ["a", "b"], ["c"], axis=0),
             helper.make_node("Reshape", ["c", "rows"], ["t"]),
             helper.make_node("Transpose", ["t"], ["y"], perm=[1, 0])]
    model = make(nodes, TensorProto.FLOAT, ["N", 3], one=np.int64([1]), rows=np.int64([2, -1]))
    x, r = rng.normal(size=(5, 3)).astype(np.float32), rng.normal(size=(4, 3)).astype(np.float32)
    out = run(explain(model, {"x": r}, "--target=all"), {"x": x})
    np.testing.assert_allclose(out["x_shap"][:, 0], (x[:, None] ** 2 - r[None] ** 2).mean(1),
                               atol=1e-5)
    np.testing.assert_allclose(out["x_shap"][:, 1], x - r.mean(0), atol=1e-5)


def test_check_of_text(explain, cli, tmp_path):
    """Beside a cache no references of text are kept, though those of numbers are."""
    nodes = [ml("OneHotEncoder", "x", "o", cats_strings=["a", "b"]), HEAD[0],
             helper.make_node("Concat", ["f", "n"], ["all"], axis=1),
             helper.make_node("MatMul", ["all", "w"], ["h"]), HEAD[2]]
    model = make(nodes, TensorProto.STRING, ["N", 3], flat=np.int64([-1, 6]), w=W[:8])
    model.graph.input.append(helper.make_tensor_value_info("n", TensorProto.FLOAT, ["N", 2]))
    made = {"x": rng.choice(["a", "b"], (6, 3)), "n": rng.normal(size=(6, 2)).astype(np.float32)}
    np.savez(tmp_path / "x.npz", **made)
    explained = explain(model, {k: v[:4] for k, v in made.items()})
    np.savez(tmp_path / "r.npz", **{k: v[:4] for k, v in made.items()})
    asked = [cli, "check", explained, f"--input={tmp_path / 'x.npz'}"]
    done = subprocess.run(asked, capture_output=True, text=True)
    assert done.returncode == 0 and "--references gives them" in done.stdout
    done = subprocess.run([*asked, f"--references={tmp_path / 'r.npz'}"], capture_output=True,
                          text=True)
    assert done.returncode == 0 and "with exact over 5 values" in done.stdout
