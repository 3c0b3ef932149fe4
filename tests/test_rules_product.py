"""Rules of sums and products, choices and corners."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from rulecheck import (FLOAT, Rule, check, check_additive, check_pairs, check_same, floats, ints,
                       node)

# Shapes of the operands without the batch.
SHAPES = [((3, 4), (3, 4)), ((3, 4), (1, 4)), ((2, 1, 3), (1, 4, 1)), ((5,), (5,))]
CONSTANTS = [((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 4), ()), ((3, 1), (1, 1, 3, 4))]


def both(op, a, b, **options):
    attributes = options.pop("attributes", {})
    return Rule([node(op, "a b", "y", **attributes)], {"a": a, "b": b}, **options)


def one(op, a, b, side, **options):
    """The operand on `side` is constant."""
    attributes = options.pop("attributes", {})
    low, high = options.get("low", -2), options.get("high", 2)
    names = "c a" if side == 0 else "a c"
    constant = floats(*b, low=low, high=high)
    return Rule([node(op, names, "y", **attributes)], {"a": a}, {"c": constant}, **options)


@pytest.mark.parametrize("op", ["Add", "Sub", "Sum", "Mean"])
@pytest.mark.parametrize("a, b", SHAPES)
def test_sums(op, a, b, explain, run):
    check_additive(both(op, a, b), explain, run)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul"])
@pytest.mark.parametrize("a, b", CONSTANTS)
def test_constant_operand(op, a, b, side, explain, run):
    check_additive(one(op, a, b, side), explain, run)


@pytest.mark.parametrize("a, b", SHAPES)
def test_mul(a, b, explain, run):
    check(both("Mul", a, b), explain, run)


def test_mul_by_itself(explain, run):
    check_additive(Rule([node("Mul", "a a", "y")], {"a": (3, 4)}), explain, run)


@pytest.mark.parametrize("a, b", SHAPES)
def test_div(a, b, explain, run):
    check(both("Div", a, b, low=0.5, high=3), explain, run)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("a, b", CONSTANTS)
def test_div_constant(a, b, side, explain, run):
    check_additive(one("Div", a, b, side, low=0.5, high=3), explain, run)


def test_many_operands(explain, run):
    inputs = {"a": (3, 4), "b": (1, 4), "d": (4,)}
    constants = {"c": floats(3, 1)}
    for op in "Sum", "Mean":
        rule = Rule([node(op, "a b c d", "y")], {"a": (3, 4), "b": (1, 4), "d": (3, 4)}, constants)
        check_additive(rule, explain, run)
    for op in "Max", "Min":
        inputs["d"] = (3, 1)
        check(Rule([node(op, "a b c d", "y")], inputs, constants), explain, run)
        check_additive(Rule([node(op, "a", "y")], {"a": (3, 4)}), explain, run)


def test_neg(explain, run):
    check_additive(Rule([node("Neg", "a", "y")], {"a": (3, 4)}), explain, run)


# ---- matrices ------------------------------------------------------------------------------

@pytest.mark.parametrize("a, b", [
    ((4,), (4, 5)), ((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)),
    ((3, 4), (4,)), ((4,), (4,)), ((1, 3, 4), (2, 4, 5))])
def test_matmul_constant_right(a, b, explain, run):
    check_additive(one("MatMul", a, b, 1), explain, run)


@pytest.mark.parametrize("a, b", [
    ((4, 5), (3, 4)), ((2, 4, 5), (3, 4)), ((4, 5), (4,)), ((2, 4, 5), (2, 3, 4)),
    ((1, 4, 5), (2, 3, 4))])
def test_matmul_constant_left(a, b, explain, run):
    check_additive(one("MatMul", a, b, 0), explain, run)


@pytest.mark.parametrize("a, b", [
    ((3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((2, 3, 4), (1, 4, 5)), ((3, 4), (4, 1))])
def test_matmul(a, b, explain, run):
    check(both("MatMul", a, b), explain, run)


def test_matmul_ranks(explain, run):
    """Both vary, and one is broadcast over an axis of the other."""
    nodes = [node("Unsqueeze", "a axis", "wide"), node("MatMul", "wide b", "y")]
    rule = Rule(nodes, {"a": (3, 4), "b": (2, 4, 5)}, {"axis": ints(1)})
    check(rule, explain, run)


@pytest.mark.parametrize("a, b", [
    ((4,), (4,)), ((3, 4), (4,)), ((4,), (4, 5)), ((3, 4), (4, 5)), ((4,), (2, 4, 5)),
    ((2, 3, 4), (4,)), ((2, 3, 4), (4, 5)), ((3, 4), (2, 4, 5))])
def test_matmul_without_batch(a, b, explain, run):
    """Vectors and matrices of all ranks, both varying."""
    rng = np.random.default_rng(3)
    shape = np.matmul(np.zeros(a), np.zeros(b)).shape
    nodes = [node("MatMul", "a b", "y"), node("Reshape", "y row", "flat"),
             node("MatMul", "flat head", "out")]
    values = [helper.make_tensor_value_info(n, FLOAT, s) for n, s in [("a", a), ("b", b)]]
    out = helper.make_tensor_value_info("out", FLOAT, [])
    constants = [numpy_helper.from_array(floats(int(np.prod(shape))), "head"),
                 numpy_helper.from_array(ints(-1), "row")]
    graph = helper.make_graph(nodes, "g", values, [out], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    x = {n: rng.normal(size=s).astype(np.float32) for n, s in [("a", a), ("b", b)]}
    r = {n: rng.normal(size=(2, *v.shape)).astype(np.float32) for n, v in x.items()}
    outputs = run(explain(model, r, "--no-batch", "--target=0"), x)
    base = np.mean([run(model, {n: v[i] for n, v in r.items()})["out"] for i in range(2)])
    total = sum(float(outputs[f"{n}_shap"].sum()) for n in x)
    size = sum(float(np.abs(outputs[f"{n}_shap"]).sum()) for n in x)
    assert abs(outputs["out"] - base - total) <= 1e-6 * (size + abs(base) + abs(outputs["out"]))
    for n in x:
        assert outputs[f"{n}_shap"].shape == x[n].shape


@pytest.mark.parametrize("alpha, beta", [(1, 1), (0.5, -2)])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("c", [(5,), (1, 5), (1,), (), None])
def test_gemm(alpha, beta, trans_b, c, explain, run):
    constants = {"b": floats(5, 4) if trans_b else floats(4, 5)}
    if c is not None:
        constants["c"] = floats(*c)
    names = "a b" if c is None else "a b c"
    nodes = [node("Gemm", names, "y", alpha=float(alpha), beta=float(beta), transB=trans_b)]
    check_additive(Rule(nodes, {"a": (4,)}, constants), explain, run)


@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("left", [False, True])
def test_gemm_transposed(trans_b, left, explain, run):
    """A transposed twice; C varies; or the constant on the left."""
    if left:
        nodes = [node("Transpose", "a", "t", perm=[1, 0]),
                 node("Gemm", f"w {'a' if trans_b else 't'}", "z", transB=trans_b, transA=1,
                      alpha=0.5),
                 node("Transpose", "z", "y", perm=[1, 0])]
    else:
        nodes = [node("Transpose", "a", "t", perm=[1, 0]),
                 node("Gemm", "t w c", "y", transA=1, transB=trans_b, alpha=2.0, beta=3.0)]
    inputs = {"a": (4,)} if left else {"a": (4,), "c": (5,)}
    w = floats(4, 5) if left or not trans_b else floats(5, 4)
    check_additive(Rule(nodes, inputs, {"w": w}), explain, run)


# ---- choices -------------------------------------------------------------------------------

@pytest.mark.parametrize("shape", [(3, 4), (1, 4)])
def test_where_constant_condition(shape, explain, run):
    condition = np.random.default_rng(1).random((3, 4)) < 0.5
    rule = Rule([node("Where", "c a b", "y")], {"a": (3, 4), "b": shape}, {"c": condition})
    check_additive(rule, explain, run)


@pytest.mark.parametrize("compare", ["Greater", "Less", "GreaterOrEqual", "LessOrEqual"])
def test_where(compare, explain, run):
    nodes = [node(compare, "a b", "c"), node("Where", "c a d", "y")]
    rule = Rule(nodes, {"a": (3, 4), "b": (3, 1), "d": (1, 4)})
    check_pairs_only(rule, explain, run)


def test_where_mask(explain, run):
    """An infinite mask where the condition varies elsewhere only."""
    nodes = [node("Greater", "a zero", "c"), node("Where", "c a low", "z"),
             node("Max", "z zero", "y")]
    constants = {"zero": np.float32(0), "low": np.float32(-np.inf)}
    rule = Rule(nodes, {"a": (3, 4)}, constants)
    check_pairs_only(rule, explain, run, low=0.1)


def check_pairs_only(rule, explain, run, low=None):
    """For steps: the slope next to one is as steep as it is. `low` lifts the inputs above it."""
    for values in (rule.x, rule.r) if low is not None else ():
        for name in values:
            values[name] = np.abs(values[name]) + np.float32(low)
    check_same(rule, explain, run)
    check_pairs(rule, explain, run)


@pytest.mark.parametrize("op", ["And", "Or", "Xor"])
def test_logic(op, explain, run):
    nodes = [node("Greater", "a zero", "p"), node("Less", "b zero", "q"), node(op, "p q", "s"),
             node("Not", "s", "t"), node("Cast", "t", "y", to=FLOAT)]
    rule = Rule(nodes, {"a": (3, 4), "b": (1, 4)}, {"zero": np.float32(0)})
    check_pairs_only(rule, explain, run)


def test_cast(explain, run):
    nodes = [node("Mul", "a ten", "b"), node("Cast", "b", "i", to=TensorProto.INT64),
             node("Equal", "i two", "e"), node("Cast", "e", "f", to=FLOAT),
             node("Cast", "i", "g", to=FLOAT), node("Mul", "f g", "y")]
    rule = Rule(nodes, {"a": (30, )}, {"ten": np.float32(2), "two": np.array(2)})
    check_pairs_only(rule, explain, run)


def test_integer_division(explain, run):
    nodes = [node("Mul", "a ten", "b"), node("Cast", "b", "i", to=TensorProto.INT64),
             node("Div", "i three", "d"), node("Div", "i d", "q"), node("Cast", "q", "y", to=FLOAT)]
    rule = Rule(nodes, {"a": (9,)}, {"ten": np.float32(9), "three": np.array(3)}, low=1, high=3)
    check_pairs_only(rule, explain, run)


@pytest.mark.parametrize("op", ["Max", "Min"])
@pytest.mark.parametrize("a, b", SHAPES)
def test_extreme(op, a, b, explain, run):
    check(both(op, a, b), explain, run)


@pytest.mark.parametrize("op, bound", [
    ("Max", 0.3), ("Max", -np.inf), ("Max", -3.4e38), ("Min", 0.3), ("Min", np.inf),
    ("Min", 3.4e38)])
def test_extreme_constant(op, bound, explain, run):
    rule = Rule([node(op, "c a", "y")], {"a": (3, 4)}, {"c": np.float32(bound)})
    check_additive(rule, explain, run)


def test_relu_by_max(explain, run):
    """Equal operands, and the bound reached from either side."""
    rule = Rule([node("Max", "a c", "y")], {"a": (6,)}, {"c": np.zeros(6, np.float32)})
    rule.x["a"][0] = [0, 1, -1, 0, 1e-30, -1e-30]
    rule.r["a"][0] = [0, 0, 0, 1, -1, 1]
    check_additive(rule, explain, run)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("a, b", CONSTANTS)
def test_pow_constant(a, b, side, explain, run):
    check_additive(one("Pow", a, b, side, low=0.5, high=3), explain, run)


@pytest.mark.parametrize("exponent", [1, 2, 3, 4, 0.5, -1, 0])
def test_pow_number(exponent, explain, run):
    low = 0.5 if exponent in (0.5, -1) else -2
    constants = {"c": np.float32(exponent)}
    rule = Rule([node("Pow", "a c", "y")], {"a": (3, 4)}, constants, low=low)
    check_additive(rule, explain, run)


@pytest.mark.parametrize("a, b", SHAPES)
def test_pow(a, b, explain, run):
    check(both("Pow", a, b, low=0.5, high=3), explain, run)


@pytest.mark.parametrize("a, b", SHAPES)
def test_mod(a, b, explain, run):
    check_pairs_only(both("Mod", a, b, low=0.5, high=3, attributes={"fmod": 1}), explain, run)


@pytest.mark.parametrize("slope", [(3, 4), (1, 4), (4,), ()])
def test_prelu(slope, explain, run):
    rule = Rule([node("PRelu", "a s", "y")], {"a": (3, 4)}, {"s": floats(*slope)})
    check_additive(rule, explain, run)


def test_prelu_varying(explain, run):
    check(Rule([node("PRelu", "a s", "y")], {"a": (3, 4), "s": (1, 4)}), explain, run)


def test_scaler(explain, run):
    scaler = node("Scaler", "a", "y", domain="ai.onnx.ml", offset=[1.0, 2, 3], scale=[2.0, -1, 0.5])
    rule = Rule([scaler], {"a": (3,)}, domains=[("ai.onnx.ml", 3)])
    check_additive(rule, explain, run)


@pytest.mark.parametrize("op", ["Mul", "Div", "MatMul", "Max", "Pow"])
def test_double(op, explain, run):
    check(both(op, (4, 4), (4, 4), dtype=np.float64, low=0.5, high=3), explain, run)
