"""Nodes in any order, as converters to float16 leave them and ONNX Runtime takes them."""

import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def value(name, shape):
    return helper.make_tensor_value_info(name, FLOAT, shape)


def nodes():
    """A body uses a value from outside; a node leaves an input out."""
    body = helper.make_graph([helper.make_node("Mul", ["b", "b"], ["inner"])], "body", [],
                             [value("inner", None)])
    other = helper.make_graph([helper.make_node("Neg", ["b"], ["outer"])], "other", [],
                              [value("outer", None)])
    return [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Tanh", ["a"], ["b"]),
            helper.make_node("Clip", ["a", "", "one"], ["c"]),
            helper.make_node("If", ["yes"], ["d"], then_branch=body, else_branch=other),
            helper.make_node("TopK", ["c", "k"], ["top", "at"]),
            helper.make_node("Concat", ["top", "d"], ["y"], axis=1)]


def model(order):
    made = nodes()
    weights = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    constants = {"w": weights, "one": np.float32(1), "yes": np.array(True), "k": np.int64([2])}
    graph = helper.make_graph([made[i] for i in order], "g", [value("x", ["N", 4])],
                              [value("y", ["N", 5])],
                              [numpy_helper.from_array(v, k) for k, v in constants.items()])
    return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)])


@pytest.mark.parametrize("order", [[5, 4, 3, 2, 1, 0], [3, 1, 0, 2, 5, 4], [0, 2, 3, 1, 4, 5]],
                         ids=str)
def test_any_order(explain, run, order):
    rng = np.random.default_rng(2)
    x, r = (rng.normal(size=(n, 4)).astype(np.float32) for n in (3, 2))
    found = [run(explain(model(o), r, "--target=all"), x) for o in ([0, 1, 2, 3, 4, 5], order)]
    for name, array in found[0].items():
        np.testing.assert_array_equal(array, found[1][name])
    np.testing.assert_allclose(found[1]["x_shap"].sum(-1), found[1]["y"] - found[1]["base_value"],
                               atol=1e-5)


def test_what_goes_round(cli, tmp_path):
    made = model([5, 4, 3, 2, 1, 0])
    made.graph.node[5].input[0] = "y"
    onnx.save(made, tmp_path / "m.onnx")
    done = subprocess.run([cli, "show", tmp_path / "m.onnx"], capture_output=True, text=True)
    assert done.returncode == 1 and "is not defined before it" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_long_way(cli, tmp_path):
    """Nothing nests as deep as the graph is."""
    steps = 3000
    chain = [helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(steps)]
    graph = helper.make_graph(chain[::-1], "g", [value("v0", ["N", 2])],
                              [value(f"v{steps}", ["N", 2])])
    onnx.save(helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)]),
              tmp_path / "m.onnx")
    done = subprocess.run([cli, "show", tmp_path / "m.onnx"], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0, done.stderr
