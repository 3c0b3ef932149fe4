"""Values beyond numbers that become numbers again: NaN and infinities that are not chosen or are
replaced, and masks of attention that differ between sample and reference. The SHAP values of each
pair are compared with what the model itself says."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from rulecheck import FLOAT, ints, node

NAN, INF, LOWEST = np.nan, np.inf, np.finfo(np.float32).min
LEARN = ("ai.onnx.ml", 3)
CONTRIB = ("com.microsoft", 1)
HALF, INT64 = TensorProto.FLOAT16, TensorProto.INT64


def model_of(nodes, shape, constants, dtype=np.float32, rank=2, domains=()):
    """Inputs x [N, *shape], output y."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    value = helper.make_tensor_value_info
    weights = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "g", [value("x", kind, ["N", *shape])],
                              [value("y", kind, [None] * rank)], weights)
    opsets = [helper.make_opsetid("", 23), *(helper.make_opsetid(*d) for d in domains)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.checker.check_model(model)
    return model


# ---- functions of one value -------------------------------------------------------------------

CHOSEN = [node("Greater", "x zero", "c"), node("Where", "c a x", "y")]
CONSTANTS = {"zero": np.float32(0), "one": np.float32(1), "seven": np.float32(0.7),
             "mean": np.float32(0.25), "scale": np.float32(3), "low": np.float32(-5),
             "inf": np.float32(np.inf)}
GRID = [-100, -2.5, -1, -0.7, -1e-3, 0, 1e-6, 0.3, 0.7, 1, 1.5, 90, 100]
GAPS = [NAN, *GRID[1:-1]]

# Nodes from x to y, and the values that x takes.
FORMS = {
    "log": ([node("Log", "x", "a"), *CHOSEN], GRID),
    "log of a part": ([node("Log", "x", "l"), node("Mul", "l scale", "k"),
                       node("Add", "k one", "a"), *CHOSEN], GRID),
    "sqrt": ([node("Sqrt", "x", "a"), *CHOSEN], GRID),
    "reciprocal": ([node("Relu", "x", "r"), node("Reciprocal", "r", "a"), *CHOSEN], GRID[:5]),
    "div": ([node("Relu", "x", "r"), node("Div", "one r", "a"), *CHOSEN], GRID[:5] + GRID[7:]),
    "div of both": ([node("Relu", "x", "r"), node("Div", "x r", "a"), *CHOSEN], GRID),
    "pow": ([node("Pow", "x seven", "a"), *CHOSEN], GRID),
    "exp": ([node("Exp", "x", "e"), node("Greater", "x low", "d"), node("Less", "x one", "f"),
             node("And", "d f", "c"), node("Where", "c e x", "y")], GRID),
    "asin": ([node("Asin", "x", "a"), node("Abs", "x", "b"), node("Less", "b one", "c"),
              node("Where", "c a x", "y")], GRID[1:-1]),
    "acosh": ([node("Acosh", "x", "a"), node("Greater", "x one", "c"),
               node("Where", "c a x", "y")], GRID),
    "signed sqrt": ([node("Sign", "x", "s"), node("Abs", "x", "b"), node("Sqrt", "b", "r"),
                     node("Mul", "s r", "y")], GRID),
    "replaced": ([node("Log", "x", "l"), node("IsNaN", "l", "n"), node("Where", "n low l", "k"),
                  node("Max", "k low", "y")], GRID),
    "imputed": ([node("Log", "x", "l"),
                 helper.make_node("Imputer", ["l"], ["k"], domain="ai.onnx.ml",
                                  imputed_value_floats=[0.5], replaced_value_float=NAN),
                 node("Max", "k low", "y")], GRID),
    "cut": ([node("Log", "x", "l"), node("Clip", "l low", "y")], GRID[5:]),
    "sigmoid": ([node("Log", "x", "l"), node("Sigmoid", "l", "y")], GRID[5:]),
    "all replaced": ([node("Sqrt", "x", "r"), node("Div", "one r", "l"), node("IsNaN", "l", "n"),
                      node("Where", "n zero l", "k"), node("IsInf", "k", "i"),
                      node("Where", "i low k", "y")], GRID),
    "missing": ([node("IsNaN", "x", "n"), node("Where", "n low x", "y")], GAPS),
    "missing, not equal": ([node("Equal", "x x", "e"), node("Where", "e x low", "y")], GAPS),
    "missing, imputed": ([helper.make_node("Imputer", ["x"], ["y"], domain="ai.onnx.ml",
                                           imputed_value_floats=[0.5],
                                           replaced_value_float=NAN)], GAPS),
    "missing, scaled": ([node("Sub", "x mean", "s"), node("Mul", "s scale", "t"),
                         node("Neg", "t", "u"), node("Reshape", "u row", "v"),
                         node("IsNaN", "v", "n"), node("Where", "n low v", "w"),
                         node("Tanh", "w", "y")], GAPS),
    "missing, standardised": ([helper.make_node("Scaler", ["x"], ["s"], domain="ai.onnx.ml",
                                                offset=[0.5], scale=[2.0]),
                               helper.make_node("Imputer", ["s"], ["y"], domain="ai.onnx.ml",
                                                imputed_value_floats=[0.5],
                                                replaced_value_float=NAN)], GAPS),
    "missing, flag": ([node("IsNaN", "x", "n"), node("Where", "n one zero", "f"),
                       node("Where", "n zero x", "k"), node("Mul", "f scale", "t"),
                       node("Add", "k t", "y")], GAPS),
    "missing, compared": ([node("Less", "x one", "c"), node("Where", "c scale low", "y")], GAPS),
    "infinite": ([node("IsInf", "x", "i"), node("Where", "i low x", "y")], [-INF, INF, *GAPS[1:]]),
}


# ONNX Runtime has these operators for floats only.
SINGLE = {"asin", "acosh", "imputed", "missing, imputed", "missing, standardised"}
CASES = [(form, dtype) for form in FORMS for dtype in (np.float32, np.float64)
         if dtype == np.float32 or form not in SINGLE]


@pytest.mark.parametrize("form, dtype", CASES)
def test_function(form, dtype, explain, run):
    """y = f(x) for each of many values: f(x) - f(r) is the SHAP value of each pair, whatever
    stands at the places beside it."""
    nodes, points = FORMS[form]
    learn = any(n.domain for n in nodes)
    x, r = np.repeat(points, len(points)).astype(dtype), np.tile(points, len(points)).astype(dtype)
    constants = {k: v.astype(dtype) for k, v in CONSTANTS.items()} | {"row": ints(-1, len(x))}
    model = model_of(nodes, [len(x)], constants, dtype, domains=[LEARN] if learn else [])
    y, y0 = run(model, x[None])["y"][0], run(model, r[None])["y"][0]
    assert np.isfinite(y).all()
    phi = run(explain(add_sum(model, dtype), r[None], "--target=0"), x[None])["x_shap"][0]
    error = np.abs(phi - (y.astype(np.float64) - y0))
    size = 1 + np.abs(y) + np.abs(y0) + np.abs(np.nan_to_num(x)) + np.abs(np.nan_to_num(r))
    size = np.where(np.isfinite(size) & (size < 1e30), size, 1 + np.abs(y) + np.abs(y0))
    bad = ~(error <= 16 * np.finfo(dtype).eps * size)
    assert not bad.any(), list(zip(x[bad], r[bad], phi[bad], y[bad], y0[bad]))[:6]


def add_sum(model, dtype):
    """The model with the sum of y as its output."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    graph.node.append(node("ReduceSum", "y axes", "sum", keepdims=1))
    graph.initializer.append(numpy_helper.from_array(ints(1), "axes"))
    del graph.output[:]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph.output.append(helper.make_tensor_value_info("sum", kind, ["N", 1]))
    return model


# ---- masks that differ ------------------------------------------------------------------------

WIDTH = 6
MASKED = [node("Mul", "x weights", "z"), node("Equal", "x zero", "pad")]


def added(*nodes):
    return [*MASKED, node("Cast", "pad", "hidden", to=FLOAT), *nodes, node("Add", "z bias", "l")]


# Nodes from x to the logits l; `mask` is given.
MASKS = {
    "where": [*MASKED, node("Where", "pad mask z", "l")],
    "where, other way": [*MASKED, node("Not", "pad", "seen"), node("Where", "seen z mask", "l")],
    "product": added(node("Mul", "hidden mask", "bias")),
    "inverted": added(node("Sub", "one hidden", "seen"), node("Sub", "one seen", "gone"),
                      node("Mul", "gone mask", "bias")),
    "moved": added(node("Where", "pad mask zero", "b"), node("Reshape", "b wide", "c"),
                   node("Transpose", "c", "d", perm=[0, 2, 1]), node("Reshape", "d flat", "bias")),
    "twice": added(node("Where", "pad mask zero", "b"), node("Add", "b b", "bias")),
    "behind another": [*MASKED, node("Where", "causal z mask", "k"),
                       node("Where", "pad mask k", "l")],
    "added to another": [*MASKED, node("Where", "causal zero mask", "k"), node("Add", "z k", "j"),
                         node("Where", "pad mask zero", "b"), node("Add", "j b", "l")],
    "half": [*MASKED, node("Cast", "z", "h", to=HALF), node("Cast", "mask", "n", to=HALF),
             node("Where", "pad n h", "k"), node("Cast", "k", "l", to=FLOAT)],
    "looked up": added(node("Cast", "pad", "i", to=INT64), node("Gather", "pair i", "bias")),
}
# Nodes from l to y.
HEADS = {
    "Softmax": [node("Softmax", "l", "p"), node("MatMul", "p values", "y")],
    "spelled out": [node("ReduceMax", "l last", "t"), node("Sub", "l t", "d"),
                    node("Exp", "d", "e"), node("ReduceSum", "e last", "s"),
                    node("Div", "e s", "p"), node("MatMul", "p values", "y")],
    "LogSoftmax": [node("LogSoftmax", "l", "g"), node("Exp", "g", "p"),
                   node("MatMul", "p values", "y")],
    "not chosen": [node("LogSoftmax", "l", "g"), node("Where", "pad zero g", "p"),
                   node("MatMul", "p values", "y")],
    "ReduceLogSumExp": [node("ReduceLogSumExp", "l last", "y")],
    "ReduceMax": [node("ReduceMax", "l last", "y")],
    "MaxPool": [node("Unsqueeze", "l one_axis", "u"),
                node("MaxPool", "u", "v", kernel_shape=[3], strides=[3]),
                node("ReduceMax", "v last", "w"), node("Squeeze", "w one_axis", "y")],
    "GlobalMaxPool": [node("Unsqueeze", "l one_axis", "u"), node("GlobalMaxPool", "u", "v"),
                      node("Squeeze", "v one_axis", "y")],
    "Sigmoid": [node("Sigmoid", "l", "p"), node("MatMul", "p values", "y")],
    "Relu": [node("Relu", "l", "p"), node("MatMul", "p values", "y")],
    "Max": [node("Max", "l least", "p"), node("MatMul", "p values", "y")],
    "Hardmax": [node("Hardmax", "l", "p"), node("MatMul", "p values", "y")],
    "TopK": [node("TopK", "l two", "v i"), node("MatMul", "v two_values", "y")],
    "quantised": [node("QuantizeLinear", "l step nought", "q"),
                  node("DequantizeLinear", "q step nought", "k"),
                  node("Softmax", "k", "p"), node("MatMul", "p values", "y")],
}


def masked_model(mask, head, value):
    rng = np.random.default_rng(3)
    nodes = [*MASKS[mask], *HEADS[head]]
    low = np.float32(value)
    constants = {"zero": np.float32(0), "one": np.float32(1), "mask": low, "wide": ints(-1, 2, 3),
                 "flat": ints(0, WIDTH), "last": ints(-1), "two": ints(2),
                 "two_values": np.float32([[1], [-0.5]]), "one_axis": ints(1),
                 "least": np.float32(-3), "step": np.float32(0.05), "nought": np.int8(0),
                 "causal": np.arange(WIDTH) < 4, "pair": np.float32([0, low]),
                 "weights": (rng.integers(-32, 32, WIDTH) / 16).astype(np.float32),
                 "values": rng.normal(size=(WIDTH, 1)).astype(np.float32)}
    if mask == "moved":
        constants["weights"] = constants["weights"].reshape(2, 3).T.reshape(-1)
    used = {name for n in nodes for name in n.input}
    return model_of(nodes, [WIDTH], {k: v for k, v in constants.items() if k in used})


def padded(rows, seed, low=4):
    rng = np.random.default_rng(seed)
    x = rng.integers(low, 32, (rows, WIDTH)) / 16 * rng.choice([-1, 1], (rows, WIDTH))
    for i in range(rows):
        x[i, WIDTH - i % 4:] = 0
    return x.astype(np.float32)


def check_sum(phi, y, y0):
    """Complete, and no more than rounding of what is there."""
    phi = phi.astype(np.float64)
    gap = phi.reshape(len(phi), -1).sum(axis=1) - (y.astype(np.float64) - y0).reshape(-1)
    size = np.abs(phi).reshape(len(phi), -1).sum(axis=1) + np.abs(y).reshape(-1) + np.abs(y0).max()
    assert np.isfinite(phi).all()
    assert (np.abs(gap) <= 64 * np.finfo(np.float32).eps * size).all(), (gap, size)


VALUES = {"-inf": -np.inf, "lowest": LOWEST, "-1e30": -1e30}
NOT = {"product": {"-inf"}, "inverted": {"-inf"},  # 0 times infinity
       "half": {"lowest", "-1e30"}}
MASKED_CASES = [(mask, head, value) for mask in MASKS for head in HEADS for value in VALUES
                if value not in NOT.get(mask, ()) and (mask == "where" or head == "Softmax")
                and (value != "-1e30" or head == "Softmax")]


def pairs(model, explain, run, x, references):
    """SHAP values for each reference on its own."""
    session = onnxruntime.InferenceSession(explain(model, None, "--references=input"))
    return [session.run(["x_shap"], {"x": x, "x_references": r[None]})[0] for r in references]


@pytest.mark.parametrize("mask, head, value", MASKED_CASES)
def test_mask(mask, head, value, explain, run):
    """As with a mask of -1e9, which is far below the logits, and of which no sum is infinite."""
    model = masked_model(mask, head, VALUES[value])
    x, references = padded(4, 5), padded(3, 6)
    y, phis = run(model, x)["y"], pairs(model, explain, run, x, references)
    for phi, r in zip(phis, references, strict=True):
        check_sum(phi, y, run(model, r[None])["y"])
    if head in ("not chosen", "TopK"):  # where -1e9 counts, or does not add up
        assert all(np.abs(phi).sum() < 100 for phi in phis)
        return
    plain = masked_model(mask, head, -3e4 if mask == "half" else -1e9)
    wanted = pairs(plain, explain, run, x, references)
    rounding = 1e-3 if mask == "half" else 1e-5
    for phi, want in zip(phis, wanted, strict=True):
        np.testing.assert_allclose(phi, want, rtol=rounding, atol=1e-5)


# ---- attention --------------------------------------------------------------------------------

STEPS, FEATURES = 5, 8
PADDED = [node("MatMul", "x first", "one_feature"), node("Squeeze", "one_feature minus", "f"),
          node("Equal", "f zero", "pad"), node("Not", "pad", "seen"),
          *(node("MatMul", f"x w{name}", name) for name in "qkv")]
ROWS = [node("Unsqueeze", "pad axes", "pads"), node("Unsqueeze", "seen axes", "sees")]
COUNTED = node("Cast", "seen", "keys", to=TensorProto.INT32)
FLAT = [node("Flatten", "a", "b"), node("MatMul", "b values", "y")]
SCORES = [node("Transpose", "k", "t", perm=[0, 2, 1]), node("MatMul", "q t", "s"),
          node("Unsqueeze", "pad middle", "pads")]
HEADED = dict(q_num_heads=2, kv_num_heads=2)


def contrib(op, inputs, **attributes):
    return helper.make_node(op, inputs.split(","), ["a"], domain="com.microsoft", num_heads=2,
                            **attributes)


def attended(mask, **attributes):
    return helper.make_node("Attention", ["q", "k", "v", mask], ["a"], **HEADED, **attributes)


BIAS = node("Where", "pads mask zero", "biases"), node("Expand", "biases square", "bias")
SEES = node("Cast", "sees", "s", to=TensorProto.INT32), node("Expand", "s square", "t"), \
    node("Cast", "t", "seeing", to=TensorProto.BOOL)
ATTENTIONS = {
    "bool": [*ROWS, *SEES, attended("seeing")],
    "number": [*ROWS, *BIAS, attended("bias")],
    "causal": [*ROWS, *BIAS, attended("bias", is_causal=1)],
    "contrib": [COUNTED, contrib("Attention", "x,wqkv,none,keys")],
    "contrib causal": [COUNTED, contrib("Attention", "x,wqkv,none,keys", unidirectional=1)],
    "contrib lowest": [COUNTED, contrib("Attention", "x,wqkv,none,keys",
                                        mask_filter_value=float(LOWEST))],
    "heads": [COUNTED, contrib("MultiHeadAttention", "q,k,v,,keys")],
    "heads, lowest": [COUNTED, contrib("MultiHeadAttention", "q,k,v,,keys",
                                       mask_filter_value=float(LOWEST))],
    "heads, bias": [*ROWS, *BIAS, contrib("MultiHeadAttention", "q,k,v,,,bias")],
    "spelled out": [*SCORES, node("Where", "pads mask s", "l"), node("Softmax", "l", "p"),
                    node("MatMul", "p v", "a")],
    "two masks": [*SCORES, node("Where", "pads mask zero", "m"), node("Add", "s m", "n"),
                  node("Add", "n above", "l"), node("Softmax", "l", "p"),
                  node("MatMul", "p v", "a")],
    "all masked": [*SCORES, node("Where", "pads mask s", "l"), node("Softmax", "l", "p"),
                   node("IsNaN", "p", "gone"), node("Where", "gone zero p", "o"),
                   node("MatMul", "o v", "a")],
}
ATTENTION_CASES = [(form, value) for form in ATTENTIONS for value in (-np.inf, LOWEST)
                   if value == -np.inf or any("mask" in n.input for n in ATTENTIONS[form])]


@pytest.mark.parametrize("form, value", ATTENTION_CASES)
def test_attention(form, value, explain, run):
    rng = np.random.default_rng(4)
    weights = {f"w{name}": rng.normal(size=(FEATURES, FEATURES)).astype(np.float32)
               for name in "qkv"}
    constants = {"zero": np.float32(0), "mask": np.float32(value), "axes": ints(1, 2),
                 "minus": ints(-1), "middle": ints(1), "square": ints(1, 2, STEPS, 1),
                 "first": np.eye(FEATURES, 1, dtype=np.float32), **weights,
                 "wqkv": np.hstack(list(weights.values())),
                 "none": np.zeros(3 * FEATURES, np.float32),
                 "above": np.triu(np.full((STEPS, STEPS), value), 1).astype(np.float32),
                 "values": rng.normal(size=(STEPS * FEATURES, 1)).astype(np.float32)}
    nodes = [*PADDED, *ATTENTIONS[form], *FLAT]
    used = {name for n in nodes for name in n.input}
    model = model_of(nodes, [STEPS, FEATURES], {k: v for k, v in constants.items() if k in used},
                     domains=[CONTRIB])
    x = rng.normal(size=(8, STEPS, FEATURES)).astype(np.float32)
    for i in range(len(x)):
        x[i, STEPS - i % 4:, 0] = 0
    if form == "all masked":
        x[:2, :, 0], x[5, :, 0] = 0, 0
    x, references = x[:4], x[4:7]
    y = run(model, x)["y"]
    for phi, r in zip(pairs(model, explain, run, x, references), references, strict=True):
        check_sum(phi, y, run(model, r[None])["y"])
        assert np.abs(phi).sum() < 40 * np.abs(y).sum()


# ---- ways to explain --------------------------------------------------------------------------

@pytest.mark.parametrize("options", [
    ["--chunk=2"], ["--cache=file"], ["--cache=none"], ["--no-functions"], ["--integrate=4"],
    ["--at=l"]])
def test_options(options, explain, run):
    model = masked_model("twice", "Softmax", LOWEST)
    x, references = padded(4, 5), padded(5, 6)
    out = run(explain(model, references, "--gap", *options), x)
    phi = out["l_shap" if options == ["--at=l"] else "x_shap"]
    check_sum(phi, run(model, x)["y"], run(model, references)["y"].mean(dtype=np.float64))
    assert np.abs(out["completeness_gap"]).max() < 1e-5


@pytest.mark.parametrize("head", ["Softmax", "LogSoftmax", "MaxPool", "GlobalMaxPool"])
@pytest.mark.parametrize("value", [-np.inf, -1e4])
def test_integrated(value, head, explain, run):
    """A mask is a step that no point of the quadrature meets."""
    model = masked_model("where", head, value)
    x, references = padded(4, 5), padded(5, 6)
    phi = run(explain(model, references, "--integrate=4"), x)["x_shap"]
    check_sum(phi, run(model, x)["y"], run(model, references)["y"].mean(dtype=np.float64))
    ruled = run(explain(model, references), x)["x_shap"]
    most = 4 if "Pool" in head else 1.5  # the integrals of poolings exaggerate
    assert np.abs(phi).sum() < most * np.abs(ruled).sum()


def test_missing_references(explain, run):
    """Missing values on both sides, in the mean over references."""
    nodes = [node("IsNaN", "x", "n"), node("Where", "n fill x", "k"), node("MatMul", "k w", "h"),
             node("Tanh", "h", "t"), node("ReduceSum", "t axes", "y", keepdims=1)]
    rng = np.random.default_rng(8)
    fill = rng.normal(size=4).astype(np.float32)
    model = model_of(nodes, [4], {"fill": fill, "w": rng.normal(size=(4, 5)).astype(np.float32),
                                  "axes": ints(1)})
    x, r = rng.normal(size=(2, 6, 4)).astype(np.float32)
    x[1, 2], x[2, :3], x[3], r[0, 2], r[1, :2] = np.nan, np.nan, np.nan, np.nan, np.nan
    out = run(explain(model, r, "--target=0"), x)
    check_sum(out["x_shap"], run(model, x)["y"], run(model, r)["y"].mean(dtype=np.float64))
    filled = run(explain(model, np.where(np.isnan(r), fill, r), "--target=0"),
                 np.where(np.isnan(x), fill, x))
    np.testing.assert_allclose(out["x_shap"], filled["x_shap"], rtol=1e-4, atol=1e-6)


def test_costs_nothing_elsewhere(explain):
    """A normalisation that is spelled out and a causal mask need no stand-ins."""
    nodes = [node("ReduceMean", "x last", "u"), node("Sub", "x u", "d"), node("Mul", "d d", "e"),
             node("ReduceMean", "e last", "v"), node("Add", "v small", "s"),
             node("Sqrt", "s", "r"), node("Div", "d r", "h"),
             node("Transpose", "h", "t", perm=[0, 2, 1]), node("MatMul", "h t", "l"),
             node("Add", "l causal", "m"), node("Softmax", "m", "p"), node("MatMul", "p h", "o"),
             node("Relu", "o", "a"), node("Where", "seen a nothing", "k"),
             node("Flatten", "k", "b"), node("ReduceSum", "b one", "y", keepdims=1)]
    constants = {"last": ints(-1), "small": np.float32(1e-5), "one": ints(1),
                 "causal": np.triu(np.full((3, 3), -np.inf), 1).astype(np.float32),
                 "seen": np.array([[True], [True], [False]]), "nothing": np.float32(0)}
    path = explain(model_of(nodes, [3, 4], constants), None, "--references=fill:0.5")
    used = {n.op_type for n in onnx.load(path).graph.node}
    assert not used & {"IsNaN", "GreaterOrEqual", "Sign"}


@pytest.mark.parametrize("imputed", ["Imputer", "Where"])
def test_indicator(imputed, explain, run):
    """Missing values are imputed, and told of beside them: [imputed, is missing] W. Linear in both,
    so that SHAP values are those of a linear function."""
    rng = np.random.default_rng(0)
    mean, w = rng.normal(size=5).astype("f4"), rng.normal(size=(10, 3)).astype("f4")
    fill = [helper.make_node("Imputer", ["x"], ["i"], domain="ai.onnx.ml",
                             imputed_value_floats=mean.tolist(), replaced_value_float=NAN)]
    if imputed == "Where":
        fill = [node("IsNaN", "x", "q"), node("Where", "q mean x", "i")]
    nodes = [*fill, node("IsNaN", "x", "n"), node("Cast", "n", "f", to=FLOAT),
             node("Concat", "i f", "c", axis=1), node("MatMul", "c w", "y")]
    x, refs = rng.normal(size=(12, 5)).astype("f4"), rng.normal(size=(6, 5)).astype("f4")
    x[rng.random(x.shape) < 0.3] = refs[rng.random(refs.shape) < 0.3] = NAN
    model = model_of(nodes, [5], {"mean": mean, "w": w}, domains=[LEARN])
    found = run(explain(model, refs, "--target=all", "--gap"), x)

    def columns(rows):
        return np.stack([np.where(np.isnan(rows), mean, rows), np.isnan(rows)], axis=-1)

    change = columns(x)[:, None] - columns(refs)
    want = np.einsum("nrfc,fck->nkf", change, np.stack([w[:5], w[5:]], axis=1)) / 6
    np.testing.assert_allclose(found["x_shap"], want, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found["completeness_gap"], 0, atol=1e-5)


# ---- quantisation ----------------------------------------------------------------------------

STEP = np.float32(0.05)
QUANTISED = {
    "uint8": ("x", np.uint8(128)),
    "int8": ("x", np.int8(3)),
    "no zero": ("x", None),
    "Relu": ("r", np.uint8(128)),
    "Exp": ("e", np.uint8(7)),
}
BEYOND = np.float32([[1, 2, -1, 0.3], [NAN, 1, 2, 0.5], [INF, 1, 0, 2], [-INF, 3, 0.2, 1],
                     [NAN, INF, -INF, 1], [1e30, 1, -1e30, 0], [LOWEST, -LOWEST, 1e15, 2e15]])


@pytest.mark.parametrize("refs", [[[0.1, 0.2, 0.3, 0.4]], BEYOND, BEYOND[4:5]],
                         ids=["numbers", "all", "beyond"])
@pytest.mark.parametrize("form", QUANTISED)
@pytest.mark.parametrize("cache", ["none", "file"])
def test_quantised(form, refs, cache, explain, run):
    """Infinities become the ends of the range, NaN what ONNX Runtime makes of it. Each feature is
    for itself, so that values are its own, but for what rounding adds, a step of each at most."""
    name, zero = QUANTISED[form]
    w = np.random.default_rng(0).normal(size=(4, 3)).astype("f4")
    z = "" if zero is None else " z"
    nodes = [node("Relu", "x", "r"), node("Exp", "x", "e"),
             node("QuantizeLinear", f"{name} s{z}", "q"),
             node("DequantizeLinear", f"q s{z}", "d"), node("MatMul", "d w", "y")]
    nodes = [n for n in nodes if n.op_type not in ("Relu", "Exp") or n.output[0] == name]
    constants = {"w": w, "s": STEP, **({} if zero is None else {"z": zero})}
    model = model_of(nodes, [4], constants)
    inner = onnx.ModelProto()
    inner.CopyFrom(model)
    inner.graph.output[0].name = "d"
    refs = np.float32(refs)
    path = explain(model, refs, "--target=all", "--gap", f"--cache={cache}")
    found, plain = run(path, BEYOND), run(model, BEYOND)
    np.testing.assert_array_equal(found["y"], plain["y"])
    change = run(inner, BEYOND)["d"] - run(inner, refs)["d"].mean(axis=0, dtype="f8")
    want = change[:, None] * w.T
    slack = 2 * STEP * np.abs(w).sum(axis=0)
    assert np.all(np.abs(found["x_shap"] - want) <= slack[:, None])
    np.testing.assert_allclose(found["completeness_gap"], 0, atol=1e-5)


@pytest.mark.parametrize("refs", [[[0.1, 0.2, 0.3, 0.4]], [[NAN, 1, -2, 0.5], [1, 2, 3, 4]]])
def test_dynamically_quantised(refs, explain, run):
    """NaN counts for no maximum, and is what ONNX Runtime makes of it. An infinity makes the
    model's own result none."""
    w = np.random.default_rng(0).normal(size=(4, 3)).astype("f4")
    nodes = [node("Mul", "x two", "x2"), node("DynamicQuantizeLinear", "x2", "q s z"),
             node("DequantizeLinear", "q s z", "d"), node("MatMul", "d w", "y")]
    model = model_of(nodes, [4], {"w": w, "two": np.float32(2)})
    path = explain(model, np.float32(refs), "--target=all", "--gap")
    for x in np.float32([[1, 2, -1, 0.3], [NAN, 2, -1, 0.3], [1, NAN, NAN, -2]]):
        found, plain = run(path, x[None]), run(model, x[None])
        np.testing.assert_array_equal(found["y"], plain["y"])
        assert np.all(np.isfinite(found["x_shap"])) and np.abs(found["x_shap"]).max() < 50
        np.testing.assert_allclose(found["completeness_gap"], 0, atol=1e-5)
