"""Ensembles of trees as the converters of LightGBM, XGBoost, CatBoost and scikit-learn write them,
on scikit-learn's own data sets: each pair of sample and reference equals enumeration, whatever the
model is made of before or behind the trees."""

import csv
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

import library
from trees import run, session, shapley

FOLDER = Path(__file__).parent / "recorded"
NAMES = sorted(path.stem for path in FOLDER.glob("trees_*.npz"))
TABLES = [name for name in NAMES if name != "trees_pipeline"]


def read(name):
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return onnx.load(FOLDER / f"{name}.onnx"), dict(arrays)


def with_transform(model, transform):
    """The same model with probabilities, as converters write classifiers."""
    for node in model.graph.node:
        if node.op_type == "TreeEnsembleClassifier":
            node.attribute.append(onnx.helper.make_attribute("post_transform", transform))
    return model


def test_there_are_recordings():
    assert len(TABLES) >= 10 and "trees_pipeline" in NAMES


@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize("name", TABLES)
def test_pairs_equal_enumeration(name, kernels):
    """All coalitions of the 10 features, through the model itself."""
    model, recorded = read(name)
    plain = session(model)
    one = session(library.explain(model, None, target="all"), kernels)
    for s, i in ((0, 0), (1, 3)):
        x, r = recorded["x"][s], recorded["x_references"][i]
        rows = np.array([[mask >> k & 1 for k in range(len(x))] for mask in range(1 << len(x))])
        worth = run(plain, {"x": np.where(rows, x, r)})["output"].astype(np.float64)
        powers = 1 << np.arange(len(x))
        wanted = shapley(lambda v: worth[((v == 1) * powers).sum()], np.ones(len(x)),
                         np.zeros(len(x)))
        out = run(one, {"x": x[None], "x_references": r[None]})
        phi = out["x_shap"].reshape(-1, len(x)).T
        size = np.abs(worth).max()
        assert np.abs(phi - wanted).max() <= 1e-4 * np.abs(wanted).max()
        gap = worth[-1] - worth[0] - phi.sum(axis=0)
        assert np.abs(gap).max() <= 1e-5 * size


@pytest.mark.parametrize("name, transform", [
    ("trees_lightgbm_classifier", "LOGISTIC"), ("trees_xgboost_classifier", "LOGISTIC"),
    ("trees_lightgbm_of_three", "SOFTMAX"), ("trees_xgboost_of_three", "SOFTMAX")])
def test_probabilities_add_up(name, transform):
    model, recorded = read(name)
    explained = library.explain(with_transform(model, transform), {"x": recorded["x_references"]},
                                target="all", gap=True)
    out = run(session(explained), {"x": recorded["x"]})
    assert (out["output"] >= 0).all()
    np.testing.assert_allclose(out["output"].sum(axis=1), 1, rtol=1e-6)
    assert np.abs(out["completeness_gap"]).max() <= 1e-6
    assert np.abs(out["x_shap"]).max() > 0.01


@pytest.mark.parametrize("kernels", [False, True])
def test_an_isolation_forest_adds_up(kernels):
    """Its trees give lengths of paths, in which logarithms, powers and choices follow."""
    model = onnx.load(FOLDER / "isolation_forest.onnx")
    _, recorded = read("trees_random_forest")  # of the same data
    x, r = recorded["x"], recorded["x_references"]
    name = model.graph.input[0].name
    y, y0 = (run(session(model), {name: v})["scores"][:, 0].astype(np.float64) for v in (x, r))
    one = session(library.explain(model, None, output_name="scores"), kernels)
    for i in range(len(r)):
        phi = run(one, {name: x, f"{name}_references": r[i:i + 1]})[f"{name}_shap"]
        assert np.abs(y - y0[i] - phi.sum(axis=1)).max() <= 1e-6
        assert np.abs(phi).max() > 1e-3


def test_probabilities_are_told(cli, tmp_path):
    told = []
    for name in ("margin", "probability"):
        model, recorded = read("trees_lightgbm_classifier")
        np.save(tmp_path / "r.npy", recorded["x_references"])
        if name == "probability":
            model = with_transform(model, "LOGISTIC")
        onnx.save(model, tmp_path / f"{name}.onnx")
        done = subprocess.run([cli, "explain", tmp_path / f"{name}.onnx", "-r", tmp_path / "r.npy",
                               "-o", tmp_path / "out.onnx"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        told.append("--target=logit explains the margins" in done.stderr)
    assert told == [False, True]


def test_names_of_columns(cli, tmp_path):
    """A table with a header goes in, values by column come out."""
    _, recorded = read("trees_pipeline")
    columns = [name.removesuffix("_shap") for name in recorded if name.endswith("_shap")]
    for file, end in (("x.csv", ""), ("r.csv", "_references")):
        with open(tmp_path / file, "w", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(columns)
            writer.writerows(zip(*(recorded[c + end][:, 0] for c in columns)))
    subprocess.run([cli, "explain", FOLDER / "trees_pipeline.onnx", "-r", tmp_path / "r.csv", "-o",
                    tmp_path / "out.onnx"], check=True, capture_output=True)
    subprocess.run([cli, "run", tmp_path / "out.onnx", "--strict", "--input", tmp_path / "x.csv",
                    "-o", tmp_path / "out.npz"], check=True, capture_output=True)
    with np.load(tmp_path / "out.npz") as found:
        for c in columns:
            wanted = recorded[f"{c}_shap"].reshape(-1)
            np.testing.assert_allclose(found[f"{c}_shap"].reshape(-1), wanted, atol=2e-4,
                                       err_msg=c)
