"""Reductions, softmax and normalisations: completeness with random multipliers for every pair of a
sample and a reference, the gradient in the limit, masks, logits far apart, and exact values."""

import itertools

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

EPS = float(np.finfo(np.float32).eps)


def tensor(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def model_of(node, shape, out_shape, initializers=(), opset=18, linear=True, seed=0):
    """node from "x" to "y", then a random linear layer to "z" of 3 values."""
    size = int(np.prod(out_shape))
    weights = np.random.default_rng(seed).normal(size=(size, 3)).astype(np.float32)
    value = helper.make_tensor_value_info
    nodes = [node]
    initializers = list(initializers)
    if linear:
        nodes += [helper.make_node("Reshape", ["y", "flat_shape"], ["flat"]),
                  helper.make_node("MatMul", ["flat", "w"], ["z"])]
        initializers += [tensor("w", weights), tensor("flat_shape", np.int64([-1, size]))]
        output = value("z", TensorProto.FLOAT, ("N", 3))
    else:
        output = value("y", TensorProto.FLOAT, ("N", *out_shape))
    graph = helper.make_graph(nodes, "g", [value("x", TensorProto.FLOAT, ("N", *shape))], [output],
                              initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def pairs(shape, seed, low=-3, high=3):
    """2 samples and 3 references: different, equal in places, and one equal altogether."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(low, high, (2, *shape)).astype(np.float32)
    r = rng.uniform(low, high, (3, *shape)).astype(np.float32)
    r[0].flat[::3] = x[0].flat[::3]
    r[1] = x[1]
    return x, r


def check_complete(explain, run, model, x, references, factor=40):
    """Per pair; rounding is that of the attributions and of the outputs."""
    for r in references:
        out = run(explain(model, r[None], "--target=all"), x)
        phi = out["x_shap"].astype(np.float64).reshape(len(x), 3, -1)
        assert np.isfinite(phi).all()
        gap = phi.sum(-1) - (out["z"].astype(np.float64) - out["base_value"])
        bound = np.abs(phi).sum(-1) + np.abs(out["z"]) + np.abs(out["base_value"]) + 1
        assert (np.abs(gap) <= factor * EPS * bound).all(), np.abs(gap / bound).max() / EPS


SHAPE = (3, 4, 5)
NUMPY = {"ReduceSum": np.sum, "ReduceMean": np.mean, "ReduceMax": np.max, "ReduceMin": np.min}
REDUCE = ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceLogSumExp", "ReduceL1",
          "ReduceL2", "ReduceSumSquare", "ReduceProd"]


def reduce_model(op, axes, keepdims, shape=SHAPE):
    full = (1, *shape)
    reduced = tuple(a % len(full) for a in axes)
    out = [1 if d in reduced else n for d, n in enumerate(full) if keepdims or d not in reduced]
    node = helper.make_node(op, ["x", "axes"], ["y"], keepdims=keepdims)
    return model_of(node, shape, out[1:], [tensor("axes", np.int64(axes))])


@pytest.mark.parametrize("op", REDUCE)
@pytest.mark.parametrize("axes", [[1], [-1], [2, 3], [1, 3], [1, 2, 3]], ids=str)
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reduce(explain, run, op, axes, keepdims):
    shape = (2, 2, 2) if op == "ReduceProd" else SHAPE
    x, r = pairs(shape, 1)
    check_complete(explain, run, reduce_model(op, axes, keepdims, shape), x, r)


@pytest.mark.parametrize("size", [3, 5, 7])
def test_product_of_an_odd_number(explain, run, size):
    x, r = pairs((size, 2), 5)
    check_complete(explain, run, reduce_model("ReduceProd", [1], 0, (size, 2)), x, r)


def test_reduce_log_sum(explain, run):
    x, r = pairs(SHAPE, 2, 0.1, 3)
    check_complete(explain, run, reduce_model("ReduceLogSum", [2], 1), x, r)


@pytest.mark.parametrize("op", [*NUMPY, "ReduceProd"])
def test_reduce_nothing(explain, run, op):
    """noop_with_empty_axes; of the others runtimes differ on what it means."""
    node = helper.make_node(op, ["x"], ["y"], noop_with_empty_axes=1)
    x, r = pairs((4,), 3)
    check_complete(explain, run, model_of(node, (4,), (4,)), x, r)


def test_log_sum_exp_of_nothing(explain, run):
    """Of one value each: that value."""
    node = helper.make_node("ReduceLogSumExp", ["x"], ["y"], noop_with_empty_axes=1)
    x, r = pairs((4,), 3)
    model = model_of(node, (4,), (4,), linear=False)
    phi = run(explain(model, r[:1], "--target=all"), x)["x_shap"]
    assert (phi == np.eye(4, dtype=np.float32) * (x - r[0])[:, None]).all()


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
def test_extreme_is_bounded(explain, run, op):
    """Of two values the winner rule stays within the flow: m in [0, 1]."""
    rng = np.random.default_rng(4)
    x, r = rng.normal(size=(64, 6)).astype(np.float32), rng.normal(size=(1, 6)).astype(np.float32)
    node = helper.make_node(op, ["x", "axes"], ["y"], keepdims=1)
    model = model_of(node, (6,), (1,), [tensor("axes", np.int64([1]))], linear=False)
    phi = run(explain(model, r, "--target=0"), x)["x_shap"]
    m = phi / (x - r)
    assert (m >= -2 * EPS).all() and (m <= 1 + 2 * EPS).all()
    assert ((m != 0).sum(1) <= 1).all()
    assert np.allclose(phi.sum(1), NUMPY[op](x, 1) - NUMPY[op](r, 1), atol=1e-6)


def test_extreme_ties(explain, run):
    """Equal maxima, and x == r at the winner, give no 0/0."""
    x = np.float32([[1, 1, 0], [2, 1, 2], [0, 0, 0]])
    r = np.float32([[1, 1, 0]])
    node = helper.make_node("ReduceMax", ["x", "axes"], ["y"], keepdims=1)
    model = model_of(node, (3,), (1,), [tensor("axes", np.int64([1]))], linear=False)
    out = run(explain(model, r, "--target=0"), x)
    assert np.array_equal(out["x_shap"].sum(1), np.float32([0, 1, -1]))


# ---- softmax -----------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [-1, 1, 2])
def test_softmax(explain, run, op, axis):
    x, r = pairs(SHAPE, 5)
    node = helper.make_node(op, ["x"], ["y"], axis=axis)
    check_complete(explain, run, model_of(node, SHAPE, SHAPE), x, r)


def logsoftmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def logarithmic_means(x, r):
    """(y - y0)/(l - l0) in float64."""
    l, l0 = logsoftmax(x), logsoftmax(r)
    d = np.abs(l - l0)
    with np.errstate(all="ignore"):
        return np.exp(np.maximum(l, l0)) * np.where(d < 1e-12, 1, -np.expm1(-d) / d)


@pytest.mark.parametrize("scale", [1, 10, 300])
def test_softmax_formula(explain, run, scale):
    """m_x = L (m - sum(m L)/sum(L)), with logits up to hundreds apart."""
    rng = np.random.default_rng(6)
    x = (scale * rng.normal(size=(4, 7))).astype(np.float32)
    r = (scale * rng.normal(size=(1, 7))).astype(np.float32)
    model = model_of(helper.make_node("Softmax", ["x"], ["y"]), (7,), (7,), linear=False)
    got = run(explain(model, r, "--target=all"), x)["x_shap"]
    big, big_r = x.astype(np.float64), r.astype(np.float64)
    mean = logarithmic_means(big, big_r)[:, None, :]
    m = np.eye(7)[None]
    want = mean * (m - (m * mean).sum(-1, keepdims=True) / mean.sum(-1, keepdims=True))
    want = want * (big - big_r)[:, None, :]
    assert np.abs(got - want).max() <= 16 * EPS * max(1, scale)


def test_softmax_shift(explain, run):
    """A shift of all logits of the sample changes nothing that matters; constant m gives 0."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(1, 5)).astype(np.float32)
    r = rng.normal(size=(1, 5)).astype(np.float32)
    model = model_of(helper.make_node("Softmax", ["x"], ["y"]), (5,), (5,), linear=False)
    explained = explain(model, r, "--target=all")
    for shift in (0, 10, 500):
        out = run(explained, x + np.float32(shift))
        phi = out["x_shap"][0]
        gap = phi.sum(-1) - (out["y"] - out["base_value"])[0]
        assert np.abs(gap).max() <= 16 * EPS * (1 + shift)
        assert np.abs(phi.sum(0)).max() <= 16 * EPS * (1 + shift)


@pytest.mark.parametrize("mask", [-1e9, -np.inf])
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_softmax_mask(explain, run, mask, op):
    """Masked positions get nothing and disturb nothing."""
    value = helper.make_tensor_value_info
    rng = np.random.default_rng(8)
    bias = np.float32([0, 0, mask, 0, mask])
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "mask"], ["a"]), helper.make_node(op, ["a"], ["y"]),
         helper.make_node("Slice", ["y", "start", "end", "axis"], ["z"])], "g",
        [value("x", TensorProto.FLOAT, ("N", 5))], [value("z", TensorProto.FLOAT, ("N", 2))],
        [tensor("mask", bias), tensor("start", np.int64([0])), tensor("end", np.int64([2])),
         tensor("axis", np.int64([1]))])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    x, r = (rng.normal(size=(n, 5)).astype(np.float32) for n in (3, 1))
    out = run(explain(model, r, "--target=all"), x)
    phi = out["x_shap"]
    assert np.isfinite(phi).all()
    assert (phi[:, :, [2, 4]] == 0).all()
    assert np.abs(phi.sum(-1) - (out["z"] - out["base_value"])).max() <= 30 * EPS


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_softmax_gradient(explain, run, op):
    """Where sample and reference meet: the gradient."""
    rng = np.random.default_rng(9)
    x = rng.normal(size=(1, 4))
    step = 1e-3 * rng.normal(size=(1, 4))
    r = (x - step).astype(np.float32)
    x = x.astype(np.float32)
    d = x.astype(np.float64) - r
    middle = 0.5 * (x.astype(np.float64) + r)
    model = model_of(helper.make_node(op, ["x"], ["y"]), (4,), (4,), linear=False)
    phi = run(explain(model, r, "--target=all"), x)["x_shap"][0]
    y = np.exp(logsoftmax(middle))[0]
    jacobian = np.diag(y) - np.outer(y, y) if op == "Softmax" else np.eye(4) - y
    assert np.allclose(phi / d, jacobian, atol=1e-5)


# ---- normalisations ----------------------------------------------------------------------------


def norm_cases():
    rng = np.random.default_rng(10)
    weights = {n: (rng.uniform(0.5, 2, n).astype(np.float32), rng.normal(size=n).astype(np.float32))
               for n in (2, 4, 5)}
    node = helper.make_node

    def both(n):
        return [tensor("s", weights[n][0]), tensor("b", weights[n][1])]

    names = ["x", "s", "b"]
    yield "instance", node("InstanceNormalization", names, ["y"]), (4, 5, 3), both(4), 18
    coarse = node("InstanceNormalization", names, ["y"], epsilon=1e-2)
    yield "instance-1d", coarse, (4, 6), both(4), 18
    yield "layer", node("LayerNormalization", names, ["y"]), (3, 5), both(5), 18
    yield "layer-axis", node("LayerNormalization", names, ["y"], axis=1), (4, 5), [
        tensor("s", rng.uniform(0.5, 2, (4, 5)).astype(np.float32)),
        tensor("b", rng.normal(size=(4, 5)).astype(np.float32))], 18
    yield "layer-no-bias", node("LayerNormalization", ["x", "s"], ["y"]), (3, 5), both(5)[:1], 18
    yield "group", node("GroupNormalization", names, ["y"], num_groups=2), (4, 3, 3), both(2), 18
    yield "group-21", node("GroupNormalization", names, ["y"], num_groups=2), (4, 3, 3), both(4), 21
    yield "rms", node("RMSNormalization", ["x", "s"], ["y"]), (3, 5), both(5)[:1], 23
    yield "lp1", node("LpNormalization", ["x"], ["y"], axis=-1, p=1), (3, 5), [], 18
    yield "lp2", node("LpNormalization", ["x"], ["y"], axis=1, p=2), (3, 5), [], 18
    wide = {"size": 5, "alpha": 0.1, "beta": 0.5, "bias": 2.0}
    yield "lrn", node("LRN", ["x"], ["y"], size=3, alpha=0.5, bias=1.0), (5, 2, 2), [], 18
    yield "lrn-root", node("LRN", ["x"], ["y"], **wide), (7, 2, 1), [], 18
    yield "mvn", node("MeanVarianceNormalization", ["x"], ["y"], axes=[2, 3]), (3, 4, 2), [], 18


@pytest.mark.parametrize("case", list(norm_cases()), ids=lambda case: case[0])
def test_normalisation(explain, run, case):
    _, node, shape, weights, opset = case
    model = model_of(node, shape, shape, weights, opset=opset)
    x, r = pairs(shape, 11)
    check_complete(explain, run, model, x, r, factor=150)


def test_zero_norm(explain, run):
    """Rows of zeros give no 0/0."""
    node = helper.make_node("LpNormalization", ["x"], ["y"], axis=-1, p=2)
    model = model_of(node, (3,), (3,))
    zeros = np.zeros((1, 3), np.float32)
    assert (run(explain(model, zeros, "--target=all"), zeros)["x_shap"] == 0).all()


def shapley(f, x, r):
    """Exact Shapley values by enumeration."""
    n = x.size
    value = {}
    for mask in itertools.product((False, True), repeat=n):
        value[mask] = f(np.where(mask, x, r))
    phi = np.zeros(n)
    for order in itertools.permutations(range(n)):
        mask = [False] * n
        for i in order:
            before = value[tuple(mask)]
            mask[i] = True
            phi[i] += value[tuple(mask)] - before
    return phi / np.prod(np.arange(1, n + 1))


def test_sum_of_squares_is_exact(explain, run):
    """Additive functions have exact Shapley values."""
    rng = np.random.default_rng(12)
    x, r = rng.normal(size=(2, 1, 5)).astype(np.float32)
    node = helper.make_node("ReduceSumSquare", ["x", "axes"], ["y"], keepdims=1)
    model = model_of(node, (5,), (1,), [tensor("axes", np.int64([1]))], linear=False)
    phi = run(explain(model, r, "--target=0"), x)["x_shap"]
    exact = shapley(lambda v: float((v.astype(float) ** 2).sum()), x[0], r[0])
    assert np.allclose(phi[0], exact, atol=1e-6)


def test_softmax_near_exact(explain, run):
    """Close to exact values at moderate logits, where elementwise ratios are off by half."""
    rng = np.random.default_rng(13)
    errors = []
    for _ in range(6):
        x, r = rng.normal(size=(2, 1, 5)).astype(np.float32)
        model = model_of(helper.make_node("Softmax", ["x"], ["y"]), (5,), (5,), linear=False)
        phi = run(explain(model, r, "--target=2"), x)["x_shap"][0]
        exact = shapley(lambda v: float(np.exp(logsoftmax(v.astype(float)))[2]), x[0], r[0])
        errors.append(np.linalg.norm(phi - exact) / np.linalg.norm(exact))
    assert np.median(errors) < 0.15


def test_product_of_two_is_exact(explain, run):
    rng = np.random.default_rng(14)
    x, r = rng.normal(size=(2, 1, 2)).astype(np.float32)
    node = helper.make_node("ReduceProd", ["x", "axes"], ["y"], keepdims=0)
    model = model_of(node, (2,), (), [tensor("axes", np.int64([1]))], linear=False)
    phi = run(explain(model, r, "--target=0"), x)["x_shap"]
    exact = shapley(lambda v: float(np.prod(v.astype(float))), x[0], r[0])
    assert np.allclose(phi[0], exact, atol=1e-6)
