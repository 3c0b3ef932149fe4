"""Weights of a few bits: every form of them is complete per pair against ONNX Runtime's own
kernels."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from rulecheck import Rule, check_additive, check_one, floats

MS = [("com.microsoft", 1)]
ROWS, WIDTH, BLOCK = 5, 40, 16
BLOCKS = (WIDTH + BLOCK - 1) // BLOCK


def contrib(op, inputs, outputs, **attributes):
    """A node whose inputs may be left out by `-`."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), domain="com.microsoft", **attributes)


def few_bits(bits, extra="", level=0, **constants):
    rng = np.random.default_rng(0)
    constants = {"w": rng.integers(0, 256, (ROWS, BLOCKS, BLOCK * bits // 8), np.uint8),
                 "s": floats(ROWS, BLOCKS, low=0.01, high=0.1), "b": floats(ROWS),
                 "f": floats(ROWS, BLOCKS, low=0, high=1 << bits),
                 "z": rng.integers(0, 256, (ROWS, (BLOCKS * bits + 7) // 8), np.uint8),
                 "g": rng.integers(0, BLOCKS, WIDTH).astype(np.int32), **constants}
    nodes = [contrib("MatMulNBits", f"x w s {extra}", "y", N=ROWS, K=WIDTH, bits=bits,
                     block_size=BLOCK, accuracy_level=level)]
    return Rule(nodes, {"x": (2, WIDTH)}, constants, domains=MS)


@pytest.mark.parametrize("bits, extra", [
    (2, ""), (2, "z"), (2, "f - b"), (4, ""), (4, "z - b"), (4, "f"), (4, "- g"), (4, "f g b"),
    (8, "- - b"), (8, "z")])
def test_matmul_of_few_bits(explain, run, bits, extra):
    check_one(few_bits(bits, extra), explain, run)


def test_matmul_of_few_bits_is_additive(explain, run):
    check_additive(few_bits(4, "z"), explain, run)


def test_flat_scales(explain, run):
    """As older files have them."""
    rule = few_bits(4, "z", s=floats(ROWS * BLOCKS, low=0.01, high=0.1),
                    z=np.arange(ROWS * ((BLOCKS + 1) // 2), dtype=np.uint8))
    check_one(rule, explain, run)


@pytest.mark.parametrize("bits", [4, 8])
def test_matmul_that_rounds(explain, run, bits):
    """The operator rounds its input to eight bits: complete for what it computes."""
    check_one(few_bits(bits, level=4), explain, run)


def test_weights_of_no_size(explain, run):
    rule = few_bits(4, "- - b", w=np.zeros((0, BLOCKS, BLOCK // 2), np.uint8))
    outputs = run(explain(rule.model, rule.r, "--target=all"), rule.x)
    assert (outputs["x_shap"] == 0).all()


@pytest.mark.parametrize("kind", [0, 1])
def test_matmul_bnb4(explain, run, kind):
    rng = np.random.default_rng(0)
    constants = {"w": rng.integers(0, 256, 3 * 32 // 2, np.uint8), "s": floats(6, low=0.1, high=1)}
    nodes = [contrib("MatMulBnb4", "x w s", "y", N=3, K=32, block_size=16, quant_type=kind)]
    check_additive(Rule(nodes, {"x": (32,)}, constants, domains=MS), explain, run)


# ---- tokens --------------------------------------------------------------------------------------

def numbers(packed, bits):
    """Bytes [.., L] as the numbers in them [.., L * 8 / bits], as ints."""
    parts = [packed.astype(int) >> shift & (1 << bits) - 1 for shift in range(0, 8, bits)]
    return np.stack(parts, -1).reshape(*packed.shape[:-1], -1)


@pytest.mark.parametrize("bits, zero", [(2, False), (4, False), (4, True), (8, True)])
def test_quantized_table(explain, run, bits, zero):
    """Each token gets what its row of the table, as numbers, would get."""
    words, width, length, block = 7, 32, 4, 16
    rng = np.random.default_rng(1)
    table = rng.integers(0, 256, (words, width * bits // 8), np.uint8)
    scale = floats(words, width // block, low=0.01, high=0.1)
    points = rng.integers(0, 256, (words, (width // block * bits + 7) // 8), np.uint8)
    middle = numbers(points, bits)[:, :width // block] if zero else 1 << bits - 1
    real = numbers(table, bits).reshape(words, -1, block) - np.broadcast_to(
        middle, scale.shape)[..., None]
    real = (real * scale[..., None]).reshape(words, width).astype(np.float32)
    constants = {"t": table, "s": scale, "z": points, "real": real, "h": floats(width, 3),
                 "one": np.array([1])}

    def model(first):
        nodes = [first, helper.make_node("Tanh", ["e"], ["a"]),
                 helper.make_node("ReduceSum", ["a", "one"], ["p"], keepdims=0),
                 helper.make_node("Tanh", ["p"], ["b"]),
                 helper.make_node("MatMul", ["b", "h"], ["y"])]
        used = {name for n in nodes for name in n.input}
        graph = helper.make_graph(
            nodes, "g", [helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", length])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
            [numpy_helper.from_array(v, k) for k, v in constants.items() if k in used])
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid(*MS[0])]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)

    x, r = rng.integers(0, words, (2, length)), rng.integers(0, words, (3, length))
    x[0, 0] = r[0, 0]
    picked = contrib("GatherBlockQuantized", "t ids s z" if zero else "t ids s", "e", bits=bits,
                     block_size=block, quantize_axis=1, gather_axis=0)
    ours = run(explain(model(picked), {"ids": r}, "--target=all"), {"ids": x})
    twin = model(helper.make_node("Gather", ["real", "ids"], ["e"]))
    plain = run(explain(twin, {"ids": r}, "--target=all"), {"ids": x})
    for name in ("y", "base_value", "ids_shap"):
        np.testing.assert_allclose(ours[name], plain[name], rtol=1e-4, atol=1e-5)
    total = ours["ids_shap"].sum(axis=2)
    np.testing.assert_allclose(total, ours["y"] - ours["base_value"], atol=1e-5)
