"""Operators of com.microsoft, alone and in the files that ONNX Runtime's optimisers write: explained
as the operators that they were fused from; predictions are those of the fused ones."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from rulecheck import Rule, check, floats, ints, node

MS = [("com.microsoft", 1)]


def contrib(op, inputs, outputs, **attributes):
    """A node whose inputs may be left out by `-`."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), domain="com.microsoft", **attributes)


@pytest.mark.parametrize("op, inputs", [
    ("Gelu", "x"), ("FastGelu", "x"), ("FastGelu", "x b"), ("BiasGelu", "x b"),
    ("QuickGelu", "x")])
def test_activations(explain, run, op, inputs):
    constants = {"b": floats(5)} if "b" in inputs else {}
    check(Rule([contrib(op, inputs, "y")], {"x": (3, 5)}, constants, domains=MS), explain, run)


@pytest.mark.parametrize("attributes", [
    {}, {"alpha": 0.3}, {"transA": 1, "transB": 1}, {"transB": 1, "alpha": 2.0}])
def test_fused_matmul(explain, run, attributes):
    a = (2, 4, 3) if attributes.get("transA") else (2, 3, 4)
    b = (2, 5, 4) if attributes.get("transB") else (2, 4, 5)
    nodes = [contrib("FusedMatMul", "a b", "y", **attributes)]
    check(Rule(nodes, {"a": a, "b": b}, domains=MS), explain, run)


def test_fused_matmul_of_other_ranks(explain, run):
    nodes = [contrib("FusedMatMul", "a b", "y", transB=1)]
    check(Rule(nodes, {"a": (2, 3, 4)}, {"b": floats(5, 4)}, domains=MS), explain, run)


@pytest.mark.parametrize("attributes", [
    {"activation": "Relu"}, {"activation": "LeakyRelu", "activation_alpha": 0.3, "alpha": 0.5},
    {"activation": "Tanh", "transB": 1}])
def test_fused_gemm(explain, run, attributes):
    w = floats(5, 4) if attributes.get("transB") else floats(4, 5)
    nodes = [contrib("FusedGemm", "x w b", "y", **attributes)]
    check(Rule(nodes, {"x": (4,)}, {"w": w, "b": floats(5)}, domains=MS), explain, run)


@pytest.mark.parametrize("attributes", [
    {"activation": "Relu"}, {"activation": "LeakyRelu", "activation_params": [0.2]},
    {"activation": "Clip", "activation_params": [-1.0, 2.0]}, {"activation": "Sigmoid"},
    {"activation": "HardSigmoid", "activation_params": [0.2, 0.5]}])
def test_fused_conv(explain, run, attributes):
    nodes = [contrib("FusedConv", "x w b", "y", pads=[1, 1, 0, 0], strides=[2, 1], **attributes)]
    constants = {"w": floats(4, 2, 2, 3), "b": floats(4)}
    check(Rule(nodes, {"x": (2, 5, 4)}, constants, domains=MS), explain, run)


def test_fused_conv_that_adds(explain, run):
    nodes = [contrib("FusedConv", "x w b z", "y", pads=[1, 1, 1, 1], activation="Relu")]
    constants = {"w": floats(2, 2, 3, 3), "b": floats(2)}
    check(Rule(nodes, {"x": (2, 4, 5), "z": (2, 4, 5)}, constants, domains=MS), explain, run)


@pytest.mark.parametrize("inputs", ["x s g b", "x s g b e", "x s g - e"])
def test_skip_layer_normalization(explain, run, inputs):
    constants = {k: floats(6, seed=i) for i, k in enumerate("gbe") if k in inputs.split()}
    nodes = [contrib("SkipLayerNormalization", inputs, "n"),
             contrib("SkipLayerNormalization", inputs, "k - - t"), node("Add", "n t", "y")]
    nodes[1].output[1] = nodes[1].output[2] = ""
    check(Rule(nodes, {"x": (3, 6), "s": (3, 6)}, constants, domains=MS), explain, run)


@pytest.mark.parametrize("inputs", ["x s g", "x s g e"])
def test_skip_simplified_layer_normalization(explain, run, inputs):
    constants = {k: floats(6, seed=i) for i, k in enumerate("ge") if k in inputs.split()}
    nodes = [contrib("SkipSimplifiedLayerNormalization", inputs, "y")]
    check(Rule(nodes, {"x": (3, 6), "s": (3, 6)}, constants, domains=MS), explain, run)


def test_simplified_layer_normalization(explain, run, monkeypatch):
    """It has no domain, and is unknown to the standard."""
    monkeypatch.setattr(onnx.checker, "check_model", lambda model: None)
    nodes = [node("SimplifiedLayerNormalization", "x g", "y", axis=-1, epsilon=1e-5)]
    check(Rule(nodes, {"x": (3, 6)}, {"g": floats(6)}), explain, run)


def attention_rule(extra="", constants=None, **attributes):
    sizes = attributes.get("qkv_hidden_sizes", [8, 8, 8])
    constants = {"w": floats(6, sum(sizes)), "b": floats(sum(sizes)), **(constants or {})}
    nodes = [contrib("Attention", f"x w b {extra}", "y", num_heads=2, **attributes)]
    return Rule(nodes, {"x": (4, 6)}, constants, domains=MS, low=-1, high=1)


@pytest.mark.parametrize("attributes", [
    {}, {"scale": 0.2}, {"unidirectional": 1}, {"qkv_hidden_sizes": [4, 4, 6]}])
def test_attention(explain, run, attributes):
    check(attention_rule(**attributes), explain, run)


def test_attention_with_a_mask(explain, run):
    nodes = [node("Shape", "x", "n", start=0, end=1), node("Concat", "n four", "ms", axis=0),
             node("Expand", "seen ms", "mask"),
             contrib("Attention", "x w b mask", "y", num_heads=2)]
    constants = {"w": floats(6, 24), "b": floats(24), "four": ints(4),
                 "seen": np.array([[1, 1, 0, 1]], np.int32)}
    check(Rule(nodes, {"x": (4, 6)}, constants, domains=MS, low=-1, high=1), explain, run)


@pytest.mark.parametrize("inputs", ["q k v", "q k v b"])
def test_multi_head_attention(explain, run, inputs):
    constants = {"b": floats(24)} if "b" in inputs else {}
    nodes = [contrib("MultiHeadAttention", inputs, "y", num_heads=2)]
    rule = Rule(nodes, {"q": (3, 8), "k": (4, 8), "v": (4, 8)}, constants, domains=MS, low=-1,
                high=1)
    check(rule, explain, run)


# ---- files written by the optimiser ------------------------------------------------------------

def optimised(path, out):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(out)
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return onnx.load(out)


@pytest.mark.parametrize("name, fused", [
    ("vit_digits", {"BiasGelu", "FusedMatMul"}), ("resnet_mnist", {"FusedConv"}),
    ("mobile_se_silu_mnist", {"FusedConv", "QuickGelu"}),
    ("dynamo_vit_mnist", {"SkipLayerNormalization"})])
def test_optimised_files(explain, run, shared, tmp_path, name, fused):
    """Complete, and the same SHAP values as those of the model that was optimised."""
    folder = shared / "models" / name
    path = tmp_path / "optimised.onnx"
    model = optimised(folder / "model.onnx", path)
    assert fused <= {n.op_type for n in model.graph.node}
    x, r = np.load(folder / "input.npy")[:2], np.load(folder / "background.npy")[:3]
    own = run(explain(folder / "model.onnx", r), x)
    outputs = run(explain(path, r, "--gap"), x)
    output = model.graph.output[0].name
    np.testing.assert_array_equal(outputs[output], run(path, x)[output])
    assert np.abs(outputs["completeness_gap"]).max() <= 1e-5 * np.abs(outputs[output]).max()
    for key, value in own.items():
        size = np.abs(value).max()
        assert np.abs(outputs[key] - value).max() <= 2e-5 * max(size, 1e-3), key
