"""Rules of operators over space: convolutions, pools, Resize.

What is linear is compared with its Jacobian, read off the operator itself; what takes a maximum
with the rule spelled out over windows in float64. Both imply completeness, which is checked too."""

import itertools
import subprocess

import numpy as np
import onnx
import pytest
from onnx import helper

EPSILON = np.finfo(np.float32).eps


def build(nodes, shape, constants, opset=18, last="y"):
    """A model from x [N, *shape] to `last`."""
    initializers = [onnx.numpy_helper.from_array(v, k) for k, v in constants.items()]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, None)],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    rank = len(inferred.graph.output[0].type.tensor_type.shape.dim)
    dims = [d.dim_value or f"d{i}" for i, d in enumerate(
        inferred.graph.output[0].type.tensor_type.shape.dim)]
    del model.graph.output[:]
    model.graph.output.append(
        helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, ["N", *dims[1:rank]]))
    return model


def single(op, shape, constants=None, opset=18, order=None, **attributes):
    """A model of one node over x and the constants, whose names may be given in `order`."""
    constants = constants or {}
    names = ["x", *(constants if order is None else order)]
    return build([helper.make_node(op, names, ["y"], **attributes)], shape, constants, opset)


def samples(rng, shape, n=2, r=3):
    """Samples and references that agree in places, with ties."""
    x = rng.standard_normal((n, *shape)).astype(np.float32)
    x0 = rng.standard_normal((r, *shape)).astype(np.float32)
    x, x0 = np.where(rng.random(x.shape) < 0.3, np.round(x), x), np.where(
        rng.random(x0.shape) < 0.3, np.round(x0), x0)
    x0[:, rng.random(shape) < 0.2] = 0
    x[:, rng.random(shape) < 0.2] = 0
    x0[0] = np.where(rng.random(shape) < 0.5, x[0], x0[0])
    return x.astype(np.float32), x0.astype(np.float32)


def check_linear(explain, run, model, shape, seed=0, terms=64):
    """phi [N, K, ...] is the Jacobian times (x - mean of the references)."""
    x, x0 = samples(np.random.default_rng(seed), shape)
    size = int(np.prod(shape))
    basis = np.concatenate([np.zeros((1, size)), np.eye(size)]).reshape(-1, *shape)
    f = run(model, basis.astype(np.float32))["y"].reshape(size + 1, -1).astype(np.float64)
    jacobian = (f[1:] - f[:1]).T
    delta = (x - x0.mean(0, dtype=np.float64)).reshape(len(x), 1, size)
    got = run(explain(model, x0, "--target=all"), x)
    phi = got["x_shap"].reshape(len(x), -1, size)
    reach = max(np.abs(x).max(), np.abs(x0).max()) * max(np.abs(f).max(), 1e-3)
    np.testing.assert_allclose(phi, jacobian * delta, rtol=0, atol=4 * terms * EPSILON * reach)
    gap = (run(model, x)["y"] - run(model, x0)["y"].mean(0)).reshape(len(x), -1) - phi.sum(-1)
    scale = np.abs(jacobian).sum(1).max() * reach + np.abs(f).max()
    assert np.abs(gap).max() <= 8 * terms * EPSILON * scale


# ---- convolutions -----------------------------------------------------------------------------


def conv(shape, out, kernel, group=1, transpose=False, bias=True, seed=0, **attributes):
    rng = np.random.default_rng(seed)
    c = shape[0]
    w = (c, out // group, *kernel) if transpose else (out, c // group, *kernel)
    constants = {"w": rng.standard_normal(w).astype(np.float32)}
    if bias:
        constants["b"] = rng.standard_normal(out).astype(np.float32)
    op = "ConvTranspose" if transpose else "Conv"
    return single(op, shape, constants, group=group, **attributes)


CONVS = [
    ((3, 6, 7), 4, (3, 3), {}),
    ((3, 6, 7), 4, (3, 3), dict(pads=[1, 1, 1, 1])),
    ((3, 6, 7), 4, (3, 2), dict(pads=[2, 0, 1, 3])),
    ((3, 6, 7), 4, (1, 1), dict(strides=[2, 2])),
    ((3, 6, 7), 4, (1, 1), dict(strides=[2, 3], pads=[1, 1, 0, 2])),
    ((3, 8, 9), 4, (3, 3), dict(strides=[2, 2], pads=[1, 1, 1, 1])),
    ((5, 8, 9), 4, (3, 3), dict(strides=[2, 2], pads=[1, 1, 1, 1])),
    ((5, 9, 8), 4, (2, 3), dict(strides=[3, 2], pads=[1, 0, 0, 2])),
    ((3, 9, 8), 4, (3, 3), dict(strides=[2, 2])),
    ((2, 9, 8), 4, (2, 2), dict(strides=[3, 3])),
    ((2, 9, 8), 4, (2, 2), dict(strides=[3, 3], pads=[2, 1, 0, 0])),
    ((2, 11, 10), 3, (7, 7), dict(strides=[2, 2], pads=[3, 3, 3, 3])),
    ((2, 12, 12), 3, (4, 4), dict(strides=[4, 4])),
    ((2, 13, 14), 3, (4, 3), dict(strides=[4, 4], pads=[2, 0, 0, 1])),
    ((2, 13, 14), 3, (2, 2), dict(strides=[5, 4], pads=[1, 1, 0, 0])),
    ((2, 9, 9), 3, (3, 3), dict(dilations=[2, 3], pads=[2, 3, 2, 3])),
    ((2, 9, 10), 3, (3, 3), dict(dilations=[2, 1], strides=[2, 2])),
    ((2, 12, 11), 3, (3, 3), dict(dilations=[2, 3], strides=[3, 2], pads=[1, 2, 3, 0])),
    ((2, 15, 15), 3, (3, 3), dict(dilations=[2, 4], strides=[4, 6], pads=[1, 2, 3, 0])),
    ((2, 6, 6), 3, (1, 1), dict(pads=[2, 2, 1, 1])),
    ((4, 6, 7), 6, (3, 3), dict(group=2, pads=[1, 1, 1, 1])),
    ((4, 6, 7), 8, (3, 3), dict(group=4, pads=[1, 1, 1, 1], strides=[2, 2])),
    ((4, 6, 7), 4, (3, 3), dict(group=4, auto_pad="SAME_UPPER", strides=[2, 2])),
    ((2, 7, 6), 3, (4, 3), dict(auto_pad="SAME_LOWER", strides=[2, 3])),
    ((2, 7, 6), 3, (4, 3), dict(auto_pad="VALID", strides=[1, 2])),
    ((3, 9), 4, (3,), dict(strides=[2], pads=[1, 0])),
    ((3, 9), 4, (3,), dict(strides=[12], pads=[1, 5])),
    ((2, 4, 5, 6), 3, (3, 3, 3), dict(pads=[1] * 6)),
    ((2, 5, 4, 6), 3, (3, 2, 3), dict(strides=[2, 2, 2], pads=[1, 0, 1, 0, 1, 1])),
    ((2, 5, 4, 6), 4, (2, 2, 2), dict(strides=[3, 1, 3], group=2)),
]


@pytest.mark.parametrize("case", range(len(CONVS)))
def test_conv(explain, run, case):
    shape, out, kernel, attributes = CONVS[case]
    check_linear(explain, run, conv(shape, out, kernel, **attributes), shape)


@pytest.mark.parametrize("seed", range(12))
def test_conv_random(explain, run, seed):
    rng = np.random.default_rng(100 + seed)
    axes = int(rng.integers(1, 4))
    kernel = rng.integers(1, 5 - (axes == 3), axes)
    dilations = rng.integers(1, 3, axes)
    reach = (kernel - 1) * dilations + 1
    pads = rng.integers(0, reach.max() + 1, 2 * axes)
    sizes = reach + rng.integers(0, 5, axes)
    group = int(rng.integers(1, 3))
    shape = (2 * group, *(int(s) for s in sizes))
    model = conv(shape, 2 * group, kernel, group, bias=False, dilations=list(dilations),
                 strides=list(rng.integers(1, 5, axes)), pads=list(pads), seed=seed)
    check_linear(explain, run, model, shape, terms=256)


CONV_TRANSPOSES = [
    ((3, 4, 5), 4, (3, 3), {}),
    ((3, 4, 5), 4, (2, 2), dict(strides=[2, 2])),
    ((3, 4, 5), 4, (3, 3), dict(strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])),
    ((3, 4, 5), 4, (3, 3), dict(strides=[3, 2], pads=[0, 1, 2, 0], output_padding=[2, 0])),
    ((3, 4, 5), 4, (1, 1), dict(strides=[2, 2], output_padding=[1, 0])),
    ((4, 4, 5), 6, (3, 3), dict(strides=[2, 2], group=2, dilations=[2, 1])),
    ((4, 4, 5), 4, (3, 3), dict(strides=[2, 2], group=4, auto_pad="SAME_UPPER")),
    ((4, 4, 5), 2, (4, 3), dict(strides=[2, 2], auto_pad="SAME_LOWER")),
    ((2, 4, 5), 3, (3, 3), dict(strides=[2, 2], output_shape=[8, 10])),
    ((2, 4, 5), 3, (4, 3), dict(strides=[2, 2], output_shape=[7, 9], auto_pad="SAME_UPPER")),
    ((3, 6), 2, (4,), dict(strides=[3], pads=[1, 2])),
    ((2, 3, 2, 3), 2, (2, 3, 2), dict(strides=[2, 1, 2], pads=[0, 1, 0, 0, 1, 0])),
]


@pytest.mark.parametrize("case", range(len(CONV_TRANSPOSES)))
def test_conv_transpose(explain, run, case):
    shape, out, kernel, attributes = CONV_TRANSPOSES[case]
    check_linear(explain, run, conv(shape, out, kernel, transpose=True, **attributes), shape)


def test_conv_with_computed_filters(explain, run):
    rng = np.random.default_rng(1)
    constants = {"w": rng.standard_normal((3, 2, 3, 3)).astype(np.float32),
                 "s": rng.standard_normal((3, 1, 1, 1)).astype(np.float32)}
    nodes = [helper.make_node("Mul", ["w", "s"], ["v"]),
             helper.make_node("Conv", ["x", "v"], ["y"], strides=[2, 2])]
    check_linear(explain, run, build(nodes, (2, 7, 7), constants), (2, 7, 7))


def test_conv_bias(explain, run):
    """A bias that comes from the input, where there is no batch."""
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]>
        test (float[3] x) => (float[1, 3, 2, 2] y) { y = Conv(v, w, x) }""")
    rng = np.random.default_rng(4)
    for name, shape in [("v", (1, 2, 4, 4)), ("w", (3, 2, 3, 3))]:
        value = rng.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    x, x0 = rng.standard_normal((1, 3)), rng.standard_normal((4, 3))
    explained = explain(model, x0.astype(np.float32), "--target=0:1:0:*", "--no-batch")
    phi = run(explained, x[0].astype(np.float32))["x_shap"]
    np.testing.assert_allclose(phi, [0, 2 * (x - x0.mean(0))[0, 1], 0], rtol=1e-5)


def test_conv_filters_that_vary(explain, run):
    """A product of two: y = sum(x * x), so that phi = x^2 - x0^2."""
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]>
        test (float[1, 2, 3, 3] x) => (float[1, 1, 1, 1] y) { y = Conv(x, x) }""")
    rng = np.random.default_rng(3)
    x, x0 = rng.normal(size=(2, 1, 2, 3, 3)).astype(np.float32)
    phi = run(explain(model, x0[None], "--no-batch"), x)["x_shap"]
    np.testing.assert_allclose(phi, x**2 - x0**2, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(3,), (3, 5), (3, 4, 5), (2, 3, 2, 4)])
def test_batch_normalization(explain, run, shape):
    rng = np.random.default_rng(2)
    constants = {k: rng.uniform(0.5, 2, shape[0]).astype(np.float32) for k in "sbmv"}
    check_linear(explain, run, single("BatchNormalization", shape, constants, epsilon=0.1), shape)


# ---- averages ---------------------------------------------------------------------------------


AVERAGES = [
    ((3, 6, 8), dict(kernel_shape=[2, 2], strides=[2, 2])),
    ((3, 7, 8), dict(kernel_shape=[2, 3], strides=[2, 3])),
    ((3, 6, 6), dict(kernel_shape=[3, 3], pads=[1, 1, 1, 1])),
    ((3, 6, 6), dict(kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)),
    ((3, 7, 8), dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 0, 1])),
    ((16, 8, 8), dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1,
                      count_include_pad=1)),
    ((3, 7, 8), dict(kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)),
    ((3, 8, 8), dict(kernel_shape=[3, 3], strides=[3, 3], pads=[1, 1, 1, 1], ceil_mode=1)),
    ((2, 7, 8), dict(kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)),
    ((2, 7, 8), dict(kernel_shape=[3, 2], strides=[2, 2], auto_pad="SAME_UPPER")),
    ((2, 7, 8), dict(kernel_shape=[2, 3], strides=[1, 1], auto_pad="SAME_LOWER")),
    ((2, 9, 9), dict(kernel_shape=[2, 3], strides=[2, 1], dilations=[2, 2], pads=[1, 1, 0, 1])),
    ((2, 9), dict(kernel_shape=[4], strides=[4])),
    ((2, 9), dict(kernel_shape=[4], strides=[2], pads=[1, 2])),
    ((2, 4, 5, 4), dict(kernel_shape=[2, 2, 2], strides=[2, 2, 2])),
    ((2, 4, 5, 4), dict(kernel_shape=[2, 3, 2], strides=[2, 1, 1], pads=[0, 1, 0, 0, 1, 0])),
    ((2, 12, 12), dict(kernel_shape=[5, 5], strides=[4, 4], pads=[1, 1, 1, 1])),
]


@pytest.mark.parametrize("case", range(len(AVERAGES)))
def test_average_pool(explain, run, case):
    shape, attributes = AVERAGES[case]
    check_linear(explain, run, single("AveragePool", shape, opset=19, **attributes), shape)


@pytest.mark.parametrize("shape", [(3, 5), (3, 4, 5), (2, 3, 2, 4)])
def test_global_average_pool(explain, run, shape):
    check_linear(explain, run, single("GlobalAveragePool", shape), shape)


def test_average_of_a_convolution_of_one_tap(explain, run):
    """Its multiplier, which is repeated, is convolved before that."""
    kernel = np.random.default_rng(3).normal(size=(3, 2, 1, 1)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["x", "k"], ["h"]),
             helper.make_node("AveragePool", ["h"], ["y"], kernel_shape=[2, 3], strides=[2, 3])]
    check_linear(explain, run, build(nodes, (2, 6, 7), {"k": kernel}), (2, 6, 7))


# ---- maxima -----------------------------------------------------------------------------------


def windows_of(sizes, kernel_shape, outs, strides=None, dilations=None, begin=None, whole=False):
    """Flat positions of the inputs that every window sees, in row-major order; `whole`: with -1
    for those outside."""
    axes = len(sizes)
    strides, dilations, begin = strides or [1] * axes, dilations or [1] * axes, begin or [0] * axes
    for p in itertools.product(*map(range, outs)):
        seen = []
        for t in itertools.product(*map(range, kernel_shape)):
            at = [p[k] * strides[k] + t[k] * dilations[k] - begin[k] for k in range(axes)]
            if all(0 <= at[k] < sizes[k] for k in range(axes)):
                seen.append(np.ravel_multi_index(at, sizes))
            elif whole:
                seen.append(-1)
        yield seen


def max_credit(x, x0, windows):
    """[windows, positions] of one plane: the multiplier of every window's maximum times x - x0."""
    credit = np.zeros((len(windows), len(x)))
    for w, seen in enumerate(windows):
        a, b = x[seen], x0[seen]
        y, y0 = a.max(), b.max()
        if y != y0:
            winner = seen[a.argmax()] if y > y0 else seen[b.argmax()]
            share = (y - y0) / (x[winner] - x0[winner])
            assert 0 < share <= 1
            credit[w, winner] = share * (x[winner] - x0[winner])
    return credit


def ramp(t, t0):
    """(relu(t) - relu(t0))/(t - t0), 0 or 1 where both are the same."""
    return (max(t, 0) - max(t0, 0)) / (t - t0) if t != t0 else float(t > 0)


def larger(a, b):
    """The larger of two (x, x0, multipliers of all positions), by the rule of Max."""
    parts = []
    for (x, x0, m), (y, y0, _) in ((a, b), (b, a)):
        parts.append(m * (ramp(x - y, x0 - y) + ramp(x - y0, x0 - y0)) / 2)
    return max(a[0], b[0]), max(a[1], b[1]), parts[0] + parts[1]


def tree(leaves):
    while len(leaves) > 1:
        pairs = [larger(*leaves[i:i + 2]) for i in range(0, len(leaves) - 1, 2)]
        leaves = pairs + leaves[len(leaves) // 2 * 2:]
    return leaves[0]


def tree_credit(x, x0, kernel_shape):
    """The same credit by trees of two, for windows in the full shape of the kernel: the last axis
    first. Positions outside are -1."""
    def credit(windows):
        found = np.zeros((len(windows), len(x)))
        for w, seen in enumerate(windows):
            level = [(x[i], x0[i], np.eye(len(x))[i]) if i >= 0 else
                     (-1e30, -1e30, np.zeros(len(x))) for i in seen]
            for size in reversed(kernel_shape):
                level = [tree(level[i:i + size]) for i in range(0, len(level), size)]
            found[w] = level[0][2] * (x - x0)
        return found
    return credit


def check_max(explain, run, model, shape, windows, seed=0, credit=None, options=()):
    """phi of every output, for all references and for each on its own."""
    x, x0 = samples(np.random.default_rng(seed), shape)
    channels, plane = shape[0], int(np.prod(shape[1:]))
    windows = list(windows)
    want = np.zeros((len(x), len(x0), channels, len(windows), channels, plane))
    for i, j, c in np.ndindex(len(x), len(x0), channels):
        pair = x[i, c].ravel().astype(np.float64), x0[j, c].ravel().astype(np.float64)
        want[i, j, c, :, c] = credit(*pair, windows) if credit else max_credit(*pair, windows)
    want = want.reshape(len(x), len(x0), channels * len(windows), *shape)
    atol = 8 * EPSILON * np.abs([x.max(), x0.max(), -x.min(), -x0.min()]).max()
    for pick in [range(len(x0)), *([j] for j in range(len(x0)))]:
        phi = run(explain(model, x0[pick], "--target=all", *options), x)["x_shap"]
        assert phi.shape == (len(x), channels * len(windows), *shape)
        np.testing.assert_allclose(phi, want[:, pick].mean(1), rtol=0, atol=atol)
    one = run(explain(model, x0, "--target=0", *options), x)["x_shap"]
    np.testing.assert_allclose(one, want.mean(1)[:, 0], rtol=0, atol=atol)


MAXIMA = [
    ((3, 6, 6), [3, 3], dict(kernel_shape=[2, 2], strides=[2, 2])),
    ((3, 7, 6), [3, 3], dict(kernel_shape=[2, 2], strides=[2, 2], storage_order=1)),
    ((2, 7, 8), [4, 4], dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])),
    ((2, 6, 8), [3, 4], dict(kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)),
    ((2, 6, 6), [6, 6], dict(kernel_shape=[3, 3], pads=[1, 1, 1, 1])),
    ((2, 7, 8), [3, 5], dict(kernel_shape=[3, 2], strides=[2, 1], dilations=[1, 3])),
    ((2, 7, 8), [4, 4], dict(kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_UPPER")),
    ((2, 9), [5], dict(kernel_shape=[3], strides=[2], pads=[1, 1])),
    ((2, 4, 4, 5), [2, 2, 4], dict(kernel_shape=[2, 2, 2], strides=[2, 2, 1])),
]


@pytest.mark.parametrize("case", range(len(MAXIMA)))
def test_max_pool(explain, run, case):
    shape, outs, attributes = MAXIMA[case]
    axes = len(outs)
    given = {k: v for k, v in attributes.items() if k in ("kernel_shape", "strides", "dilations")}
    begin = attributes.get("pads", [0] * axes)[:axes]
    windows = windows_of(shape[1:], outs=outs, begin=begin, **given)
    check_max(explain, run, single("MaxPool", shape, **attributes), shape, windows, seed=case)


@pytest.mark.parametrize("case", range(len(MAXIMA)))
@pytest.mark.parametrize("options", [[], ["--chunk=2"], ["--no-functions"]],
                         ids=["", "steps", "plain"])
def test_max_pool_by_tree(explain, run, case, options):
    shape, outs, attributes = MAXIMA[case]
    kernel, axes = attributes["kernel_shape"], len(outs)
    given = {k: v for k, v in attributes.items() if k in ("kernel_shape", "strides", "dilations")}
    begin = attributes.get("pads", [0] * axes)[:axes]
    windows = windows_of(shape[1:], outs=outs, begin=begin, whole=True, **given)
    check_max(explain, run, single("MaxPool", shape, **attributes), shape, windows, seed=case,
              credit=lambda x, x0, w: tree_credit(x, x0, kernel)(w),
              options=["--pool=tree", *options])


@pytest.mark.parametrize("shape", [(3, 5), (3, 4, 5), (2, 3, 2, 3)])
def test_global_max_pool_by_tree(explain, run, shape):
    windows = [list(range(int(np.prod(shape[1:]))))]
    check_max(explain, run, single("GlobalMaxPool", shape), shape, windows,
              credit=lambda x, x0, w: tree_credit(x, x0, shape[1:])(w), options=["--pool=tree"])


@pytest.mark.parametrize("axes", [[2], [2, 3], [-1, -2]])
def test_reduce_max_by_tree(explain, run, axes):
    """Several axes are one, row by row."""
    shape = (2, 5, 3)
    model = single("ReduceMax", shape, {"axes": np.array(axes)}, keepdims=0)
    if len(axes) == 2:
        windows = [list(range(15))]
        kernel = (15,)
    else:
        windows = [[i + 3 * j for j in range(5)] for i in range(3)]
        kernel = (5,)
    check_max(explain, run, model, shape, windows,
              credit=lambda x, x0, w: tree_credit(x, x0, kernel)(w), options=["--pool=tree"])


def test_reduce_min_by_tree(explain, run):
    """As ReduceMax of the negative."""
    x, x0 = samples(np.random.default_rng(3), (2, 7))
    least = single("ReduceMin", (2, 7), {"axes": np.array([2])}, keepdims=0)
    most = build([helper.make_node("Neg", ["x"], ["n"]),
                  helper.make_node("ReduceMax", ["n", "axes"], ["p"], keepdims=0),
                  helper.make_node("Neg", ["p"], ["y"])], (2, 7), {"axes": np.array([2])})
    one, other = (run(explain(m, x0, "--target=all", "--pool=tree"), x)["x_shap"]
                  for m in (least, most))
    assert np.any(one)
    np.testing.assert_allclose(one, other, rtol=0, atol=8 * EPSILON * np.abs(one).max())


def test_pool_of_cross_is_the_default(explain, run):
    x, x0 = samples(np.random.default_rng(3), (2, 6, 6))
    model = single("MaxPool", (2, 6, 6), kernel_shape=[2, 2], strides=[2, 2])
    one, other, tree = (run(explain(model, x0, "--target=all", *options), x)["x_shap"]
                        for options in ([], ["--pool=cross"], ["--pool=tree"]))
    assert (one == other).all() and (one != tree).any()


@pytest.mark.parametrize("options, message", [
    (["--pool=mean"], '"mean" is neither cross nor tree'),
    (["--pool=tree", "--method=exact"], "pool: method exact has no rules")])
def test_pool_that_is_none(cli, tmp_path, options, message):
    model = single("MaxPool", (2, 4, 4), kernel_shape=[2, 2])
    onnx.save(model, tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", np.zeros((1, 2, 4, 4), np.float32))
    done = subprocess.run([cli, "explain", tmp_path / "m.onnx", "-r", tmp_path / "r.npy", *options],
                          capture_output=True, text=True)
    assert done.returncode == 1 and message in done.stderr


@pytest.mark.parametrize("shape", [(3, 5), (3, 4, 5), (2, 3, 2, 3)])
def test_global_max_pool(explain, run, shape):
    windows = [list(range(int(np.prod(shape[1:]))))]
    check_max(explain, run, single("GlobalMaxPool", shape), shape, windows)


def test_max_pool_of_equal_planes(explain, run):
    """Black borders: x == r everywhere, ties in every window."""
    x = np.zeros((2, 1, 6, 6), np.float32)
    model = single("MaxPool", (1, 6, 6), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    got = run(explain(model, x[:1], "--target=all"), x)
    assert not np.any(got["x_shap"]) and not np.any(got["base_value"])


# ---- Resize -----------------------------------------------------------------------------------


def resize(shape, scales=None, sizes=None, roi=None, opset=19, **attributes):
    constants = {"roi": np.asarray(roi if roi is not None else [], np.float32)}
    order = ["roi" if roi is not None else "", "", ""]
    if scales is not None:
        constants["scales"] = np.asarray(scales, np.float32)
        order = [order[0], "scales"]
    else:
        constants["sizes"] = np.asarray(sizes, np.int64)
        order[2] = "sizes"
    if roi is None:
        del constants["roi"]
    return single("Resize", shape, constants, opset, order, **attributes)


COORDINATES = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
               "asymmetric"]


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("nearest_mode",
                         ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_resize_nearest(explain, run, coordinates, nearest_mode):
    how = dict(coordinate_transformation_mode=coordinates, nearest_mode=nearest_mode)
    for scales in ([1, 1, 2, 2], [1, 1, 3, 2.4], [1, 1, 0.6, 0.5]):
        check_linear(explain, run, resize((2, 5, 6), scales, **how), (2, 5, 6))


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_resize_by_kernel(explain, run, coordinates, mode):
    how = dict(coordinate_transformation_mode=coordinates, mode=mode)
    for scales in ([1, 1, 2, 2], [1, 1, 3, 2.4], [1, 1, 0.6, 0.5]):
        check_linear(explain, run, resize((2, 5, 6), scales, **how), (2, 5, 6))


@pytest.mark.parametrize("attributes", [
    dict(mode="cubic", exclude_outside=1),
    dict(mode="cubic", cubic_coeff_a=-0.5),
    dict(mode="linear", antialias=1),
    dict(mode="cubic", antialias=1),
    dict(mode="cubic", antialias=1, exclude_outside=1, cubic_coeff_a=-0.5),
])
def test_resize_attributes(explain, run, attributes):
    for scales in ([1, 1, 1.7, 2], [1, 1, 0.6, 0.4]):
        check_linear(explain, run, resize((2, 7, 8), scales, **attributes), (2, 7, 8))


CROP = dict(coordinate_transformation_mode="tf_crop_and_resize")
RESIZES = [
    ((2, 5, 6), dict(sizes=[10, 9], axes=[2, 3], mode="linear")),
    ((2, 5, 6), dict(sizes=[9, 10], axes=[-1, -2])),
    ((2, 5, 6), dict(sizes=[9, 9], axes=[2, 3], mode="linear",
                     keep_aspect_ratio_policy="not_larger")),
    ((2, 5, 6), dict(sizes=[9, 9], axes=[2, 3], mode="linear",
                     keep_aspect_ratio_policy="not_smaller")),
    ((3, 5), dict(scales=[1, 1, 2])),
    ((2, 3, 4, 3), dict(scales=[1, 1, 2, 1.5, 2])),
    ((2, 3, 4, 3), dict(scales=[1, 1, 2, 1.5, 2], mode="linear")),
    ((4, 5, 3), dict(scales=[1, 2, 1.5, 1], mode="linear")),
    ((2, 5, 6), dict(scales=[1, 1, 2, 2], roi=[0, 0, 0.1, -0.2, 1, 1, 0.8, 1.3], mode="linear",
                     extrapolation_value=0.5, **CROP)),
    ((2, 5, 6), dict(scales=[1, 1, 1, 2], roi=[0, 0, 0.15, 0, 1, 1, 0.8, 1], **CROP)),
]


@pytest.mark.parametrize("case", range(len(RESIZES)))
def test_resize_spellings(explain, run, case):
    shape, attributes = RESIZES[case]
    check_linear(explain, run, resize(shape, **attributes), shape)


# ---- together -----------------------------------------------------------------------------------


def test_stack(explain, run):
    """Several flows at once, folded and unfolded around every operator."""
    rng = np.random.default_rng(3)

    def weights(*shape):
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    constants = {"w0": weights(8, 2, 3, 3), "w1": weights(8, 4, 3, 3), "w2": weights(8, 3, 2, 2),
                 "scales": np.float32([1, 1, 2, 2]), "w3": weights(4, 3)}
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["a"]),
        helper.make_node("Conv", ["a", "w0"], ["b"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[3, 3], strides=[2, 2]),
        helper.make_node("Resize", ["c", "", "scales"], ["d"], mode="linear"),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("Conv", ["e", "w1"], ["f"], group=2, pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["e", "f"], ["g"]),
        helper.make_node("AveragePool", ["g"], ["h"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("ConvTranspose", ["h", "w2"], ["i"], strides=[2, 2]),
        helper.make_node("GlobalMaxPool", ["i"], ["j"]),
        helper.make_node("Flatten", ["j"], ["k"]),
        helper.make_node("Gemm", ["k", "w3"], ["y"], transB=1),
    ]
    shape = (2, 17, 16)
    model = build(nodes, shape, constants)
    x, x0 = samples(rng, shape)
    y, y0 = run(model, x)["y"].astype(np.float64), run(model, x0)["y"].astype(np.float64)
    fixed = onnx.ModelProto.FromString(model.SerializeToString())
    for value in [*fixed.graph.input, *fixed.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    for options in (["--target=all"], ["--target=1"], ["--target=all", "--chunk=1"], None):
        if options is None:
            options = ["--target=all"]
            explained = explain(fixed, x0, *options)
            phi = np.concatenate([run(explained, row)["x_shap"] for row in x[:, None]])
        else:
            phi = run(explain(model, x0, *options), x)["x_shap"]
        phi = phi.reshape(len(x), -1, int(np.prod(shape))).astype(np.float64)
        rise = (y - y0.mean(0))[:, slice(1, 2) if "--target=1" in options else slice(None)]
        assert np.abs(phi.sum(-1) - rise).max() <= 1e-5 * np.abs(phi).sum(-1).max()
