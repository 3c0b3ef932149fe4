"""What an explained model promises: cache and chunk modes, functions, types, versions, metadata."""

import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from contract import (FEATURES, LAYERS, R, REFERENCES, WEIGHTS, X, close, deeplift, explained, mlp,
                      model, network, single, subgraphs, value)

# ---- forms of the graph --------------------------------------------------------------------------

FORMS = [[], ["--cache=load"], ["--cache=none"], ["--cache=file"],
         *([f"--chunk={c}", *cache] for c in (1, 2, 3, 4, 6, 7)
           for cache in ([], ["--cache=none"], ["--cache=file"])),
         ["--memory=1"], ["--no-functions"], ["--no-functions", "--chunk=4"]]


@pytest.mark.parametrize("target", ["top", "all"])
@pytest.mark.parametrize("options", FORMS, ids="".join)
def test_forms(explained, options, target):
    outputs = explained(mlp(), single(R), single(X), f"--target={target}", "--gap", *options)
    phi, base = deeplift(), np.tile(network(R).mean(axis=0), (3, 1))
    if target == "top":
        top = network(X).argmax(axis=1)
        phi, base = phi[np.arange(3), top], base[np.arange(3), top]
    close(outputs["x_shap"], phi)
    close(outputs["base_value"], base)
    close(outputs["completeness_gap"], 0 * base)


@pytest.mark.parametrize("batch, options", [(1, []), (3, []), (1, ["--cache=none"]),
                                            (3, ["--cache=file", "--no-functions"])])
def test_forms_of_fixed_batch(explained, batch, options):
    outputs = explained(mlp(batch), single(R), single(X[:batch]), "--target=all", "--gap", *options)
    close(outputs["x_shap"], deeplift(X[:batch]))
    close(outputs["completeness_gap"], np.zeros((batch, 6)))


@pytest.mark.parametrize("options", [[], ["--chunk=2"]])
def test_functions(explain, options):
    with_functions = onnx.load(explain(mlp(), single(R), *options))
    assert {f.domain for f in with_functions.functions} == {"onnxexplainer"}
    without = onnx.load(explain(mlp(), single(R), "--no-functions", *options))
    assert not without.functions
    for graph in (without.graph, *subgraphs(without.graph)):
        assert {node.domain for node in graph.node} == {""}


@pytest.mark.parametrize("options", [[], ["--chunk=2"], ["--cache=file"]])
def test_same_bytes(explain, options):
    paths = [explain(mlp(), single(R), *options) for _ in range(2)]
    assert open(paths[0], "rb").read() == open(paths[1], "rb").read()


@pytest.mark.parametrize("options", [[], ["--chunk=2"], ["--no-functions"]])
def test_reference_evaluator(explain, options):
    """The result is ONNX, not only what onnxruntime makes of it."""
    path = explain(mlp(), single(R), "--target=all", *options)
    evaluator = ReferenceEvaluator(onnx.load(path))
    outputs = dict(zip(evaluator.output_names, evaluator.run(None, {"x": single(X)})))
    close(outputs["x_shap"], deeplift())
    np.testing.assert_array_equal(outputs["shap_target"], np.tile(np.arange(6), (3, 1)))


def test_without_optimization(explain):
    """What is right does not depend on what onnxruntime folds."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    path = explain(mlp(), single(R), "--target=all")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    close(session.run(["x_shap"], {"x": single(X)})[0], deeplift())


# ---- types and versions --------------------------------------------------------------------------

@pytest.mark.parametrize("options", [[], ["--chunk=4"], ["--cache=file"], ["--no-functions"]])
def test_double(explained, options):
    outputs = explained(mlp(kind=TensorProto.DOUBLE), R, X, "--target=all", "--gap", *options)
    close(outputs["x_shap"], deeplift(), np.float64)
    close(outputs["base_value"], np.tile(network(R).mean(axis=0), (3, 1)), np.float64)
    close(outputs["completeness_gap"], np.zeros((3, 6)), np.float64)


@pytest.mark.parametrize("target", ["top", "bottom:1", "absolute:1", "top:2", "input"])
def test_double_targets(explained, target):
    """onnxruntime has not every operator for float64."""
    extra = {"shap_target_input": np.array([4, 0, 2])} if target == "input" else {}
    outputs = explained(mlp(kind=TensorProto.DOUBLE), R, X, f"--target={target}", extra=extra)
    indices = outputs["shap_target"].reshape(3, -1)
    phi = np.take_along_axis(deeplift(), indices[:, :, None], axis=1)
    close(outputs["x_shap"], phi.reshape(outputs["x_shap"].shape), np.float64)


@pytest.mark.parametrize("options", [[], ["--chunk=4"]])
def test_half(explained, options):
    """Multipliers and SHAP values of float16 models are float32."""
    outputs = explained(mlp(kind=TensorProto.FLOAT16), R.astype(np.float16), X.astype(np.float16),
                        "--target=all", *options)
    assert outputs["x_shap"].dtype == outputs["base_value"].dtype == np.float32
    assert np.abs(outputs["x_shap"] - deeplift()).max() < 0.1


@pytest.mark.parametrize("opset, ir", [(9, 4), (13, 7), (17, 8), (18, 9), (21, 10), (23, 11)])
def test_versions(explained, opset, ir):
    outputs = explained(mlp(opset=opset, ir=ir), single(R), single(X), "--target=all")
    close(outputs["x_shap"], deeplift())


def test_metadata(explain, tmp_path):
    (tmp_path / "names.txt").write_text("age\nsex, or not\nbmi\nbp\n")
    made = mlp()
    helper.set_model_props(made, {"author": "somebody"})
    loaded = onnx.load(explain(made, single(R), "--target=top:2", "--chunk=2",
                               f"--feature-names={tmp_path / 'names.txt'}"))
    properties = {p.key: p.value for p in loaded.metadata_props}
    assert properties["author"] == "somebody"
    assert properties["onnxexplainer.target"] == "top:2"
    assert properties["onnxexplainer.cache"] == "load"
    assert properties["onnxexplainer.references"].startswith(f"{REFERENCES} ")
    assert properties["onnxexplainer.feature_names"] == "age\nsex, or not\nbmi\nbp"
    other = onnx.load(explain(made, single(R + 1)))
    assert properties["onnxexplainer.references"] != {
        p.key: p.value for p in other.metadata_props}["onnxexplainer.references"]


@pytest.mark.parametrize("op, hint", [("Softmax", True), ("Sigmoid", True), ("Tanh", False)])
def test_hint_at_logits(cli, tmp_path, op, hint):
    """Of a probability the user learns the name of the logits."""
    made = model([*LAYERS, (op, "flat", "y", {})], [value("x", ["N", FEATURES])],
                 [value("y", ["N", 6])], WEIGHTS)
    onnx.save(made, tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", single(R))
    done = subprocess.run([cli, "explain", "m.onnx", "-r", "r.npy", "-o", "e.onnx"], cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 0 and ("--output-name=flat" in done.stderr) == hint
