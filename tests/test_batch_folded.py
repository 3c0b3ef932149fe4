"""Batches that are folded into other axes on the way: [N, T, C] to [N*T, C] or [T*N, C], heads and
windows in one axis with samples, N on axis 1. References are taken at once there, and the values
are those of each pair of a sample and a reference on its own."""

import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper

FOLDER = Path(__file__).parent / "recorded" / "batch"
rng = np.random.default_rng(0)


def ints(*values):
    return np.array(values, np.int64)


def floats(*shape):
    return rng.normal(size=shape).astype(np.float32)


def node(op, inputs, outputs, **attrs):
    return helper.make_node(op, inputs.split(" "), outputs.split(" "), **attrs)


def model(nodes, x, consts, y, kind=T.FLOAT):
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", kind, x)],
                              [helper.make_tensor_value_info("y", T.FLOAT, y)],
                              [numpy_helper.from_array(v, k) for k, v in consts.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(made)
    return made


SIZES = {"zero": np.int64(0), "one": np.int64(1), "z1": ints(0), "o1": ints(1)}
COUNT = [node("Shape", "x", "s"), node("Slice", "s z1 o1", "n1"), node("Squeeze", "n1 z1", "n")]
ROWS = COUNT + [node("Range", "zero n one", "r")]


def flat():
    """[N, T, C] as [N*T, C]."""
    nodes = [node("Reshape", "x rows", "a"), node("Gemm", "a w b", "c"), node("Tanh", "c", "d"),
             *COUNT, node("Concat", "n1 tail", "back", axis=0), node("Reshape", "d back", "e"),
             node("ReduceMean", "e o1", "f", keepdims=0), node("Sin", "f", "y")]
    return model(nodes, ["N", 5, 4], {**SIZES, "rows": ints(-1, 4), "w": floats(4, 3),
                                      "b": floats(3), "tail": ints(5, 3)}, ["N", 3])


def outer():
    """[T, N, C] as [T*N, C]: samples are the inner factor."""
    nodes = [node("Transpose", "x", "t", perm=[1, 0, 2]), node("Reshape", "t rows", "a"),
             node("MatMul", "a w", "c"), node("Tanh", "c", "d"), node("Mul", "d d", "e"), *COUNT,
             node("Concat", "five n1 three", "back", axis=0), node("Reshape", "e back", "f"),
             node("ReduceMax", "f z1", "g", keepdims=0), node("Sin", "g", "y")]
    return model(nodes, ["N", 5, 4], {**SIZES, "rows": ints(-1, 4), "w": floats(4, 3),
                                      "five": ints(5), "three": ints(3)}, ["N", 3])


def crops():
    """Two views of all samples, one behind the other: [2*N, C]."""
    nodes = [node("Neg", "x", "v"), node("Concat", "x v", "a", axis=0), node("MatMul", "a w", "b"),
             node("Exp", "b", "c"), node("Split", "c", "d e", axis=0, num_outputs=2),
             node("Sub", "d e", "f"), node("Mul", "f d", "y")]
    return model(nodes, ["N", 4], {"w": floats(4, 3)}, ["N", 3])


def heads():
    """Samples and heads in one axis, as one of N * 2."""
    nodes = [*COUNT, node("Mul", "n1 two", "nh"), node("Concat", "nh td", "merged", axis=0),
             node("Reshape", "x apart", "a"), node("Transpose", "a", "b", perm=[0, 2, 1, 3]),
             node("Reshape", "b merged", "q"), node("Transpose", "q", "k", perm=[0, 2, 1]),
             node("MatMul", "q k", "m"), node("Softmax", "m", "p", axis=-1),
             node("MatMul", "p q", "o"), node("Concat", "n1 htd", "split", axis=0),
             node("Reshape", "o split", "o4"), node("Transpose", "o4", "o5", perm=[0, 2, 1, 3]),
             node("Reshape", "o5 tokens", "o6"), node("ReduceMean", "o6 o1", "y", keepdims=0)]
    return model(nodes, ["N", 5, 4], {**SIZES, "two": ints(2), "td": ints(5, 2),
                                      "apart": ints(0, 5, 2, 2), "htd": ints(2, 5, 2),
                                      "tokens": ints(0, 5, 4)}, ["N", 4])


def mask():
    """An attention mask that is expanded to the batch."""
    nodes = [*COUNT, node("Concat", "n1 tt", "ms", axis=0), node("Expand", "seen ms", "m"),
             node("Transpose", "x", "k", perm=[0, 2, 1]), node("MatMul", "x k", "a"),
             node("Where", "m a low", "b"), node("Softmax", "b", "p", axis=-1),
             node("MatMul", "p x", "o"), node("ReduceMean", "o o1", "y", keepdims=0)]
    return model(nodes, ["N", 5, 4], {**SIZES, "tt": ints(5, 5), "low": np.float32(-1e4),
                                      "seen": np.tril(np.ones((1, 5, 5), bool))}, ["N", 4])


def buffer():
    """A state cut from a buffer of zeros to the batch."""
    nodes = [*COUNT, node("Slice", "h0 z1 n1 o1", "h"), node("Transpose", "x", "t", perm=[1, 0, 2]),
             node("GRU", "t w r   h", " last", hidden_size=3), node("Squeeze", "last z1", "y")]
    return model(nodes, ["N", 5, 4], {**SIZES, "h0": np.zeros((1, 32, 3), np.float32),
                                      "w": floats(1, 9, 4), "r": floats(1, 9, 3)}, ["N", 3])


def last_token(flattened):
    """Row n*T + 4 of [N*T, C], or (n, 4) of [N, T, C]."""
    pick = [node("Reshape", "t rows", "tf"), node("Mul", "r five", "r5"),
            node("Add", "r5 four", "i"), node("Gather", "tf i", "g", axis=0)] if flattened else [
        node("Unsqueeze", "r o1", "i"), node("Shape", "i", "is"), node("Expand", "four is", "f"),
        node("Concat", "i f", "at", axis=1), node("GatherND", "t at", "g")]
    return model([node("Tanh", "x", "t"), *ROWS, *pick, node("Mul", "g g", "y")], ["N", 5, 4],
                 {**SIZES, "rows": ints(-1, 4), "five": np.int64(5), "four": np.int64(4)},
                 ["N", 4])


def largest_id(flattened):
    """The same at a token that the ids say."""
    pick = [node("Reshape", "t rows", "tf"), node("Mul", "five r", "r5"),
            node("Add", "am r5", "i"), node("Gather", "tf i", "g", axis=0)] if flattened else [
        node("Unsqueeze", "r o1", "i"), node("Unsqueeze", "am o1", "a1"),
        node("Concat", "i a1", "at", axis=-1), node("GatherND", "t at", "g")]
    nodes = [node("Gather", "table x", "e"), node("Tanh", "e", "t"),
             node("ArgMax", "x", "am", axis=-1, keepdims=0), *ROWS, *pick,
             node("MatMul", "g w", "y")]
    return model(nodes, ["N", 5], {**SIZES, "rows": ints(-1, 4), "five": np.int64(5),
                                   "table": floats(20, 4), "w": floats(4, 3)}, ["N", 3], T.INT64)


MADE = {"flat": flat, "outer": outer, "crops": crops, "heads": heads, "mask": mask,
        "buffer": buffer, "last row": lambda: last_token(True),
        "last tuple": lambda: last_token(False), "largest row": lambda: largest_id(True),
        "largest tuple": lambda: largest_id(False)}
CASES = [*MADE, *sorted(p.stem for p in FOLDER.glob("*.onnx"))]
assert len(CASES) == len(MADE) + 12


def data(made, count, seed):
    """(values, the batch axis)"""
    info = made.graph.input[0].type.tensor_type
    dims = [d.dim_value or count for d in info.shape.dim]
    axis = [bool(d.dim_value) for d in info.shape.dim].index(False)
    draw = np.random.default_rng(seed)
    if info.elem_type == T.INT64:
        return draw.integers(0, 20, dims), axis
    return draw.normal(size=dims).astype(np.float32), axis


def pairs(single, f, x, references, axis):
    """SHAP values of each sample, the mean over those against each reference alone; each pair
    adds up."""
    values = []
    for i in range(x.shape[axis]):
        sample, rows = x.take([i], axis), []
        for k in range(references.shape[axis]):
            reference = references.take([k], axis)
            found = single.run(None, {"x": sample, "x_references": reference})
            found = dict(zip((o.name for o in single.get_outputs()), found))
            y, y0 = f.run(None, {"x": sample})[0][0, 1], f.run(None, {"x": reference})[0][0, 1]
            assert abs(found["x_shap"].sum() - (y - y0)) < 1e-5 * (1 + abs(y) + abs(y0))
            rows.append(found["x_shap"])
        values.append(np.mean(rows, 0))
    return np.concatenate(values, axis)


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("case", CASES)
def test_references_at_once(explain, case, tmp_path):
    made = MADE[case]() if case in MADE else onnx.load(FOLDER / f"{case}.onnx")
    onnx.save(made, tmp_path / "m.onnx")
    references, axis = data(made, 4, 1)
    x, _ = data(made, 3, 2)
    f = session(tmp_path / "m.onnx")
    single = session(explain(tmp_path / "m.onnx", None, "--references=input", "--target=1"))
    expected = pairs(single, f, x, references, axis)
    path = explain(tmp_path / "m.onnx", references)
    properties = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert properties["onnxexplainer.cache"] == "load"
    for options in (("--target=1",), ("--target=1", "--chunk=2"), ("--target=1,2",)):
        explained = session(explain(tmp_path / "m.onnx", references, *options))
        names = [o.name for o in explained.get_outputs()]
        found = dict(zip(names, explained.run(None, {"x": x})))
        several = "," in options[0]
        phi = found["x_shap"].take(0, axis + 1) if several else found["x_shap"]
        assert np.abs(phi - expected).max() <= 1e-5 * np.abs(expected).max()
        base = f.run(None, {"x": references})[0][:, 1].mean()
        assert np.allclose(found["base_value"].reshape(3, -1)[:, 0], base, atol=1e-5)
        one = dict(zip(names, explained.run(None, {"x": x.take([1], axis)})))
        same = found["x_shap"].take([1], axis)
        assert np.abs(one["x_shap"] - same).max() <= 1e-5 * np.abs(expected).max()


# ---- where it cannot be ---------------------------------------------------------------------


def table(rows):
    return model([node("MatMul", "x w", "a"), *COUNT, node("Slice", "rows z1 n1", "h"),
                  node("Add", "a h", "b"), node("Tanh", "b", "c"), node("Mul", "c b", "y")],
                 ["N", 4], {**SIZES, "w": floats(4, 3), "rows": rows}, ["N", 3])


def notes(cli, tmp_path, made):
    onnx.save(made, tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", data(made, 4, 1)[0])
    done = subprocess.run([cli, "explain", tmp_path / "m.onnx", "-r", tmp_path / "r.npy", "--gap",
                           "--target=1", "-o", tmp_path / "e.onnx"], capture_output=True, text=True)
    return done


def test_rows_by_place_in_the_batch(cli, tmp_path):
    """Row n of a table belongs to sample n, on both sides; where all are the same it does not
    matter."""
    done = notes(cli, tmp_path, table(floats(16, 3)))
    assert done.returncode == 0
    assert ('references enter one at a time: node 5 "" (Add): computes with a number that depends '
            "on how many samples there are") in done.stderr
    gap = session(tmp_path / "e.onnx").run(["completeness_gap"], {"x": floats(3, 4)})[0]
    assert np.abs(gap).max() < 1e-5
    done = notes(cli, tmp_path, table(np.ones((16, 3), np.float32)))
    assert done.returncode == 0 and "one at a time" not in done.stderr


def fixed():
    return model([node("Tanh", "x", "t"), node("Reshape", "t rows", "a"),
                  node("MatMul", "a w", "b"), node("Reshape", "b one", "y")], ["N", 5, 4],
                 {"rows": ints(5, 4), "one": ints(1, 15), "w": floats(4, 3)}, ["N", 15])


def appended():
    return model([node("Concat", "row x", "a", axis=0), node("Tanh", "a", "b"),
                  node("Slice", "b from to", "y")], ["N", 4],
                 {"row": floats(1, 4), "from": ints(1), "to": ints(2**40)}, ["N", 4])


def similar():
    """All samples against all."""
    return model([node("Transpose", "x", "t"), node("MatMul", "x t", "a"), node("Tanh", "a", "b"),
                  node("MatMul", "b x", "y")], ["N", 4], {}, ["N", 4])


@pytest.mark.parametrize("made, free, why", [
    (fixed, False, 'node 1 "" (Reshape): its result [5,4] has no batch axis; -1, or what'),
    (appended, False, 'node 0 "" (Concat): its result [?,4] has an axis of which the length is'),
    (similar, True, 'node 1 "" (MatMul): its result [N,N] has the batch in more than one place'),
], ids=("fixed", "appended", "similar"))
def test_says_which_node(cli, tmp_path, made, free, why):
    done = notes(cli, tmp_path, made())
    assert done.returncode == 0, done.stderr
    told = "references enter one at a time" if free else "so it is fixed to 1"
    assert f"{told}: {why}" in done.stderr
    gap = session(tmp_path / "e.onnx").run(["completeness_gap"], {"x": data(made(), 1, 3)[0]})[0]
    assert np.abs(gap).max() < 1e-5
