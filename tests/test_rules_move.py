"""Rules of operators that move data: linear, so that their attributions are exact."""

import re
import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rulecheck import Rule, check, check_additive, floats, ints, node


def check_op(op, shape, explain, run, *extra, **attributes):
    """One input of `shape` and constants."""
    names = [f"c{i}" if value is not None else "" for i, value in enumerate(extra)]
    constants = {n: v for n, v in zip(names, extra) if n}
    one = helper.make_node(op, ["a", *names], ["y"], **attributes)
    check_additive(Rule([one], {"a": shape}, constants), explain, run)


@pytest.mark.parametrize("op, shape, extra, attributes", [
    ("Identity", (3, 4), [], {}),
    ("Dropout", (3, 4), [np.float32(0.5)], {}),
    ("Dropout", (3, 4), [np.float32(0.5), np.array(False)], {}),
    ("Cast", (3, 4), [], {"to": TensorProto.FLOAT}),
    ("Flatten", (2, 3, 4), [], {}),
    ("Flatten", (2, 3, 4), [], {"axis": -2}),
    ("Reshape", (2, 3, 4), [ints(0, -1, 2)], {}),
    ("Reshape", (2, 3, 4), [ints(-1, 4)], {}),
    ("Squeeze", (1, 3, 1), [ints(1, -1)], {}),
    ("Squeeze", (1, 3), [ints(1)], {}),
    ("Unsqueeze", (3, 4), [ints(1, -1)], {}),
    ("Transpose", (2, 3, 4), [], {"perm": [0, 3, 1, 2]}),
    ("CumSum", (3, 4), [np.array(2)], {}),
    ("CumSum", (3, 4), [np.array(-2)], {"reverse": 1}),
    ("CumSum", (3, 4), [np.array(-1)], {"exclusive": 1}),
    ("CumSum", (3, 4), [np.array(1)], {"exclusive": 1, "reverse": 1}),
    ("Trilu", (3, 4), [], {}),
    ("Trilu", (3, 4), [np.array(-1)], {"upper": 0}),
    ("Trilu", (2, 4, 4), [np.array(2)], {"upper": 1}),
    ("Expand", (3, 1), [ints(1, 1, 4)], {}),
    ("Expand", (1, 4), [ints(1, 3, 1)], {}),
    ("Tile", (3, 4), [ints(1, 2, 3)], {}),
    ("Tile", (3,), [ints(1, 3)], {}),
    ("Tile", (3, 4), [ints(1, 1, 1)], {}),
    ("DepthToSpace", (8, 2, 3), [], {"blocksize": 2}),
    ("DepthToSpace", (8, 2, 3), [], {"blocksize": 2, "mode": "CRD"}),
    ("DepthToSpace", (9, 1, 2), [], {"blocksize": 3, "mode": "DCR"}),
    ("SpaceToDepth", (2, 4, 6), [], {"blocksize": 2}),
])
def test_move(op, shape, extra, attributes, explain, run):
    check_op(op, shape, explain, run, *extra, **attributes)


def test_transposed_batch(explain, run):
    """The batch axis on its way through other places."""
    nodes = [node("Transpose", "a", "b", perm=[2, 0, 1]), node("MatMul", "b w", "d"),
             node("Transpose", "d", "e", perm=[1, 2, 0]),
             node("Transpose", "e", "y", perm=[0, 2, 1])]
    check_additive(Rule(nodes, {"a": (3, 4)}, {"w": floats(3, 5)}), explain, run)


# ---- Slice ---------------------------------------------------------------------------------

LAST, FIRST = np.iinfo(np.int64).max, np.iinfo(np.int64).min


@pytest.mark.parametrize("starts, ends, axes, steps", [
    ([1], [3], [1], None),
    ([-3], [-1], [-1], None),
    ([0, 2], [LAST, LAST], [0, 2], None),
    ([-100, 1], [100, 4], [1, 2], [1, 1]),
    ([0], [5], [1], [2]),
    ([1], [LAST], [2], [3]),
    ([-1], [FIRST], [2], [-1]),
    ([4, 100], [0, -100], [1, 2], [-3, -2]),
    ([0, 1, 1], [LAST, 3, 4], None, None),
])
def test_slice(starts, ends, axes, steps, explain, run):
    extra = [None if v is None else ints(*v) for v in (starts, ends, axes, steps)]
    while extra[-1] is None:
        extra.pop()
    check_op("Slice", (5, 6), explain, run, *extra)


def test_slice_in_32_bits(explain, run):
    extra = [np.array(v, np.int32) for v in ([1], [np.iinfo(np.int32).max], [1], [2])]
    check_op("Slice", (5, 6), explain, run, *extra)


# ---- Concat, Split -------------------------------------------------------------------------

@pytest.mark.parametrize("axis", [1, -2])
def test_concat(axis, explain, run):
    """With a constant that is given the batch's size, as exporters write class tokens."""
    nodes = [node("Shape", "a", "n", start=0, end=1), node("Concat", "n rest", "to", axis=0),
             node("Expand", "k to", "c"),
             node("Concat", "a c b a", "y", axis=axis)]
    constants = {"k": floats(1, 4, 3), "rest": ints(4, 3)}
    check_additive(Rule(nodes, {"a": (2, 3), "b": (1, 3)}, constants), explain, run)


def dense(layers, axes):
    """A net of dense connectivity: layer i is tanh of a linear layer over all that is there."""
    nodes, constants, parts = [], {}, ["a"]
    for i in range(layers):
        nodes += [node("Concat", " ".join(parts), f"all{i}", axis=axes[i % len(axes)]),
                  node("MatMul", f"all{i} w{i}", f"h{i}"), node("Tanh", f"h{i}", f"f{i}")]
        constants[f"w{i}"] = floats(4 * len(parts), 4, seed=i) / 2
        parts.append(f"f{i}")
    return Rule([*nodes, node("Concat", " ".join(parts), "y", axis=axes[0])], {"a": (3, 4)},
                constants)


@pytest.mark.parametrize("axes", [(2,), (2, -1)])
def test_concat_prefix(axes, explain, run):
    """Each Concat sends its parts to the one that it begins with, and to what it adds."""
    rule = dense(5, axes)
    check(rule, explain, run)
    graph = onnx.load(explain(rule.model, rule.r)).graph
    slices = [n for n in graph.node if n.op_type == "Slice"]
    assert len(slices) == 2 * 5


def test_concat_prefix_explained(explain, run):
    """At a shorter Concat that is explained itself, the longer ones pass it by."""
    rule = dense(3, (2,))
    path = explain(rule.model, rule.r, "--at=all2", "--force", "--target=all")
    found = run(path, rule.x)["all2_shap"].sum(axis=(2, 3))
    onward = rule.head.reshape(3, 16, -1)[:, 12:]  # what comes after f2

    def after(rows):
        parts = [rows["a"]]
        for i in range(3):
            w = floats(4 * len(parts), 4, seed=i) / 2
            parts.append(np.tanh(np.concatenate(parts, axis=2) @ w))
        return np.einsum("nij,ijk->nk", parts[-1], onward)

    want = after(rule.x) - after(rule.r).mean(axis=0)
    np.testing.assert_allclose(found, want, rtol=0, atol=rule.tolerance(want, rule.head))


@pytest.mark.parametrize("used", ["p", "q", "r", "p q", "p r", "q r", "p q r", "r r p"])
def test_split(used, explain, run):
    nodes = [node("Split", "a s", "p q r", axis=-1), node("Concat", used, "y", axis=2)]
    check_additive(Rule(nodes, {"a": (2, 6)}, {"s": ints(1, 3, 2)}), explain, run)


def test_split_evenly(explain, run):
    nodes = [node("Split", "a", "p q r", axis=1, num_outputs=3), node("Sub", "p r", "y")]
    check_additive(Rule(nodes, {"a": (6, 2)}), explain, run)
    nodes = [node("Split", "a", "p q", axis=1, num_outputs=2), node("Concat", "q p", "y", axis=1)]
    check_additive(Rule(nodes, {"a": (5, 2)}), explain, run)


def test_split_uneven_lead(explain, run):
    """One part's multiplier depends on the references, the other's does not."""
    nodes = [node("Split", "a", "p q", axis=1, num_outputs=2), node("Mul", "p p", "z"),
             node("Concat", "z q", "y", axis=1)]
    check_additive(Rule(nodes, {"a": (4, 2)}), explain, run)


# ---- Pad -----------------------------------------------------------------------------------

@pytest.mark.parametrize("mode, pads, axes", [
    ("constant", [0, 1, 0, 0, 2, 3], None),
    ("constant", [1, 2], [-1]),
    ("constant", [0, -1, 2, 0, -1, 0], None),
    ("constant", [1, 2, -1, 3], [2, 1]),
    ("reflect", [0, 2, 3, 0, 1, 3], None),
    ("reflect", [2, 1], [2]),
    ("edge", [0, 2, 9, 0, 1, 0], None),
    ("edge", [0, 20], [-1]),
    ("wrap", [0, 1, 2, 0, 3, 1], None),
])
def test_pad(mode, pads, axes, explain, run):
    extra = [ints(*pads), np.float32(0.5) if mode == "constant" else None]
    extra += [ints(*axes)] if axes else []
    while extra[-1] is None:
        extra.pop()
    check_op("Pad", (4, 5), explain, run, *extra, mode=mode)


# ---- indices -------------------------------------------------------------------------------

@pytest.mark.parametrize("index, axis", [
    (np.array(1), 1), (np.array(-1), 2), (np.array(0), -1), (ints(1, 2), 1), (ints(2, 0, 1), 2),
    (ints(0, 0, 2, -1, 0), -2), (ints([0, 3], [3, 1]), 2), (ints([1], [2]), 1), (ints(2), 1),
    (np.array([0, 1] * 40), 2), (np.array([0] * 200), 1), (ints([0, 1, 2]), 1)])
def test_gather(index, axis, explain, run):
    check_op("Gather", (3, 4), explain, run, index, axis=axis)


def test_gather_one_place_much_more_often(explain, run):
    """All that goes there is added up, without room for as many at each other place."""
    check_op("Gather", (12, 2), explain, run, ints(*[5] * 60, 2), axis=1)


def test_gather_many(explain, run):
    """More indices than are evaluated while shapes are inferred."""
    index = np.random.default_rng(5).permutation(5000)
    nodes = [node("Gather", "a i", "b", axis=1), node("MatMul", "b w", "y")]
    check(Rule(nodes, {"a": (5000,)}, {"i": index, "w": floats(5000, 2)}), explain, run)


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("op", ["GatherElements", "ScatterElements", "add"])
def test_elements(op, axis, explain, run):
    """By an index that is given the batch's size."""
    index = np.array([[[0, 1, -1], [2, 2, 0]]] if op != "ScatterElements" else [[[0, 1, 2]]])
    nodes = [node("Shape", "a", "n", start=0, end=1), node("Concat", "n rest", "to", axis=0),
             node("Expand", "i to", "index")]
    inputs = {"a": (4, 3)}
    if op == "GatherElements":
        nodes += [node(op, "a index", "y", axis=axis)]
    else:
        inputs["u"] = index.shape[1:]
        reduction = "add" if op == "add" else "none"
        nodes += [node("ScatterElements", "a index u", "y", axis=axis, reduction=reduction)]
    constants = {"i": index, "rest": ints(*index.shape[1:])}
    check_additive(Rule(nodes, inputs, constants), explain, run)


@pytest.mark.parametrize("op", ["GatherND", "ScatterND", "add"])
@pytest.mark.parametrize("index", [[[0], [3]], [[0, 1], [3, 2], [1, -1]], [[[-1, 0]]]])
def test_nd(op, index, explain, run):
    """The batch axis comes last: what an index picks is a slice of it."""
    index = np.array(index)
    nodes = [node("Transpose", "a", "t", perm=[1, 2, 0])]
    inputs = {"a": (4, 3)}
    if op == "GatherND":
        nodes += [node(op, "t i", "s")]
    else:
        inputs["u"] = (*index.shape[:-1], 3)[:index.ndim + 1 - index.shape[-1]]
        last = [*range(1, len(inputs["u"]) + 1), 0]
        nodes += [node("Transpose", "u", "v", perm=last),
                  node("ScatterND", "t i v", "s", reduction="add" if op == "add" else "none")]
    rank = 3 - index.shape[-1] + index.ndim - 1 if op == "GatherND" else 3
    nodes += [node("Transpose", "s", "y", perm=[rank - 1, *range(rank - 1)])]
    check_additive(Rule(nodes, inputs, {"i": index}), explain, run)


# ---- refusals --------------------------------------------------------------------------------

@pytest.mark.parametrize("nodes, why", [
    ([node("Dropout", "a half yes", "y", name="drop")], 'node 0 "drop".*training mode'),
    ([node("ReduceMax", "a", "m", keepdims=0), node("Pad", "a pads m", "y")],
     "the value it pads with depends"),
    ([node("ArgMax", "a", "i", axis=1), node("Cast", "i", "f", to=TensorProto.FLOAT),
      node("Mul", "a f", "y")], "no multiplier passes"),
])
def test_refused(nodes, why, cli, tmp_path):
    """By the node's name, and without an output file."""
    kind = TensorProto.FLOAT
    constants = {"t": floats(9), "half": np.float32(0.5), "yes": np.array(True),
                 "zero": np.zeros((2, 4), np.int64), "pads": ints(0, 1, 0, 1)}
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("a", kind, [2, 4])],
                              [helper.make_tensor_value_info("y", kind, [None, None])],
                              [numpy_helper.from_array(v, k) for k, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", np.zeros((3, 4), np.float32))
    out = tmp_path / "out.onnx"
    command = [cli, "explain", tmp_path / "m.onnx", "--references", tmp_path / "r.npy", "-o", out]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and re.search(why, done.stderr), done.stderr
    assert not out.exists()


def test_shapes_of_known_contents_in_a_scan(explain, run):
    """Batch and heads in one axis as PyTorch's exporter merges them, behind a Transpose that moves
    the batch: references enter one at a time, in a Scan, to which equal shapes are constants."""
    constants = {"end": ints(3), "minus": ints(-1)}
    nodes = [node("Transpose", "x", "t", perm=[1, 0, 2]), node("Identity", "t", "t2")]
    for i, (value, moved) in enumerate((("t", "h0"), ("t2", "h1"))):
        nodes += [node("Transpose", value, f"u{i}", perm=[1, 0, 2]),
                  node("Tanh", f"u{i}", f"a{i}"), node("Shape", f"a{i}", f"s{i}"),
                  node("Slice", f"s{i} minus end", f"last{i}"),
                  node("Concat", f"minus last{i}", f"rows{i}", axis=0),
                  node("Reshape", f"a{i} rows{i}", f"m{i}"), node("Sigmoid", f"m{i}", moved)]
    nodes += [node("Mul", "h0 h1", "p"), node("Reshape", "p s0", "y")]
    check(Rule(nodes, {"x": (3, 4)}, constants), explain, run)


def part(i, start, end, axis=1):
    return node("Slice", f"t s{start} s{end} s{axis}", f"p{i}")


PARTS = {
    "all": [part(0, 0, 2), part(1, 2, 3), part(2, 3, 6)],
    "any order": [part(0, 3, 6), part(1, 0, 2), part(2, 2, 3)],
    "gaps": [part(0, 1, 2), part(1, 3, 4), part(2, 4, 5)],
    "from the end": [part(0, -2, 6), part(1, 0, -4), part(2, -3, -2)],
    "overlap": [part(0, 0, 3), part(1, 2, 5), part(2, 5, 6)],
    "twice": [part(0, 0, 3), part(1, 0, 3), part(2, 5, 6)],
    "other axis": [part(0, 0, 3), part(1, 3, 6), part(2, 1, 2, axis=2)],
}


@pytest.mark.parametrize("case", PARTS)
def test_parts_of_one_value(explain, run, case):
    """Slices of one value are walked as one Split where they do not overlap."""
    numbers = (-4, -3, -2, 0, 1, 2, 3, 4, 5, 6)
    constants = {f"s{k}": ints(k) for k in numbers}
    nodes = [node("Tanh", "x", "t"), *PARTS[case]]
    nodes += [node("ReduceSum", f"p{i} s1 ", f"r{i}", keepdims=1) for i in range(3)]
    nodes += [node("ReduceSum", f"r{i} s2 ", f"q{i}", keepdims=1) for i in range(3)]
    nodes += [node("Mul", "q0 q1", "m"), node("Mul", "m q2", "y")]
    check(Rule(nodes, {"x": (6, 3)}, constants), explain, run)


def test_one_index_at_a_time(explain, run):
    """q, k and v taken out of one axis by Gathers, an index counted from the end: nothing is padded
    on the way back."""
    constants = {"i0": np.array(0), "i1": np.array(1), "last": ints(-1), "axis": ints(1)}
    nodes = [node("Tanh", "x", "t"), node("Gather", "t i0", "a", axis=1),
             node("Gather", "t i1", "b", axis=1), node("Gather", "t last", "c1", axis=1),
             node("Squeeze", "c1 axis", "c"), node("Mul", "a b", "d"), node("Mul", "d c", "y")]
    rule = Rule(nodes, {"x": (3, 4)}, constants)
    check(rule, explain, run)
    graph = onnx.load(explain(rule.model, np.zeros((2, 3, 4), np.float32), "--target=0")).graph
    assert "Pad" not in {n.op_type for n in graph.node}
