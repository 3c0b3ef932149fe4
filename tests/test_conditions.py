"""Conditions of loops and branches that are made of constants of any type, as tf2onnx writes them:
counters cast to float and compared, several together."""

import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper

EPS = float(np.finfo(np.float32).eps)
rng = np.random.default_rng(0)
W = rng.normal(size=(4, 4)).astype("f")
X, R = rng.normal(size=(2, 6, 4)).astype("f"), rng.normal(size=(5, 6, 4)).astype("f")
node, value = helper.make_node, helper.make_tensor_value_info
CONSTANTS = {"one": np.int32(1), "four": np.float32(4), "four32": np.int32(4), "yes": np.bool_(True),
             "f0": np.float32(0), "wide": np.float64(3.5), "half": np.float32(.5),
             "pair": np.float32([9, 4]), "none": np.int64([]), "four8": np.uint8(4),
             "big": np.float32(7), "list": np.float32([4])}


def proto(nodes, inputs, constants, shape=("N", 4)):
    constants = CONSTANTS | constants
    used = {i for n in nodes for i in n.input} | {
        i for n in nodes for a in n.attribute if a.type == onnx.AttributeProto.GRAPH
        for m in a.g.node for i in m.input}
    graph = helper.make_graph(nodes, "g", inputs, [value("y", T.FLOAT, shape)],
                              [numpy_helper.from_array(np.asarray(v), k)
                               for k, v in constants.items() if k in used])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(made)
    return made


def loop(condition, first=(), trips="M", **constants):
    body = helper.make_graph(
        [node("Gather", ["xt", "i"], ["xi"]), node("MatMul", ["s", "w"], ["sw"]),
         node("Add", ["sw", "xi"], ["z"]), node("Tanh", ["z"], ["t"]),
         node("Add", ["k", "one"], ["k1"]), *condition], "b",
        [value("i", T.INT64, []), value("c", T.BOOL, []), value("k", T.INT32, []),
         value("s", T.FLOAT, None)],
        [value("go", T.BOOL, []), value("k1", T.INT32, []), value("t", T.FLOAT, None)])
    nodes = [node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]), *first,
             node("Loop", [trips, "c0" if first else "yes", "k0", "s0"], ["ke", "y"], body=body)]
    return proto(nodes, [value("x", T.FLOAT, ["N", 6, 4])],
                 {"w": W, "M": np.int64(6), "k0": np.int32(0), "s0": np.zeros((1, 4), "f")} | constants)


CAST = node("Cast", ["k1"], ["kf"], to=T.FLOAT)
LESS = node("Less", ["kf", "four"], ["g1"])
ALL = node("Identity", ["yes"], ["go"])
LOOPS = {
    "constant": ([ALL], ()),
    "float": ([CAST, node("Less", ["kf", "four"], ["go"])], ()),
    "double": ([node("Cast", ["k1"], ["kd"], to=T.DOUBLE),
                node("LessOrEqual", ["kd", "wide"], ["go"])], ()),
    "bytes": ([node("Cast", ["k1"], ["kb"], to=T.INT64), node("Cast", ["four8"], ["fb"], to=T.INT64),
               node("Less", ["kb", "fb"], ["go"])], ()),
    "and": ([CAST, LESS, node("Less", ["k1", "four32"], ["g2"]), node("And", ["g1", "g2"], ["go"])],
            ()),
    "not": ([CAST, node("GreaterOrEqual", ["kf", "four"], ["g"]), node("Not", ["g"], ["go"])], ()),
    "arithmetic": ([CAST, node("Mul", ["kf", "half"], ["h"]), node("Floor", ["h"], ["f"]),
                    node("Sub", ["four", "f"], ["d"]), node("Greater", ["d", "half"], ["g"]),
                    node("Cast", ["g"], ["gf"], to=T.FLOAT), node("Cast", ["gf"], ["go"], to=T.BOOL)],
                   ()),
    "reduced": ([CAST, node("ReduceMin", ["pair"], ["p"], keepdims=0),
                 node("Less", ["kf", "p"], ["go"])], ()),
    "squeezed": ([CAST, node("Unsqueeze", ["kf", "none"], ["ku"]), node("Less", ["ku", "list"], ["l"]),
                  node("Squeeze", ["l"], ["go"])], ()),
    "first": ([CAST, LESS, node("And", ["g1", "g1"], ["go"])],
              (node("Less", ["f0", "big"], ["l"]), node("And", ["l", "l"], ["c0"]))),
}


@pytest.mark.parametrize("case", LOOPS)
def test_loop(explain, case):
    condition, first = LOOPS[case]
    check(explain, loop(condition, first))


def check(explain, f, x=X, references=R):
    made = onnxruntime.InferenceSession(explain(f, references, "--gap"))
    found = dict(zip((o.name for o in made.get_outputs()), made.run(None, {"x": x})))
    original = onnxruntime.InferenceSession(f.SerializeToString())
    y, ys = (original.run(None, {"x": v})[0] for v in (x, references))
    for i, k in enumerate(found["shap_target"]):
        phi = found["x_shap"][i]
        scale = np.abs(phi).sum() + np.abs(y).max() + np.abs(ys).max()
        assert np.abs(phi).sum() > 0
        assert abs(phi.sum() - (y[i, k] - ys[:, k].mean())) <= 64 * EPS * scale


@pytest.fixture
def refuses(cli, tmp_path):
    def refuse(f, message):
        onnx.save(f, tmp_path / "m.onnx")
        np.save(tmp_path / "r.npy", R)
        found = subprocess.run([cli, "explain", tmp_path / "m.onnx", "-r", tmp_path / "r.npy"],
                               capture_output=True, text=True)
        assert found.returncode == 1 and message in found.stderr, found.stderr
    return refuse


@pytest.mark.parametrize("trips", (2, 5))
def test_trip_count_of_floats(explain, trips):
    first = (node("Cast", ["m"], ["mf"], to=T.FLOAT), node("Div", ["mf", "half"], ["mh"]),
             node("Cast", ["mh"], ["trips"], to=T.INT64), node("Less", ["f0", "big"], ["c0"]))
    check(explain, loop([ALL], first, "trips", m=np.float32(trips / 2)))


@pytest.mark.parametrize("holds", (True, False))
def test_if(explain, holds):
    branch = [helper.make_graph([node(op, ["h"], ["z" + op])], op, [], [value("z" + op, T.FLOAT, None)])
              for op in ("Tanh", "Exp")]
    nodes = [node("Flatten", ["x"], ["h"]),
             node("Shape", ["h"], ["s"]), node("Gather", ["s", "at"], ["d"]),
             node("Cast", ["d"], ["df"], to=T.FLOAT), node("Mul", ["df", "half"], ["dh"]),
             node("Less" if holds else "Greater", ["big", "dh"], ["c"]),
             node("If", ["c"], ["y"], then_branch=branch[0], else_branch=branch[1])]
    f = proto(nodes, [value("x", T.FLOAT, ["N", 6, 4])], {"at": np.int64(1)}, ("N", 24))
    check(explain, f)


def test_counter_of_the_data(refuses):
    """A condition that the data decide is refused as before."""
    condition = [node("ReduceMax", ["t"], ["m"], keepdims=0), node("Less", ["m", "big"], ["go"])]
    refuses(loop(condition), "whether it goes on is known at run time only")
