"""Masks of minus infinity that are the same on both sides: what is masked has no share, and the others add up, in
front of whatever operator."""

import numpy as np
import onnx
import onnxruntime
import pytest
from contract import model, value
from onnx import TensorProto

N, R, C, T = 3, 4, 2, 6
rng = np.random.default_rng(0)
X, REFERENCES = (rng.normal(size=(k, C, T)).astype(np.float32) for k in (N, R))
MASKS = rng.random((N, 1, T)) < 0.5
MASKS[:, 0, 1] = True, True, False
MASKS[2, 0, 0] = True
ONE = MASKS[:1]
CONSTANTS = {"low": np.float32(-np.inf), "zero": np.float32(0), "one": ONE, "axes": np.int64([2]),
             "flat": np.int64([-1, C]), "w": rng.normal(size=(C, 2)).astype(np.float32), "half": np.float32(0.5)}
BEHIND = [("ReduceSum", "h axes", "s", {"keepdims": 0}), ("MatMul", "s w", "z", {}), ("Tanh", "z", "y", {})]
ELEMENTWISE = ["Sigmoid", "Tanh", "Elu", "Celu", "Selu", "HardSigmoid", "Erf", "Atan", "Sign", "ThresholdedRelu",
               "Softplus", "Exp", "Relu"]
KINDS = {name: [(name, "k", "h", {}), *BEHIND] for name in ELEMENTWISE}
KINDS["Clip"] = [("Clip", "k zero", "h", {}), *BEHIND]
KINDS["Softmax"] = [("Softmax", "k", "p", {"axis": 2}), ("Mul", "p x", "h", {}), *BEHIND]
KINDS["Softmax at last"] = [("ReduceSum", "x axes", "o", {"keepdims": 0}), ("MatMul", "o w", "z", {}),
                            ("ReduceMax", "k axes", "t", {"keepdims": 0}), ("Add", "z t", "l", {}),
                            ("Softmax", "l", "y", {})]
POOLS = {"ReduceMax": ("ReduceMax", "k axes", "s", {"keepdims": 0}),
         "ReduceLogSumExp": ("ReduceLogSumExp", "k axes", "s", {"keepdims": 0})}
KINDS |= {name: [node, ("MatMul", "s w", "z", {}), ("Tanh", "z", "y", {})] for name, node in POOLS.items()}
KINDS["MaxPool"] = [("MaxPool", "k", "g", {"kernel_shape": [2], "strides": [2]}), ("Sigmoid", "g", "h", {}), *BEHIND]
SPELLINGS = {"constant, chosen": [("Where", "one x low", "k", {})],
             "constant, added": [("Where", "one zero low", "b", {}), ("Add", "x b", "k", {})],
             "held, chosen": [("Where", "m x low", "k", {})],
             "held, added": [("Where", "m zero low", "b", {}), ("Add", "x b", "a", {}), ("Mul", "a half", "k", {})],
             "held, of logarithms": [("Cast", "m", "c", {"to": TensorProto.FLOAT}), ("Log", "c", "b", {}),
                                     ("Add", "x b", "k", {})]}
OPTIONS = [[], ["--no-functions"], ["--cache=none"], ["--pool=tree"], ["--order=2"], ["--order=3"]]


def made(kind, spelling):
    nodes = [*SPELLINGS[spelling], *KINDS[kind]]
    used = {name for _, inputs, _, _ in nodes for name in inputs.split()}
    inputs = [value("x", ["N", C, T])] + [value("m", ["N", 1, T], TensorProto.BOOL)] * ("m" in used)
    return model(nodes, inputs, [value("y", ["N", 2])], {k: v for k, v in CONSTANTS.items() if k in used}, opset=18)


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_masked_has_no_share(kind, spelling, options, explain, run):
    one = made(kind, spelling)
    held = spelling.startswith("held")
    path = explain(one, {"x": REFERENCES}, "--target=0", *["--hold=m"] * held, *options)
    session = onnxruntime.InferenceSession(one.SerializeToString(), providers=["CPUExecutionProvider"])
    masks = MASKS if held else np.repeat(ONE, N, axis=0)
    of = lambda x, m: session.run(None, {"x": x[None], "m": m[None]} if held else {"x": x[None]})[0][0, 0]
    f = np.array([of(x, m) for x, m in zip(X, masks)])
    base = np.array([np.mean([of(r, m) for r in REFERENCES]) for m in masks])
    got = run(path, {"x": X, "m": MASKS} if held else {"x": X})
    shap = got["x_shap"]
    assert np.isfinite(shap).all()
    np.testing.assert_allclose(got["base_value"].ravel(), base, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(shap.reshape(N, -1).sum(axis=1), f - base, rtol=1e-4, atol=5e-6)
    if not kind.startswith("Softmax"): # there x goes past the mask, too
        assert (shap[~np.broadcast_to(masks, X.shape)] == 0).all()


@pytest.mark.parametrize("options", [["--order=2"], ["--order=3"]], ids=" ".join)
@pytest.mark.parametrize("held", [False, True], ids=["constant", "held"])
def test_probabilities_of_actions_that_are_masked(held, options, explain, run):
    nodes = [("MatMul", "x v", "z", {}), ("Where", "m z low" if held else "one z low", "k", {}), ("Softmax", "k", "y", {})]
    masks = np.array([[1, 0, 1, 1], [1, 1, 0, 1], [0, 0, 1, 1]], bool)
    constants = {"v": rng.normal(size=(5, 4)).astype(np.float32), "low": CONSTANTS["low"]} | (
        {} if held else {"one": masks[:1]})
    one = model(nodes, [value("x", ["N", 5])] + [value("m", ["N", 4], TensorProto.BOOL)] * held,
                [value("y", ["N", 4])], constants, opset=18)
    x, r = (rng.normal(size=(k, 5)).astype(np.float32) for k in (N, R))
    masks = masks if held else np.repeat(masks[:1], N, axis=0)
    session = onnxruntime.InferenceSession(one.SerializeToString(), providers=["CPUExecutionProvider"])
    of = lambda x, m: session.run(None, {"x": x[None], "m": m[None]} if held else {"x": x[None]})[0][0, 3]
    got = run(explain(one, {"x": r}, "--target=3", *["--hold=m"] * held, *options),
              {"x": x, "m": masks} if held else {"x": x})
    base = np.array([np.mean([of(v, m) for v in r]) for m in masks])
    f = np.array([of(v, m) for v, m in zip(x, masks)])
    np.testing.assert_allclose(got["x_shap"].sum(axis=1), f - base, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_margins_of_a_pool(options, explain, run):
    """As exporters spell a pool with margins: windows reach into them, none lies there as a whole, and no number has
    to stand in for the margins."""
    nodes = [("Pad", "x pads low", "k", {}), ("MaxPool", "k", "g", {"kernel_shape": [3], "strides": [2]}),
             ("Tanh", "g", "h", {}), *BEHIND]
    constants = {k: CONSTANTS[k] for k in ("low", "axes", "w")} | {"pads": np.int64([0, 0, 1, 0, 0, 1])}
    one = model(nodes, [value("x", ["N", C, T])], [value("y", ["N", 2])], constants, opset=18)
    path = explain(one, {"x": REFERENCES}, "--target=0", *options)
    session = onnxruntime.InferenceSession(one.SerializeToString(), providers=["CPUExecutionProvider"])
    f, base = (session.run(None, {"x": side})[0][:, 0] for side in (X, REFERENCES))
    got = run(path, {"x": X})
    np.testing.assert_allclose(got["x_shap"].reshape(N, -1).sum(axis=1), f - base.mean(), rtol=1e-4, atol=5e-6)
    if not options:
        assert not [n for n in onnx.load(path).graph.node if n.op_type == "IsNaN"]
