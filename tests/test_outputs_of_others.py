"""Outputs that are no batches of numbers: maps, labels of strings, scalars."""

import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

X = np.random.default_rng(5).normal(size=(7, 4)).astype(np.float32)
MAPS = helper.make_sequence_type_proto(helper.make_map_type_proto(
    TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])))


def save(path, batch, nodes, outputs, domains=()):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 4])], outputs)
    opsets = [helper.make_opsetid("", 18), *(helper.make_opsetid(d, 3) for d in domains)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


@pytest.fixture
def cli_at(cli, tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "r.npy", X[:3] / 2)

    def call(*arguments):
        done = subprocess.run([cli, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stderr

    return call


def classifier(path, strings=False):
    labels = {"classlabels_strings": ["no", "yes"]} if strings else {"classlabels_ints": [0, 1]}
    keys = "classlabels_strings" if strings else "classlabels_int64s"
    nodes = [helper.make_node("LinearClassifier", ["x"], ["label", "p"], domain="ai.onnx.ml",
                              coefficients=[1.0, -1, 2, 0.5, -1, 1, -2, -0.5], post_transform="LOGISTIC",
                              intercepts=[0.1, -0.1], **labels),
             helper.make_node("ZipMap", ["p"], ["map"], domain="ai.onnx.ml",
                              **{keys: list(labels.values())[0]})]
    maps = MAPS if not strings else helper.make_sequence_type_proto(helper.make_map_type_proto(
        TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, [])))
    kind = TensorProto.STRING if strings else TensorProto.INT64
    save(path, "N", nodes, [value("label", ["N"], kind), helper.make_value_info("map", maps)],
         ["ai.onnx.ml"])


@pytest.mark.parametrize("strings", [False, True])
def test_maps_and_labels(cli_at, tmp_path, strings):
    """A classifier of scikit-learn's default export is explained, run and checked."""
    classifier(tmp_path / "m.onnx", strings)
    cli_at("explain", "m.onnx", "-rr.npy", "--target=1", "--gap", "-oe.onnx")
    note = cli_at("run", "e.onnx", "-ix.npy", "-oo.npz", "--strict")
    assert 'output "map" is left out: it holds no numbers' in note
    assert ('output "label" is left out' in note) == strings
    out = np.load(tmp_path / "o.npz")
    assert set(out) == {"x_shap", "shap_target", "base_value", "completeness_gap",
                        *([] if strings else ["label"])}
    z = X.astype(float) @ [-1, 1, -2, -0.5] - 0.1
    r = X[:3].astype(float) / 2 @ [-1, 1, -2, -0.5] - 0.1
    expected = 1 / (1 + np.exp(-z)) - np.mean(1 / (1 + np.exp(-r)))
    np.testing.assert_allclose(out["x_shap"].sum(1), expected, atol=1e-6)


SUM = [helper.make_node("Tanh", ["x"], ["t"]),
       helper.make_node("ReduceSum", ["t"], ["y"], keepdims=0)]


def test_scalar_of_a_model_for_one(cli_at, tmp_path):
    """One score a call: a score a sample."""
    save(tmp_path / "m.onnx", 1, SUM, [value("y", [])])
    cli_at("run", "m.onnx", "-ix.npy", "-oo.npz")
    np.testing.assert_allclose(np.load(tmp_path / "o.npz")["y"], np.tanh(X).sum(1), rtol=1e-5)
    cli_at("explain", "m.onnx", "-rr.npy", "-oe.onnx")
    cli_at("run", "e.onnx", "-ix.npy", "-oo.npz", "--strict")
    out = np.load(tmp_path / "o.npz")
    assert out["x_shap"].shape == X.shape and out["base_value"].shape == (7,)
    np.testing.assert_allclose(out["x_shap"].sum(1), out["y"] - out["base_value"], atol=1e-5)


def test_faults_of_a_model_for_one_are_found(cli, cli_at, tmp_path):
    """The check looks at each sample, and names the one."""
    save(tmp_path / "m.onnx", 1,
         [helper.make_node("Sqrt", ["x"], ["t"]),
          helper.make_node("ReduceSum", ["t"], ["y"], keepdims=0)], [value("y", [])])
    x = np.abs(X)
    x[4, 2] = -1
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "r.npy", x[:2])
    cli_at("explain", "m.onnx", "-rr.npy", "-oe.onnx")
    assert "warning: sample 4: " in cli_at("run", "e.onnx", "-ix.npy", "-oo.npz")
    done = subprocess.run([cli, "run", "e.onnx", "-ix.npy", "-os.npz", "--strict"], cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 1 and "1 of 7 samples are not finite" in done.stderr
    assert not (tmp_path / "s.npz").exists()


def test_scalar_over_the_batch(cli_at, tmp_path):
    """What depends on all samples is computed of all at once, without being asked."""
    save(tmp_path / "m.onnx", "N", SUM, [value("t", ["N", 4]), value("y", [])])
    note = cli_at("run", "m.onnx", "-ix.npy", "-oo.npz")
    assert "all samples run at once" in note
    out = np.load(tmp_path / "o.npz")
    assert out["y"].shape == () and abs(out["y"] - np.tanh(X).sum()) < 1e-4
    cli_at("explain", "m.onnx", "-rr.npy", "--target=all", "-oe.onnx")
    cli_at("run", "e.onnx", "-ix.npy", "-oo.npz", "--strict")
