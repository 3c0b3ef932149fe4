"""Fused nodes of pools, strided convolutions and the result: which ones there are, and that their
bodies say the same in ONNX Runtime, in the reference evaluator and written out."""

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from rulecheck import Rule, check_near, check_pairs, floats, node

STRIDED = {"strides": [2, 2]}
CASES = {
    "phases": ("Interleave2x2", 8, (3, 2, 3, 3), {"pads": [1, 1, 1, 1]} | STRIDED),
    "phases, cut": ("Interleave2x2Cut", 7, (3, 2, 3, 3), {"pads": [1, 1, 1, 1]} | STRIDED),
    "nine": ("Interleave3x3", 9, (9, 2, 3, 3), {"strides": [3, 3]}),
    "uneven": ("Interleave2x3Cut", 8, (9, 2, 3, 3), {"strides": [2, 3]}),
    "one phase": ("Spread2x2At0x0", 8, (3, 2, 1, 1), STRIDED),
    "one phase, cut": ("Spread2x2At0x0Cut", 7, (3, 2, 1, 1), STRIDED),
    "another phase": ("Spread3x3At2x1", 9, (3, 2, 1, 1), {"strides": [3, 3], "pads": [1, 2, 0, 0]}),
    "pool": ("WinnerFlow", 8, None, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]} | STRIDED),
}


def rule(size, filters, attributes, dtype):
    one = node("MaxPool", "x", "y", **attributes)
    constants = {}
    if filters is not None:
        one = node("Conv", "x w", "y", **attributes)
        constants = {"w": floats(*filters).astype(dtype)}
    return Rule([one], {"x": (2, size, size)}, constants, dtype)


@pytest.mark.parametrize("case, dtype", [*((case, np.float32) for case in CASES),
                                         ("pool", np.float64)])
def test_fused(case, dtype, explain, run):
    name, size, filters, attributes = CASES[case]
    one = rule(size, filters, attributes, dtype)
    path = explain(one.model, one.r, "--target=all")
    model = onnx.load(path)
    names = {n.op_type for n in model.graph.node if n.domain == "onnxexplainer"}
    assert names == {k + ("Double" if dtype == np.float64 else "") for k in (name, "MeanFlow")}
    want = run(path, one.x)["x_shap"]
    tolerance = one.tolerance(want, one.head)
    apart = run(explain(one.model, one.r, "--target=all", "--no-functions"), one.x)["x_shap"]
    np.testing.assert_allclose(apart, want, rtol=0, atol=tolerance)
    if case in ("pool", "another phase"):
        return  # the evaluator has neither negative axes of GatherElements nor negative pads
    found = ReferenceEvaluator(model).run(["x_shap"], one.x)[0]
    np.testing.assert_allclose(found, want, rtol=0, atol=tolerance)


def test_two_uses_are_summed_in_the_flow(explain, run):
    nodes = [node("Relu", "x", "r"), node("Tanh", "r", "f"), node("Sigmoid", "r", "g"),
             node("Add", "f g", "y")]
    one = Rule(nodes, {"x": (5,)}, {}, np.float32)
    path = explain(one.model, one.r)
    assert "ReluSumFlow" in {n.op_type for n in onnx.load(path).graph.node}
    want = run(path, one.x)["x_shap"]
    apart = run(explain(one.model, one.r, "--no-functions"), one.x)["x_shap"]
    np.testing.assert_allclose(apart, want, rtol=0, atol=one.tolerance(want, one.head))


def plane_rule(nodes, constants, size=8):
    return Rule([*nodes], {"x": (8, size, size)}, constants, np.float32)


def flows(model, name):
    return [n for n in model.graph.node if n.op_type == name]


def same_apart(one, path, explain, run):
    """Written out, the values are those of `path`; and they are complete."""
    out = run(path, one.x)
    want, tolerance = out["x_shap"], one.tolerance(out["x_shap"], one.head)
    apart = run(explain(one.model, one.r, "--target=all", "--no-functions"), one.x)["x_shap"]
    np.testing.assert_allclose(apart, want, rtol=0, atol=tolerance)
    check_pairs(one, explain, run)
    check_near(one, explain, run)


@pytest.mark.parametrize("activation", ["Relu", "HardSwish", "LeakyRelu"])
def test_phases_go_through_a_flow_and_a_convolution(activation, explain, run):
    """A thin convolution, an activation and a strided convolution: what comes back is put together
    where there are less channels."""
    nodes = [node("Conv", "x w", "a"), node(activation, "a", "b"),
             node("Conv", "b v", "y", group=16, pads=[1, 1, 1, 1], **STRIDED)]
    one = plane_rule(nodes, {"w": floats(16, 8, 1, 1), "v": floats(16, 1, 3, 3)})
    path = explain(one.model, one.r, "--target=all")
    model = onnx.load(path)
    assert len(flows(model, f"{activation}Flow")) == 4
    assert len(flows(model, "Interleave2x2")) == 1
    same_apart(one, path, explain, run)


PADDED = [{"kernel_shape": [3, 3]}, {"strides": [2, 2]}, {"dilations": [2, 1], "pads": [0, 1, 1, 0]},
          {"strides": [2, 1], "group": 4}, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}]


@pytest.mark.parametrize("attributes", PADDED, ids=str)
@pytest.mark.parametrize("twice", [False, True])
def test_margins_of_a_pad_get_nothing(attributes, twice, explain, run):
    """A convolution of what was padded with numbers, also where another node takes that, too."""
    nodes = [node("Relu", "x", "a"), node("Pad", "a pads seven", "b"),
             node("Conv", "b w", "c" if twice else "y", **attributes)]
    if twice:
        nodes += [node("Tanh", "b", "t"), node("Flatten", "c", "d"), node("Flatten", "t", "e"),
                  node("Concat", "d e", "y", axis=1)]
    size = 8 // attributes.get("group", 1)
    one = plane_rule(nodes, {"w": floats(12, size, 3, 3), "seven": np.float32(7),
                             "pads": np.array([0, 0, 1, 0, 0, 0, 2, 2])}, 6)
    path = explain(one.model, one.r, "--target=all")
    model = onnx.load(path)
    made = {output: n for n in model.graph.node for output in n.output}
    relu, = flows(model, "ReluFlow")
    before = made[relu.input[0]]
    before = made[before.input[0]] if before.op_type == "Reshape" else before
    assert (before.op_type == "Pad") == twice
    same_apart(one, path, explain, run)


@pytest.mark.parametrize("option", ["--cache=none", "--chunk=1"])
def test_phases_stay_together_where_references_are_computed_in_a_run(option, explain, run):
    """Taking apart what is not folded at load costs more than phases apart gain."""
    nodes = [node("Conv", "x w", "a"), node("Relu", "a", "b"),
             node("Conv", "b v", "y", group=16, pads=[1, 1, 1, 1], **STRIDED)]
    one = plane_rule(nodes, {"w": floats(16, 8, 1, 1), "v": floats(16, 1, 3, 3)})
    path = explain(one.model, one.r, "--target=all", option)
    graph = onnx.load(path).graph
    body = next((a.g for n in graph.node if n.op_type == "Scan" for a in n.attribute if a.name == "body"), graph)
    assert [n.op_type for n in body.node].count("ReluFlow") == 1
    want = run(explain(one.model, one.r, "--target=all"), one.x)["x_shap"]
    np.testing.assert_allclose(run(path, one.x)["x_shap"], want, rtol=0, atol=one.tolerance(want, one.head))


def test_phases_of_what_is_used_twice_stay_together(explain, run):
    nodes = [node("Conv", "x w", "a"), node("Relu", "a", "b"),
             node("Conv", "b v", "c", group=16, pads=[1, 1, 1, 1], **STRIDED), node("Flatten", "c", "d"),
             node("Flatten", "a", "e"), node("Concat", "d e", "y", axis=1)]
    one = plane_rule(nodes, {"w": floats(16, 8, 1, 1), "v": floats(16, 1, 3, 3)})
    path = explain(one.model, one.r, "--target=all")
    assert len(flows(onnx.load(path), "ReluFlow")) == 1
    same_apart(one, path, explain, run)


def test_a_flow_repeats_what_a_global_average_sends(explain, run):
    nodes = [node("Relu", "x", "a"), node("GlobalAveragePool", "a", "p"), node("Sigmoid", "p", "s"),
             node("Mul", "a s", "y")]
    one = plane_rule(nodes, {}, 3)
    path = explain(one.model, one.r, "--target=all")
    model = onnx.load(path)
    assert len(flows(model, "ReluSumFlow")) == 1
    assert not any("flow" in n.name for n in flows(model, "Expand"))
    same_apart(one, path, explain, run)
