"""Operators of com.microsoft of which ONNX Runtime has no kernel for the CPU, run by the reference
evaluator with forwards written here; and the embedding, whose inputs are tokens."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from rulecheck import Rule, check, check_additive, check_one, check_pairs, floats, node

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


def group_normalized(x, gamma, beta, groups, activation, channels_last, epsilon):
    """As its definition in ONNX Runtime says, group by group."""
    y = np.moveaxis(x, -1, 1) if channels_last else x
    parts = np.split(y, groups, axis=1)
    axes = tuple(range(1, x.ndim))
    y = np.concatenate([(p - p.mean(axes, keepdims=True)) /
                        np.sqrt(p.var(axes, keepdims=True) + epsilon) for p in parts], axis=1)
    y = np.moveaxis(y, 1, -1) * gamma + beta
    y = y / (1 + np.exp(-y)) if activation else y
    return (y if channels_last else np.moveaxis(y, -1, 1)).astype(x.dtype)


class GroupNorm(OpRun):
    op_domain = "com.microsoft"

    def _run(self, x, gamma, beta, activation=0, channels_last=1, epsilon=1e-5, groups=1):
        channels_last = 1 if channels_last is None else channels_last
        return (group_normalized(x, gamma, beta, groups, activation, channels_last, epsilon),)


class SkipGroupNorm(OpRun):
    op_domain = "com.microsoft"

    def _run(self, x, gamma, beta, skip, bias=None, activation=0, channels_last=1, epsilon=1e-5,
             groups=1):
        channels_last = 1 if channels_last is None else channels_last
        if skip.ndim == 2:
            skip = skip[:, None, None, :] if channels_last else skip[:, :, None, None]
        bias = 0 if bias is None else bias if channels_last else bias[:, None, None]
        x = x + skip + bias
        return group_normalized(x, gamma, beta, groups, activation, channels_last, epsilon), x


def attended(q, k, v, hidden=0):
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1]) + hidden
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    y = shares / shares.sum(-1, keepdims=True) @ v
    return np.swapaxes(y, 1, 2).reshape(len(q), q.shape[2], -1).astype(q.dtype)


class MultiHeadAttention(OpRun):
    """Of packed inputs."""
    op_domain = "com.microsoft"

    def _run(self, q, k=None, v=None, bias=None, num_heads=1):
        q, *rest = np.moveaxis(q, 3, 0) if q.ndim == 5 else (q, *np.moveaxis(k, 3, 0))
        parts = [p.reshape(len(p), p.shape[1], -1) for p in (q, *rest)]
        bias = [0, 0, 0] if bias is None else np.split(bias, 3)
        split = [(p + b).reshape(len(p), p.shape[1], num_heads, -1) for p, b in zip(parts, bias)]
        return (attended(*(np.swapaxes(p, 1, 2) for p in split)),)


class GroupQueryAttention(OpRun):
    """Of packed heads that are normalised, without a past."""
    op_domain = "com.microsoft"

    def _run(self, *inputs, num_heads=1, kv_num_heads=1, qk_norm_epsilon=1e-6):
        x, scale_q, scale_k = inputs[0], inputs[14], inputs[15]
        x = np.swapaxes(x.reshape(len(x), x.shape[1], num_heads + 2 * kv_num_heads, -1), 1, 2)
        q, k, v = np.split(x, [num_heads, num_heads + kv_num_heads], axis=1)
        q, k = (p / np.sqrt((p ** 2).mean(-1, keepdims=True) + qk_norm_epsilon) * s
                for p, s in ((q, scale_q), (k, scale_k)))
        k, v = (p.repeat(num_heads // kv_num_heads, axis=1) for p in (k, v))
        after = np.triu(np.full((x.shape[2], x.shape[2]), -np.inf), 1)
        return (attended(q, k, v, after),)


KNOWN = [BiasAdd, NhwcConv, GroupNorm, SkipGroupNorm, MultiHeadAttention, GroupQueryAttention]


def run(model, inputs):
    """Outputs by name, as the fixture of this name gives."""
    evaluator = ReferenceEvaluator(model, new_ops=KNOWN)
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


@pytest.mark.parametrize("last, activation", [(1, 0), (1, 1), (0, 1)])
def test_group_norm(explain, last, activation):
    nodes = [contrib("GroupNorm", "x g b", "y", groups=2, activation=activation,
                     channels_last=last)]
    shape = (3, 2, 4) if last else (4, 3, 2)
    rule = Rule(nodes, {"x": shape}, {"g": floats(4), "b": floats(4, seed=1)}, domains=MS,
                forward=run)
    check_one(rule, explain, run)


@pytest.mark.parametrize("last, skip, inputs", [
    (1, (3, 2, 4), "x g b s"), (1, (4,), "x g b s c"), (1, (1, 1, 4), "x g b s"),
    (0, (4, 3, 2), "x g b s c")])
def test_skip_group_norm(explain, last, skip, inputs):
    nodes = [contrib("SkipGroupNorm", inputs, "n t", groups=2, activation=1, channels_last=last),
             node("Add", "n t", "y")]
    shape = (3, 2, 4) if last else (4, 3, 2)
    constants = {"g": floats(4), "b": floats(4, seed=1), "c": floats(4, seed=2)}
    rule = Rule(nodes, {"x": shape, "s": skip}, constants, domains=MS, forward=run)
    check_pairs(rule, explain, run)


@pytest.mark.parametrize("inputs, shapes", [
    ("x", {"x": (3, 2, 3, 4)}), ("x - - b", {"x": (3, 2, 3, 4)}),
    ("x k", {"x": (3, 8), "k": (4, 2, 2, 4)}), ("x k - b", {"x": (3, 8), "k": (4, 2, 2, 4)})])
def test_packed_attention(explain, inputs, shapes):
    nodes = [contrib("MultiHeadAttention", inputs, "y", num_heads=2)]
    rule = Rule(nodes, shapes, {"b": floats(24)}, domains=MS, low=-1, high=1, forward=run)
    check_one(rule, explain, run)


def test_normalized_heads(explain):
    """Of queries and keys, before they meet."""
    nodes = [node("Shape", "x", "n", start=0, end=1), node("Expand", "last n", "lens"),
             contrib("GroupQueryAttention", "x - - - - lens total - - - - - - - q k", "y",
                     num_heads=4, kv_num_heads=2)]
    constants = {"last": np.array([2], np.int32), "total": np.array(3, np.int32),
                 "q": floats(8, seed=1), "k": floats(8, seed=2)}
    rule = Rule(nodes, {"x": (3, 64)}, constants, domains=MS, low=-1, high=1, forward=run)
    check_one(rule, explain, run)


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
