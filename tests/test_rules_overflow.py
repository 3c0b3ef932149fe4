"""Functions in which an infinity on the way becomes a number again: 1/(1 + e^-s) for s below -88 as
converters of linear classifiers write it. Each pair of a grid has its exact part."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from rulecheck import node

NEGATED = node("Neg", "x", "n")
SUM = [NEGATED, node("Exp", "n", "e"), node("Add", "e one", "b")]


def sigmoid(s):
    return 0.5 * (1 + np.tanh(0.5 * s))


# Nodes from x to y, and y in float64.
FORMS = {
    "reciprocal": ([*SUM, node("Reciprocal", "b", "y")], sigmoid),
    "div": ([*SUM, node("Div", "one b", "y")], sigmoid),
    "pow": ([*SUM, node("Pow", "b less", "y")], sigmoid),
    "converter": ([node("Mul", "x less", "n"), *SUM[1:], node("Reciprocal", "b", "p"),
                   node("Sub", "one p", "y")], lambda s: 1 - sigmoid(s)),
    "swish": ([*SUM, node("Div", "x b", "y")], lambda s: s * sigmoid(s)),
    "swish by product": ([*SUM, node("Reciprocal", "b", "p"), node("Mul", "p x", "y")],
                             lambda s: s * sigmoid(s)),
    "gompertz": ([node("Exp", "x", "e"), node("Neg", "e", "f"), node("Exp", "f", "y")],
                 lambda s: np.exp(-np.exp(np.minimum(s, 700)))),
}


def grid(dtype):
    far = 200 if dtype == np.float32 else 1500
    steps = [0, 1e-3, 0.5, 3, 10, 15, 40, 80, 85.3, 87, 88.5, 89, 120, far]
    points = np.array([*(-s for s in steps[:0:-1]), *steps], dtype)
    return np.repeat(points, len(points)), np.tile(points, len(points))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", FORMS)
def test_pairs(form, dtype, explain, run):
    nodes, f = FORMS[form]
    x, r = grid(dtype)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    value = helper.make_tensor_value_info
    constants = [numpy_helper.from_array(np.array(v, dtype), k)
                 for k, v in {"one": 1, "less": -1, "sum": np.ones((len(x), 1))}.items()]
    graph = helper.make_graph([*nodes, node("MatMul", "y sum", "out")], "g",
                              [value("x", kind, ["N", len(x)])], [value("out", kind, ["N", 1])],
                              constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    out = run(explain(model, r[None], "--target=0"), x[None])
    want = f(x.astype(np.float64)) - f(r.astype(np.float64))
    size = np.maximum(1, np.maximum(np.abs(x), np.abs(r))) if "swish" in form else 1
    if form == "gompertz":  # e^x has the rounding of x, of which e^-e^x is as sensitive as 1/e
        size = 4
    error = np.abs(out["x_shap"][0] - want)
    bad = ~(error <= 16 * np.finfo(dtype).eps * size)
    assert not bad.any(), list(zip(x[bad], r[bad], out["x_shap"][0][bad], want[bad]))[:8]
