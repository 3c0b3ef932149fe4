"""Activations that exporters spell out: one node explains them, with what the rules of the operators
one by one give."""

import itertools

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import rulecheck
import test_rules_unary as unary
from rulecheck import node

WIDTH = 6

# Name of the fused node, the spelling from x to y, constants.
ROOT, K, E = np.sqrt(2), np.sqrt(2 / np.pi), 0.044715
CASES = {
    "swish": ("SwishFlow", ["Sigmoid x s", "Mul x s y"], {}),
    "swish, swapped": ("SwishFlow", ["Sigmoid x s", "Mul s x y"], {}),
    "quick gelu": ("SwishFlow", ["Mul x a z", "Sigmoid z s", "Mul x s y"], {"a": 1.702}),
    "mish": ("MishFlow", ["Softplus x p", "Tanh p t", "Mul x t y"], {}),
    "hard swish": ("HardSwishFlow", ["Add x b z", "Clip z zero top r", "Mul x r p", "Div p top y"],
                   {"b": 3, "zero": 0, "top": 6}),
    "hard swish, sixth": ("HardSwishFlow",
                          ["Add x b z", "Clip z zero top r", "Mul r sixth h", "Mul h x y"],
                          {"b": 3, "zero": 0, "top": 6, "sixth": 1 / 6}),
    "gelu": ("GeluFlow", ["Div x root z", "Erf z e", "Add e one g", "Mul x g p", "Mul p half y"],
             {"root": ROOT, "one": 1, "half": 0.5}),
    "gelu, half first": ("GeluFlow", ["Mul x inverse z", "Erf z e", "Add one e g", "Mul half x h",
                                      "Mul h g y"], {"inverse": 1 / ROOT, "one": 1, "half": 0.5}),
    "gelu tanh": ("GeluTanhFlow", ["Pow x three c", "Mul c e ce", "Add x ce z", "Mul z k kz",
                                   "Tanh kz t", "Add t one g", "Mul x g p", "Mul half p y"],
                  {"three": 3, "e": E, "k": K, "one": 1, "half": 0.5}),
}


def rule(lines, constants, dtype=np.float32):
    nodes = []
    for line in lines:
        op, *inputs, output = line.split()
        nodes.append(node(op, " ".join(inputs), output))
    return rulecheck.Rule(nodes, {"x": (WIDTH,)}, {k: dtype(v) for k, v in constants.items()},
                          dtype)


def fused(path):
    names = [n.op_type.removesuffix("Double") for n in onnx.load(path).graph.node
             if n.domain == "onnxexplainer"]
    return [name for name in names if name != "MeanFlow"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_spelled_out(name, dtype, explain, run):
    op, lines, constants = CASES[name]
    if op == "GeluFlow" and dtype == np.float64:
        pytest.skip("onnxruntime has no Erf of doubles")
    one = rule(lines, constants, dtype)
    another = op == "HardSwishFlow" and dtype == np.float64 # its sixth is one of single precision
    assert (fused(explain(one.model, one.r)) == [op]) != another
    rulecheck.check_same(one, explain, run)
    rulecheck.check_additive(one, explain, run)


@pytest.mark.parametrize("name", CASES)
def test_other_constants(name, explain, run):
    """With a constant changed it is another function, of which nothing is assumed."""
    op, lines, constants = CASES[name]
    for changed in constants:
        if changed == "a":
            continue
        one = rule(lines, constants | {changed: constants[changed] * 1.25 + 0.25})
        assert fused(explain(one.model, one.r)) != [op]
        rulecheck.check_additive(one, explain, run)


def test_other_operand(explain, run):
    """The gate of another value."""
    one = rulecheck.Rule([node("Sigmoid", "b", "s"), node("Mul", "a s", "y")],
                         {"a": (WIDTH,), "b": (WIDTH,)})
    assert "SwishFlow" not in fused(explain(one.model, one.r))
    rulecheck.check(one, explain, run)


def test_used_twice(explain, run):
    """The gate alone is used as well."""
    one = rulecheck.Rule([node("Sigmoid", "x", "s"), node("Mul", "x s", "p"), node("Add", "p s", "y")],
                         {"x": (WIDTH,)})
    assert sorted(fused(explain(one.model, one.r))) == ["SigmoidFlow", "SwishFlow"]
    rulecheck.check_additive(one, explain, run)


def test_same_as_products(explain, run):
    """An Identity between, and the rules of Mul and Sigmoid are at work: the same values."""
    plain = rule(["Sigmoid x s", "Mul x s y"], {})
    apart = rule(["Identity x i", "Sigmoid i s", "Mul x s y"], {})
    ours, theirs = (rulecheck.explained(r, explain, run, plain.x, plain.r)["x_shap"]
                    for r in (plain, apart))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=plain.tolerance(theirs))


def test_explained_inside(explain, run):
    """A gate that is explained itself is not passed by."""
    one = rule(["Sigmoid x s", "Mul x s y"], {})
    path = explain(one.model, one.r, "--at=s", "--force", "--target=all")
    assert "SwishFlow" not in fused(path)
    outputs = run(path, one.x)
    side = [1 / (1 + np.exp(-v["x"].astype(np.float64))) for v in (one.x, one.r)]
    x, r = one.x["x"], one.r["x"]
    want = np.zeros((len(x), rulecheck.TARGETS, WIDTH))
    for i, j in itertools.product(range(len(x)), range(len(r))):
        share = (side[0][i] - side[1][j]) * (x[i] + r[j]) / 2
        want[i] += share * one.head.T / len(r)
    np.testing.assert_allclose(outputs["s_shap"], want, rtol=0, atol=one.tolerance(want))


@pytest.mark.parametrize("alpha", [1.0, 1.702, -0.5])
def test_slope_of_swish(alpha, explain, run):
    """On the grid of pairs of test_rules_unary.py: the slope to rounding."""
    x, x0 = unary.grid(unary.ALL)
    one = rule(["Mul x a z", "Sigmoid z s", "Mul x s y"], {"a": alpha})
    function, = (f for f in onnx.load(explain(one.model, one.r)).functions if f.name == "SwishFlow")
    sides = [node(op, inputs.replace("#", k), output.replace("#", k)) for k in ("", "0")
             for op, inputs, output in (("Mul", "x# alpha", "z#"), ("Sigmoid", "z#", "s#"),
                                        ("Mul", "x# s#", "y#"))]
    call = helper.make_node("SwishFlow", ["m", "x", "x0", "alpha"], ["slope"],
                            domain="onnxexplainer")
    shape = (len(x),)
    model = unary.make([*sides, call], [numpy_helper.from_array(np.float32(alpha), "alpha")],
                       [(k, shape) for k in ("m", "x", "x0")],
                       [(k, shape) for k in ("slope", "y", "y0")], [function])
    out = run(model, {"m": np.ones_like(x), "x": x, "x0": x0})
    exact = float(np.float32(alpha))
    want, _ = unary.true_slope(lambda v: v * unary.sigmoid(exact * v), x, x0, "")
    bound = 8 * unary.EPS * (1 + abs(want) + abs(exact * out["y"]) * (abs(x - x0) < 1))
    assert (abs(out["slope"] - want) <= bound).all()
