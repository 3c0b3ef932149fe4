"""Products with quantised weights, which ONNX Runtime takes as they are stored (MatMulNBits) while
nothing else reads these: predictions and base values are the model's own, and SHAP values add up."""

import numpy as np
import pytest
from onnx import helper, numpy_helper
from onnx import TensorProto as T
from rulecheck import node
from test_quantised import LEVELS, operators_of, session_at

rng = np.random.default_rng(3)
X, R = (rng.normal(size=(n, 16)).astype("f") for n in (3, 4))


def codes(rows, columns):
    return rng.integers(-90, 90, (rows, columns)).astype(np.int8)


def scales(*shape):
    return (rng.random(shape) * 0.02 + 0.001).astype("f")


def made(nodes, batch="N", **constants):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", T.FLOAT, [batch, 16])],
        [helper.make_tensor_value_info("y", T.FLOAT, [batch, 3])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])


HIDDEN = {"W": codes(16, 32), "s": scales(32), "z": np.zeros(32, np.int8)}
LAST = {"V": codes(32, 3), "t": scales(3), "u": np.zeros(3, np.int8)}
TAIL = [node("Tanh", "a", "b"), node("DequantizeLinear", "V t u", "v", axis=1), node("MatMul", "b v", "y")]
WEIGHT = node("DequantizeLinear", "W s z", "w", axis=1)
FOUR = helper.make_tensor("F", T.INT4, [16, 32], rng.integers(-8, 8, 512))
MODELS = {
    "channels": ([WEIGHT, node("MatMul", "x w", "a"), *TAIL], HIDDEN | LAST),
    "tensor": ([node("DequantizeLinear", "W e", "w"), node("MatMul", "x w", "a"), *TAIL],
               {"W": HIDDEN["W"], "e": np.float32(0.01)} | LAST),
    "transposed": ([node("DequantizeLinear", "W s z", "w", axis=0), node("Transpose", "w", "wt", perm=[1, 0]),
                    node("MatMul", "x wt", "a"), *TAIL], HIDDEN | {"W": codes(32, 16)} | LAST),
    "Gemm": ([WEIGHT, node("Gemm", "x w bias", "a"), *TAIL], HIDDEN | LAST | {"bias": scales(32)}),
    "behind integers": ([node("QuantizeLinear", "x k", "q"), node("DequantizeLinear", "q k", "d"),
                         WEIGHT, node("MatMul", "d w", "a"), *TAIL],
                        HIDDEN | LAST | {"k": np.float32(0.02)}),
    "blocks": ([node("DequantizeLinear", "W o", "w", axis=0, block_size=16), node("MatMul", "x w", "a"), *TAIL],
               {"W": HIDDEN["W"], "o": scales(1, 32)} | LAST),
}
OPTIONS = [[], ["--cache=none"], ["--chunk=1"], ["--cache=none", "--chunk=3"], ["--cache=none", "--no-functions"],
           ["--splits=1"], ["--order=2", "--cache=none"], ["--keep-references", "--cache=none"]]


def check(model, path, out, x, r):
    y, base = (session_at(model.SerializeToString(), LEVELS[-1]).run(None, {"x": v})[0] for v in (x, r))
    np.testing.assert_array_equal(out["y"], y)
    at = out["shap_target"]
    np.testing.assert_array_equal(at, y.argmax(1))
    want = base[np.arange(len(x)), at] if len(base) == len(x) else base.mean(0)[at]
    np.testing.assert_allclose(out["base_value"], want, rtol=0, atol=1e-5)
    assert np.abs(out["completeness_gap"]).max() < 2e-5
    for level in LEVELS:
        f, g = session_at(model.SerializeToString(), level), session_at(str(path), level)
        given = {v.name: {"x": x, "x_references": r}[v.name] for v in g.get_inputs()}
        np.testing.assert_array_equal(g.run(["y"], given)[0], f.run(None, {"x": x})[0])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_the_models_own_prediction(name, options, explain, run):
    nodes, constants = MODELS[name]
    model = made(nodes, **constants)
    path = explain(model, R, "--gap", *options)
    check(model, path, run(path, X), X, R)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("source", ["input", "paired"])
def test_references_of_a_run(name, source, explain, run):
    nodes, constants = MODELS[name]
    model, r = made(nodes, **constants), R[:3] if source == "paired" else R
    path = explain(model, None, f"--references={source}", "--gap")
    check(model, path, run(path, {"x": X, "x_references": r}), X, r)


@pytest.mark.parametrize("options", [[], ["--cache=none"]], ids=["", "none"])
def test_one_sample(options, explain, run):
    """A batch that is declared as 1, and one of 2, with one reference at a time."""
    nodes, constants = MODELS["channels"]
    for batch in (1, 2):
        model = made(nodes, batch, **constants)
        out = run(explain(model, R, "--gap", *options), X[:batch])
        y = session_at(model.SerializeToString(), LEVELS[-1]).run(None, {"x": X[:batch]})[0]
        np.testing.assert_array_equal(out["y"], y)
        assert np.abs(out["completeness_gap"]).max() < 2e-5


def test_four_bits(explain, run):
    nodes = [node("DequantizeLinear", "F o", "w", axis=0, block_size=16), node("MatMul", "x w", "a"), *TAIL]
    model = made(nodes, **LAST, o=scales(1, 32))
    model.graph.initializer.append(FOUR)
    for options in ([], ["--cache=none"]):
        path = explain(model, R, "--gap", *options)
        check(model, path, run(path, X), X, R)


def test_it_is_packed(explain, tmp_path):
    """In the same operators, whichever they are in this version of ONNX Runtime."""
    nodes, constants = MODELS["channels"]
    model = made(nodes, **constants)
    session_at(model.SerializeToString(), LEVELS[-1], tmp_path / "plain.onnx")
    session_at(str(explain(model, R, "--cache=none")), LEVELS[-1], tmp_path / "ours.onnx")
    want = operators_of(tmp_path / "plain.onnx", "y")
    assert operators_of(tmp_path / "ours.onnx", "y") == want
