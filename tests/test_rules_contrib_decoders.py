"""Operators of decoders as onnxruntime-genai's builder and Olive write them: grouped queries with a
cache and rotary positions. Each option is complete per pair against ONNX Runtime's own kernel."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from rulecheck import Rule, check, check_additive, check_one, check_pairs, floats, node

MS = [("com.microsoft", 1)]
HEADS, OWN, WIDTH = 4, 2, 16
ANGLES = np.outer(np.arange(16), 1 / 50 ** (np.arange(WIDTH // 2) / (WIDTH // 2)))
COS, SIN = np.cos(ANGLES).astype(np.float32), np.sin(ANGLES).astype(np.float32)


def contrib(op, inputs, outputs, **attributes):
    """A node whose inputs may be left out by `-`."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), domain="com.microsoft", **attributes)


def grouped(steps=3, past=0, packed=False, rotary=False, inputs=None, constants=None, places=None,
            y="y", **attributes):
    """`places`: what stands in other inputs. ONNX Runtime takes several new tokens after a past in
    a batch of one only, or where their number is an input."""
    total = np.int32(past + steps)
    known = {"last": np.array([total - 1], np.int32), "total": total,
             "count": np.array([steps], np.int32), "steps": np.array([steps]),
             "own": np.zeros((1, steps), np.int64)}
    nodes = [node("Shape", "x", "n", start=0, end=1), node("Expand", "last n", "lens"),
             node("Expand", "count n", "counts"), node("Concat", "n steps", "ns", axis=0),
             node("Expand", "own ns", "ids")]
    heads = {"x": HEADS + 2 * OWN} if packed else {"x": HEADS, "k": OWN, "v": OWN}
    shapes = {name: (steps, count * WIDTH) for name, count in heads.items()}
    names = ["x", *("--" if packed else "kv"), "-", "-", "lens", "total", *"----------"]
    if past:
        shapes |= {"pk": (OWN, past, WIDTH), "pv": (OWN, past, WIDTH)}
        names[3:5] = ["pk", "pv"]
    if past and steps > 1:
        names[16] = "counts"
    if rotary:
        known |= {"cos": COS, "sin": SIN}
        names[7:9] = ["cos", "sin"]
    for name, place in (places or {}).items():
        names[place] = name
    nodes.append(contrib("GroupQueryAttention", " ".join(names).rstrip(" -"), f"{y} k1 v1",
                         num_heads=HEADS, kv_num_heads=OWN, do_rotary=int(rotary), **attributes))
    if y != "y":
        nodes += [node("Mul", "k1 v1", "y")]
    shapes |= inputs or {}
    return Rule(nodes, shapes, {**known, **(constants or {})}, domains=MS, low=-1, high=1)


@pytest.mark.parametrize("options", [
    {}, {"packed": True}, {"past": 2}, {"past": 4, "packed": True, "rotary": True},
    {"rotary": True}, {"rotary": True, "rotary_interleaved": 1, "packed": True},
    {"scale": 0.7}, {"softcap": 0.8}, {"local_window_size": 2},
    {"local_window_size": 2, "past": 3, "rotary": True}, {"local_window_size": 1},
    {"smooth_softmax": 1}, {"causal": 0}, {"causal": 0, "past": 2, "steps": 1},
    {"steps": 1, "past": 4, "rotary": True, "local_window_size": 3},
    {"steps": 3, "past": 4, "local_window_size": 3, "sliding_window_cache": 1},
    {"steps": 1, "past": 6, "local_window_size": 3, "sliding_window_cache": 1, "packed": True},
    {"softcap": 0.5, "smooth_softmax": 1, "local_window_size": 3, "past": 2}], ids=str)
def test_grouped(explain, run, options):
    check_one(grouped(**options), explain, run)


def test_grouped_near(explain, run):
    check(grouped(past=2, packed=True, rotary=True, softcap=0.5), explain, run)


@pytest.mark.parametrize("past", [0, 2])
def test_sink(explain, run, past):
    rule = grouped(past=past, constants={"sink": floats(HEADS)}, places={"sink": 11})
    check_one(rule, explain, run)


@pytest.mark.parametrize("past", [0, 2])
@pytest.mark.parametrize("heads", [1, HEADS])
@pytest.mark.parametrize("constant", [False, True])
def test_bias(explain, run, past, heads, constant):
    shape = (heads, 3, past + 3)
    extra = {"constants": {"b": floats(1, *shape)}} if constant else {"inputs": {"b": shape}}
    check_one(grouped(past=past, places={"b": 10}, softcap=0.9, **extra), explain, run)


@pytest.mark.parametrize("steps, past", [(3, 0), (1, 2)])
def test_positions(explain, run, steps, past):
    """Positions of their own."""
    rule = grouped(steps=steps, past=past, rotary=True, places={"ids": 9},
                   constants={"own": np.array([[5, 3, 4][:steps]])})
    check_one(rule, explain, run)


@pytest.mark.parametrize("steps, past", [(3, 0), (1, 2), (3, 2)])
def test_kept_keys(explain, run, steps, past):
    """Keys and values that another operator uses."""
    rule = grouped(steps=steps, past=past, rotary=True, y="o")
    check_pairs(rule, explain, run)


# ---- attention with a past -----------------------------------------------------------------------

# Repeats `seen` for every sample.
MASK = [node("Shape", "x", "n", start=0, end=1), node("Concat", "n width", "nw", axis=0),
        node("Expand", "seen nw", "mask")]


@pytest.mark.parametrize("attributes", [{}, {"unidirectional": 1, "scale": 0.6}], ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_attention_with_a_past(explain, run, attributes, masked):
    """Keys and values of the past [2, N, ..], which are made of an input here."""
    nodes = [node("Transpose", "p", "past", perm=[1, 0, 2, 3, 4]), *MASK,
             contrib("Attention", f"x w b {'mask' if masked else '-'} past", "a k", num_heads=2,
                     **attributes),
             node("Transpose", "k", "kn", perm=[1, 0, 2, 3, 4]),
             node("ReduceSum", "kn axes", "sum", keepdims=1), node("Squeeze", "sum two", "s"),
             node("Add", "a s", "y")]
    constants = {"w": floats(6, 24), "b": floats(24), "axes": np.array([1, 2, 3, 4]),
                 "two": np.array([2, 3]), "width": np.array([5]),
                 "seen": np.array([[0, 1, 1, 1, 1]], np.int32)}
    rule = Rule(nodes, {"x": (3, 6), "p": (2, 2, 2, 4)}, constants, domains=MS, low=-1, high=1)
    check_one(rule, explain, run)


@pytest.mark.parametrize("ends", [[3], [3, 1]])
def test_attention_with_ends(explain, run, ends):
    """The end of each sequence, or all ends and then all starts."""
    nodes = [node("Shape", "x", "n", start=0, end=1),
             *(node("Expand", f"e{i} n", f"at{i}") for i in range(len(ends))),
             node("Concat", " ".join(f"at{i}" for i in range(len(ends))), "mask", axis=0),
             contrib("Attention", "x w b mask", "y", num_heads=2)]
    constants = {"w": floats(6, 24), "b": floats(24),
                 **{f"e{i}": np.array([end], np.int32) for i, end in enumerate(ends)}}
    check_pairs(Rule(nodes, {"x": (4, 6)}, constants, domains=MS, low=-1, high=1), explain, run)


@pytest.mark.parametrize("inputs, attributes", [
    ("x k v - - - pk pv", {}), ("x k v b mask - pk pv", {}),
    ("x k v - - ab pk pv", {"unidirectional": 1})], ids=str)
def test_multi_head_attention_with_a_past(explain, run, inputs, attributes):
    nodes = [*MASK, contrib("MultiHeadAttention", inputs, "a k1 v1", num_heads=2,
                                    **attributes),
             node("Mul", "k1 v1", "kv"), node("ReduceSum", "kv axes", "sum", keepdims=1),
             node("Squeeze", "sum one", "s"), node("Add", "a s", "y")]
    constants = {"b": floats(24), "width": np.array([5]), "axes": np.array([1, 2, 3]),
                 "seen": np.array([[0, 1, 1, 1, 1]], np.int32), "ab": floats(1, 2, 3, 5),
                 "one": np.array([3])}
    shapes = {"x": (3, 8), "k": (3, 8), "v": (3, 8), "pk": (2, 2, 4), "pv": (2, 2, 4)}
    check_one(Rule(nodes, shapes, constants, domains=MS, low=-1, high=1), explain, run)


@pytest.mark.parametrize("bias", [False, True])
def test_multi_head_attention_of_keys_in_heads(explain, run, bias):
    nodes = [contrib("MultiHeadAttention", "x k v b" if bias else "x k v", "y", num_heads=2)]
    rule = Rule(nodes, {"x": (3, 8), "k": (2, 4, 4), "v": (2, 4, 4)}, {"b": floats(24)},
                domains=MS, low=-1, high=1)
    check_pairs(rule, explain, run)


@pytest.mark.parametrize("columns, past", [(False, False), (True, False), (True, True)])
def test_quantized_attention(explain, run, columns, past):
    rng = np.random.default_rng(2)
    size = 24 if columns else 1
    constants = {"xs": np.array(0.02, np.float32), "xz": np.array(120, np.uint8),
                 "w": rng.integers(-90, 90, (6, 24), np.int8), "b": floats(24),
                 "ws": floats(size, low=0.005, high=0.01), "wz": np.full(size, 3, np.int8)}
    if not columns:
        constants |= {"ws": constants["ws"].reshape(()), "wz": constants["wz"].reshape(())}
    nodes = [node("QuantizeLinear", "x xs xz", "q"),
             node("Transpose", "p", "past", perm=[1, 0, 2, 3, 4]),
             contrib("QAttention", "q w b xs ws - xz wz" + (" past" if past else ""), "y k",
                     num_heads=2, unidirectional=1)]
    if not past:
        del nodes[1]
    shapes = {"x": (3, 6), **({"p": (2, 2, 2, 4)} if past else {})}
    check_one(Rule(nodes, shapes, constants, domains=MS), explain, run)


# ---- rotary positions ----------------------------------------------------------------------------

@pytest.mark.parametrize("attributes, shape, half", [
    ({}, (3, 24), 4), ({"interleaved": 1}, (3, 24), 4), ({}, (2, 3, 8), 4),
    ({"num_heads": 3, "rotary_embedding_dim": 4}, (3, 24), 2),
    ({"num_heads": 2, "rotary_embedding_dim": 4, "interleaved": 1}, (2, 3, 8), 2)], ids=str)
@pytest.mark.parametrize("offset", [False, True])
def test_rotary_embedding(explain, run, attributes, shape, half, offset):
    nodes = [node("Shape", "x", "n", start=0, end=1), node("Concat", "n steps", "ns", axis=0),
             node("Expand", "own ns", "at"),
             contrib("RotaryEmbedding", f"x {'own' if offset else 'at'} c s", "y", **attributes)]
    angles = floats(9, half)
    constants = {"c": np.cos(angles), "s": np.sin(angles), "steps": np.array([3]),
                 "own": np.array([4]) if offset else np.array([[5, 0, 2]])}
    check_additive(Rule(nodes if not offset else nodes[3:], {"x": shape}, constants, domains=MS),
                   explain, run)


@pytest.mark.parametrize("attributes, shape", [
    ({"mrope_section": [2, 1, 1], "num_heads": 3}, (3, 24)),
    ({"mrope_section": [2, 1, 1], "num_heads": 3, "mrope_layout": 1}, (3, 24)),
    ({"mrope_section": [1, 2, 1], "interleaved": 1}, (2, 3, 8)),
    ({"mrope_section": [2, 1, 1], "num_heads": 2, "rotary_embedding_dim": 8}, (3, 24))],
    ids=str)
def test_rotary_embedding_of_three_positions(explain, run, attributes, shape):
    """Time, height and width."""
    nodes = [node("Shape", "x", "n", start=0, end=1), node("Concat", "three n steps", "ns", axis=0),
             node("Expand", "own ns", "at"),
             contrib("MRotaryEmbedding", "x at c s", "y", **attributes)]
    angles = floats(9, 4)
    constants = {"c": np.cos(angles), "s": np.sin(angles), "steps": np.array([3]),
                 "three": np.array([3]), "own": np.array([[[5, 0, 2]], [[1, 7, 3]], [[8, 4, 6]]])}
    check_additive(Rule(nodes, {"x": shape}, constants, domains=MS), explain, run)


# ---- a decoder -----------------------------------------------------------------------------------

WORDS, HIDDEN = 30, 32


def decoder(grouped_queries=True, kind=np.float32):
    """One layer as onnxruntime-genai writes it: heads packed, positions and lengths from the mask
    of attention, keys and values of the past as inputs. Its twin is of operators of the standard."""
    rng = np.random.default_rng(5)
    sizes = {"table": (WORDS, HIDDEN), "qkv": (HIDDEN, (HEADS + 2 * OWN) * WIDTH),
             "out": (HEADS * WIDTH, HIDDEN), "head": (HIDDEN, WORDS)}
    constants = {name: (rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)
                 for name, shape in sizes.items()}
    constants["table"] = rng.normal(size=sizes["table"]).astype(np.float32)
    constants |= {"gain": np.ones(HIDDEN, np.float32), "cos": COS, "sin": SIN,
                  "one": np.array([1]), "first": np.array(1)}
    nodes = [node("Gather", "table ids", "e"),
             node("SimplifiedLayerNormalization", "e gain", "n", axis=-1, epsilon=1e-3),
             node("MatMul", "n qkv", "heads"),
             node("ReduceSum", "mask one", "seen", keepdims=0), node("Sub", "seen one", "last"),
             node("Cast", "last", "lens", to=TensorProto.INT32), node("Shape", "mask", "shape"),
             node("Gather", "shape first", "all"), node("Cast", "all", "total",
                                                        to=TensorProto.INT32)]
    if grouped_queries:
        nodes += [contrib("GroupQueryAttention", "heads - - pk pv lens total cos sin", "a k v",
                          num_heads=HEADS, kv_num_heads=OWN, do_rotary=1)]
    else:
        nodes = nodes[:3] + plain_attention(constants)
    nodes += [node("MatMul", "a out", "o"),
              contrib("SkipSimplifiedLayerNormalization", "e o gain", "h - - s", epsilon=1e-3),
              node("MatMul", "h head", "logits")]
    nodes[-2].output[1] = nodes[-2].output[2] = ""
    cache, element = ["N", OWN, "P", WIDTH], helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    constants = {k: v.astype(kind) if v.dtype == np.float32 else v for k, v in constants.items()}
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", "S"]),
              helper.make_tensor_value_info("mask", TensorProto.INT64, ["N", "T"]),
              *(helper.make_tensor_value_info(name, element, cache)
                for name in ("pk", "pv"))]
    outputs = [helper.make_tensor_value_info("logits", element, ["N", "S", WORDS])]
    if grouped_queries:
        outputs += [helper.make_tensor_value_info(name, element, ["N", OWN, "T", WIDTH])
                    for name in "kv"]
    else:
        inputs = inputs[:1]
    used = {name for n in nodes for name in n.input}
    graph = helper.make_graph(nodes, "decoder", inputs, outputs, [
        numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items() if k in used])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(*MS[0])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def plain_attention(constants, steps=5):
    """Without a past: heads apart, turned, every key as often as queries share it, and a mask."""
    half = WIDTH // 2
    after = np.triu(np.full((steps, steps), -1e30, np.float32), 1)
    constants |= {"apart": np.array([0, 0, HEADS + 2 * OWN, WIDTH]), "cuts": np.array(
        [HEADS, OWN, OWN]), "halves": np.array([half, half]), "after": after,
        "c": COS[:steps], "sn": SIN[:steps], "joined": np.array([0, 0, HEADS * WIDTH]),
        "each": np.arange(OWN).repeat(HEADS // OWN), "scale": np.float32(WIDTH ** -0.5)}
    nodes = [node("Reshape", "heads apart", "h4"), node("Transpose", "h4", "ht", perm=[0, 2, 1, 3]),
             node("Split", "ht cuts", "q0 k0 v0", axis=1)]
    for x in "qk":
        nodes += [node("Split", f"{x}0 halves", f"{x}a {x}b", axis=-1),
                  node("Mul", f"{x}a c", f"{x}ac"), node("Mul", f"{x}b sn", f"{x}bs"),
                  node("Mul", f"{x}a sn", f"{x}as"), node("Mul", f"{x}b c", f"{x}bc"),
                  node("Sub", f"{x}ac {x}bs", f"{x}r"), node("Add", f"{x}as {x}bc", f"{x}i"),
                  node("Concat", f"{x}r {x}i", f"{x}1", axis=-1)]
    return nodes + [
        node("Gather", "k1 each", "k2", axis=1), node("Gather", "v0 each", "v2", axis=1),
        node("Transpose", "k2", "kt", perm=[0, 1, 3, 2]), node("Mul", "q1 scale", "q2"),
        node("MatMul", "q2 kt", "qk"), node("Add", "qk after", "qkm"),
        node("Softmax", "qkm", "p", axis=-1), node("MatMul", "p v2", "pv2"),
        node("Transpose", "pv2", "pvt", perm=[0, 2, 1, 3]), node("Reshape", "pvt joined", "a")]


def test_next_token(explain, run, monkeypatch):
    """Each token of a prompt gets what it gets in the twin, per pair and in the mean."""
    monkeypatch.setattr("onnx.checker.check_model", lambda model: None)
    rng = np.random.default_rng(6)
    ids, refs = rng.integers(1, WORDS, (2, 5)), rng.integers(1, WORDS, (2, 5))
    empty = np.zeros((2, OWN, 0, WIDTH), np.float32)
    inputs = {"ids": ids, "mask": np.ones((2, 5), np.int64), "pk": empty, "pv": empty}
    options = ["--target=4:17", "--hold=mask", "--hold=pk", "--hold=pv"]
    ours = run(explain(decoder(), {"ids": refs}, *options), inputs)
    twin = run(explain(decoder(False), {"ids": refs}, "--target=4:17"), {"ids": ids})
    for name in ("logits", "base_value", "ids_shap"):
        np.testing.assert_allclose(ours[name], twin[name], rtol=1e-4, atol=2e-5)
    total = ours["logits"][:, 4, 17] - ours["base_value"]
    np.testing.assert_allclose(ours["ids_shap"].sum(axis=1), total, atol=2e-5)


def test_next_token_in_half(explain, run, monkeypatch):
    """Of a model of float16: what floats give, but for the rounding of the model itself."""
    monkeypatch.setattr("onnx.checker.check_model", lambda model: None)
    rng = np.random.default_rng(6)
    ids, refs = rng.integers(1, WORDS, (2, 5)), rng.integers(1, WORDS, (2, 5))
    options = ["--target=4:17", "--hold=mask", "--hold=pk", "--hold=pv"]
    outputs = []
    for kind in (np.float32, np.float16):
        empty = np.zeros((2, OWN, 0, WIDTH), kind)
        inputs = {"ids": ids, "mask": np.ones((2, 5), np.int64), "pk": empty, "pv": empty}
        outputs.append(run(explain(decoder(kind=kind), {"ids": refs}, *options), inputs))
    size = np.abs(outputs[0]["ids_shap"]).max()
    difference = np.abs(outputs[1]["ids_shap"] - outputs[0]["ids_shap"]).max()
    assert outputs[1]["ids_shap"].dtype == np.float32
    assert difference <= 8 * np.finfo(np.float16).eps * max(size, 1)


@pytest.mark.parametrize("steps, past, mask", [
    (1, 3, [[1, 1, 1, 1], [0, 1, 1, 1]]),  # sequences of different lengths
    (3, 0, [[1, 1, 1], [1, 1, 0]]),        # padding at the end
    (1, 0, [[1], [1]])])
def test_step_of_a_decoder(explain, run, steps, past, mask):
    """The keys of a past, as given, on both sides. A past that a mask cuts off ends before it."""
    rng = np.random.default_rng(7)
    ids, refs = rng.integers(1, WORDS, (2, steps)), rng.integers(1, WORDS, (1, steps))
    shape = (2, OWN, past, WIDTH)
    kept = {name: rng.normal(size=shape).astype(np.float32) for name in ("pk", "pv")}
    inputs = {"ids": ids, "mask": np.array(mask), **kept}
    at = 0 if steps == 1 else 1
    model = decoder()
    out = run(explain(model, {"ids": refs}, f"--target={at}:3-{at}:8", "--hold=mask", "--hold=pk",
                      "--hold=pv"), inputs)
    y = run(model, inputs)["logits"]
    y0 = run(model, {**inputs, "ids": refs.repeat(2, axis=0)})["logits"]
    np.testing.assert_array_equal(out["logits"], y)
    dy = y - y0
    np.testing.assert_allclose(out["ids_shap"].sum(axis=1), dy[:, at, 3] - dy[:, at, 8], atol=2e-5)


@pytest.mark.parametrize("ends", [5, 3])
def test_mask_that_is_explained(explain, run, ends):
    """It has references of its own, which may end before the sample's."""
    rng = np.random.default_rng(8)
    ids, refs = rng.integers(1, WORDS, (2, 5)), rng.integers(1, WORDS, (1, 5))
    empty = np.zeros((2, OWN, 0, WIDTH), np.float32)
    mask, short = np.ones((2, 5), np.int64), np.array([[1] * ends + [0] * (5 - ends)])
    held = {"pk": empty, "pv": empty}
    model = decoder()
    out = run(explain(model, {"ids": refs, "mask": short}, "--target=4:17", "--hold=pk",
                      "--hold=pv"), {"ids": ids, "mask": mask, **held})
    y = run(model, {"ids": ids, "mask": mask, **held})["logits"]
    y0 = run(model, {"ids": refs.repeat(2, axis=0), "mask": short.repeat(2, axis=0),
                     **held})["logits"]
    total = out["ids_shap"].sum(axis=1) + out["mask_shap"].sum(axis=1)
    np.testing.assert_allclose(total, (y - y0)[:, 4, 17], atol=5e-5)
    assert ends < 5 or (out["mask_shap"] == 0).all()
