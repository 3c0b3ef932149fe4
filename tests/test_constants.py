"""A constant is read alike however the model spells it."""

import numpy as np
import onnx
import pytest

HEAD = '<ir_version: 10, opset_import: ["": 18]> g '
SPELLINGS = {  # declaration of initializers, nodes that make c, of the numbers {} and their shape
    "initializer": ("<float{shape} c = {{{list}}}>", ""),
    "value": ("", "c = Constant<value = float{shape} {{{list}}}>()"),
    "identity": ("<float{shape} k = {{{list}}}>", "c = Identity(k)"),
    "cast": ("<double{shape} k = {{{list}}}>", "c = Cast<to = 1>(k)"),
    "cast of integers": ("", "k = Constant<value = int64{shape} {{{whole}}}>() c = Cast<to = 1>(k)"),
    "unsqueezed": ("<float{flat} k = {{{list}}}, int64[1] zero = {{0}}>",
                   "u = Unsqueeze(k, zero) c = Squeeze(u, zero)"),
}
SCALAR = SPELLINGS | {"value_float": ("", "c = Constant<value_float = {list}>()")}
LIST = SPELLINGS | {"sparse_value": "sparse", "value_floats": ("", "c = Constant<value_floats = [{list}]>()")}


def with_sparse(parsed):
    """The model with its initializer c as a Constant of a sparse tensor."""
    dense = onnx.numpy_helper.to_array(parsed.graph.initializer[0])
    places = np.flatnonzero(dense)
    sparse = onnx.helper.make_sparse_tensor(
        onnx.numpy_helper.from_array(dense.ravel()[places], "c_values"),
        onnx.numpy_helper.from_array(places.astype(np.int64), "c_indices"), dense.shape)
    node = onnx.helper.make_node("Constant", [], ["c"], sparse_value=sparse)
    del parsed.graph.initializer[:]
    parsed.graph.node.insert(0, node)
    onnx.checker.check_model(parsed)
    return parsed


def model(spelling, numbers, shape, signature, body):
    if spelling == "sparse":
        return with_sparse(model(SPELLINGS["initializer"], numbers, shape, signature, body))
    words = {"list": ", ".join(map(str, numbers)), "shape": shape, "flat": shape,
             "whole": ", ".join(str(int(n)) for n in numbers)}
    declared, made = (part.format(**words) for part in spelling)
    text = f"{HEAD} {signature} {declared} {{ {made} {body} }}"
    parsed = onnx.parser.parse_model(text)
    onnx.checker.check_model(parsed, full_check=True)
    return parsed


def check(explain, run, spelling, plain, *given):
    """The explained model has the nodes of the plain spelling, and the values of its."""
    rng = np.random.default_rng(0)
    shape = [d.dim_value for d in
             model(plain, *given).graph.input[0].type.tensor_type.shape.dim][1:]
    r, x = (rng.normal(size=(n, *shape)).astype(np.float32) + 3 for n in (2, 3))
    found = [explain(model(s, *given), r, "--no-functions", "--gap") for s in (plain, spelling)]
    own = [sum(n.name.startswith("onnxexplainer/") for n in onnx.load(path).graph.node)
           for path in found]
    assert own[0] == own[1]
    want, got = (run(path, x) for path in found)
    np.testing.assert_array_equal(got["x_shap"], want["x_shap"])
    np.testing.assert_allclose(got["completeness_gap"], 0, atol=1e-4)


@pytest.mark.parametrize("name", SCALAR)
def test_exponent(explain, run, name):
    check(explain, run, SCALAR[name], SCALAR["initializer"], [2.0], "",
          "(float[N,4] x) => (float[N,1] y)",
          "p = Pow(x, c) ax = Constant<value_ints = [-1]>() y = ReduceSum(p, ax)")


@pytest.mark.parametrize("name", LIST)
def test_scales(explain, run, name):
    check(explain, run, LIST[name], LIST["initializer"], [1.0, 1.0, 2.0, 2.0], "[4]",
          "(float[N,2,3,3] x) => (float[N,1] y)",
          'q = Resize<mode = "linear">(x, , c) f = Flatten(q) ax = Constant<value_ints = [-1]>()'
          " y = ReduceSum(f, ax)")


@pytest.mark.parametrize("name", LIST)
def test_statistics(explain, run, name):
    """Of a BatchNormalization, which is decomposed where they are computed."""
    check(explain, run, LIST[name], LIST["initializer"], [1.0, 2.0], "[2]",
          "(float[N,2,3] x) => (float[N,1] y)",
          "b = BatchNormalization(x, c, c, c, c) q = Relu(b) f = Flatten(q)"
          " ax = Constant<value_ints = [-1]>() y = ReduceSum(f, ax)")
