"""DeepExplainer of the Python package, installed from its wheel."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from wheel import installed, run  # noqa: F401, fixtures


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    """Folder of small networks. Of the linear one, SHAP values are w (x - mean r)."""
    folder, rng = tmp_path_factory.mktemp("nets"), np.random.default_rng(1)

    def save(name, nodes, inputs, outputs, weights):
        graph = helper.make_graph(
            [helper.make_node(*node) for node in nodes], "g",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
            [numpy_helper.from_array(rng.normal(size=s).astype(np.float32) if s else np.int64(0), n)
             for n, s in weights.items()])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)],
                                    ir_version=8), folder / f"{name}.onnx")

    save("two", [("MatMul", ["x1", "a"], ["p"]), ("MatMul", ["x2", "b"], ["q"]),
                 ("Add", ["p", "q"], ["s"]), ("Relu", ["s"], ["h"]), ("MatMul", ["h", "c"], ["y"])],
         {"x1": ["N", 4], "x2": ["N", 3]}, {"y": ["N", 2]}, {"a": (4, 6), "b": (3, 6), "c": (6, 2)})
    save("linear", [("MatMul", ["x", "w"], ["y"])], {"x": ["N", 4]}, {"y": ["N", 1]}, {"w": (4, 1)})
    save("counted", [("MatMul", ["x", "w"], ["h"]), ("Shape", ["x"], ["s"]),
                     ("Gather", ["s", "zero"], ["n"]), ("CastLike", ["n", "h"], ["f"]),
                     ("Div", ["h", "f"], ["y"])],
         {"x": ["N", 4]}, {"y": ["N", 1]}, {"w": (4, 1), "zero": ()})
    save("fixed", [("MatMul", ["x", "w"], ["h"]), ("Relu", ["h"], ["y"])], {"x": [4, 3]},
         {"y": [4, 2]}, {"w": (3, 2)})
    save("unused", [("MatMul", ["x", "w"], ["y"]), ("Relu", ["z"], ["u"])],
         {"x": ["N", 3], "z": ["N", 2]}, {"y": ["N", 2], "u": ["N", 2]}, {"w": (3, 2)})
    return folder


def test_deep_shapes(run):
    """Outputs on the last axis, and those that come first by their rank."""
    run("""
    explainer = ox.DeepExplainer(DIGITS / "digits.onnx", references[:5])
    session = ox.Session(DIGITS / "digits.onnx")
    few = samples[:4]
    logits, base = (session.run(x)["logits"] for x in (few, references[:5]))
    assert explainer.expected_value.shape == (10,)
    assert np.allclose(explainer.expected_value, base.mean(0), atol=1e-5)
    values = explainer.shap_values(few)
    assert values.shape == (4, 1, 28, 28, 10)
    assert np.allclose(values.sum((1, 2, 3)), logits - base.mean(0), atol=1e-4)
    for order, key in (("max", -logits), ("min", logits), ("max_abs", -np.abs(logits))):
        ranked, indices = explainer.shap_values(few, 3, output_rank_order=order)
        assert np.array_equal(indices, np.argsort(key, axis=1)[:, :3]), order
        assert ranked.shape == (4, 1, 28, 28, 3)
        for k in range(3):
            expected = values[np.arange(4), ..., indices[:, k]]
            assert np.allclose(ranked[..., k], expected, atol=1e-5)
    """)


def test_deep_whole_batch(run, nets):
    """y = x w / N depends on how many samples there are, so that all go in one batch."""
    run("""
    folder, rng = pathlib.Path(sys.argv[1]), np.random.default_rng(2)
    data, X = rng.normal(size=(7, 4)), rng.normal(size=(5, 4))
    explainer = ox.DeepExplainer(folder / "counted.onnx", data)
    w = ox.Session(folder / "counted.onnx").run(np.eye(4))["y"][:, 0] * 4
    values = explainer.shap_values(X)
    assert np.allclose(values[..., 0], w * (X - data.mean(0)) / 5, atol=1e-5)
    """, nets)


def test_deep_linear(run, nets):
    """Exact values; one output keeps its axis; batches of any size give the same."""
    run("""
    folder, rng = pathlib.Path(sys.argv[1]), np.random.default_rng(2)
    data, X = rng.normal(size=(7, 4)), rng.normal(size=(200, 4))
    explainer = ox.DeepExplainer(folder / "linear.onnx", data)
    predict = ox.Session(folder / "linear.onnx").run
    w = predict(np.eye(4))["y"][:, 0]
    values = explainer.shap_values(X)
    assert values.shape == (200, 4, 1) and explainer.expected_value.shape == (1,)
    assert np.allclose(values[..., 0], w * (X - data.mean(0)), atol=1e-5)
    ranked, indices = explainer.shap_values(X[:3], ranked_outputs=1)
    assert ranked.shape == (3, 4, 1) and np.array_equal(indices, [[0]] * 3)
    assert np.allclose(explainer.shap_values(X[5:6]), values[5:6], atol=1e-6)
    """, nets)


def test_deep_inputs(run, nets):
    """A list of arrays gives a list; a dict goes by name; an input that is not used has zeros; a
    fixed batch is filled up."""
    run("""
    folder, rng = pathlib.Path(sys.argv[1]), np.random.default_rng(2)
    data, X = ([rng.normal(size=(n, width)) for width in (4, 3)] for n in (6, 9))
    explainer = ox.DeepExplainer(folder / "two.onnx", data)
    values = explainer.shap_values(X)
    y = ox.Session(folder / "two.onnx").run({"x1": X[0], "x2": X[1]})["y"]
    assert [v.shape for v in values] == [(9, 4, 2), (9, 3, 2)]
    assert np.allclose(sum(v.sum(1) for v in values), y - explainer.expected_value, atol=1e-5)
    named = ox.DeepExplainer(folder / "two.onnx", {"x2": data[1], "x1": data[0]})
    for a, b in zip(values, named.shap_values({"x2": X[1], "x1": X[0]})):
        assert np.array_equal(a, b)
    refused(ox.ArgumentError, '"x1", "x2"', explainer.shap_values, X[0])
    refused(ox.ArgumentError, "not as many", explainer.shap_values, [X[0], X[1][:3]])

    unused = ox.DeepExplainer(folder / "unused.onnx", [rng.normal(size=(5, 3)), np.zeros((5, 2))])
    v = unused.shap_values([rng.normal(size=(4, 3)), np.ones((4, 2))])
    assert v[0].shape == (4, 3, 2) and v[0].any() and v[1].shape == (4, 2, 2) and not v[1].any()

    data, X = rng.normal(size=(8, 3)), rng.normal(size=(6, 3))
    fixed = ox.DeepExplainer(folder / "fixed.onnx", data)
    values = fixed.shap_values(X)
    y = ox.Session(folder / "fixed.onnx").run(np.concatenate([X[2:], X[:0]]))["y"]
    assert values.shape == (6, 3, 2)
    assert np.allclose(values[2:].sum(1), y - fixed.expected_value, atol=1e-5)

    at = ox.DeepExplainer((folder / "two.onnx", "h"), named._data).shap_values(named._data)
    assert at.shape == (6, 6, 2)
    """, nets)


def test_deep_tables_and_tensors(run, nets):
    """What looks like a table of pandas or a tensor of PyTorch is one; names are kept."""
    run("""
    class Table:
        def __init__(self, array):
            self.array, self.columns = array, ["age", "height", "weight", "shoe size"]
        def to_numpy(self): return self.array
    class Tensor:
        def __init__(self, array): self.array = array
        def detach(self): return self
        def cpu(self): return self
        def numpy(self): return self.array
    rng = np.random.default_rng(3)
    data, X, model = rng.normal(size=(5, 4)), rng.normal(size=(3, 4)), sys.argv[1] + "/linear.onnx"
    expected = ox.DeepExplainer(model, data).shap_values(X)
    for kind in (Table, Tensor):
        explainer = ox.DeepExplainer(model, kind(data))
        assert np.array_equal(explainer.shap_values(kind(X)), expected)
    explanation = ox.DeepExplainer(model, Table(data))(X)
    assert type(explanation) is ox.Explanation
    assert explanation.feature_names == ["age", "height", "weight", "shoe size"]
    assert np.array_equal(explanation.values, expected) and np.array_equal(explanation.data, X)
    assert explanation.base_values.shape == (3, 1) and explanation.shape == (3, 4, 1)
    assert explanation[1:].shape == (2, 4, 1) and len(explanation) == 3
    refused(ox.ArgumentError, "given text", ox.DeepExplainer, model,
            Table(np.array([["a"] * 4], object)))
    """, nets)


def test_deep_uses_shap(run, nets, tmp_path):
    """Where shap is installed its class is made."""
    (tmp_path / "shap.py").write_text("class Explanation(dict):\n    pass\n")
    run("""
    import shap
    explanation = ox.DeepExplainer(sys.argv[1] + "/linear.onnx", np.zeros((2, 4)))(np.ones((3, 4)))
    assert type(explanation) is shap.Explanation and explanation["values"].shape == (3, 4, 1)
    """, nets, path=[tmp_path])


def test_deep_refuses(run, nets):
    run("""
    model = sys.argv[1] + "/linear.onnx"
    data = np.random.default_rng(4).normal(size=(5, 4)).astype(np.float32)
    explainer = ox.DeepExplainer(model, data)
    refused(ox.ArgumentError, "max, min, max_abs", explainer.shap_values, data, 1, "most")
    refused(ox.ArgumentError, "less than 1", explainer.shap_values, data, 0)
    refused(ox.ArgumentError, "shape", explainer.shap_values, data[:, :3])
    refused(ox.ArgumentError, "no samples", explainer.shap_values, data[:0])
    refused(TypeError, 'did you mean "chunk"?', ox.DeepExplainer, model, data, chunks=3)
    refused(TypeError, '"target"', ox.DeepExplainer, model, data, target="1")
    refused(ox.UnsupportedError, "(model, ", ox.DeepExplainer, (model, object()), data)
    keras = type("Model", (), {"__module__": "keras.models"})()
    refused(ox.UnsupportedError, "tf2onnx", ox.DeepExplainer, keras, data)
    estimator = type("Model", (), {"__module__": "sklearn.linear_model"})()
    refused(ox.UnsupportedError, "skl2onnx", ox.DeepExplainer, estimator, data)
    refused(ox.ArgumentError, "a model is a path", ox.DeepExplainer, object(), data)
    wrong = data.copy()
    wrong[2, 0] = np.inf
    refused(ox.AdditivityError, "sample 2", explainer.shap_values, wrong)
    refused(AssertionError, "finite", explainer.shap_values, wrong)
    assert not np.isfinite(explainer.shap_values(wrong, check_additivity=False)).all()
    """, nets)
