"""ai.onnx.ml: what converters of classical models write, as standard operators."""

import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from rulecheck import Rule, check, check_additive, floats, ints, node

ML = [("ai.onnx.ml", 3)]


def ml(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), domain="ai.onnx.ml", **attributes)


def numbers(*shape, seed=7):
    return [float(v) for v in floats(*shape, seed=seed).reshape(-1)]


@pytest.mark.parametrize("norm", ["MAX", "L1", "L2"])
def test_normalizer(explain, run, norm):
    low = 0.1 if norm == "MAX" else -2
    rule = Rule([ml("Normalizer", "x", "y", norm=norm)], {"x": (5,)}, domains=ML, low=low)
    check(rule, explain, run)


def test_scaler_and_imputer(explain, run):
    nodes = [ml("Imputer", "x", "i", imputed_value_floats=numbers(4), replaced_value_float=0.0),
             ml("Scaler", "i", "y", offset=numbers(4), scale=numbers(4, seed=1))]
    rule = Rule(nodes, {"x": (4,)}, domains=ML)
    rule.x["x"][0, :2] = 0
    rule.r["x"][1, 1:] = 0
    check(rule, explain, run)


def test_imputer_of_nan(explain, run):
    """The other features stay explained."""
    nodes = [ml("Imputer", "x", "y", imputed_value_floats=numbers(4),
                replaced_value_float=float("nan"))]
    check_additive(Rule(nodes, {"x": (4,)}, domains=ML), explain, run)


def test_binarizer(explain, run):
    check(Rule([ml("Binarizer", "x", "y", threshold=0.3)], {"x": (6,)}, domains=ML), explain, run)


def test_feature_vectorizer_and_extractor(explain, run):
    nodes = [ml("FeatureVectorizer", "a b", "v", inputdimensions=[2, 3]),
             ml("ArrayFeatureExtractor", "v i", "y")]
    rule = Rule(nodes, {"a": (2,), "b": (3,)}, {"i": ints(4, 0, 3, 3)}, domains=ML)
    check_additive(rule, explain, run)


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC"])
def test_linear_regressor(explain, run, transform):
    attributes = {} if transform == "NONE" else {"post_transform": transform}
    nodes = [ml("LinearRegressor", "x", "y", targets=3, coefficients=numbers(3, 4),
                intercepts=numbers(3, seed=1), **attributes)]
    check(Rule(nodes, {"x": (4,)}, domains=ML), explain, run)


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize("classes, rows", [(3, 3), (2, 2), (2, 1)])
def test_linear_classifier(explain, run, transform, classes, rows):
    nodes = [ml("LinearClassifier", "x", "label y", coefficients=numbers(rows, 4),
                intercepts=numbers(rows, seed=1), classlabels_ints=list(range(classes)),
                post_transform=transform)]
    check(Rule(nodes, {"x": (4,)}, domains=ML), explain, run)


@pytest.mark.parametrize("nodes", [
    [ml("LinearClassifier", "x", "label y", coefficients=numbers(3, 8), intercepts=numbers(3),
        classlabels_ints=[0, 1, 2])],
    [ml("LinearRegressor", "x", "y", targets=3, coefficients=numbers(3, 8), intercepts=numbers(3))]])
def test_coefficients_of_more(cli, tmp_path, nodes):
    """skl2onnx leaves out the columns of SimpleImputer(add_indicator=True): ONNX Runtime multiplies by
    coefficients of others, which is told."""
    onnx.save(Rule(nodes, {"x": (4,)}, domains=ML).model, tmp_path / "m.onnx")
    done = subprocess.run([cli, "show", str(tmp_path / "m.onnx")], capture_output=True, text=True)
    assert done.returncode == 1 and "coefficients for 8 values of its input's 4" in done.stderr


@pytest.mark.parametrize("kernel", ["LINEAR", "POLY", "RBF", "SIGMOID"])
def test_svm_regressor(explain, run, kernel):
    nodes = [ml("SVMRegressor", "x", "y", coefficients=numbers(6), kernel_type=kernel,
                kernel_params=[0.1, 0.5, 3.0], n_supports=6, rho=[0.3],
                support_vectors=numbers(6, 4, seed=1))]
    check(Rule(nodes, {"x": (4,)}, domains=ML), explain, run)


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize("kernel, per_class", [
    ("RBF", [3, 2]), ("LINEAR", [1, 1]), ("POLY", [2, 3, 2]), ("SIGMOID", [2, 1, 3, 2])])
def test_svm_classifier(explain, run, kernel, per_class, transform):
    """Scores of pairs of classes, of two for both."""
    classes, vectors = len(per_class), sum(per_class)
    nodes = [ml("SVMClassifier", "x", "label y", coefficients=numbers(classes - 1, vectors),
                kernel_type=kernel, kernel_params=[0.1, 0.5, 3.0], vectors_per_class=per_class,
                rho=numbers(classes * (classes - 1) // 2, seed=2), post_transform=transform,
                classlabels_ints=list(range(classes)), support_vectors=numbers(vectors, 4, seed=1))]
    check(Rule(nodes, {"x": (4,)}, domains=ML), explain, run)


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX"])
def test_linear_svm_classifier(explain, run, transform):
    nodes = [ml("SVMClassifier", "x", "label y", coefficients=numbers(3, 4), rho=[0.3],
                kernel_type="LINEAR", kernel_params=[0.0, 0.0, 3.0],
                classlabels_strings=["a", "b", "c"], post_transform=transform)]
    check(Rule(nodes, {"x": (4,)}, domains=ML), explain, run)


@pytest.mark.parametrize("transform", ["SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize("op, outputs, attributes", [
    ("LinearRegressor", "y", {"intercepts": [0.3]}),
    ("SVMRegressor", "y", {"rho": [0.3], "kernel_params": [0.0, 0.0, 3.0]}),
    ("SVMClassifier", "label y", {"rho": [0.3], "kernel_params": [0.0, 0.0, 3.0],
                                  "classlabels_ints": [0]})])
def test_a_single_score_stays(explain, run, op, outputs, attributes, transform):
    """ONNX Runtime transforms several scores, and odds of LinearClassifier, alone."""
    nodes = [ml(op, "x", outputs, coefficients=numbers(1, 4), post_transform=transform,
                **attributes)]
    check(Rule(nodes, {"x": (4,)}, domains=ML), explain, run)


def test_a_pipeline(explain, run):
    """Scaler, Normalizer, LinearClassifier, with labels beside the scores."""
    nodes = [ml("Scaler", "x", "s", offset=numbers(4), scale=numbers(4, seed=1)),
             ml("Normalizer", "s", "n", norm="L2"),
             ml("LinearClassifier", "n", "label raw", coefficients=numbers(3, 4),
                intercepts=numbers(3, seed=1), classlabels_strings=["a", "b", "c"],
                post_transform="SOFTMAX"),
             node("Identity", "raw", "y")]
    check(Rule(nodes, {"x": (4,)}, domains=ML), explain, run)


def test_scores_before_a_map(explain, run):
    """Converters turn the scores into maps, which are no tensors: the scores are explained."""
    nodes = [ml("LinearClassifier", "x", "label raw", coefficients=numbers(3, 4),
                intercepts=numbers(3, seed=1), classlabels_ints=[0, 1, 2],
                post_transform="SOFTMAX"),
             ml("ZipMap", "raw", "map", classlabels_int64s=[0, 1, 2])]
    pairs = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(
        TensorProto.FLOAT, []))
    graph = helper.make_graph(
        nodes, "zip", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
         helper.make_value_info("map", helper.make_sequence_type_proto(pairs))])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18),
                                                    helper.make_opsetid("ai.onnx.ml", 3)],
                              ir_version=9)
    x, r = floats(2, 4), floats(3, 4, seed=1)
    path = explain(model, r, "--gap")
    outputs = run(path, x)
    assert np.abs(outputs["completeness_gap"]).max() < 1e-6
    assert outputs["map"] == run(model, x)["map"]
    scores = np.array([[row[k] for k in range(3)] for row in outputs["map"]])
    np.testing.assert_array_equal(outputs["shap_target"].reshape(-1), scores.argmax(axis=1))
