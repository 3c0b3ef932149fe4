"""Quantised models: integers are explained as the numbers that they stand for, and rounding is a
step, so that SHAP values add up to the quantised model's own output."""

import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization
from onnxruntime.quantization import QuantFormat, QuantType
from rulecheck import Rule, check, check_one, check_pairs, floats, ints, node

MS = [("com.microsoft", 1)]
SCALE = {"s": np.float32(0.02), "z": np.uint8(120)}


def quantized(weights, scale, axis=None, kind=np.int8):
    shape = [1] * weights.ndim
    if axis is not None:
        shape[axis] = -1
    info = np.iinfo(kind)
    q = np.round(weights / np.reshape(scale, shape))
    return np.clip(q, info.min, info.max).astype(kind)


def q_then(nodes, kind="z"):
    """x quantised, `nodes` from q to p, and p dequantised again."""
    return [node("QuantizeLinear", f"x s {kind}", "q"), *nodes,
            node("DequantizeLinear", "p ys yz", "y")]


OUT = {"ys": np.float32(0.05), "yz": np.uint8(100)}


def test_quantize_and_back(explain, run):
    rule = Rule([node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "y")],
                {"x": (3, 4)}, SCALE)
    check(rule, explain, run)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16])
def test_quantize_per_axis(explain, run, kind):
    constants = {"s": np.array([0.02, 0.05, 0.1], np.float32), "z": np.array([1, 2, 3], kind)}
    import rulecheck
    former, rulecheck.OPSET = rulecheck.OPSET, 21
    try:
        rule = Rule([node("QuantizeLinear", "x s z", "q", axis=1),
                     node("DequantizeLinear", "q s z", "y", axis=1)], {"x": (3, 4)}, constants)
        check(rule, explain, run)
    finally:
        rulecheck.OPSET = former


@pytest.mark.parametrize("move", ["none", "Reshape", "Transpose", "MaxPool"])
def test_int8_of_opset_22(explain, run, monkeypatch, move):
    """ONNX Runtime breaks models in which such a value is only moved: added nodes must not."""
    import rulecheck
    monkeypatch.setattr(rulecheck, "OPSET", 22)
    constants = {"s": np.float32(0.02), "z": np.int8(3), "row": ints(0, 4, 8)}
    moves = {"none": node("Identity", "d", "m"), "Reshape": node("Reshape", "d row", "m"),
             "Transpose": node("Transpose", "d", "m", perm=[0, 2, 3, 1]),
             "MaxPool": node("MaxPool", "d", "m", kernel_shape=[2, 2])}
    nodes = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d"),
             moves[move], node("QuantizeLinear", "m s z", "p"),
             node("DequantizeLinear", "p s z", "n"), node("Tanh", "n", "y")]
    check(Rule(nodes, {"x": (2, 4, 4)}, constants), explain, run)


def test_large_int8_values_of_opset_22(explain, run, monkeypatch):
    """The same where a value waits for the multiplier behind a Reshape."""
    import rulecheck
    monkeypatch.setattr(rulecheck, "OPSET", 22)
    constants = {"s": np.float32(0.02), "z": np.int8(3)}
    nodes = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d"),
             node("Tanh", "d", "y")]
    rule = Rule(nodes, {"x": (1200,)}, constants)
    check_pairs(rule, explain, run)


def test_quantize_in_blocks(explain, run, monkeypatch):
    import rulecheck
    monkeypatch.setattr(rulecheck, "OPSET", 21)
    block = {"axis": 1, "block_size": 2}
    constants = {"s": floats(1, 3, 4, low=0.01, high=0.1), "z": np.zeros((1, 3, 4), np.int8),
                 "i": ints(0)}
    nodes = [node("Transpose", "x", "t", perm=[0, 1, 2]),
             node("DequantizeLinear", "w s z", "d", **block), node("Mul", "t d", "y")]
    constants["w"] = np.arange(-10, 14, dtype=np.int8).reshape(1, 6, 4)
    del constants["i"]
    check(Rule(nodes, {"x": (6, 4)}, constants), explain, run)


def test_integer_operators_between(explain, run):
    """MaxPool, Concat and reshapes of integers."""
    nodes = [node("QuantizeLinear", "x s z", "q"),
             node("MaxPool", "q", "p", kernel_shape=[2, 2], strides=[1, 1]),
             node("Transpose", "p", "t", perm=[0, 2, 3, 1]), node("Concat", "t t", "c", axis=1),
             node("DequantizeLinear", "c s z", "y")]
    check(Rule(nodes, {"x": (2, 4, 4)}, SCALE), explain, run)


@pytest.mark.parametrize("per_channel", [False, True])
def test_qlinear_conv(explain, run, per_channel):
    w = floats(4, 3, 2, 2)
    scale = np.float32([0.02, 0.01, 0.03, 0.015]) if per_channel else np.float32(0.02)
    wz = np.zeros(4, np.int8) if per_channel else np.int8(0)
    constants = {**SCALE, **OUT, "w": quantized(w, scale, 0), "ws": scale, "wz": wz,
                 "b": np.array([100, -50, 20, 0], np.int32)}
    conv = node("QLinearConv", "q s z w ws wz ys yz b", "p", strides=[2, 1], pads=[1, 0, 1, 1])
    check(Rule(q_then([conv]), {"x": (3, 5, 4)}, constants), explain, run)


def test_qlinear_matmul(explain, run):
    constants = {**SCALE, **OUT, "w": quantized(floats(5, 6), 0.02), "ws": np.float32(0.02),
                 "wz": np.int8(1)}
    check(Rule(q_then([node("QLinearMatMul", "q s z w ws wz ys yz", "p")]), {"x": (3, 5)},
               constants), explain, run)


def test_integer_products(explain, run):
    constants = {**SCALE, "w": quantized(floats(5, 6), 0.02), "wz": np.int8(1),
                 "f": np.float32(0.0004)}
    nodes = [node("QuantizeLinear", "x s z", "q"), node("MatMulInteger", "q w z wz", "i"),
             node("Cast", "i", "c", to=1), node("Mul", "c f", "y")]
    check(Rule(nodes, {"x": (3, 5)}, constants), explain, run)
    constants["w"] = quantized(floats(4, 3, 2, 2), 0.02)
    nodes[1] = node("ConvInteger", "q w z wz", "i", pads=[1, 0, 0, 1])
    check(Rule(nodes, {"x": (3, 4, 4)}, constants), explain, run)


def test_integer_products_of_floats(explain, run):
    """MatMulIntegerToFloat has no rounding of its own; its scales multiply."""
    constants = {**SCALE, "w": quantized(floats(5, 6), 0.02), "ws": np.float32(0.02),
                 "wz": np.int8(1), "b": floats(6)}
    nodes = [node("QuantizeLinear", "x s z", "q"),
             helper.make_node("MatMulIntegerToFloat", "q w s ws z wz b".split(), ["y"],
                              domain="com.microsoft")]
    check(Rule(nodes, {"x": (3, 5)}, constants, domains=MS), explain, run)


def test_dynamic_products(explain, run):
    """DynamicQuantizeMatMul: one sample and one reference at a time, as the scale is that of a batch.
    What rounding adds, `Rounded`, goes to the inputs."""
    constants = {"w": quantized(floats(5, 6), 0.02), "ws": np.float32(0.02), "wz": np.int8(1),
                 "b": floats(6)}
    rule = Rule([helper.make_node("DynamicQuantizeMatMul", "x w ws wz b".split(), ["y"],
                                  domain="com.microsoft")], {"x": (3, 5)}, constants, domains=MS)
    rule.x = {"x": rule.x["x"][:1]}
    for row in range(2):
        check_one(rule, explain, run, row)


@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
def test_qlinear_binary(explain, run, op):
    constants = {**SCALE, **OUT, "t": np.float32(0.03), "u": np.uint8(90)}
    nodes = [node("QuantizeLinear", "b t u", "r"),
             helper.make_node(op, "q s z r t u ys yz".split(), ["p"], domain="com.microsoft")]
    check(Rule(q_then(nodes), {"x": (3, 4), "b": (3, 4)}, constants, domains=MS), explain, run)


@pytest.mark.parametrize("op, attributes", [
    ("QLinearSigmoid", {}), ("QLinearLeakyRelu", {"alpha": 0.2}),
    ("QLinearGlobalAveragePool", {}), ("QLinearAveragePool", {"kernel_shape": [2, 2]}),
    ("QLinearSoftmax", {"axis": -1, "opset": 13})])
def test_qlinear_unary(explain, run, op, attributes):
    out = {"ys": np.float32(0.02), "yz": np.uint8(100)}
    if op in ("QLinearSigmoid", "QLinearSoftmax"):
        out = {"ys": np.float32(1 / 256), "yz": np.uint8(0)}
    nodes = [helper.make_node(op, "q s z ys yz".split(), ["p"], domain="com.microsoft",
                              **attributes)]
    check(Rule(q_then(nodes), {"x": (2, 3, 4)}, {**SCALE, **out}, domains=MS), explain, run)


def test_qlinear_concat_and_qgemm(explain, run):
    constants = {**SCALE, **OUT, "t": np.float32(0.03), "u": np.uint8(90),
                 "w": quantized(floats(8, 6), 0.02), "ws": np.float32(0.02), "wz": np.int8(0),
                 "c": np.arange(6, dtype=np.int32) * 10}
    nodes = [helper.make_node("QLinearConcat", "t u q s z q s z".split(), ["k"],
                              domain="com.microsoft", axis=1),
             helper.make_node("QGemm", "k t u w ws wz c ys yz".split(), ["p"],
                              domain="com.microsoft")]
    check(Rule(q_then(nodes), {"x": (4,)}, constants, domains=MS), explain, run)


# ---- whole networks ----------------------------------------------------------------------------

def network():
    rng = np.random.default_rng(3)

    def w(*shape):
        return numpy_helper.from_array(
            (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32))

    constants = {"w1": w(6, 2, 3, 3), "b1": w(6), "w2": w(6, 6, 3, 3), "b2": w(6), "w3": w(5, 6),
                 "b3": w(5)}
    for name, tensor in constants.items():
        tensor.name = name
    nodes = [node("Conv", "x w1 b1", "c1", pads=[1, 1, 1, 1]), node("Relu", "c1", "r1"),
             node("MaxPool", "r1", "m1", kernel_shape=[2, 2], strides=[2, 2]),
             node("Conv", "m1 w2 b2", "c2", pads=[1, 1, 1, 1]), node("Add", "c2 m1", "a"),
             node("Relu", "a", "r2"), node("GlobalAveragePool", "r2", "g"),
             node("Flatten", "g", "f"), node("Gemm", "f w3 b3", "out", transB=1)]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 5])],
        list(constants.values()))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class Calibration(quantization.CalibrationDataReader):
    def __init__(self, name, rows):
        self.rows = iter([{name: row[None]} for row in rows])

    def get_next(self):
        return next(self.rows, None)


def check_network(explain, run, path, x, r, tolerance=2e-5):
    outputs = run(explain(path, r, "--target=all"), x)
    name = next(iter(outputs))
    prediction, base = run(path, x)[name], run(path, r)[name].mean(axis=0)
    np.testing.assert_array_equal(outputs[name], prediction)
    phi = next(v for k, v in outputs.items() if k.endswith("_shap"))
    assert np.isfinite(phi).all()
    total = phi.reshape(*prediction.shape, -1).sum(axis=2, dtype=np.float64)
    gap = np.abs(prediction - base - total).max()
    assert gap <= tolerance * np.abs(prediction).max()
    return outputs


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator])
def test_static_quantisation(explain, run, tmp_path, form, per_channel):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 2, 8, 8)).astype(np.float32)
    x[3:6, :, :4] = x[0:3, :, :4]
    onnx.save(network(), tmp_path / "net.onnx")
    quantization.quantize_static(
        tmp_path / "net.onnx", tmp_path / "q.onnx", Calibration("x", x), quant_format=form,
        per_channel=per_channel, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    check_network(explain, run, tmp_path / "q.onnx", x[:3], x[3:8])


def test_dynamic_quantisation(explain, run, tmp_path):
    """The scale is that of the whole batch: one sample at a time."""
    rng = np.random.default_rng(0)
    onnx.save(network(), tmp_path / "net.onnx")
    quantization.quantize_dynamic(tmp_path / "net.onnx", tmp_path / "q.onnx")
    x = rng.normal(size=(4, 2, 8, 8)).astype(np.float32)
    for i in range(1, 4):
        check_network(explain, run, tmp_path / "q.onnx", x[:1], x[i:i + 1])


def test_dynamic_quantisation_of_many(cli, explain, tmp_path):
    """`run` takes samples one at a time, so that each is what it is alone, and adds up."""
    rng = np.random.default_rng(0)
    onnx.save(network(), tmp_path / "net.onnx")
    quantization.quantize_dynamic(tmp_path / "net.onnx", tmp_path / "q.onnx")
    x = rng.normal(size=(9, 2, 8, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x[3:])
    path = explain(tmp_path / "q.onnx", x[:3], "--target=0")
    done = subprocess.run([cli, "run", path, "--input", tmp_path / "x.npy", "-o",
                           tmp_path / "out.npz", "--strict"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "out.npz")
    session = onnxruntime.InferenceSession(tmp_path / "q.onnx")
    name = session.get_outputs()[0].name
    alone = np.concatenate([session.run([name], {"x": row[None]})[0] for row in x[3:]])
    np.testing.assert_allclose(found[name], alone, rtol=1e-5, atol=1e-6)


def test_resnet(explain, run, shared, tmp_path):
    folder = shared / "models" / "resnet_mnist"
    path = next(folder.glob("*.onnx"))
    session = onnxruntime.InferenceSession(path)
    value = session.get_inputs()[0]
    shape = [d if isinstance(d, int) else 1 for d in value.shape[1:]]
    x = np.random.default_rng(0).uniform(0, 1, (8, *shape)).astype(np.float32)
    quantization.quantize_static(path, tmp_path / "q.onnx", Calibration(value.name, x),
                                 quant_format=QuantFormat.QDQ, per_channel=True)
    check_network(explain, run, tmp_path / "q.onnx", x[:2], x[2:5], tolerance=1e-4)
