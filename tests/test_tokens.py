"""Token inputs, explanations at a tensor inside, filled references, and explanations by force."""

import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

WORDS, LENGTH, HIDDEN, CLASSES = 11, 6, 5, 3
rng = np.random.default_rng(7)
TABLE = rng.normal(size=(WORDS, HIDDEN)).astype(np.float32)
W = rng.normal(size=(HIDDEN, CLASSES)).astype(np.float32)
IDS = rng.integers(1, WORDS, (4, LENGTH))
REFS = rng.integers(0, WORDS, (5, LENGTH))
MASK = (rng.random((4, LENGTH)) < 0.7).astype(np.int64)


def bag(length=LENGTH, masked=False):
    """Embeddings, a mask of the padding token 0 (or given), squared, summed and classified."""
    nodes = [helper.make_node("Gather", ["table", "ids"], ["embedded"])]
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", length])]
    if masked:
        inputs.append(helper.make_tensor_value_info("mask", TensorProto.INT64, ["N", length]))
        nodes.append(helper.make_node("Identity", ["mask"], ["kept"]))
    else:
        nodes += [helper.make_node("Equal", ["ids", "zero"], ["padding"]),
                  helper.make_node("Not", ["padding"], ["kept"])]
    nodes += [helper.make_node("Cast", ["kept"], ["weight"], to=TensorProto.FLOAT),
              helper.make_node("Unsqueeze", ["weight", "last"], ["column"]),
              helper.make_node("Mul", ["embedded", "column"], ["masked"]),
              helper.make_node("ReduceSum", ["masked", "one"], ["sum"], keepdims=0),
              helper.make_node("Tanh", ["sum"], ["hidden"]),
              helper.make_node("MatMul", ["hidden", "w"], ["y"])]
    constants = {"table": TABLE, "w": W, "zero": np.int64(0), "last": np.int64([2]),
                 "one": np.int64([1])}
    graph = helper.make_graph(
        nodes, "bag", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def forward(ids, mask=None):
    weight = (ids != 0) if mask is None else mask
    return np.tanh((TABLE.astype(float)[ids] * weight[..., None]).sum(1)) @ W


def gap(out, names, value, base):
    total = sum(out[name].astype(float).sum(-1) for name in names)
    return np.abs(value - base - total).max()


def test_tokens_add_up_and_keep_their_shape(explain, run):
    out = run(explain(bag(), {"ids": REFS}, "--target=all"), {"ids": IDS})
    assert out["ids_shap"].shape == (4, CLASSES, LENGTH) and out["ids_shap"].dtype == np.float32
    base = forward(REFS).mean(0)
    np.testing.assert_allclose(out["base_value"], np.tile(base, (4, 1)), atol=1e-5)
    assert gap(out, ["ids_shap"], forward(IDS), base) < 1e-5


def test_quantized_embeddings(explain, run):
    """Integers that are picked, and their scale afterwards: differences are those of numbers."""
    table = rng.integers(0, 255, (WORDS, HIDDEN)).astype(np.uint8)
    nodes = [helper.make_node("Gather", ["table", "ids"], ["q"]),
             helper.make_node("DequantizeLinear", ["q", "s", "z"], ["e"]),
             helper.make_node("ReduceSum", ["e", "one"], ["p"], keepdims=0),
             helper.make_node("Tanh", ["p"], ["t"]), helper.make_node("MatMul", ["t", "w"], ["y"])]
    constants = {"table": table, "w": W, "s": np.float32(0.01), "z": np.uint8(120),
                 "one": np.int64([1])}
    graph = helper.make_graph(
        nodes, "bag", [helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", LENGTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    out = run(explain(model, {"ids": REFS}, "--target=all"), {"ids": IDS})
    assert gap(out, ["ids_shap"], out["y"], out["base_value"]) < 1e-5


def test_equal_token_gets_nothing(explain, run):
    refs = REFS[:1].copy()
    refs[0, 2] = IDS[0, 2]
    out = run(explain(bag(), {"ids": refs}), {"ids": IDS[:1]})
    assert out["ids_shap"][0, 2] == 0 and np.abs(out["ids_shap"]).max() > 0


@pytest.mark.parametrize("cache", ["load", "file", "none"])
def test_short_references_in_steps(explain, run, cache):
    """What is known of few integers is known of all references, not of those of a step."""
    whole = run(explain(bag(), {"ids": REFS}, "--target=all"), {"ids": IDS})
    for chunk in (1, 2):
        explained = explain(bag(), {"ids": REFS}, "--target=all", f"--cache={cache}",
                            f"--chunk={chunk}")
        out = run(explained, {"ids": IDS})
        for name in ("ids_shap", "base_value"):
            np.testing.assert_allclose(out[name], whole[name], atol=1e-6)


def test_held_mask(explain, run):
    explained = explain(bag(masked=True), {"ids": REFS}, "--hold=mask", "--target=all")
    out = run(explained, {"ids": IDS, "mask": MASK})
    assert "mask_shap" not in out
    base = np.stack([forward(REFS, np.tile(m, (len(REFS), 1))).mean(0) for m in MASK])
    np.testing.assert_allclose(out["base_value"], base, atol=1e-5)
    assert gap(out, ["ids_shap"], forward(IDS, MASK), base) < 1e-5


def test_explained_mask(explain, run):
    refs = {"ids": REFS, "mask": np.ones_like(REFS)}
    out = run(explain(bag(masked=True), refs, "--target=all"), {"ids": IDS, "mask": MASK})
    base = forward(REFS, np.ones_like(REFS)).mean(0)
    assert gap(out, ["ids_shap", "mask_shap"], forward(IDS, MASK), base) < 1e-5


@pytest.mark.parametrize("length", [LENGTH, "T"])
def test_filled_references(explain, run, length):
    """A padding token everywhere, in the sample's own length where that is free."""
    explained = explain(bag(length), None, "--references=fill:3", "--target=all")
    lengths = [LENGTH] if length == LENGTH else [2, 5, LENGTH]
    for t in lengths:
        out = run(explained, {"ids": IDS[:, :t]})
        base = forward(np.full((1, t), 3))
        np.testing.assert_allclose(out["base_value"], np.tile(base, (4, 1)), atol=1e-5)
        assert gap(out, ["ids_shap"], forward(IDS[:, :t]), base) < 1e-5


@pytest.mark.parametrize("pool", ["first", "last", "mean"])
def test_filled_references_where_a_free_axis_is_reduced(explain, run, pool):
    """The first token, the last, and the mean over as many as there are."""
    ends = {"first": 0, "last": -1}
    nodes = [helper.make_node("Gather", ["table", "ids"], ["e"]),
             helper.make_node("Tanh", ["e"], ["h"]), helper.make_node("MatMul", ["p", "w"], ["y"])]
    nodes.insert(2, helper.make_node("ReduceMean", ["h", "axis"], ["p"], keepdims=0)
                 if pool == "mean" else helper.make_node("Gather", ["h", "at"], ["p"], axis=1))
    constants = {"table": TABLE, "w": W, "axis": np.int64([1]), "at": np.int64(ends.get(pool, 0))}
    graph = helper.make_graph(
        nodes, "pool", [helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", "T"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    explained = explain(model, None, "--references=fill:3", "--target=all")
    for t in (2, LENGTH):
        out = run(explained, {"ids": IDS[:, :t]})
        assert gap(out, ["ids_shap"], out["y"], out["base_value"]) < 1e-5


def test_at_a_tensor_inside(explain, run):
    out = run(explain(bag(), {"ids": REFS}, "--at=sum", "--target=1"), {"ids": IDS})
    assert out["sum_shap"].shape == (4, HIDDEN)
    base = forward(REFS).mean(0)[1]
    assert gap(out, ["sum_shap"], forward(IDS)[:, 1], base) < 1e-5


def test_at_must_cut_every_path(cli, tmp_path):
    onnx.save(bag(), tmp_path / "bag.onnx")
    np.save(tmp_path / "r.npy", REFS)
    command = [cli, "explain", "bag.onnx", "-r", "r.npy", "-o", "o.onnx", "--at=embedded"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "without passing through" in done.stderr
    assert not (tmp_path / "o.onnx").exists()
    assert subprocess.run([*command, "--force"], cwd=tmp_path).returncode == 0


def test_force_counts_the_holes(explain, run):
    """The index of the largest value lets no multiplier pass."""
    graph = helper.make_graph(
        [helper.make_node("ArgMax", ["x"], ["i"], axis=1), helper.make_node(
            "Cast", ["i"], ["f"], to=TensorProto.FLOAT), helper.make_node("Mul", ["x", "f"], ["y"])],
        "hole", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    x = rng.normal(size=(3, 4)).astype(np.float32)
    explained = explain(model, x, "--force", "--gap")
    properties = {p.key: p.value for p in onnx.load(explained).metadata_props}
    assert properties["onnxexplainer.holes"] == "1"
    out = run(explained, {"x": x + 1})
    gap_left = out["y"].max(1) - out["base_value"] - out["x_shap"].sum(1)
    np.testing.assert_allclose(out["completeness_gap"], gap_left, atol=1e-5)


def picked(nodes, extra=()):
    """A model of x [N, 4] and constants `extra`, with the output y."""
    graph = helper.make_graph(
        nodes, "picked", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", None])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in extra])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


TOP = helper.make_node("TopK", ["x", "two"], ["values", "at"])
BY_DATA = {
    "ArgMax": [helper.make_node("ArgMax", ["x"], ["at"], axis=1),
               helper.make_node("Cast", ["at"], ["f"], to=TensorProto.FLOAT),
               helper.make_node("Add", ["x", "f"], ["y"])],
}



@pytest.mark.parametrize("op", BY_DATA)
def test_force_where_an_index_depends_on_the_data(explain, run, cli, tmp_path, op):
    """Named and refused, at the pick or, where that takes an index that varies, at what makes the
    index; by force, other values pass, and it is counted."""
    model = picked(BY_DATA[op], [("two", np.int64([2]))])
    onnx.save(model, tmp_path / "m.onnx")
    r = rng.normal(size=(3, 4)).astype(np.float32)
    np.save(tmp_path / "r.npy", r)
    for command in (["show", "m.onnx"], ["explain", "m.onnx", "-r", "r.npy", "-o", "o.onnx"]):
        done = subprocess.run([cli, *command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 1 and f"({op}): " in done.stderr
        assert "completeness would be lost" in done.stderr
    explained = explain(model, r, "--force", "--gap")
    properties = {p.key: p.value for p in onnx.load(explained).metadata_props}
    assert properties["onnxexplainer.holes"] == "1"
    out = run(explained, {"x": np.float32([[1, 4, 2, 3]])})
    gap_left = out["y"].max(1) - out["base_value"] - out["x_shap"].sum(1)
    np.testing.assert_allclose(out["completeness_gap"], gap_left, atol=1e-5)


def test_scatter_where_topk_says(explain, run):
    """The largest values where they were, zeros elsewhere: as sparse gates are exported."""
    nodes = [TOP, helper.make_node("Sub", ["x", "x"], ["none"]),
             helper.make_node("ScatterElements", ["none", "at", "values"], ["s"], axis=1),
             helper.make_node("MatMul", ["s", "w"], ["y"])]
    w = rng.normal(size=(4, 3)).astype(np.float32)
    model = picked(nodes, [("two", np.int64([2])), ("w", w)])
    x, r = (rng.normal(size=(n, 4)).astype(np.float32) for n in (5, 3))
    out = run(explain(model, r, "--target=1", "--gap"), {"x": x})
    scale = np.abs(out["x_shap"]).sum(1) + np.abs(out["y"][:, 1])
    assert (np.abs(out["completeness_gap"]) <= 1e-6 * scale).all()


BY_POSITION = {
    "GatherElements": [TOP, helper.make_node("GatherElements", ["x", "at"], ["y"], axis=1)],
    "Cast": [TOP, helper.make_node("Cast", ["at"], ["f"], to=TensorProto.FLOAT),
             helper.make_node("Add", ["f", "values"], ["y"])],
    "labels": [TOP, helper.make_node("Gather", ["table", "at"], ["g"]),
               helper.make_node("ReduceMean", ["g"], ["y"], axes=[1])],
    "smallest": [helper.make_node("TopK", ["x", "two"], ["values", "at"], largest=0, sorted=0),
                 helper.make_node("Gather", ["table", "at"], ["g"]),
                 helper.make_node("ReduceMax", ["g"], ["y"], axes=[1])],
}


@pytest.mark.parametrize("op", BY_POSITION)
def test_positions_of_the_largest(explain, run, op):
    """Neighbours: values add up for each pair, and only those go there that come or leave."""
    model = picked(BY_POSITION[op], [("two", np.int64([2])), ("table", np.float32([3, -1, 4, 1.5]))])
    model.opset_import[0].version = 13
    x, r = (rng.normal(size=(n, 4)).astype(np.float32) for n in (6, 3))
    x[5] = r[0]
    for refs in (r, r[:1]):
        out = run(explain(model, refs, "--target=*"), {"x": x})
        total = out["y"].reshape(len(x), -1).sum(1)
        np.testing.assert_allclose(out["x_shap"].sum(1), total - out["base_value"], atol=1e-5)
    assert (out["x_shap"][5] == 0).all()
    if op == "labels":
        for row, phi in zip(x, out["x_shap"]):
            near = set(np.argsort(-row)[:2]) | set(np.argsort(-r[0])[:2])
            assert not phi[[i for i in range(4) if i not in near]].any()


def test_index_that_is_held(explain, run):
    """Picked by an input that is not explained: linear."""
    model = picked([helper.make_node("Gather", ["x", "at"], ["y"], axis=1)])
    model.graph.input.append(helper.make_tensor_value_info("at", TensorProto.INT64, [3]))
    x, r = (rng.normal(size=(n, 4)).astype(np.float32) for n in (2, 3))
    at = np.int64([2, -1, 2])
    out = run(explain(model, {"x": r}, "--hold=at", "--target=*"), {"x": x, "at": at})
    expected = (x - r.mean(0)) * [0, 0, 2, 1]
    np.testing.assert_allclose(out["x_shap"], expected, atol=1e-5)


def test_slice_up_to_the_batch(explain, run):
    """The end of an axis by Shape, as PyTorch's exporter has it before Scatter."""
    nodes = [helper.make_node("Shape", ["x"], ["s"]),
             helper.make_node("Slice", ["x", "zero", "s"], ["t"]),
             helper.make_node("Tanh", ["t"], ["y"])]
    model = picked(nodes, [("zero", np.int64([0, 0]))])
    x, r = (rng.normal(size=(n, 4)).astype(np.float32) for n in (2, 3))
    out = run(explain(model, r, "--target=1"), {"x": x})
    np.testing.assert_allclose(out["x_shap"][:, 1], np.tanh(x[:, 1]) - np.tanh(r[:, 1]).mean(),
                               atol=1e-5)
