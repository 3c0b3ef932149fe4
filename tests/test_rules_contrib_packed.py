"""Operators over tokens in a row, of words, and of experts: complete per pair against ONNX Runtime's own
kernels."""

import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from rulecheck import Rule, check, check_one, check_pairs, floats, ints, node

MS = [("com.microsoft", 1)]


def contrib(op, inputs, outputs, **attributes):
    """A node whose inputs may be left out by `-`."""
    names = ["" if name == "-" else name for name in inputs.split()]
    outs = ["" if name == "-" else name for name in outputs.split()]
    return helper.make_node(op, names, outs, domain="com.microsoft", **attributes)


# ---- a convolution -------------------------------------------------------------------------------

TOKENS, CHANNELS = 5, 3
# Tokens of all samples in a row, and the ends of each sample's sequences behind each other.
def ends_of(name, lengths):
    """Nodes that make `ends` of sequences of these lengths in every sample of an input."""
    starts = np.cumsum([0, *lengths[:-1]])
    known = {"starts": starts.reshape(1, -1), "step": np.array(sum(lengths)), "zero": np.array(0),
             "one": np.array(1), "column": ints(-1, 1), "all": ints(-1)}
    nodes = [node("Shape", name, "n", start=0, end=1), node("Squeeze", "n", "count"),
             node("Range", "zero count one", "i"), node("Mul", "i step", "i5"),
             node("Reshape", "i5 column", "ic"), node("Add", "ic starts", "e2"),
             node("Reshape", "e2 all", "e1"), node("Mul", "n step", "end"),
             node("Concat", "e1 end", "e64", axis=0),
             node("Cast", "e64", "ends", to=TensorProto.INT32)]
    return nodes, known


def varlen(lengths, taps=3, bias=True, outputs="rows_out end_state", y="rows_out", capacity=0,
           **attributes):
    """y: the output that is explained, of each sample in a row."""
    nodes, known = ends_of("x", lengths)
    kept = (taps - 1) * attributes.get("dilation", 1)
    count = len(lengths)
    held = max(kept, 1)
    known |= {"tokens": ints(-1, CHANNELS), "w": floats(CHANNELS, 1, taps), "b": floats(CHANNELS),
              "back": ints(-1, *{"rows_out": (TOKENS, CHANNELS), "end_state": (count, CHANNELS, held),
                                 "captured": (count, capacity, CHANNELS)}[y]),
              "shape": ints(-1, CHANNELS, held), "last": ints(2), "from": ints(0),
              "to": ints(kept), "two": np.full(count, 2, np.int32)}
    if capacity:
        nodes.append(node("Tile", "two n", "asked"))
        attributes["state_update_capacity"] = capacity
    inputs = f"rows w ends {'b' if bias else '-'} state{' asked' if capacity else ''}"
    nodes += [node("Reshape", "x tokens", "rows"), node("Reshape", "s shape", "held"), node("Slice", "held from to last", "state"),
              contrib("VarlenCausalConvWithState", inputs, outputs, **attributes),
              node("Reshape", f"{y} back", "y")]
    return Rule(nodes, {"x": (TOKENS, CHANNELS), "s": (count, CHANNELS, held)}, known,
                domains=MS)


CAPTURED = {"outputs": "rows_out end_state captured", "y": "captured", "capacity": 3}


@pytest.mark.parametrize("lengths, options", [
    ([5], {}), ([2, 3], {}), ([1, 4], {"activation": "silu"}),
    ([2, 3], {"dilation": 2, "activation": "swish", "bias": False}), ([4, 1], {"taps": 1}),
    ([2, 3], {"y": "end_state"}), ([1, 4], {"y": "end_state", "dilation": 2}),
    ([1, 4], CAPTURED)], ids=str)
def test_varlen_conv(explain, run, lengths, options):
    check_one(varlen(lengths, **options), explain, run)


def test_varlen_conv_near(explain, run):
    check(varlen([2, 3], activation="silu"), explain, run)


# ---- GatedDeltaNet -------------------------------------------------------------------------------

OWN, HEADS, KEY, VALUE, STEPS = 1, 2, 4, 3, 4
GATES = {"a": floats(HEADS, low=-0.5, high=0.5), "d": floats(HEADS, seed=8)}


def delta(form="apart", lengths=None, y="read", first=True, wide=False, gate="none", packed=None,
          **attributes):
    """Of each sample STEPS tokens: in an axis of their own, or in a row, of which each sample's are one
    sequence, or several where `lengths` says so."""
    rows = form == "rows" or lengths is not None
    shapes = {"q": (STEPS, OWN, KEY), "k": (STEPS, OWN, KEY), "v": (STEPS, HEADS, VALUE),
              "g": (STEPS, HEADS, KEY) if wide else (STEPS, HEADS), "b": (STEPS, HEADS)}
    count = len(lengths or [STEPS])
    state = (HEADS, VALUE, KEY)
    if first:
        shapes["s"] = (count, *state)
    nodes, known = ends_of("q", lengths) if lengths else ([], {})
    known, names = known | GATES, {}
    rule = attributes.get("update_rule", "gated_delta")
    shapes = {name: shape for name, shape in shapes.items() if not
              (name == "g" and "gated" not in rule or name == "b" and "delta" not in rule)}
    if packed:
        shapes = {"q": (STEPS, 2 * OWN * KEY + HEADS * VALUE)} | {
            name: shapes[name] for name in ("g", "b", "s")}
    for name, shape in shapes.items():
        own = shape[1:]
        names[name] = name
        if rows or name == "s":
            known[f"{name}_rows"] = ints(-1, *own)
            nodes.append(node("Reshape", f"{name} {name}_rows", f"{name}r"))
            names[name] = f"{name}r"
    inputs = [names.get(name, "-") for name in ("q", "k", "v")]
    inputs += ["ends" if lengths else "-", *(names.get(name, "-") for name in "gbs")]
    inputs += ["a", "d"] if gate != "none" else []
    known["back"] = ints(-1, *((count, *state) if y == "state" else (STEPS, HEADS, VALUE)))
    nodes += [contrib("GatedDeltaNet", " ".join(inputs), "read state", gate_activation=gate,
                      **attributes), node("Reshape", f"{y} back", "y")]
    return Rule(nodes, shapes, known, domains=MS, low=-1, high=0.5)


@pytest.mark.parametrize("options", [
    {}, {"first": False}, {"form": "rows"}, {"y": "state"}, {"wide": True},
    {"update_rule": "linear"}, {"update_rule": "gated"}, {"update_rule": "delta"},
    {"gate": "softplus", "beta_activation": "sigmoid", "qk_l2_norm": 1, "scale": 0.7},
    {"gate": "sigmoid", "gate_lower_bound": -2.0}, {"packed": True, "form": "rows"},
    {"lengths": [4]}, {"lengths": [1, 3]}, {"lengths": [1, 3], "y": "state"},
    {"lengths": [3, 1], "first": False}], ids=str)
def test_delta_net(explain, run, options):
    check_one(delta(**options), explain, run)


def test_delta_net_near(explain, run):
    check(delta(form="rows"), explain, run)


# ---- WordConvEmbedding ---------------------------------------------------------------------------

LETTERS = 10


@pytest.mark.parametrize("length, width", [(6, 3), (5, 1), (4, 4)])
def test_words(explain, run, length, width):
    """Letters are whole numbers from 1; what follows the end of a word is 0. A word that begins with 0
    has no result in ONNX Runtime, which leaves its memory as it was."""
    constants = {"w": floats(4, 1, width, 5, low=-0.5, high=0.5), "b": floats(4, seed=8),
                 "table": floats(LETTERS, 5, seed=9)}
    nodes = [node("Cast", "x", "ids", to=TensorProto.INT32),
             contrib("WordConvEmbedding", "ids w b table", "y")]
    rule = Rule(nodes, {"x": (length,)}, constants, domains=MS, low=1, high=LETTERS)
    for rows in (rule.x, rule.r):
        for i, row in enumerate(rows["x"]):
            row[:] = np.floor(row)
            row[max(length - 2 * i, 1):] = 0
    check_pairs(rule, explain, run)


# ---- MoEGroupRouter ------------------------------------------------------------------------------

EXPERTS = 8


def router(shape=(EXPERTS,), output="", weights=False, ties=False, **attributes):
    outputs = "y2" if not output else "- s w"
    known = {"b": floats(EXPERTS, low=-0.2, high=0.2), "w": floats(EXPERTS, 256, low=-0.1, high=0.1),
             "back": ints(-1, int(np.prod(shape[:-1], dtype=int)), EXPERTS)}
    if ties:
        known["b"] *= 0
    inputs = "x b w" if weights else "x b"
    call = contrib("MoEGroupRouter", inputs, outputs.replace("w", "w2"), **attributes)
    nodes = [call, node("Reshape", f"{output or 'y2'} back", "y")]
    return Rule(nodes, {"x": shape}, known, domains=MS)


@pytest.mark.parametrize("options", [
    {"top_k": 2}, {"top_k": 3, "n_group": 4, "topk_group": 2, "group_topk": 1},
    {"top_k": 3, "n_group": 4, "topk_group": 2}, {"top_k": 2, "n_group": 2, "group_topk": 3},
    {"top_k": 8, "router_sentinel": -50.0}, {"top_k": 2, "shape": (3, EXPERTS)},
    {"top_k": 2, "output": "s"}, {"top_k": 2, "output": "w2"},
    {"top_k": 2, "output": "w2", "weights": True, "shape": (256,)}], ids=str)
def test_router(explain, run, options):
    check_one(router(**{"router_sentinel": -20.0, **options}), explain, run)


@pytest.mark.parametrize("options", [{"top_k": 3}, {"top_k": 2, "n_group": 4, "topk_group": 2}],
                         ids=str)
def test_router_of_equal_scores(explain, run, options):
    """The first ones are chosen."""
    rule = router(ties=True, router_sentinel=-20.0, **options)
    rule.r["x"][:] = 0
    check_one(rule, explain, run)


def test_outputs_that_are_left_out(explain, run, cli, tmp_path):
    """Copies of a node, for references and in a tuned model, have the outputs that it has: the router
    refuses others."""
    nodes = [node("Conv", "x f", "c", pads=[1] * 4), node("Relu", "c", "d"),
             node("GlobalAveragePool", "d", "e"), node("Flatten", "e", "g"),
             contrib("MoEGroupRouter", "g b", "- y w", top_k=2)]
    known = {"f": floats(16, 3, 3, 3), "b": floats(16)}
    rule = Rule(nodes, {"x": (3, 8, 8)}, known, domains=MS)
    made, tuned = explain(rule.model, rule.r, "--target=all"), tmp_path / "t.onnx"
    np.save(tmp_path / "x.npy", rule.x["x"])
    subprocess.run([cli, "tune", made, "-o", tuned, "-q"], check=True)
    subprocess.run([cli, "run", tuned, "-i", tmp_path / "x.npy", "-q", "--strict", "-o",
                    tmp_path / "t.npz"], check=True)
    found, wanted = np.load(tmp_path / "t.npz"), run(made, rule.x)
    scale = np.abs(wanted["x_shap"]).max()
    np.testing.assert_allclose(found["x_shap"], wanted["x_shap"], rtol=0, atol=1e-5 * scale)


def test_router_near(explain, run):
    check(router(top_k=3, router_sentinel=-5.0), explain, run)


# ---- AttnLSTM ------------------------------------------------------------------------------------

def recurrent(direction="forward", layer=False, lengths=None, memory_lengths=None, first=False,
              peepholes=False, y="all", **attributes):
    """Steps first; the memory is an input, too."""
    d = 2 if direction == "bidirectional" else 1
    h, c, a, steps, places, depth = 3, 2, 4, 3, 4, 5
    read = 3 if layer else depth
    low = {"low": -0.7, "high": 0.7}
    known = {"w": floats(d, 4 * h, c + read, **low), "r": floats(d, 4 * h, h, seed=8, **low),
             "b": floats(d, 8 * h, seed=9, **low), "p": floats(d, 3 * h, seed=10, **low),
             "qw": floats(d, h, a, seed=11), "mw": floats(d, depth, a, seed=12, **low),
             "v": floats(d, a, seed=13), "aw": floats(d, h + depth, read, seed=14, **low),
             "ends": np.array(lengths or [steps] * 2, np.int32),
             "long": np.array(memory_lengths or [places] * 2, np.int32)}
    shapes = {"x": (steps, c), "m": (places, depth)}
    nodes = [node("Transpose", "x", "t", perm=[1, 0, 2]), node("Shape", "x", "n", start=0, end=1)]
    for name in ("ends", "long"):
        known[name] = known[name][:1]
        nodes.append(node("Expand", f"{name} n", f"{name}_n"))
    if first:
        shapes |= {"h0": (d, h), "c0": (d, h)}
        nodes += [node("Transpose", f"{name}0", f"{name}1", perm=[1, 0, 2]) for name in "hc"]
    inputs = ["t w r b", "ends_n" if lengths else "-", "h1 c1" if first else "- -",
              "p" if peepholes else "-", "qw mw v m", "long_n" if memory_lengths else "-",
              "aw" if layer else "-"]
    perm = [2, 0, 1, 3] if y == "all" else [1, 0, 2]
    nodes += [contrib("AttnLSTM", " ".join(inputs).rstrip(" -"), "all last cell", hidden_size=h,
                      direction=direction, **attributes), node("Transpose", y, "y", perm=perm)]
    return Rule(nodes, shapes, known, domains=MS, low=-1, high=1)


@pytest.mark.parametrize("options", [
    {}, {"direction": "reverse"}, {"direction": "bidirectional"}, {"layer": True},
    {"direction": "bidirectional", "layer": True, "first": True}, {"lengths": [2, 2]},
    {"lengths": [2, 2], "y": "last", "direction": "reverse"}, {"memory_lengths": [2, 2]},
    {"peepholes": True, "y": "cell"}, {"clip": 0.5}, {"input_forget": 1},
    {"activations": ["Sigmoid", "Relu", "Softsign"]}], ids=str)
def test_lstm_with_attention(explain, run, options):
    check_one(recurrent(**options), explain, run)


def test_lstm_with_attention_near(explain, run):
    check(recurrent(layer=True, first=True), explain, run)


# ---- SparseAttention -----------------------------------------------------------------------------

def test_sparse_attention(cli, tmp_path):
    """Its kernel wants past and present keys in one buffer, which no plain run has: it is refused, and what
    to do is said."""
    shapes = {"x": (4, 16), "k": (4, 8), "v": (4, 8), "pk": (1, 16, 8), "pv": (1, 16, 8)}
    known = {"rows": np.array([[0, 1]], np.int32), "cols": np.array([[0]], np.int32),
             "total": np.array([4], np.int32), "lens": np.array([4], np.int32)}
    graph = helper.make_graph(
        [contrib("SparseAttention", "x k v pk pv rows cols total lens", "y nk nv", num_heads=2,
                 kv_num_heads=1, sparse_block_size=16)], "sparse",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *shape])
         for name, shape in shapes.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 16])],
        [onnx.numpy_helper.from_array(value, name) for name, value in known.items()])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(*MS[0])]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "m.onnx")
    done = subprocess.run([cli, "explain", tmp_path / "m.onnx", "--references=fill:0", "-o",
                           tmp_path / "e.onnx"], capture_output=True, text=True)
    assert done.returncode == 1 and "export it with GroupQueryAttention" in done.stderr
