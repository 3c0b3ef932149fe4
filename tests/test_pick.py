"""Indices and data that both depend on the explained input: two players, each of which gets the
mean of its effects with the other one on either side."""

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
from library import explain
from onnx import TensorProto as T
from onnx import helper, numpy_helper

EPS = float(np.finfo(np.float32).eps)
rng = np.random.default_rng(0)
node, value = helper.make_node, helper.make_tensor_value_info
TABLE = rng.normal(size=(10, 4)).astype("f")
W = rng.normal(size=(4, 4)).astype("f")
IDS = np.array([[1, 2, 9, 0, 0], [4, 5, 6, 9, 0], [9, 3, 2, 1, 9], [1, 1, 1, 1, 1]])
R = np.array([[3, 9, 0, 0, 0], [2, 2, 2, 2, 9], [1, 2, 9, 0, 0]])
EMBED = [node("Gather", ["table", "x"], ["e"]), node("MatMul", ["e", "w"], ["m"]),
         node("Tanh", ["m"], ["t"]), node("CumSum", ["t", "one"], ["h"])]
EOS = [node("Equal", ["x", "eos"], ["q"]), node("Cast", ["q"], ["qi"], to=T.INT32)]


def model(nodes, shape, constants=(), batch="N"):
    constants = {"table": TABLE, "w": W, "one": np.array(1), "eos": np.array(9)} | dict(constants)
    used = {i for n in nodes for i in n.input}
    graph = helper.make_graph(
        nodes, "g", [value("x", T.INT64, [batch, 5])], [value("y", T.FLOAT, [batch, *shape])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items() if k in used])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(made)
    return made


def clip(keepdims=1, op="ArgMax"):
    """Pools at the first token of a kind."""
    least = [node("Neg", ["qi"], ["ni"])] if op == "ArgMin" else []
    nodes = [*EMBED, *EOS, *least, node(op, [least[0].output[0] if least else "qi"], ["p"], axis=1,
                                        keepdims=keepdims)]
    if not keepdims:
        nodes.append(node("Unsqueeze", ["p", "behind"], ["pu"]))
    nodes.append(node("GatherND", ["h", "pu" if not keepdims else "p"], ["y"], batch_dims=1))
    return model(nodes, [4], {"behind": np.int64([-1])})


def last_token():
    """Pools at the last token that is no padding, as an index times a mask finds it."""
    nodes = [*EMBED, node("Greater", ["x", "none"], ["g"]), node("Cast", ["g"], ["gi"], to=T.INT64),
             node("Mul", ["gi", "places"], ["at"]), node("ArgMax", ["at"], ["p"], axis=-1, keepdims=1),
             node("GatherND", ["h", "p"], ["y"], batch_dims=1)]
    return model(nodes, [4], {"none": np.array(0), "places": np.arange(5)})


def before_padding():
    """The place before the first padding; -1 where there is none in front, counted from the end."""
    nodes = [*EMBED, node("Equal", ["x", "none"], ["q"]), node("Cast", ["q"], ["qi"], to=T.INT32),
             node("ArgMax", ["qi"], ["a"], axis=1, keepdims=1), node("Sub", ["a", "one"], ["p"]),
             node("GatherND", ["h", "p"], ["y"], batch_dims=1)]
    return model(nodes, [4], {"none": np.array(0)})


def elements():
    """Sorted by ids: every feature of a place from another place."""
    nodes = [*EMBED, node("Mod", ["x", "five"], ["p"]), node("Unsqueeze", ["p", "two"], ["pu"]),
             node("Expand", ["pu", "wide"], ["pe"]), node("GatherElements", ["h", "pe"], ["y"], axis=1)]
    return model(nodes, [5, 4], {"five": np.array(5), "two": np.int64([2]),
                                 "wide": np.int64([1, 1, 4])})


def tuples():
    """A place and a feature, both from the ids."""
    nodes = [*EMBED, node("Mod", ["x", "five"], ["p"]), node("Mod", ["x", "four"], ["f"]),
             node("Unsqueeze", ["p", "two"], ["pu"]), node("Unsqueeze", ["f", "two"], ["fu"]),
             node("Concat", ["pu", "fu"], ["i"], axis=2),
             node("GatherND", ["h", "i"], ["y"], batch_dims=1)]
    return model(nodes, [5], {"five": np.array(5), "four": np.array(4), "two": np.int64([2])})


def along_features():
    """Gather with one index for all, without a batch."""
    nodes = [*EMBED, node("Slice", ["x", "n0", "n2", "n1"], ["s"]), node("Mod", ["s", "four"], ["p"]),
             node("Reshape", ["p", "flat"], ["pf"]), node("Gather", ["h", "pf"], ["y"], axis=2)]
    return model(nodes, [5, 2], {"n0": np.int64([0]), "n1": np.int64([1]), "n2": np.int64([2]),
                                 "four": np.array(4), "flat": np.int64([-1])}, 1)


def table():
    """GatherElements from a constant: an index like a token."""
    nodes = [node("Mod", ["x", "five"], ["p"]), node("Shape", ["x"], ["s"]),
             node("Expand", ["t", "s"], ["te"]), node("GatherElements", ["te", "p"], ["g"], axis=1),
             node("Tanh", ["g"], ["y"])]
    return model(nodes, [5], {"five": np.array(5), "t": TABLE[0, :1] * np.arange(5, dtype="f")[None]})


def whole():
    """Ids picked by ids."""
    nodes = [*EOS, node("ArgMax", ["qi"], ["p"], axis=1, keepdims=1),
             node("GatherElements", ["x", "p"], ["id"], axis=1), node("Gather", ["table", "id"], ["g"]),
             node("Squeeze", ["g", "first"], ["y"])]
    return model(nodes, [4], {"first": np.int64([1])})


def scattered(reduction="none"):
    """Written at places that the ids make, twice to one of them for some."""
    nodes = [*EMBED, node("Slice", ["x", "n0", "n2", "n1"], ["s"]), node("Mod", ["s", "five"], ["p"]),
             node("Unsqueeze", ["p", "n2"], ["pu"]), node("Expand", ["pu", "wide"], ["pe"]),
             node("Slice", ["t", "from", "to", "n1"], ["u"]),
             node("ScatterElements", ["h", "pe", "u"], ["y"], axis=1, reduction=reduction)]
    return model(nodes, [5, 4], {"five": np.array(5), "n0": np.int64([0]), "n1": np.int64([1]),
                                 "n2": np.int64([2]), "from": np.int64([3]), "to": np.int64([5]),
                                 "wide": np.int64([1, 1, 4])})


def indicators():
    """A constant of zeros with ones where the ids say."""
    nodes = [node("Mod", ["x", "five"], ["p"]), node("Shape", ["x"], ["s"]),
             node("Expand", ["zero", "s"], ["z"]), node("Expand", ["weight", "s"], ["u"]),
             node("ScatterElements", ["z", "p", "u"], ["y"], axis=1)]
    return model(nodes, [5], {"five": np.array(5), "zero": np.zeros((1, 1), "f"),
                              "weight": np.float32([[1, 2, 3, 4, 5]])})


def corner():
    """The index reaches a part of the data along the other axis."""
    nodes = [*EMBED, node("Slice", ["x", "n0", "n2", "n1"], ["s"]), node("Mod", ["s", "five"], ["p"]),
             node("Unsqueeze", ["p", "n2"], ["pu"]), node("Expand", ["pu", "wide"], ["pe"]),
             node("Slice", ["t", "from", "to", "axes"], ["u"]),
             node("ScatterElements", ["h", "pe", "u"], ["y"], axis=1)]
    return model(nodes, [5, 4], {"five": np.array(5), "n0": np.int64([0]), "n1": np.int64([1]),
                                 "n2": np.int64([2]), "wide": np.int64([1, 1, 3]),
                                 "from": np.int64([3, 0]), "to": np.int64([5, 3]),
                                 "axes": np.int64([1, 2])})


def written(reduction="none"):
    """ScatterND of a row of each sample, behind the sample's number."""
    nodes = [*EMBED, *EOS, node("ArgMax", ["qi"], ["p"], axis=1, keepdims=1),
             node("Shape", ["x"], ["s"]), node("Gather", ["s", "first"], ["n"]),
             node("Range", ["first", "n", "one"], ["range"]), node("Unsqueeze", ["range", "behind"], ["own"]),
             node("Concat", ["own", "p"], ["i"], axis=1), node("ReduceSum", ["t", "behind"], ["u"], keepdims=0),
             node("ScatterND", ["h", "i", "u"], ["y"], reduction=reduction)]
    return model(nodes, [5, 4], {"first": np.array(0), "behind": np.int64([1])})


def whole_batch():
    """ScatterND by places alone, without a batch."""
    nodes = [*EMBED, node("Slice", ["x", "n0", "n2", "n1"], ["s"]), node("Mod", ["s", "five"], ["p"]),
             node("Reshape", ["p", "column"], ["i"]), node("Squeeze", ["t", "n0"], ["tt"]),
             node("Squeeze", ["h", "n0"], ["hh"]), node("Slice", ["tt", "from", "to"], ["u"]),
             node("ScatterND", ["hh", "i", "u"], ["w1"]), node("Unsqueeze", ["w1", "n0"], ["y"])]
    return model(nodes, [5, 4], {"five": np.array(5), "n0": np.int64([0]), "n1": np.int64([1]),
                                 "n2": np.int64([2]), "from": np.int64([3]), "to": np.int64([5]),
                                 "column": np.int64([-1, 1])}, 1)


BUILT = [clip, lambda: clip(0), lambda: clip(1, "ArgMin"), last_token, before_padding, elements,
         tuples, table, whole]
NAMES = "clip flat least last_token before_padding elements tuples table whole".split()


def run(proto, x):
    made = onnxruntime.InferenceSession(proto.SerializeToString())
    return dict(zip((o.name for o in made.get_outputs()), made.run(None, {"x": x})))


def check_pairs(f, samples=IDS, references=R, rows=None):
    """For every pair, and targets across the output."""
    size = run(f, samples[:1])["y"][0].size
    for target in (0, size - 1):
        for r in references:
            r = r[None]
            y0 = run(f, r)["y"].reshape(-1)[target]
            made = explain(f, {"x": r}, target=str(target))
            batches = [samples] if rows is None else [s[None] for s in samples]
            for batch in batches:
                found = run(made, batch)
                y = run(f, batch)["y"].reshape(len(batch), -1)[:, target]
                for i in range(len(batch)):
                    phi = found["x_shap"][i]
                    scale = np.abs(phi).sum() + abs(y[i]) + abs(y0)
                    assert abs(phi.sum() - (y[i] - y0)) <= 64 * EPS * scale
                    assert np.abs(phi).sum() <= 100 * (abs(y[i]) + abs(y0) + 1)
                    same = batch[i] == r[0]
                    assert not phi[same].any()


@pytest.mark.parametrize("build", BUILT, ids=NAMES)
def test_adds_up(build):
    check_pairs(build())


def test_gather_without_a_batch():
    check_pairs(along_features(), rows=1)


REDUCTIONS = ["none", "add", "mul", "max", "min"]


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_scatter(reduction):
    check_pairs(scattered(reduction))


@pytest.mark.parametrize("build", [indicators, corner, written], ids=lambda f: f.__name__)
def test_scatter_of(build):
    check_pairs(build())


@pytest.mark.parametrize("reduction", ["add", "max"])
def test_scatter_nd_reduced(reduction):
    check_pairs(written(reduction))


def test_scatter_without_a_batch():
    check_pairs(whole_batch(), rows=1)


def test_three_players():
    """x with u written at i, all of them inputs: the Shapley values of three players."""
    nodes = [node("ScatterElements", ["x", "i", "u"], ["s"], axis=1), node("MatMul", ["s", "w"], ["y"])]
    graph = helper.make_graph(
        nodes, "g", [value("x", T.FLOAT, ["N", 3]), value("i", T.INT64, ["N", 1]),
                     value("u", T.FLOAT, ["N", 1])], [value("y", T.FLOAT, ["N", 1])],
        [numpy_helper.from_array(np.float32([[1], [2], [-3]]), "w")])
    f = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    sample = {"x": np.float32([[1, 2, 4]]), "i": np.array([[2]]), "u": np.float32([[3]])}
    reference = {"x": np.float32([[5, 0, 1]]), "i": np.array([[0]]), "u": np.float32([[-1]])}
    original = onnxruntime.InferenceSession(f.SerializeToString())

    def of(players):
        return original.run(None, {k: (sample if k in players else reference)[k]
                                   for k in sample})[0].item()

    made = onnxruntime.InferenceSession(explain(f, reference).SerializeToString())
    found = dict(zip((o.name for o in made.get_outputs()), made.run(None, sample)))
    orders = list(itertools.permutations("xiu"))
    for name in "xiu":
        exact = np.mean([of(o[:o.index(name) + 1]) - of(o[:o.index(name)]) for o in orders])
        assert np.isclose(found[f"{name}_shap"].sum(), exact)


def test_two_players():
    """x picked by i, both inputs: the Shapley values of two players."""
    nodes = [node("GatherElements", ["x", "i"], ["y"], axis=1)]
    graph = helper.make_graph(nodes, "g", [value("x", T.FLOAT, ["N", 3]), value("i", T.INT64, ["N", 1])],
                              [value("y", T.FLOAT, ["N", 1])])
    f = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    x, x0 = np.float32([[1, 2, 4]]), np.float32([[5, 0, 1]])
    path = explain(f, {"x": x0, "i": np.array([[0]])})
    made = onnxruntime.InferenceSession(path.SerializeToString())
    found = dict(zip((o.name for o in made.get_outputs()),
                     made.run(None, {"x": x, "i": np.array([[2]])})))
    data = ((x[0, 2] - x0[0, 2]) + (x[0, 0] - x0[0, 0])) / 2
    index = ((x[0, 2] - x[0, 0]) + (x0[0, 2] - x0[0, 0])) / 2
    assert np.isclose(found["x_shap"].sum(), data) and np.isclose(found["i_shap"].sum(), index)
    assert np.allclose(found["x_shap"], [[(x - x0)[0, 0] / 2, 0, (x - x0)[0, 2] / 2]])
