"""Operators of com.microsoft of which ONNX Runtime has no kernel for the CPU, run by the reference
evaluator with forwards written here; and the embedding, whose inputs are tokens."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from rulecheck import Rule, check, check_additive, floats, node

MS = [("com.microsoft", 1)]


def contrib(op, inputs, outputs, **attributes):
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), domain="com.microsoft", **attributes)


class BiasAdd(OpRun):
    op_domain = "com.microsoft"

    def _run(self, x, bias, skip):
        return (x + bias + skip,)


class NhwcConv(OpRun):
    """Activations are [N, H, W, C], filters [M, kH, kW, C / group], as ONNX Runtime's own converter
    of Conv to NhwcConv writes them."""
    op_domain = "com.microsoft"

    def _run(self, x, w, bias=None, auto_pad=None, dilations=None, group=None, kernel_shape=None,
             pads=None, strides=None):
        (dh, dw), (sh, sw) = dilations or (1, 1), strides or (1, 1)
        top, left, bottom, right = pads or (0, 0, 0, 0)
        group = group or 1
        x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
        filters, kh, kw, depth = w.shape
        height = (x.shape[1] - dh * (kh - 1) - 1) // sh + 1
        width = (x.shape[2] - dw * (kw - 1) - 1) // sw + 1
        y = np.zeros((len(x), height, width, filters), x.dtype)
        for m in range(filters):
            channels = slice(m // (filters // group) * depth, (m // (filters // group) + 1) * depth)
            for i in range(height):
                for j in range(width):
                    window = x[:, i * sh:i * sh + dh * kh:dh, j * sw:j * sw + dw * kw:dw, channels]
                    y[:, i, j, m] = np.einsum("nhwc,hwc->n", window[:, :kh, :kw], w[m])
        return (y if bias is None else y + bias,)


def run(model, inputs):
    """Outputs by name, as the fixture of this name gives."""
    evaluator = ReferenceEvaluator(model, new_ops=[BiasAdd, NhwcConv])
    return dict(zip(evaluator.output_names, evaluator.run(None, inputs)))


def test_bias_add(explain):
    nodes = [contrib("BiasAdd", "x b s", "y")]
    rule = Rule(nodes, {"x": (3, 4), "s": (3, 4)}, {"b": floats(4)}, domains=MS, forward=run)
    check_additive(rule, explain, run)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("attributes", [
    {}, {"pads": [1, 0, 2, 1], "strides": [2, 1]}, {"group": 2},
    {"group": 4, "dilations": [2, 1], "pads": [1, 1, 1, 1]}], ids=str)
def test_nhwc_conv(explain, attributes, bias):
    constants = {"w": floats(4, 3, 2, 4 // attributes.get("group", 1)), "b": floats(4)}
    nodes = [contrib("NhwcConv", "x w b" if bias else "x w", "y", **attributes)]
    rule = Rule(nodes, {"x": (5, 4, 4)}, constants, domains=MS, forward=run)
    check_additive(rule, explain, run)


def test_nhwc_conv_between_nonlinear_operators(explain):
    nodes = [node("Tanh", "x", "t"), contrib("NhwcConv", "t w b", "c", pads=[1, 1, 1, 1]),
             node("Relu", "c", "y")]
    constants = {"w": floats(3, 3, 3, 2), "b": floats(3)}
    rule = Rule(nodes, {"x": (4, 4, 2)}, constants, domains=MS, forward=run)
    check(rule, explain, run)


# ---- embeddings --------------------------------------------------------------------------------

TABLES = {"words": floats(9, 6, seed=1), "places": floats(7, 6, seed=2),
          "kinds": floats(2, 6, seed=3), "g": floats(6, seed=4), "beta": floats(6, seed=5),
          "head": floats(6, 3, seed=6), "one": np.array([1])}


def embedding(nodes, names, output=TensorProto.FLOAT):
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT32, ["N", 5]) for n in names]
    nodes = [*nodes, node("Tanh", "e", "t"), node("MatMul", "t head", "h"),
             node("ReduceSum", "h one", "out", keepdims=0)]
    used = {name for n in nodes for name in n.input}
    graph = helper.make_graph(
        nodes, "g", inputs, [helper.make_tensor_value_info("out", output, ["N", 3])],
        [numpy_helper.from_array(v, k) for k, v in TABLES.items() if k in used])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def fused(names):
    """EmbedLayerNormalization over the inputs of these names."""
    inputs = ["ids", "kind" if "kind" in names else "", "words", "places",
              "kinds" if "kind" in names else "", "g", "beta", "", "place"]
    op = helper.make_node("EmbedLayerNormalization", inputs[:9 if "place" in names else 7],
                          ["e", "m"], domain="com.microsoft", epsilon=1e-5)
    return embedding([op], names)


def plain(names):
    """The same as operators of the standard."""
    nodes = [node("Gather", "words ids", "w"), node("Gather", "places place", "p"),
             node("Add", "w p", "wp")]
    if "kind" in names:
        nodes += [node("Gather", "kinds kind", "k"), node("Add", "wp k", "s")]
    else:
        nodes += [node("Identity", "wp", "s")]
    nodes += [node("LayerNormalization", "s g beta", "e", epsilon=1e-5)]
    return embedding(nodes, [*names, *({"place"} - set(names))])


@pytest.mark.parametrize("names", [["ids"], ["ids", "kind"], ["ids", "kind", "place"]], ids=str)
def test_embed_layer_normalization(explain, run, names):
    """Complete per pair, and as the operators that it stands for."""
    rng = np.random.default_rng(0)
    high = {"ids": 9, "kind": 2, "place": 7}
    x, r = ({n: rng.integers(0, high[n], (rows, 5), np.int32) for n in names} for rows in (2, 3))
    r["ids"][0, :2] = x["ids"][0, :2]
    usual = {"place": np.arange(5, dtype=np.int32)[None].repeat(3, axis=0)}
    for i in range(3):
        one = {n: v[i:i + 1] for n, v in r.items()}
        base = run(fused(names), one)["out"]
        outputs = run(explain(fused(names), one, "--target=all"), x)
        np.testing.assert_array_equal(outputs["out"], run(fused(names), x)["out"])
        total = sum(outputs[f"{n}_shap"].sum(axis=2, dtype=np.float64) for n in names)
        assert np.abs(outputs["out"] - base - total).max() <= 2e-5
        held = {} if "place" in names else {"place": usual["place"][:1]}
        twin = run(explain(plain(names), {**one, **held}, "--target=all"),
                   {**x, **({"place": usual["place"][:2]} if held else {})})
        for n in names:
            assert (outputs[f"{n}_shap"][0, :, x[n][0] == one[n][0]] == 0).all()
            np.testing.assert_allclose(outputs[f"{n}_shap"], twin[f"{n}_shap"], atol=2e-5)
