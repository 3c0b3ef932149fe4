"""Quantised networks beside the float ones that they come from: what they predict, how ONNX Runtime
fuses them, and SHAP values that stay close to those of the float network."""

import collections
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization
from onnxruntime.quantization import QuantFormat, QuantType
from rulecheck import ints, node

LEVELS = [onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
          onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
          onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
          onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL]
# what stands between the convolutions and the last layer; all three average values of a grid, so
# that their results lie on ties of the next rounding, or next to them
HEADS = {
    "AveragePool": [node("AveragePool", "a", "p", kernel_shape=[2, 2], strides=[2, 2])],
    "Resize": [node("Resize", "a none scales", "p", mode="linear",
                    coordinate_transformation_mode="half_pixel")],
    "ReduceMean": [node("ReduceMean", "a axes", "p", keepdims=1)],
}


def network(head):
    """Convolutions without bias whose filters sum to 0, so that inputs make a difference."""
    rng = np.random.default_rng(3)

    def filters(*shape):
        w = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        return (3 * (w - w.mean(axis=tuple(range(1, len(shape))), keepdims=True))).astype(
            np.float32)

    size = {"AveragePool": 96, "Resize": 96, "ReduceMean": 6 * 8}[head]
    constants = {"w1": filters(6, 1, 3, 3), "w2": filters(6, 6, 3, 3), "w3": filters(5, size),
                 "b3": rng.normal(size=5).astype(np.float32) / 4, "none": np.float32([]),
                 "scales": np.float32([1, 1, 0.5, 0.5]), "axes": ints(-1)}
    nodes = [node("Conv", "x w1", "c1", pads=[1, 1, 1, 1]), node("Relu", "c1", "r1"),
             node("Conv", "r1 w2", "c2", pads=[1, 1, 1, 1]), node("Add", "c2 r1", "s"),
             node("Relu", "s", "a"), *HEADS[head], node("Flatten", "p", "f"),
             node("Gemm", "f w3 b3", "out", transB=1)]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def images(rows, seed=0):
    return np.random.default_rng(seed).random((rows, 1, 8, 8)).astype(np.float32)


class Calibration(quantization.CalibrationDataReader):
    def __init__(self):
        self.rows = iter([{"x": row[None]} for row in images(16)])

    def get_next(self):
        return next(self.rows, None)


@pytest.fixture
def quantise(tmp_path):
    """quantise(model, **options): path of the quantised model."""

    def quantise(model, **options):
        onnx.save(model, tmp_path / "float.onnx")
        options = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8} | options
        quantization.quantize_static(tmp_path / "float.onnx", tmp_path / "q.onnx", Calibration(),
                                     **options)
        return str(tmp_path / "q.onnx")

    return quantise


KINDS = {
    "QDQ": {"quant_format": QuantFormat.QDQ},
    "QDQ int8": {"quant_format": QuantFormat.QDQ, "activation_type": QuantType.QInt8},
    "QDQ per channel": {"quant_format": QuantFormat.QDQ, "per_channel": True},
    "QOperator": {"quant_format": QuantFormat.QOperator},
}


# ---- SHAP values --------------------------------------------------------------------------------

def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", KINDS)
def test_like_the_float_network(explain, run, quantise, kind, head, order):
    model, x, r = network(head), images(4, 1), images(3, 2)
    path = quantise(model, **KINDS[kind])
    exact = run(explain(model, r, "--target=2", f"--order={order}"), x)["x_shap"]
    outputs = run(explain(path, r, "--target=2", f"--order={order}"), x)
    phi = outputs["x_shap"]
    prediction, base = run(path, x)["out"], run(path, r)["out"].mean(axis=0)
    np.testing.assert_array_equal(outputs["out"], prediction)
    gap = prediction[:, 2] - base[2] - phi.reshape(4, -1).sum(axis=1, dtype=np.float64)
    assert np.abs(gap).max() <= 2e-5 * np.abs(prediction).max()
    for got, want in zip(phi, exact):
        assert correlation(got, want) >= 0.95
        assert np.abs(got).sum() <= 1.25 * np.abs(want).sum()


def test_a_single_value_on_a_tie(explain, run):
    """What rounding adds to a hidden layer of one value has no other to go to: the inputs have it,
    each as much as it has itself. A slope dy/d of the layer would make it 1,000 times as much."""
    nodes = [node("MatMul", "x w", "h"), node("QuantizeLinear", "h s z", "q"),
             node("DequantizeLinear", "q s z", "out")]
    w = np.float32([[0.5], [-0.5], [1], [-1]])
    constants = {"w": w, "s": np.float32(0.5), "z": np.uint8(100)}
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    r = np.float32([[1, 1, 1, 0.7505]])            # h is just below a tie
    x = np.float32([[3, 3, 1, 0.7495]])            # and just above: 0 becomes 0.5
    outputs = run(explain(model, r), x)
    terms = w[:, 0] * (x - r)[0]
    size = np.abs(terms).sum()
    np.testing.assert_array_equal(outputs["out"] - run(model, r)["out"], [[0.5]])
    rest = 0.5 - terms.sum()
    np.testing.assert_allclose(outputs["x_shap"][0], terms + rest * np.abs(terms) / size,
                               rtol=1e-5, atol=1e-6)


def test_saturation(explain, run):
    """Beyond the range of the integers nothing passes, across its end what lies within."""
    constants = {"s": np.float32(0.25), "z": np.int8(0)}
    nodes = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "out")]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    x, r = np.float32([[40, 50, 1]]), np.float32([[50, 0, -1]])
    phi = run(explain(model, r, "--target=*"), x)["x_shap"]
    np.testing.assert_allclose(phi, [[0, 31.75, 2]], rtol=1e-6)


def test_samples_of_a_batch_are_explained_alone(explain, run, quantise):
    """What rounding adds to one sample goes to no other."""
    path, x, r = quantise(network("AveragePool")), images(4, 1), images(3, 2)
    explained = explain(path, r)
    together = run(explained, x)
    for i in range(4):
        alone = run(explained, x[i:i + 1])["x_shap"]
        np.testing.assert_allclose(together["x_shap"][i:i + 1], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [
    ["--chunk=2"], ["--cache=none"], ["--chunk=2", "--cache=none"], ["--no-batch"],
    ["--no-functions"]], ids=" ".join)
def test_however_it_is_done(explain, run, quantise, options):
    path, x, r = quantise(network("AveragePool"), **KINDS["QDQ int8"]), images(1, 1), images(3, 2)
    rows = r[:, None] if "--no-batch" in options else r
    want, got = run(explain(path, r), x), run(explain(path, rows, *options), x)
    for name in want:
        np.testing.assert_allclose(got[name], want[name], rtol=1e-5, atol=1e-5)


# ---- predictions --------------------------------------------------------------------------------

def session_at(path, level, saved=None):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 3
    if saved is not None:
        options.optimized_model_filepath = str(saved)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def operators_of(path, output):
    """How often each operator takes part in computing an output."""
    graph = onnx.load(path).graph
    maker = {name: i for i, n in enumerate(graph.node) for name in n.output}
    seen, stack = set(), [output]
    while stack:
        i = maker.get(stack.pop())
        if i is not None and i not in seen:
            seen.add(i)
            stack += [name for name in graph.node[i].input if name]
    return collections.Counter(graph.node[i].op_type for i in seen)


@pytest.mark.parametrize("kind", KINDS)
def test_fused_as_without_us(explain, quantise, tmp_path, kind):
    """Integers that saturate where floats do not make this a matter of values, on machines without
    VNNI; on others of rounding."""
    path, x, r = quantise(network("AveragePool"), **KINDS[kind]), images(8, 1), images(3, 2)
    explained = explain(path, r)
    for level in LEVELS:
        plain = session_at(path, level, tmp_path / "plain.onnx")
        ours = session_at(explained, level, tmp_path / "ours.onnx")
        want = operators_of(tmp_path / "plain.onnx", "out")
        assert operators_of(tmp_path / "ours.onnx", "out") == want
        got, exact = ours.run(["out"], {"x": x})[0], plain.run(["out"], {"x": x})[0]
        np.testing.assert_array_equal(got, exact)
    assert any(op.startswith("Q") and op != "QuantizeLinear" for op in want)


@pytest.mark.parametrize("kind", KINDS)
def test_the_target_is_that_of_the_prediction(explain, run, quantise, kind):
    path, x, r = quantise(network("AveragePool"), **KINDS[kind]), images(8, 1), images(3, 2)
    outputs = run(explain(path, r, "--gap"), x)
    prediction, base = run(path, x)["out"], run(path, r)["out"].mean(axis=0)
    np.testing.assert_array_equal(outputs["shap_target"], prediction.argmax(axis=1))
    np.testing.assert_allclose(outputs["base_value"], base[outputs["shap_target"]], rtol=1e-6)
    assert np.abs(outputs["completeness_gap"]).max() <= 2e-5 * np.abs(prediction).max()


# ---- plans --------------------------------------------------------------------------------------

@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", [QuantType.QUInt8, QuantType.QInt8])
@pytest.mark.parametrize("head", [*HEADS, "Softmax"])
def test_plans_predict_the_same(explain, run, cli, quantise, tmp_path, head, kind, per_channel):
    """What is rounded stays as it is in the plan of a machine: sums in another order would lie on
    the other side of ties, and predictions differ by whole steps."""
    model = network("AveragePool" if head == "Softmax" else head)
    if head == "Softmax":
        model.graph.node[-1].output[0] = "logits"
        model.graph.node.append(node("Softmax", "logits", "out", axis=1))
    x, r = images(40, 1), images(4, 2)
    path = quantise(model, quant_format=QuantFormat.QDQ, per_channel=per_channel,
                    activation_type=kind)
    explained = explain(path, r, "--target=0,1,2,3,4")
    tuned, out = tmp_path / "tuned.onnx", tmp_path / "out.npz"
    np.save(tmp_path / "x.npy", x)
    done = subprocess.run([cli, "tune", explained, "-o", tuned], capture_output=True, text=True)
    if "blocked layout" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([cli, "run", tuned, "--input", tmp_path / "x.npy", "-o", out, "--strict"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found, prediction = np.load(out), run(path, x)["out"]
    np.testing.assert_array_equal(found["out"], prediction)
    base = run(path, r)["out"].mean(axis=0, dtype=np.float64)
    sums = found["x_shap"].reshape(40, 5, -1).sum(axis=2, dtype=np.float64)
    gap = np.abs(prediction - base - sums)
    assert gap.max() <= 2e-5 * np.abs(prediction).max()
