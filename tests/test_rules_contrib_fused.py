"""Operators of com.microsoft that are one of the standard, or a few of them, complete per pair
against ONNX Runtime's own kernels; those without one against their definitions."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from rulecheck import Rule, check_additive, check_one, check_pairs, floats, ints, node

MS = [("com.microsoft", 1)]


def contrib(op, inputs, outputs, **attributes):
    """A node whose inputs may be left out by `-`."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), domain="com.microsoft", **attributes)


@pytest.mark.parametrize("nodes, shapes, constants", [
    ([contrib("Trilu", "x k", "y", upper=0)], {"x": (4, 4)}, {"k": np.array(1)}),
    ([node("Transpose", "x", "t", perm=[1, 2, 0]), contrib("GatherND", "t i", "g"),
      node("Transpose", "g", "y", perm=[1, 0])], {"x": (4, 3)},
     {"i": ints([0, 1], [3, 2], [0, 1])}),
    ([contrib("Pad", "x p", "y", mode="reflect")], {"x": (4, 3)}, {"p": ints(0, 1, 0, 0, 2, 1)}),
    ([contrib("ExpandDims", "x a", "y")], {"x": (4, 3)}, {"a": np.array(1, np.int32)}),
    ([contrib("SampleOp", "x", "y")], {"x": (4,)}, {}),
    ([contrib("UnfoldTensor", "x", "y", dim=1, size=3, step=2)], {"x": (7, 2)}, {}),
    ([contrib("UnfoldTensor", "x", "y", size=2)], {"x": (3, 4)}, {}),
], ids=lambda v: v[0].op_type if isinstance(v, list) else "")
def test_moves(explain, run, nodes, shapes, constants):
    check_additive(Rule(nodes, shapes, constants, domains=MS), explain, run)


@pytest.mark.parametrize("nodes, shapes, constants", [
    ([contrib("ScaledSiLU", "x", "y", alpha=1.3)], {"x": (4,)}, {}),
    ([contrib("ScaledSiLU", "x s", "y")], {"x": (4,)}, {"s": np.array(0.7, np.float32)}),
    ([contrib("GatedAdd", "x z g", "y")], {"x": (2, 4), "z": (2, 4), "g": (2, 1)}, {}),
    ([contrib("GatedRMSNorm", "x s g", "y")], {"x": (2, 6), "g": (2, 6)}, {"s": floats(3)}),
    ([contrib("GatedRMSNorm", "x s g", "y", activation="sigmoid")],
     {"x": (2, 3), "g": (2, 3)}, {"s": floats(3)}),
    ([contrib("BranchwiseRMSNorm", "x", "y")], {"x": (2, 3, 4)}, {}),
    ([contrib("BranchwiseRMSNorm", "x s", "y")], {"x": (2, 3, 4)}, {"s": floats(3, 4)}),
    ([contrib("BranchwiseRMSNorm", "x s", "y")], {"x": (2, 3, 4)}, {"s": floats(4)}),
    ([contrib("BranchwiseRMSNorm", "x s", "y", num_branches=3)], {"x": (12,)},
     {"s": floats(3, 4)}),
    ([contrib("HyperConnectionPreMix", "x g", "y", reduction_scale=0.5)],
     {"x": (2, 3, 4), "g": (2, 3)}, {}),
    ([contrib("HyperConnectionPreMix", "x g", "y", num_branches=3)],
     {"x": (2, 12), "g": (2, 12)}, {}),
    ([contrib("HyperConnectionPostMix", "x b g m", "y")],
     {"x": (2, 3, 4), "b": (2, 4), "g": (2, 3), "m": (2, 3, 3)}, {}),
    ([contrib("HyperConnectionPostMix", "x b g", "y", num_branches=3)],
     {"x": (2, 12), "b": (2, 4), "g": (2, 3, 4)}, {}),
    ([contrib("EngramGate", "x q v s t", "y")], {"x": (2, 3, 4), "q": (2, 3, 4), "v": (2, 4)},
     {"s": floats(3, 4), "t": floats(3, 4, seed=1)}),
    ([contrib("EngramGate", "x q v s t c", "h y")],
     {"x": (2, 3, 4), "q": (2, 3, 4), "v": (2, 4)},
     {"s": floats(3, 4), "t": floats(3, 4, seed=1), "c": floats(3, 4, seed=2)}),
    ([contrib("LinearAttentionGate", "x b s z", "d e"), node("Mul", "d e", "y")],
     {"x": (3, 4), "z": (3, 4)}, {"b": floats(4), "s": floats(4, seed=1)}),
    ([contrib("CDist", "x b", "y", metric="sqeuclidean")], {"x": (4,)}, {"b": floats(3, 4)}),
    ([contrib("CDist", "x b", "y", metric="euclidean")], {"x": (4,)}, {"b": floats(3, 4)}),
    ([contrib("Inverse", "s", "y"), node("Add", "x e", "s")][::-1], {"x": (3, 3)},
     {"e": 8 * np.eye(3, dtype=np.float32)}),
    ([contrib("TransposeMatMul", "x z", "y", transB=1, alpha=0.5)],
     {"x": (3, 4), "z": (2, 4)}, {}),
    ([contrib("CausalConvWithState", "x w b p", "a s", activation="silu"),
      node("Concat", "a s", "y", axis=2)], {"x": (2, 4), "p": (2, 2)},
     {"w": floats(2, 1, 3), "b": floats(2)}),
    ([contrib("LinearAttention", "x k v - d b", "y s", q_num_heads=2, kv_num_heads=2)],
     {"x": (3, 6), "k": (3, 6), "v": (3, 4), "d": (3, 2), "b": (3, 2)}, {}),
    ([contrib("LinearAttention", "x k v", "y s", q_num_heads=2, kv_num_heads=1,
              update_rule="linear")], {"x": (3, 6), "k": (3, 3), "v": (3, 2)}, {}),
    ([contrib("GridSample", "x g", "y", padding_mode="border")],
     {"x": (2, 3, 4), "g": (2, 3, 2)}, {}),
], ids=lambda v: v[0].op_type if isinstance(v, list) else "")
def test_few(explain, run, nodes, shapes, constants):
    check_one(Rule(nodes, shapes, constants, domains=MS, low=-1, high=1), explain, run)


# ---- integers ------------------------------------------------------------------------------------

def quantized(nodes, shapes, kind=np.uint8, **constants):
    """Inputs become integers before the nodes, and the result of these a number."""
    known = {"s": np.array(0.03, np.float32), "z": np.array(120, kind), **constants}
    nodes = [*(node("QuantizeLinear", f"{name} s z", f"{name}q") for name in shapes), *nodes]
    return Rule(nodes, shapes, known, domains=MS)


def test_quantized_where(explain, run):
    constants = {"c": np.array([True, False, True, True])}
    nodes = [contrib("QLinearWhere", "c xq s z vq s z s z", "w"),
             node("DequantizeLinear", "w s z", "y")]
    check_one(quantized(nodes, {"x": (3, 4), "v": (3, 4)}, **constants), explain, run)


def test_quantized_pool(explain, run):
    nodes = [contrib("NhwcMaxPool", "xq", "w", kernel_shape=[2, 2], strides=[1, 2]),
             node("DequantizeLinear", "w s z", "y")]
    check_one(quantized(nodes, {"x": (4, 5, 3)}), explain, run)


@pytest.mark.parametrize("last", [0, 1])
def test_quantized_conv(explain, run, last):
    rng = np.random.default_rng(0)
    constants = {"w": rng.integers(-90, 90, (4, 3, 2, 2), np.int8), "zw": np.array(0, np.int8),
                 "sw": np.array(0.01, np.float32)}
    nodes = [contrib("QLinearConv", "xq s z w sw zw s z", "c", channels_last=last,
                     pads=[1, 0, 0, 1]), node("DequantizeLinear", "c s z", "y")]
    shape = (5, 4, 3) if last else (3, 5, 4)
    check_pairs(quantized(nodes, {"x": shape}, **constants), explain, run)


def test_short_integers(explain, run):
    nodes = [node("Mul", "x hundred", "h"), node("Cast", "h", "i", to=TensorProto.INT16),
             contrib("MatMulInteger16", "i w", "p"), node("Cast", "p", "y", to=TensorProto.FLOAT)]
    constants = {"hundred": np.array(100, np.float32),
                 "w": np.arange(-6, 6, dtype=np.int16).reshape(4, 3)}
    check_one(Rule(nodes, {"x": (2, 4)}, constants, domains=MS), explain, run)


@pytest.mark.parametrize("segments", [False, True])
def test_quantized_embeddings(explain, run, segments):
    """Tables of integers: tokens get what they get as operators of the standard."""
    rng = np.random.default_rng(1)
    sizes = {"words": 9, "places": 4, "kinds": 2}
    constants = {name: rng.integers(0, 255, (count, 6), np.uint8) for name, count in sizes.items()}
    constants |= {"g": rng.integers(0, 255, 6, np.uint8), "b": rng.integers(0, 255, 6, np.uint8),
                  "s": np.array(0.02, np.float32), "z": np.array(120, np.uint8),
                  "h": floats(6, 3), "one": np.array([1]), "at": np.arange(4)}
    names = ["ids", "kind"] if segments else ["ids"]
    quantized_op = contrib("QEmbedLayerNormalization", " ".join(
        ["ids", "kind" if segments else "-", "words", "places", "kinds" if segments else "-", "g",
         "b", "-", "s", "s", "s" if segments else "-", "s", "s", "z", "z",
         "z" if segments else "-", "z", "z"]), "e m", epsilon=1e-5)
    plain = [node("DequantizeLinear", f"{name} s z", f"{name}r")
             for name in ("words", "places", "kinds", "g", "b")]
    plain += [node("Gather", "wordsr ids", "w"), node("Add", "w placesr", "wp")]
    plain += [node("Gather", "kindsr kind", "k"), node("Add", "wp k", "sum")] if segments else [
        node("Identity", "wp", "sum")]
    plain += [node("LayerNormalization", "sum gr br", "e", epsilon=1e-5)]

    def model(nodes):
        nodes = [*nodes, node("Tanh", "e", "t"), node("ReduceSum", "t one", "p", keepdims=0),
                 node("Tanh", "p", "q"), node("MatMul", "q h", "y")]
        used = {name for n in nodes for name in n.input}
        graph = helper.make_graph(
            nodes, "g", [helper.make_tensor_value_info(n, TensorProto.INT32, ["N", 4])
                         for n in names],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
            [numpy_helper.from_array(v, k) for k, v in constants.items() if k in used])
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid(*MS[0])]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)

    high = {"ids": 9, "kind": 2}
    x, r = ({n: rng.integers(0, high[n], (rows, 4), np.int32) for n in names} for rows in (2, 3))
    ours = run(explain(model([quantized_op]), r, "--target=all"), x)
    twin = run(explain(model(plain), r, "--target=all"), x)
    for name in ["y", "base_value", *(f"{n}_shap" for n in names)]:
        np.testing.assert_allclose(ours[name], twin[name], rtol=1e-4, atol=1e-5)


# ---- without a kernel ----------------------------------------------------------------------------

def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def erf(x):
    """To within 1e-7."""
    nodes = [helper.make_node("Erf", ["x"], ["y"])]
    shape = [None] * x.ndim
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, shape)],
                              [helper.make_tensor_value_info("y", 1, shape)])
    return ReferenceEvaluator(helper.make_model(graph)).run(None, {"x": x})[0]


def defined(op, formula):
    """The operator `op` by a formula of its inputs and attributes."""
    def compute(self, *inputs, **attributes):
        result = formula(*inputs, **attributes)
        return tuple(np.asarray(v, np.float32)
                     for v in (result if isinstance(result, tuple) else (result,)))
    return type(op, (OpRun,), {"op_domain": "com.microsoft", "_run": compute})


def split_gelu(x, bias):
    left, right = np.split(x + bias, 2, axis=-1)
    return left * right * (1 + erf((right * np.sqrt(0.5)).astype(np.float32))) / 2


def swiglu(gate, up=None, activation_alpha=1.0, activation_beta=0.0, limit=0.0, **_):
    if up is None:
        gate, up = np.split(gate, 2, axis=-1)
    if limit > 0:
        gate, up = np.minimum(gate, limit), np.clip(up, -limit, limit)
    return gate * sigmoid(activation_alpha * gate) * (up + activation_beta)


def fast_gelu(x, w, bias=0):
    x = x @ w + bias
    return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3))) / 2


def softmax(x, bias, axis=1, is_inner_broadcast=0):
    e = np.exp(x + bias - (x + bias).max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def activated_product(a, b, transA=0, transB=0, alpha=1.0, activation=""):
    a, b = (np.swapaxes(v, -1, -2) if turned else v for v, turned in ((a, transA), (b, transB)))
    return np.maximum(alpha * (a @ b), 0)


def gemma(emb, q, q_rot, k, k_rot):
    cosine, sine = np.cos(emb)[:, None], np.sin(emb)[:, None]
    return q * cosine + q_rot * sine, k * cosine + k_rot * sine


def conv_last(x, w, bias, z, activation="", activation_params=None):
    y = np.zeros((len(x), x.shape[1] - 1, x.shape[2] - 1, len(w)))
    for i, j in np.ndindex(2, 2):
        y += x[:, i:i + y.shape[1], j:j + y.shape[2]] @ w[:, :, i, j].T
    return np.maximum(y + bias + z, 0)


DEFINED = [defined("BiasSplitGelu", split_gelu), defined("SwiGLU", swiglu),
           defined("GemmFastGelu", fast_gelu), defined("BiasSoftmax", softmax),
           defined("FusedMatMulActivation", activated_product),
           defined("GemmaRotaryEmbedding", gemma), defined("NhwcFusedConv", conv_last),
           defined("BiasDropout", lambda x, b, r=0: x + b + r),
           defined("TorchEmbedding", lambda w, i: w[i])]


def by_definition(model, inputs):
    evaluator = ReferenceEvaluator(model, new_ops=DEFINED)
    return dict(zip(evaluator.output_names, evaluator.run(None, inputs)))


@pytest.mark.parametrize("nodes, shapes, constants", [
    ([contrib("BiasSplitGelu", "x b", "y")], {"x": (3, 6)}, {"b": floats(6)}),
    ([contrib("SwiGLU", "x", "y", activation_alpha=1.7, activation_beta=1.0, limit=1.2)],
     {"x": (3, 6)}, {}),
    ([contrib("SwiGLU", "x u", "y")], {"x": (3, 6), "u": (3, 6)}, {}),
    ([contrib("GemmFastGelu", "x w b", "y")], {"x": (3, 4)}, {"w": floats(4, 2), "b": floats(2)}),
    ([contrib("BiasSoftmax", "x b", "y", axis=2, is_inner_broadcast=0)], {"x": (3, 4)},
     {"b": floats(3, 4)}),
    ([contrib("FusedMatMulActivation", "x z", "y", activation="Relu", transB=1, alpha=0.5)],
     {"x": (3, 4), "z": (2, 4)}, {}),
    ([contrib("GemmaRotaryEmbedding", "e x xr k kr", "a b"), node("Mul", "a b", "y")],
     {"e": (3, 4), "x": (2, 3, 4), "xr": (2, 3, 4), "k": (2, 3, 4), "kr": (2, 3, 4)}, {}),
    ([contrib("NhwcFusedConv", "x w b z", "y", activation="Relu")],
     {"x": (4, 5, 3), "z": (3, 4, 2)}, {"w": floats(2, 3, 2, 2), "b": floats(2)}),
    ([contrib("BiasDropout", "x b r", "y")], {"x": (3, 4), "r": (3, 4)}, {"b": floats(4)}),
    ([contrib("TorchEmbedding", "t i", "p"), node("Mul", "x p", "y")], {"x": (2, 4)},
     {"t": floats(5, 4), "i": ints(3, 1)}),
], ids=lambda v: v[0].op_type if isinstance(v, list) else "")
def test_by_definition(explain, nodes, shapes, constants):
    rule = Rule(nodes, shapes, constants, domains=MS, low=-1, high=1, forward=by_definition)
    check_one(rule, explain, by_definition)
