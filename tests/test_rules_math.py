"""Einsum, determinants, Fourier transforms, attention, losses, and operators that select: the sums
for every pair of a sample and a reference; linear ones are exact."""

import re
import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import rulecheck
from rulecheck import Rule, check, check_additive, check_pairs, floats, ints, node


@pytest.fixture
def opset(monkeypatch):
    """opset(n): the models that follow are of opset n."""
    return lambda n: monkeypatch.setattr(rulecheck, "OPSET", n)


# ---- Einsum --------------------------------------------------------------------------------


@pytest.mark.parametrize("equation, a, w", [
    ("nij,jk->nik", (3, 4), (4, 5)),
    ("aij,jk", (3, 4), (4, 5)),
    ("nij,kj->nki", (3, 4), (5, 4)),
    ("nij,ijk->nk", (3, 4), (3, 4, 2)),
    ("nij,j->ni", (3, 4), (4,)),
    ("nij,k->nikj", (3, 4), (2,)),
    ("n...j,jk->n...k", (2, 3, 4), (4, 5)),
    ("...ij,jk", (3, 4), (4, 5)),
    ("nii,ij->nj", (3, 3), (3, 2)),
    ("nij,lk->nk", (3, 4), (2, 5)),
    ("n i j , j k -> n k i", (3, 4), (4, 5)),
    ("nij,ij->nij", (3, 4), (1, 4)),
    ("nij,ij->n", (3, 4), (3, 1)),
])
def test_einsum_by_constant(equation, a, w, explain, run):
    nodes = [node("Einsum", "a w", "y", equation=equation)]
    check_additive(Rule(nodes, {"a": a}, {"w": floats(*w)}), explain, run)


@pytest.mark.parametrize("equation, a", [
    ("nij->nji", (3, 4)), ("nij->n", (3, 4)), ("nii->ni", (3, 3)), ("nii->n", (3, 3)),
    ("n...->n...", (3, 2)), ("n...i->n...", (3, 2)), ("niijj->nij", (2, 2, 3, 3)),
    ("niii->ni", (3, 3, 3)), ("acb", (3, 4)),
])
def test_einsum_of_one(equation, a, explain, run):
    check_additive(Rule([node("Einsum", "a", "y", equation=equation)], {"a": a}), explain, run)


@pytest.mark.parametrize("equation, inputs", [
    ("nhqd,nhkd->nhqk", {"a": (2, 3, 4), "b": (2, 5, 4)}),
    ("nqhd,nkhd->nhqk", {"a": (3, 2, 4), "b": (5, 2, 4)}),
    ("ni,nj->nij", {"a": (3,), "b": (4,)}),
    ("ni,ni->n", {"a": (3,), "b": (3,)}),
    ("...i,...i->...", {"a": (2, 3), "b": (2, 3)}),
    ("nij,nkj,nkl->nil", {"a": (2, 3), "b": (4, 3), "c": (4, 2)}),
    ("nij,njk,nk->n", {"a": (2, 3), "b": (3, 4), "c": (4,)}),
    ("nii,nij->nj", {"a": (3, 3), "b": (3, 2)}),
])
def test_einsum_of_several(equation, inputs, explain, run):
    nodes = [node("Einsum", " ".join(inputs), "y", equation=equation)]
    check(Rule(nodes, inputs), explain, run)


def test_einsum_is_a_game(explain, run):
    """Of two operands: the Shapley values of two players."""
    rule = Rule([node("Einsum", "a b", "y", equation="nij,nkj->nik")], {"a": (2, 3), "b": (2, 3)})
    singles = check_pairs(rule, explain, run)
    x, r = ({k: v[:1].astype(float) for k, v in side.items()} for side in (rule.x, rule.r))

    def f(a, b):
        return np.einsum("nij,nkj->nik", a["a"], b["b"]).reshape(1, -1) @ rule.head.astype(float)

    want = (f(x, r) - f(r, r) + f(x, x) - f(r, x)) / 2
    assert np.allclose(singles[0]["a_shap"][0].sum((1, 2)), want[0], atol=1e-4)


# ---- determinants, products along an axis ----------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_det(size, explain, run):
    check(Rule([node("Det", "a", "y")], {"a": (2, size, size)}, low=-1, high=1), explain, run)


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("axis", [1, -1])
def test_cum_prod(exclusive, reverse, axis, explain, run, opset):
    opset(26)
    nodes = [node("CumProd", "a k", "y", exclusive=exclusive, reverse=reverse)]
    rule = {"nodes": nodes, "inputs": {"a": (5, 3)}, "constants": {"k": np.array(axis)}}
    check(or_skip(rule), explain, run)


def or_skip(arguments, **others):
    """The rule, where ONNX Runtime has the operator."""
    try:
        return Rule(arguments["nodes"], arguments["inputs"], arguments.get("constants"), **others)
    except Exception as error:  # its exceptions have no common base
        if re.search("NOT_IMPLEMENTED|not a registered function|only \\*guarantees\\*|No Op",
                     str(error)):
            pytest.skip(f"not in this ONNX Runtime: {error}")
        raise


# ---- Fourier transforms ----------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("length", [None, 4, 9])
@pytest.mark.parametrize("inverse, onesided", [(0, 0), (0, 1), (1, 0)])
def test_dft(parts, length, inverse, onesided, explain, run, opset):
    opset(20)
    if onesided and parts == 2:
        pytest.skip("onesided transforms take real values")
    if inverse and parts == 1:
        pytest.skip("ONNX Runtime inverts complex values")
    nodes = [node("DFT", f"a {'n' if length else ''} k" if length else "a", "y",
                  inverse=inverse, onesided=onesided)]
    if length is None:
        nodes = [helper.make_node("DFT", ["a", "", "k"], ["y"], inverse=inverse, onesided=onesided)]
    constants = {"k": np.array(1), "n": np.array(length or 0)}
    check_additive(Rule(nodes, {"a": (6, 2, parts)}, constants), explain, run)


@pytest.mark.parametrize("parts, onesided", [(1, 0), (1, 1), (2, 0)])
@pytest.mark.parametrize("step", [2, 3, 4])
def test_stft(parts, onesided, step, explain, run):
    nodes = [helper.make_node("STFT", ["a", "s", "w", "l"], ["y"], onesided=onesided)]
    constants = {"s": np.array(step), "w": floats(4), "l": np.array(4)}
    check_additive(Rule(nodes, {"a": (13, parts)}, constants), explain, run)


def test_stft_window(explain, run):
    """A window of the model's own, and frames without one."""
    nodes = [node("HannWindow", "l", "w"), helper.make_node("STFT", ["a", "s", "w"], ["y"])]
    constants = {"s": np.array(3), "l": np.array(5)}
    check_additive(Rule(nodes, {"a": (13, 1)}, constants), explain, run)


# ---- TopK, Hardmax ----------------------------------------------------------------------------


@pytest.mark.parametrize("largest", [1, 0])
@pytest.mark.parametrize("k", [1, 3, 6])
@pytest.mark.parametrize("axis", [1, -1])
def test_topk(largest, k, axis, explain, run):
    nodes = [helper.make_node("TopK", ["a", "k"], ["y", "i"], axis=axis, largest=largest)]
    check(Rule(nodes, {"a": (6, 6)}, {"k": ints(k)}), explain, run)


def test_topk_is_bounded(explain, run):
    """Flow into one value: multipliers in [-1, 1], though the order changes."""
    rng = np.random.default_rng(3)
    x, r = (rng.normal(size=(n, 7)).astype(np.float32) for n in (64, 1))
    graph = helper.make_graph(
        [helper.make_node("TopK", ["a", "k"], ["y", "i"])], "g",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, ["N", 7])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(ints(4), "k")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    out = run(explain(model, r, "--target=all"), x)
    phi = out["a_shap"]
    assert np.abs(phi / (x - r)[:, None]).max() <= 1 + 1e-4
    assert np.allclose(phi.sum(-1), out["y"] - out["base_value"], atol=1e-5)


def test_topk_ties(explain, run):
    """Equal values on both sides give no 0/0."""
    nodes = [helper.make_node("TopK", ["a", "k"], ["y", "i"])]
    rule = Rule(nodes, {"a": (4,)}, {"k": ints(3)})
    x = {"a": np.float32([[1, 1, 1, 0], [2, 1, 2, 1]])}
    r = {"a": np.float32([[1, 1, 0, 1], [1, 2, 1, 2]])}
    check_pairs(rule, explain, run, x, r)


@pytest.mark.parametrize("axis", [1, -1])
def test_hardmax(axis, explain, run):
    rule = Rule([node("Hardmax", "a", "y", axis=axis)], {"a": (3, 4)})
    rulecheck.check_same(rule, explain, run)
    check_pairs(rule, explain, run)


# ---- sequences, conditions, classes ------------------------------------------------------------


@pytest.mark.parametrize("time, batch", [(0, 1), (1, 0)])
def test_reverse_sequence(time, batch, explain, run):
    """The batch axis of the model stands last: the lengths are those of another axis."""
    nodes = [node("Transpose", "a", "t", perm=[1, 2, 0]),
             node("ReverseSequence", "t n", "s", time_axis=time, batch_axis=batch),
             node("Transpose", "s", "y", perm=[2, 0, 1])]
    lengths = ints(1, 4, 3) if time == 0 else ints(2, 1, 3, 2)
    check_additive(Rule(nodes, {"a": (4, 3)}, {"n": lengths}), explain, run)


def test_reverse_sequence_by_batch(explain, run):
    """Lengths that are given the batch's size."""
    nodes = [node("Shape", "a", "n", start=0, end=1), node("Expand", "three n", "lengths"),
             node("ReverseSequence", "a lengths", "y", time_axis=1, batch_axis=0)]
    check_additive(Rule(nodes, {"a": (4, 3)}, {"three": ints(3)}), explain, run)


@pytest.mark.parametrize("axis", [1, -1])
def test_compress(axis, explain, run):
    """By a constant condition, along an axis."""
    condition = np.array([True, False, True, False, True][:4 if axis == 1 else 5])
    nodes = [node("Compress", "a c", "b", axis=axis)]
    if axis == 1:
        nodes += [node("Transpose", "b", "t", perm=[0, 2, 1]), node("MatMul", "t w", "y")]
    else:
        nodes += [node("MatMul", "b w", "y")]
    constants = {"c": condition, "w": floats(int(condition.sum()), 3)}
    check_additive(Rule(nodes, {"a": (4, 5)}, constants), explain, run)


@pytest.mark.parametrize("axis", [-1, 1, 2])
@pytest.mark.parametrize("kind, depth", [(np.int64, np.int64), (np.int32, np.int32),
                                         (np.float32, np.float32)])
def test_one_hot(axis, kind, depth, explain, run, one_sample):
    """Both values vary; indices from the end, and beyond it."""
    nodes = [node("Squeeze", "a first", "v"), node("OneHot", "i d v", "y", axis=axis)]
    constants = {"first": ints(0), "i": np.array([[0, 2, -1, 7]], kind), "d": np.array(3, depth)}
    one_sample(Rule(nodes, {"a": (2,)}, constants))


@pytest.fixture
def one_sample(explain, run, monkeypatch):
    """Checks the pairs of a model that takes one sample only, which is made after this."""
    monkeypatch.setattr(rulecheck, "SAMPLES", 1)

    def checked(rule):
        for value in rule.model.graph.input:
            value.type.tensor_type.shape.dim[0].dim_value = 1
        for i in range(rulecheck.REFERENCES):
            check_pairs(rule, explain, run, rule.x, {k: v[i:i + 1] for k, v in rule.r.items()})
        check_pairs(rule, explain, run, rule.x, {k: v.copy() for k, v in rule.x.items()})

    return checked


@pytest.mark.parametrize("low, high", [("low", "high"), ("low", ""), ("", "high")])
def test_clip_between_inputs(low, high, one_sample):
    """Bounds that depend on the input."""
    nodes = [node("ReduceMean", "a all", "m", keepdims=0),
             node("Sub", "m half", "low"), node("Add", "m half", "high"),
             helper.make_node("Clip", ["a", low, high], ["y"])]
    constants = {"all": ints(0, 1), "half": np.float32(0.5)}
    one_sample(Rule(nodes, {"a": (7,)}, constants))


# ---- GatherND, Scatter -------------------------------------------------------------------------


@pytest.mark.parametrize("index", [[[0], [2]], [[-1], [-1]], [[0, 1], [2, -1]],
                                   [[[1], [0]], [[0], [2]]]])
def test_gather_nd_by_batch(index, explain, run):
    """Other places for every sample, by an index that is given the batch's size."""
    index = np.array([index])
    nodes = [node("Shape", "a", "n", start=0, end=1), node("Concat", "n rest", "to", axis=0),
             node("Expand", "i to", "index"), node("GatherND", "a index", "y", batch_dims=1)]
    constants = {"i": index, "rest": ints(*index.shape[1:])}
    check_additive(Rule(nodes, {"a": (3, 4)}, constants), explain, run)


@pytest.mark.parametrize("op", ["max", "min"])
@pytest.mark.parametrize("axis", [1, -1])
def test_scatter_extreme(op, axis, explain, run):
    """Places that several write to."""
    index = np.array([[[0, 1, 1], [0, 2, 1]]])
    nodes = [node("Shape", "a", "n", start=0, end=1), node("Concat", "n rest", "to", axis=0),
             node("Expand", "i to", "index"),
             node("ScatterElements", "a index u", "y", axis=axis, reduction=op)]
    constants = {"i": index, "rest": ints(2, 3)}
    check(Rule(nodes, {"a": (3, 3), "u": (2, 3)}, constants), explain, run)


@pytest.mark.parametrize("op, index", [
    ("max", [[0], [2]]), ("min", [[1], [1]]), ("max", [[0, 1], [0, 1], [2, -1]]),
    ("mul", [[0], [2]]), ("mul", [[0, 1], [-1, 1]])])
def test_scatter_nd_reduced(op, index, explain, run):
    """The batch axis comes last: what an index picks is a slice of it."""
    index = np.array(index)
    shape = (len(index), 3) if index.shape[1] == 1 else (len(index),)
    nodes = [node("Transpose", "a", "t", perm=[1, 2, 0]),
             node("Transpose", "u", "v", perm=[*range(1, len(shape) + 1), 0]),
             node("ScatterND", "t i v", "s", reduction=op),
             node("Transpose", "s", "y", perm=[2, 0, 1])]
    check(Rule(nodes, {"a": (4, 3), "u": shape}, {"i": index}), explain, run)


@pytest.mark.parametrize("axis, index", [(1, [[[2, 0, 1]]]), (2, [[[2, 0], [1, 2]]])])
def test_scatter_elements_product(axis, index, one_sample):
    nodes = [node("ScatterElements", "a i u", "y", axis=axis, reduction="mul")]
    index = np.array(index)
    one_sample(Rule(nodes, {"a": (3, 3), "u": index.shape[1:]}, {"i": index}))


def test_batch_normalization_by_inputs(one_sample):
    """Scale and statistics that depend on the input."""
    nodes = [node("ReduceMean", "a batch", "m", keepdims=0), node("Exp", "m", "v"),
             node("BatchNormalization", "a m k m v", "y")]
    one_sample(Rule(nodes, {"a": (3, 4)}, {"batch": ints(0, 2), "k": floats(3)}))


# ---- attention ---------------------------------------------------------------------------------


def attention(inputs, names, outputs="y", constants=None, **attributes):
    nodes = [helper.make_node("Attention", names.split(","), outputs.split(","), **attributes)]
    return {"nodes": nodes, "inputs": inputs, "constants": constants}


SPLIT = {"q": (2, 3, 4), "k": (2, 5, 4), "v": (2, 5, 3)}
CAUSAL = {"q": (2, 4, 4), "k": (2, 4, 4), "v": (2, 4, 3)}
JOINED = {"q": (3, 8), "k": (5, 8), "v": (5, 8)}
GROUPED = {"q": (4, 3, 4), "k": (2, 5, 4), "v": (2, 5, 3)}
HALF = np.array([[True] * 5, [True, False] * 2 + [True], [False, True, True, True, False]])


@pytest.mark.parametrize("case", [
    attention(SPLIT, "q,k,v"),
    attention(SPLIT, "q,k,v", scale=0.3),
    attention(SPLIT, "q,k,v", softcap=1.5),
    attention(CAUSAL, "q,k,v", is_causal=1),
    attention(JOINED, "q,k,v", q_num_heads=2, kv_num_heads=2),
    attention(GROUPED, "q,k,v"),
    attention(SPLIT, "q,k,v,w", constants={"w": floats(3, 5)}),
    attention(SPLIT, "q,k,v,w", constants={"w": HALF}),
    attention({**SPLIT, "w": (1, 3, 5)}, "q,k,v,w"),
    attention({**CAUSAL, "e": (2, 2, 4), "f": (2, 2, 3)}, "q,k,v,,e,f", "y,p,s"),
    attention({**CAUSAL, "e": (2, 2, 4), "f": (2, 2, 3)}, "q,k,v,,e,f", "z,y,s"),
    attention({**CAUSAL, "e": (2, 2, 4), "f": (2, 2, 3)}, "q,k,v,,e,f", "z,p,y", is_causal=1),
    attention(SPLIT, "q,k,v", "z,,,y"),
    attention(SPLIT, "q,k,v", "z,,,y", qk_matmul_output_mode=3),
], ids=lambda case: str(case["nodes"][0].attribute and [a.name for a in case["nodes"][0].attribute])
    .replace("'", "") + "-" + ".".join(case["inputs"]) + "-" + case["nodes"][0].output[-1])
def test_attention(case, explain, run, opset):
    opset(23)
    check(or_skip(case, low=-1, high=1), explain, run)


def test_attention_sees_nothing(explain, run, opset):
    """Queries from which all keys are hidden give 0 and get nothing."""
    opset(23)
    mask = np.array([[True] * 5, [False] * 5, [True, False] * 2 + [True]])
    case = or_skip(attention(SPLIT, "q,k,v,w", constants={"w": mask}), low=-1, high=1)
    for outputs in check_pairs(case, explain, run):
        assert (outputs["q_shap"][:, :, :, 1] == 0).all()


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("size", [0, 4])
@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("shape", [(2, 3, 8), (3, 16)])
def test_rotary_embedding(interleaved, size, ids, shape, explain, run, opset):
    opset(23)
    half = (size or 8) // 2
    attributes = {"interleaved": interleaved, "rotary_embedding_dim": size}
    if len(shape) == 2:
        attributes["num_heads"] = 2
    nodes = [node("Shape", "a", "n", start=0, end=1), node("Concat", "n rest", "to", axis=0)]
    if ids:
        rest, caches = ints(3), {"c": floats(6, half), "s": floats(6, half, seed=8)}
        nodes += [node("Expand", "at to", "ids"),
                  helper.make_node("RotaryEmbedding", ["a", "c", "s", "ids"], ["y"], **attributes)]
    else:
        rest, caches = ints(3, half), {"c0": floats(3, half), "s0": floats(3, half, seed=8)}
        nodes += [node("Expand", "c0 to", "c"), node("Expand", "s0 to", "s"),
                  helper.make_node("RotaryEmbedding", ["a", "c", "s"], ["y"], **attributes)]
    constants = {"rest": rest, "at": ints([0, 2, 5]), **caches}
    check_additive(or_skip({"nodes": nodes, "inputs": {"a": shape}, "constants": constants}),
                   explain, run)


# ---- losses ------------------------------------------------------------------------------------


def loss(op, shape, explain, run, weights=False, **attributes):
    """Labels that are given the batch's size; the loss of each sample."""
    labels = np.random.default_rng(2).integers(0, shape[0], (1, *shape[1:]))
    labels.flat[0] = 1
    nodes = [node("Shape", "a", "n", start=0, end=1), node("Concat", "n rest", "to", axis=0),
             node("Expand", "l to", "labels"),
             node(op, "a labels w" if weights else "a labels", "y", reduction="none",
                  **attributes)]
    constants = {"l": labels, "rest": ints(*shape[1:]), "w": floats(shape[0], low=0.5)}
    return Rule(nodes, {"a": shape}, constants)


LOSSES = [((4,), {}), ((4, 3), {"weights": True}), ((3, 2, 2), {"ignore_index": 1}),
          ((4,), {"ignore_index": -1, "weights": True})]


@pytest.mark.parametrize("shape, attributes", LOSSES, ids=str)
def test_nll_loss(shape, attributes, explain, run):
    rule = loss("NegativeLogLikelihoodLoss", shape, explain, run, **attributes)
    check_additive(rule, explain, run)


@pytest.mark.parametrize("shape, attributes", LOSSES, ids=str)
def test_softmax_cross_entropy(shape, attributes, explain, run):
    check(loss("SoftmaxCrossEntropyLoss", shape, explain, run, **attributes), explain, run)


# ---- doubles, refusals -------------------------------------------------------------------------


@pytest.mark.parametrize("nodes, inputs", [
    ([node("Einsum", "a b", "y", equation="nij,nkj->nik")], {"a": (2, 3), "b": (4, 3)}),
    ([helper.make_node("TopK", ["a", "k"], ["y", "i"])], {"a": (6,)}),
])
def test_doubles(nodes, inputs, explain, run):
    """Where ONNX Runtime has kernels for them."""
    rule = Rule(nodes, inputs, {"k": ints(3)}, dtype=np.float64)
    rulecheck.check_same(rule, explain, run)
    check_pairs(rule, explain, run)


@pytest.mark.parametrize("nodes, shape, why", [
    ([helper.make_node("TopK", ["a", "k"], ["y", "i"], sorted=0)], (4,), "without sorted=1"),
    ([node("Det", "a", "y")], (9, 9), "up to 8 rows"),
    ([node("Transpose", "a", "t", perm=[1, 0]), node("Transpose", "a", "u", perm=[1, 0]),
      node("ScatterND", "t twice u", "s", reduction="mul"),
      node("Transpose", "s", "y", perm=[1, 0])], (2,), "written to twice"),
])
def test_refused(nodes, shape, why, cli, tmp_path):
    rule = Rule(nodes, {"a": shape}, {"k": ints(2), "twice": ints([1], [1])})
    onnx.save(rule.model, tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", rule.r["a"])
    command = [cli, "explain", tmp_path / "m.onnx", "--references", tmp_path / "r.npy",
               "-o", tmp_path / "out.onnx"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and re.search(why, done.stderr), done.stderr
