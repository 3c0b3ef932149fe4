"""One network in the spelling of every opset that ONNX Runtime reads, and in every floating-point
type: explained, with the same values."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(11)
CONV = rng.normal(size=(4, 2, 3, 3)) * 0.4
SCALE, BIAS, MEAN, VAR = rng.random((4, 4)) + 0.5
DENSE = rng.normal(size=(16, 3)) * 0.5
X, REFS = rng.normal(size=(2, 2, 8, 8)), rng.normal(size=(3, 2, 8, 8))
NEWEST = 26


def network(opset, kind=TensorProto.FLOAT):
    """Pad, Conv, BatchNormalization, Clip, MaxPool, Slice, Upsample, Split, Unsqueeze, ReduceMean,
    Squeeze, Dropout, Flatten, Gemm, Softmax: what was respelled on the way to today."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    constants = {"conv": CONV, "scale": SCALE, "bias": BIAS, "mean": MEAN, "var": VAR,
                 "dense": DENSE}
    constants = {k: v.astype(dtype) for k, v in constants.items()}
    nodes = []

    def add(op, inputs, output, **attributes):
        outputs = output if isinstance(output, list) else [output]
        nodes.append(helper.make_node(op, inputs, outputs, name=f"node_{outputs[0]}",
                                      **attributes))

    def given(name, value, since, **spelled):
        """An attribute before `since`, an input from then on."""
        if opset < since:
            return [], spelled
        constants[name] = np.asarray(value)
        return [name], {}

    more, attributes = given("pads", np.int64([0, 0, 1, 1, 0, 0, 1, 1]), 11,
                             pads=[0, 0, 1, 1, 0, 0, 1, 1])
    add("Pad", ["x", *more], "padded", **attributes)
    add("Conv", ["padded", "conv"], "c")
    add("BatchNormalization", ["c", "scale", "bias", "mean", "var"], "b", epsilon=1e-3)
    if opset < 11:
        add("Clip", ["b"], "r", min=-0.5, max=2.0)
    else:
        constants.update(low=np.asarray(-0.5, dtype), high=np.asarray(2.0, dtype))
        add("Clip", ["b", "low", "high"], "r")
    add("MaxPool", ["r"], "p", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    if opset < 10:
        add("Slice", ["p"], "s", starts=[1, 0], ends=[3, 2], axes=[2, 3])
    else:
        constants.update(starts=np.int64([1, 0]), ends=np.int64([3, 2]), axes=np.int64([2, 3]))
        add("Slice", ["p", "starts", "ends", "axes"], "s")
    if opset < 9:
        add("Upsample", ["s"], "u", scales=[1.0, 1.0, 2.0, 2.0], mode="nearest")
    else:
        constants["scales"] = np.float32([1, 1, 2, 2])
        if 11 <= opset < 13:
            constants["roi"] = np.float32([])
        roi = "roi" if opset < 13 else ""
        older = ["s", "scales"] if opset < 11 else ["s", roi, "scales"]
        form = {} if opset < 11 else {"coordinate_transformation_mode": "asymmetric",
                                      "nearest_mode": "floor"}
        add("Upsample" if opset < 10 else "Resize", older, "u", mode="nearest", **form)
    more, attributes = given("parts", np.int64([2, 2]), 13, split=[2, 2])
    add("Split", ["u", *more], ["left", "right"], axis=1, **attributes)
    add("Mul", ["left", "right"], "product")
    more, attributes = given("new", np.int64([1]), 13, axes=[1])
    add("Unsqueeze", ["product", *more], "wide", **attributes)
    more, attributes = given("over", np.int64([4]), 18, axes=[4])
    add("ReduceMean", ["wide", *more], "m", **attributes)
    more, attributes = given("old", np.int64([1, 4]), 13, axes=[1, 4])
    add("Squeeze", ["m", *more], "q", **attributes)
    add("Dropout", ["q"], "d")
    add("Concat", ["d", "d"], "e", axis=2)
    add("Flatten", ["e"], "f")
    add("MatMul", ["f", "dense"], "g")
    add("Softmax", ["g"], "y", axis=1)
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", kind, ["N", 2, 8, 8])],
        [helper.make_tensor_value_info("y", kind, ["N", 3])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)],
                             ir_version=min(10, 7 if opset < 15 else 9))


def explained(explain, opset, dtype=np.float32, kind=TensorProto.FLOAT):
    model = network(opset, kind)
    onnx.checker.check_model(model, full_check=True)
    made = explain(model, REFS.astype(dtype), "--target=all")
    onnx.checker.check_model(made, full_check=True)
    return model, made


def ort(model, x):
    model = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(None, {"x": x})))


@pytest.mark.parametrize("opset", range(7, NEWEST + 1))
def test_every_opset(explain, opset):
    model, made = explained(explain, opset)
    x = X.astype(np.float32)
    out, plain = ort(made, x), ort(model, x)["y"]
    np.testing.assert_allclose(out["y"], plain, rtol=1e-6, atol=1e-7)
    base = ort(model, REFS.astype(np.float32))["y"].mean(0)
    total = out["x_shap"].astype(float).sum((2, 3, 4))
    np.testing.assert_allclose(total, plain - base, atol=3e-6)
    newest = ort(explained(explain, NEWEST)[1], x)
    np.testing.assert_allclose(out["x_shap"], newest["x_shap"], atol=2e-6)


def test_float16(explain):
    """Multipliers are float32; what is left comes from the rounding of the model's own values."""
    model, made = explained(explain, 18, np.float16, TensorProto.FLOAT16)
    out = ort(made, X.astype(np.float16))
    assert out["x_shap"].dtype == np.float32 and out["base_value"].dtype == np.float32
    truth = ort(explained(explain, 18)[1], X.astype(np.float32))
    np.testing.assert_allclose(out["x_shap"], truth["x_shap"], atol=2e-2)
    gap = out["y"].astype(float) - out["base_value"] - out["x_shap"].sum((2, 3, 4))
    assert np.abs(gap).max() < 4 * 2**-11 and np.abs(out["x_shap"]).max() > 0.01


def looped(opset):
    """A Loop around an If, with older spellings in both bodies and values from outside."""
    def make(op, inputs, outputs, **attributes):
        return helper.make_node(op, inputs, outputs, **attributes)

    def info(name, kind=TensorProto.FLOAT, shape=None):
        return helper.make_tensor_value_info(name, kind, shape)

    squeeze = ([make("Unsqueeze", ["h"], ["u"], axes=[1])] if opset < 13
               else [make("Unsqueeze", ["h", "one"], ["u"])])
    clip = (make("Clip", ["b"], ["c"], min=-1.0, max=2.0) if opset < 11
            else make("Clip", ["b", "low", "high"], ["c"]))
    then = helper.make_graph([make("ReduceMax", ["c"], ["top"], axes=[1]),
                              make("Add", ["c", "top"], ["t"])], "then", [], [info("t")])
    other = helper.make_graph([make("Softmax", ["c"], ["e"], axis=1)], "else", [], [info("e")])
    body = helper.make_graph(
        [*squeeze, make("ReduceMean", ["u"], ["r"], axes=[1], keepdims=0),
         make("MatMul", ["r", "w"], ["a"]), make("Add", ["a", "x"], ["b"]), clip,
         make("Cast", ["step"], ["s"], to=TensorProto.FLOAT),
         make("Less", ["s", "limit"], ["first"]),
         make("If", ["first"], ["next"], then_branch=then, else_branch=other),
         make("Identity", ["go"], ["on"])], "body",
        [info("step", TensorProto.INT64, []), info("go", TensorProto.BOOL, []),
         info("h", shape=["N", 4])],
        [info("on", TensorProto.BOOL, []), info("next")],
        [numpy_helper.from_array(np.int64([1]), "one")])
    constants = {"m": np.int64(3), "w": rng.normal(size=(4, 4)).astype(np.float32),
                 "low": np.float32(-1), "high": np.float32(2), "limit": np.float32(1)}
    graph = helper.make_graph(
        [make("Loop", ["m", "", "x"], ["y"], body=body)], "looped", [info("x", shape=["N", 4])],
        [info("y", shape=["N", 4])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


@pytest.mark.parametrize("opset", [8, 9, 10, 11, 12, 13, 16, 17])
def test_bodies_are_lifted(explain, run, opset):
    model = looped(opset)
    x, r = (rng.normal(size=(n, 4)).astype(np.float32) for n in (3, 2))
    path = explain(model, r, "--target=2")
    onnx.checker.check_model(path, full_check=True)
    out = run(path, {"x": x})
    plain = run(model, {"x": x})["y"]
    np.testing.assert_array_equal(out["y"], plain)
    gap = plain[:, 2] - out["base_value"] - out["x_shap"].sum(1)
    assert np.abs(gap).max() < 1e-5
    np.testing.assert_allclose(out["base_value"], run(model, {"x": r})["y"][:, 2].mean(), atol=1e-6)
