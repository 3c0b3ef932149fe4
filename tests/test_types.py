"""Networks whose values change their type on the way: a multiplier has the type of its value, at
least float32, so that what ONNX Runtime has kernels for in the network, it has for the way back."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from rulecheck import floats, node

FLOAT, HALF, DOUBLE = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE
B16, INT64 = TensorProto.BFLOAT16, TensorProto.INT64
X, R = floats(3, 6, seed=1), floats(5, 6, seed=2)
W1, W2 = floats(6, 8, seed=3), floats(8, 4, seed=4)
IMAGES, BLACK = floats(2, 3, 8, 8, seed=5), floats(5, 3, 8, 8, seed=6)
FILTERS = floats(4, 3, 3, 3, seed=7)


def made(nodes, weights, given=FLOAT, result=FLOAT, shape=("N", 6), out=("N", 4), opset=18):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [value("x", given, shape)], [value("y", result, out)],
                              [numpy_helper.from_array(np.asarray(w), k)
                               for k, w in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def relu(x, r, kind=float):
    """SHAP values [N, 4, 6] of relu(x @ W1) @ W2 by the rescale rule, in double."""
    h, h0 = (x.astype(kind) @ W1.astype(kind))[:, None], (r.astype(kind) @ W1.astype(kind))[None]
    slope = (np.maximum(h, 0) - np.maximum(h0, 0)) / (h - h0)
    return np.einsum("nrh,dh,hk,nrd->nkd", slope, W1, W2, x[:, None] - r, optimize=True) / len(r)


def types(path):
    """The type of every value of the way back, by name."""
    inferred = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True).graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in inferred.value_info}
    return {o: kinds[o] for n in inferred.node if n.name.startswith("onnxexplainer/flow/")
            for o in n.output}


def complete(out, eps=2.0**-24, shap="x_shap"):
    """The sums miss at most some roundings of the numbers involved."""
    phi = out[shap].astype(float)
    phi = phi.reshape(*out["base_value"].shape, -1)
    size = np.abs(phi).sum(-1) + np.abs(out["base_value"]) + np.abs(phi.sum(-1))
    assert np.isfinite(phi).all()
    assert (np.abs(out["completeness_gap"]) <= 64 * eps * size).all()


@pytest.mark.parametrize("op", [
    node("Identity", "b", "c"),
    node("MaxPool", "b", "c", kernel_shape=[3, 3], strides=[2, 2]),
    node("AveragePool", "b", "c", kernel_shape=[2, 2], strides=[2, 2]),
    node("InstanceNormalization", "b ones zeros", "c"),
    node("Erf", "b", "c"),
    helper.make_node("Resize", ["b", "", "scales"], ["c"], mode="nearest"),
], ids=lambda n: n.op_type)
@pytest.mark.parametrize("options", [(), ("--chunk=2",), ("--cache=file", "--no-functions")])
def test_float_network_cast_to_double(explain, run, op, options):
    """Convolutions and pools have no kernels for doubles; values are those without the Cast."""
    nodes = [node("Conv", "x w", "a", pads=[1, 1, 1, 1]), node("Relu", "a", "b"), op,
             node("Sigmoid", "c", "e"), node("ReduceSum", "e axes", "s", keepdims=0)]
    weights = {"w": FILTERS, "axes": np.array([1, 2, 3]), "ones": np.ones(4, "f"),
               "zeros": np.zeros(4, "f"), "scales": np.float32([1, 1, 2, 2])}
    weights = {k: v for k, v in weights.items() if any(k in n.input for n in nodes)}
    shapes = {"shape": ("N", 3, 8, 8), "out": ("N",)}
    wide = made(nodes + [node("Cast", "s", "y", to=DOUBLE)], weights, result=DOUBLE, **shapes)
    plain = made(nodes + [node("Identity", "s", "y")], weights, **shapes)
    path = explain(wide, BLACK, "--gap", *options)
    out = run(path, IMAGES)
    expected = run(explain(plain, BLACK, "--gap", *options), IMAGES)
    assert out["x_shap"].dtype == np.float32
    assert out["base_value"].dtype == out["completeness_gap"].dtype == np.float64
    np.testing.assert_array_equal(out["x_shap"], expected["x_shap"])
    complete(out)


@pytest.mark.parametrize("options", [(), ("--chunk=2",), ("--cache=file",), ("--no-functions",)])
@pytest.mark.parametrize("middle", [HALF, DOUBLE, B16])
def test_cast_in_the_middle_and_back(explain, run, middle, options):
    """What lies between the casts is the only part in the other type."""
    nodes = [node("MatMul", "x w1", "h"), node("Cast", "h", "h2", to=middle),
             node("Relu", "h2", "a2") if middle != B16 else node("Identity", "h2", "a2"),
             node("Cast", "a2", "a", to=FLOAT),
             *([node("Relu", "a", "r")] if middle == B16 else [node("Identity", "a", "r")]),
             node("MatMul", "r w2", "y")]
    path = explain(made(nodes, {"w1": W1, "w2": W2}), R, "--target=all", "--gap", *options)
    out = run(path, X)
    eps = {HALF: 2.0**-11, B16: 2.0**-8, DOUBLE: 2.0**-24}[middle]
    assert out["x_shap"].dtype == out["base_value"].dtype == np.float32
    expected = relu(X, R)
    assert np.abs(out["x_shap"] - expected).max() <= 32 * eps * np.abs(expected).max()
    complete(out, eps)
    if "--no-functions" in options:
        assert set(types(path).values()) - {INT64} <= (
            {FLOAT, DOUBLE, TensorProto.BOOL} if middle == DOUBLE else {FLOAT, TensorProto.BOOL})


@pytest.mark.parametrize("options", [(), ("--chunk=2",), ("--cache=file",)])
@pytest.mark.parametrize("given", [FLOAT, DOUBLE, HALF])
@pytest.mark.parametrize("result", [FLOAT, DOUBLE, HALF])
def test_branches_of_different_types_meet(explain, run, given, result, options):
    """One value is used in three types; the branches are cast again where they are added."""
    nodes = [node("Cast", "x", "xf", to=FLOAT), node("MatMul", "xf w1", "hf"),
             node("Cast", "x", "xd", to=DOUBLE), node("MatMul", "xd w1d", "hd"),
             node("Cast", "x", "xh", to=HALF), node("Cast", "xh", "xhf", to=FLOAT),
             node("MatMul", "xhf w1", "hh"),
             node("Cast", "hf", "hfd", to=DOUBLE), node("Cast", "hh", "hhd", to=DOUBLE),
             node("Sum", "hfd hd hhd", "h3"), node("Mul", "h3 third", "h"),
             node("Relu", "h", "a"), node("MatMul", "a w2d", "s"),
             node("Cast", "s", "y", to=result)]
    weights = {"w1": W1, "w1d": W1.astype(float), "w2d": W2.astype(float), "third": 1 / 3}
    kind = helper.tensor_dtype_to_np_dtype(given)
    x, r = X.astype(kind), R.astype(kind)
    out = run(explain(made(nodes, weights, given, result), r, "--target=all", "--gap", *options), x)
    assert out["x_shap"].dtype == (np.float64 if given == DOUBLE else np.float32)
    assert out["base_value"].dtype == (np.float64 if result == DOUBLE else np.float32)
    expected = relu(x.astype(float), r.astype(float))
    eps = 2.0**-11  # x and y are rounded to float16 on one of the ways
    assert np.abs(out["x_shap"] - expected).max() <= 32 * eps * np.abs(expected).max()
    complete(out, eps)


@pytest.mark.parametrize("options", [(), ("--chunk=2",), ("--cache=file",)])
def test_double_input_of_a_float_network(explain, run, options):
    """float64 SHAP values, as exact as the float network behind; no Conv has a double kernel."""
    nodes = [node("Cast", "x", "xf", to=FLOAT), node("Conv", "xf w", "a", pads=[1, 1, 1, 1]),
             node("Relu", "a", "b"), node("MaxPool", "b", "c", kernel_shape=[2, 2], strides=[2, 2]),
             node("ReduceSum", "c axes", "y", keepdims=0)]
    weights = {"w": FILTERS, "axes": np.array([1, 2, 3])}
    shapes = {"shape": ("N", 3, 8, 8), "out": ("N",)}
    wide = made(nodes, weights, DOUBLE, **shapes)
    plain = made([node("Identity", "x", "xf"), *nodes[1:]], weights, **shapes)
    out = run(explain(wide, BLACK.astype(float), "--gap", *options), IMAGES.astype(float))
    expected = run(explain(plain, BLACK, *options), IMAGES)["x_shap"]
    assert out["x_shap"].dtype == np.float64 and out["base_value"].dtype == np.float32
    np.testing.assert_allclose(out["x_shap"], expected, rtol=1e-5, atol=1e-6)
    complete(out)


def test_double_network_stays_double(explain, run):
    nodes = [node("MatMul", "x w1", "h"), node("Relu", "h", "a"), node("MatMul", "a w2", "y")]
    model = made(nodes, {"w1": W1.astype(float), "w2": W2.astype(float)}, DOUBLE, DOUBLE)
    out = run(explain(model, R.astype(float), "--target=all", "--gap"), X.astype(float))
    assert {out[k].dtype for k in ("x_shap", "base_value", "completeness_gap")} == {out["y"].dtype}
    np.testing.assert_allclose(out["x_shap"], relu(X.astype(float), R.astype(float)), atol=1e-13)
    complete(out, 2.0**-53)


@pytest.mark.parametrize("options", [(), ("--chunk=1",)])
def test_step_of_doubles_in_a_float_network(explain, run, options):
    """Differences between doubles that floats cannot tell apart decide what is cut off."""
    base = 2.0**24
    x, r = np.array([[base + 2.25, 1], [base + 1.5, 2]]), np.array([[base + 0.5, 3]])
    nodes = [node("Cast", "x", "i", to=INT64), node("Sub", "i first", "d"),
             node("Cast", "d", "f", to=FLOAT), node("MatMul", "f w", "y")]
    weights = {"first": np.array(2**24), "w": np.float32([[2], [3]])}
    model = made(nodes, weights, DOUBLE, FLOAT, shape=("N", 2), out=("N", 1))
    out = run(explain(model, r, "--target=0", "--gap", *options), x)
    np.testing.assert_allclose(out["x_shap"], [[4, -6], [2, -3]], rtol=1e-6)
    complete(out)


@pytest.mark.parametrize("options", [(), ("--chunk=2",)])
@pytest.mark.parametrize("point, kind", [("h", np.float32), ("d", np.float64), ("a", np.float64)])
def test_explained_at_a_tensor_of_another_type(explain, run, point, kind, options):
    nodes = [node("MatMul", "x w1", "h"), node("Cast", "h", "d", to=DOUBLE), node("Relu", "d", "a"),
             node("MatMul", "a w2", "s"), node("Cast", "s", "y", to=FLOAT)]
    model = made(nodes, {"w1": W1, "w2": W2.astype(float)})
    out = run(explain(model, R, "--target=all", "--gap", f"--at={point}", *options), X)
    assert out[f"{point}_shap"].dtype == kind and out["base_value"].dtype == np.float32
    h, h0 = (X.astype(float) @ W1)[:, None], (R.astype(float) @ W1)[None]
    expected = ((np.maximum(h, 0) - np.maximum(h0, 0)).mean(1)[:, None] * W2.T)
    np.testing.assert_allclose(out[f"{point}_shap"], expected, rtol=1e-4, atol=1e-5)
    complete(out, shap=f"{point}_shap")


def test_two_inputs_of_different_types(explain, run):
    value = helper.make_tensor_value_info
    nodes = [node("MatMul", "x w1", "h"), node("Cast", "h", "hd", to=DOUBLE),
             node("Add", "hd z", "s"), node("Relu", "s", "a"), node("MatMul", "a w2", "y")]
    graph = helper.make_graph(
        nodes, "g", [value("x", FLOAT, ["N", 6]), value("z", DOUBLE, ["N", 8])],
        [value("y", DOUBLE, ["N", 4])],
        [numpy_helper.from_array(W1, "w1"), numpy_helper.from_array(W2.astype(float), "w2")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    z, z0 = floats(3, 8, seed=8).astype(float), floats(5, 8, seed=9).astype(float)
    for options in ((), ("--chunk=2",)):
        path = explain(model, {"x": R, "z": z0}, "--target=all", "--gap", *options)
        out = run(path, {"x": X, "z": z})
        assert out["x_shap"].dtype == np.float32 and out["z_shap"].dtype == np.float64
        total = out["x_shap"].sum(-1, dtype=float) + out["z_shap"].sum(-1)
        gap = out["y"] - out["base_value"] - total
        np.testing.assert_allclose(gap, out["completeness_gap"], atol=1e-12)
        assert np.abs(gap).max() <= 64 * 2.0**-24 * np.abs(out["y"]).max()


def test_tokens_of_a_network_that_ends_in_double(explain, run):
    """Integers take the type that comes; what is looked up for them is float."""
    table = floats(10, 6, seed=10)
    nodes = [node("Gather", "table x", "e"), node("ReduceMean", "e axes", "m", keepdims=0),
             node("MatMul", "m w1", "h"), node("Relu", "h", "a"), node("MatMul", "a w2", "s"),
             node("Cast", "s", "y", to=DOUBLE)]
    weights = {"table": table, "axes": np.array([1]), "w1": W1, "w2": W2}
    model = made(nodes, weights, INT64, DOUBLE, shape=("N", 4))
    x, r = np.array([[1, 2, 3, 4], [5, 0, 0, 9]]), np.zeros((2, 4), np.int64)
    out = run(explain(model, r, "--target=all", "--gap"), x)
    assert out["x_shap"].dtype == np.float32 and not out["x_shap"][1, :, 1:3].any()
    complete(out)


def test_cache_in_float16_of_mixed_types(explain, run):
    """Only float32 is halved, doubles are kept as they are."""
    nodes = [node("MatMul", "x w1", "h"), node("Relu", "h", "a"), node("MatMul", "a w2", "s"),
             node("Tanh", "s", "t"), node("Cast", "t", "d", to=DOUBLE), node("Mul", "d d", "y")]
    model = made(nodes, {"w1": W1, "w2": W2}, result=DOUBLE)
    path = explain(model, R, "--target=all", "--gap", "--cache=file", "--cache-dtype=float16")
    out = run(path, X)
    assert out["x_shap"].dtype == np.float32
    complete(out, 2.0**-11)
    expected = run(explain(model, R, "--target=all"), X)["x_shap"]
    assert np.abs(out["x_shap"] - expected).max() <= 32 * 2.0**-11 * np.abs(expected).max()
