"""Mixtures of experts and quantised LSTMs, complete per pair against ONNX Runtime's own kernels."""

import numpy as np
import pytest
from onnx import helper
from rulecheck import Rule, check, check_one, floats, node

MS = [("com.microsoft", 1)]
EXPERTS, WIDTH, INNER = 4, 32, 16


def contrib(op, inputs, outputs, **attributes):
    """A node whose inputs may be left out by `-`."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), domain="com.microsoft", **attributes)


# ---- experts -------------------------------------------------------------------------------------

def experts(inputs, steps=0, op="MoE", constants=None, k=2, **attributes):
    """Scores of experts are a product of the tokens, as in models."""
    twice = 2 if attributes.get("activation_type") == "swiglu" else 1
    constants = {"router": floats(WIDTH, EXPERTS, low=-0.3, high=0.3, seed=1),
                 "w1": floats(EXPERTS, twice * INNER, WIDTH, low=-0.3, high=0.3, seed=2),
                 "b1": floats(EXPERTS, twice * INNER, seed=3),
                 "w2": floats(EXPERTS, WIDTH, INNER, low=-0.3, high=0.3, seed=4),
                 "b2": floats(EXPERTS, WIDTH, seed=5), "rows": np.array([-1, EXPERTS]),
                 **(constants or {})}
    nodes = [node("MatMul", "x router", "s"), node("Reshape", "s rows", "r"),
             contrib(op, f"x r {inputs}", "y", k=k, **attributes)]
    shape = (steps, WIDTH) if steps else (WIDTH,)
    return Rule(nodes, {"x": shape}, constants, domains=MS, low=-1, high=1)


@pytest.mark.parametrize("steps, options", [
    (0, {}), (3, {"normalize_routing_weights": 1}), (3, {"activation_type": "silu", "k": 1}),
    (0, {"activation_type": "gelu", "k": 3}), (0, {"activation_type": "identity", "k": 4}),
    (3, {"activation_type": "swiglu", "swiglu_fusion": 1, "swiglu_limit": 0.7,
         "activation_alpha": 1.7, "activation_beta": 1.0})], ids=str)
def test_experts(explain, run, steps, options):
    check_one(experts("w1 b1 w2 b2", steps=steps, **options), explain, run)


def test_experts_near(explain, run):
    check(experts("w1 - w2 -", steps=2), explain, run)


def test_other_experts(explain, run):
    """A reference of zeros gives all experts the same score: the last ones are chosen."""
    rule = experts("w1 b1 w2 b2")
    rule.r["x"][:] = 0
    check_one(rule, explain, run)


@pytest.mark.parametrize("bits, block, zero", [
    (4, 0, False), (4, 16, True), (8, 0, True), (8, 16, False), (2, 16, False),
    (2, 0, True), (4, 0, True)])
def test_quantized_experts(explain, run, bits, block, zero):
    rng = np.random.default_rng(3)
    own = {1: (INNER, WIDTH), 2: (WIDTH, INNER)}
    constants = {}
    for i, (rows, width) in own.items():
        blocks = width // block if block else 1
        constants[f"w{i}"] = rng.integers(0, 256, (EXPERTS, rows, width * bits // 8), np.uint8)
        shape = (EXPERTS, rows, blocks) if block else (EXPERTS, rows)
        constants[f"s{i}"] = floats(*shape, low=0.01, high=0.05) * 2 ** (4 - bits)
        packed = ((EXPERTS, rows, (blocks * bits + 7) // 8) if block
                  else (EXPERTS, (rows * bits + 7) // 8))
        constants[f"z{i}"] = rng.integers(0, 256, packed, np.uint8)
    inputs = "w1 s1 b1 w2 s2 b2" + (" - - - z1 z2" if zero else "")
    attributes = {"block_size": block} if block else {}
    check_one(experts(inputs, op="QMoE", constants=constants, expert_weight_bits=bits,
                        activation_type="relu", **attributes), explain, run)


# ---- LSTM ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("columns, options", [
    (False, {}), (True, {"direction": "reverse"}), (True, {"direction": "bidirectional"})], ids=str)
def test_quantized_lstm(explain, run, columns, options):
    """One reference at a time: the operator rounds to a scale that all of a batch share."""
    rng = np.random.default_rng(4)
    d, h, c = 2 if options.get("direction") == "bidirectional" else 1, 4, 5
    scales = (d, 4 * h) if columns else (d,)
    constants = {"b": floats(d, 8 * h)}
    for name, rows in (("w", c), ("r", h)):
        constants |= {name: rng.integers(-90, 90, (d, rows, 4 * h), np.int8),
                      f"{name}s": floats(*scales, low=0.005, high=0.02),
                      f"{name}z": np.full(scales, 0, np.int8)}
    nodes = [node("Transpose", "x", "t", perm=[1, 0, 2]),
             contrib("DynamicQuantizeLSTM", "t w r b - - - - ws wz rs rz", "all last cell",
                     hidden_size=h, **options),
             node("Transpose", "all", "a", perm=[2, 0, 1, 3]),
             node("Transpose", "cell", "k", perm=[1, 0, 2]),
             node("Unsqueeze", "k one", "k1"), node("Concat", "a k1", "y", axis=1)]
    rule = Rule(nodes, {"x": (3, c)}, {**constants, "one": np.array([1])}, domains=MS, low=-1,
                high=1)
    for row in range(3):
        check_one(rule, explain, run, row)
