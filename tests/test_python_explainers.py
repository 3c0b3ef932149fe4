"""Explainers of other methods than DeepSHAP, tables with categories, providers."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from package import ox  # noqa: F401, a fixture

KINDS = ("DeepExplainer", "GradientExplainer", "KernelExplainer", "ExactExplainer",
         "PermutationExplainer", "TreeExplainer")
LAST = ("DeepExplainer", "GradientExplainer") # as in SHAP, also with one output


def model(nodes, inputs, outputs, weights, **versions):
    opsets = [helper.make_opsetid(*pair) for pair in {"": 17, **versions}.items()]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(name, kind, ["N", *shape])
                     for name, kind, *shape in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size])
         for name, size in outputs],
        [onnx.numpy_helper.from_array(np.asarray(w, np.float32), n) for n, w in weights.items()])
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def linear(outputs, features=4):
    w = np.random.default_rng(0).normal(size=(features, outputs))
    return model([helper.make_node("MatMul", ["x", "w"], ["y"])],
                 [("x", TensorProto.FLOAT, features)], [("y", outputs)], {"w": w}), w


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(1)
    return rng.normal(size=(7, 4)), rng.normal(size=(5, 4))


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_linear(ox, samples, kind, outputs):
    """On a linear model all give w (x - mean r), in the shapes that SHAP gives."""
    made, w = linear(outputs)
    data, X = samples
    explainer = getattr(ox, kind)(made, data)
    values, expected = explainer.shap_values(X), (X - data.mean(0))[..., None] * w
    if outputs == 1 and kind not in LAST:
        expected = expected[..., 0]
        assert isinstance(explainer.expected_value, float)
    assert values.shape == expected.shape
    assert np.allclose(values, expected, atol=1e-4)
    assert np.allclose(explainer.expected_value, (data @ w).mean(0), atol=1e-5)
    found = explainer(X)
    assert found.values.shape == values.shape and found.compute_time > 0
    assert found.base_values.shape == (5,) + np.shape(explainer.expected_value)


def test_settings(ox, samples):
    """Numbers of samples and seeds are the explained model's, which is made once for each."""
    made, _ = linear(2)
    data, X = samples
    square = model([helper.make_node("Mul", ["x", "x"], ["s"]),
                    helper.make_node("Mul", ["s", "x"], ["c"]),
                    helper.make_node("MatMul", ["c", "w"], ["y"])],
                   [("x", TensorProto.FLOAT, 4)], [("y", 1)], {"w": np.ones((4, 1))})
    gradient = ox.GradientExplainer(square, data)
    few, many, again = (gradient.shap_values(X, n, rseed=s) for n, s in ((7, 1), (7, 2), (7, 1)))
    assert np.array_equal(few, again) and not np.allclose(few, many)
    exact = ox.ExactExplainer(square, data).shap_values(X)
    near = gradient.shap_values(X, 2000)[..., 0]
    assert np.allclose(near, exact, atol=0.02 * np.abs(exact).max()) # an additive model
    ranked, indices = ox.GradientExplainer(made, data).shap_values(X, 50, ranked_outputs=1)
    assert ranked.shape == (5, 4, 1) and indices.shape == (5, 1)
    found = ox.PermutationExplainer(made, data, seed=3)(X, 4, error_bounds=True)
    assert found.error_std.shape == (5, 4, 2) and np.abs(found.error_std).max() < 1e-5


@pytest.mark.parametrize("kind, arguments, options, text", [
    ("GradientExplainer", (), {"local_smoothing": 1}, "smoothgrad"),
    ("KernelExplainer", (), {"link": "logit"}, "output_name="),
    ("TreeExplainer", (), {"feature_perturbation": "tree_path_dependent"}, "give data"),
    ("TreeExplainer", (), {"model_output": "log_loss"}, "raw, probability"),
    ("DeepExplainer", (), {"providers": ["CUDAExecutionProvider"]}, "AzureExecutionProvider")])
def test_refused(ox, samples, kind, arguments, options, text):
    if "providers" in options and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("there is CUDA")
    with pytest.raises(ox.UnsupportedError, match=text):
        getattr(ox, kind)(linear(1)[0], samples[0], *arguments, **options)


def test_refused_calls(ox, samples):
    made, (data, X) = linear(1)[0], samples
    for call, text in ((lambda: ox.KernelExplainer(made, data).shap_values(X, l1_reg="aic"), "l1_"),
                       (lambda: ox.TreeExplainer(made, data).shap_values(X, y=X), "loss"),
                       (lambda: ox.GradientExplainer(made, data).shap_values(
                           X, return_variances=True), "variances")):
        with pytest.raises(ox.UnsupportedError, match=text):
            call()
    with pytest.raises(TypeError, match='"samples"'):
        ox.DeepExplainer(made, data, samples=3)


def test_providers(ox, samples):
    """Other providers of the installed onnxruntime run the same model, and are checked, too."""
    made, w = linear(2)
    others = ["AzureExecutionProvider", "CPUExecutionProvider"]
    if others[0] not in onnxruntime.get_available_providers():
        pytest.skip("the onnxruntime package has the CPU's provider only")
    data, X = samples
    values = ox.DeepExplainer(made, data, providers=others).shap_values(X)
    assert np.allclose(values, (X - data.mean(0))[..., None] * w, atol=1e-5)
    explained = ox.explain(made, data, target="0", gap=True)
    session = ox.Session(explained, providers=others)
    with pytest.warns(ox.ExplainWarning, match="finite"):
        session.run(np.full((1, 4), np.inf))
    with pytest.raises(ox.OnnxRuntimeError):
        ox.Session(made, providers=others).run(np.zeros((2, 3)))


# ---- tables ------------------------------------------------------------------------------


class Column:
    """A column as pandas has them: `dtype`, and an array."""

    def __init__(self, values):
        self.values = np.array(values)
        self.dtype = self.values.dtype if self.values.dtype.kind in "fi" else np.dtype(object)

    def __array__(self, dtype=None, copy=None):
        return self.values.astype(dtype or self.values.dtype)


class Table:
    def __init__(self, **columns):
        self.table = {name: Column(values) for name, values in columns.items()}
        self.columns = list(columns)
        self.dtypes = [column.dtype for column in self.table.values()]

    def __getitem__(self, name):
        return self.table[name]

    def to_numpy(self):
        return np.stack([column.values.astype(object) for column in self.table.values()], axis=1)


def encoder():
    """What an exporter makes of a pipeline that encodes a column of texts: the sum of age and of a
    number for each town."""
    nodes = [helper.make_node("OneHotEncoder", ["town"], ["hot"], domain="ai.onnx.ml",
                              cats_strings=["Bonn", "Jena", "Ulm"], zeros=1),
             helper.make_node("Reshape", ["hot", "flat"], ["towns"]),
             helper.make_node("Concat", ["age", "towns"], ["all"], axis=1),
             helper.make_node("MatMul", ["all", "w"], ["y"])]
    made = model(nodes, [("age", TensorProto.FLOAT, 1), ("town", TensorProto.STRING, 1)],
                 [("y", 1)], {"w": [[1], [10], [20], [40]]}, **{"ai.onnx.ml": 3})
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, 3]), "flat"))
    return made


def test_categories(ox):
    """Texts become codes, and a column of categories has one value; unknown ones have none."""
    from onnxexplainer import _frameworks, _tables
    made = encoder()
    codes = _tables.coded(made)
    assert codes == {"Bonn": 0, "Jena": 1, "Ulm": 2}
    columns = _tables.Columns({"age": "age", "town": "town"}, codes)
    exported = _frameworks.Exported(made.SerializeToString(), columns=columns)
    data = Table(age=[1.0, 3.0], town=["Bonn", "Ulm"])
    X = Table(age=[5.0, 7.0, 2.0], town=["Jena", "Bonn", "Rome"])

    class Explainer(ox.ExactExplainer):
        def _export(self, model, data):
            return exported

    values = Explainer(None, data).shap_values(X)
    assert np.allclose(values, [[3, 20 - 25], [5, 10 - 25], [0, 0 - 25]], atol=1e-5)
    found = Explainer(None, data)(X)
    assert found.feature_names == ["age", "town"] and found.data[0, 1] == "Jena"
    ox.plots.scatter(found, "town") # by name
    with pytest.raises(ox.ArgumentError, match='no column "town"'):
        Explainer(None, data).shap_values(Table(age=[1.0]))
    with pytest.raises(ox.ArgumentError, match="give such a table"):
        Explainer(None, data).shap_values(np.zeros((2, 2)))


def test_numbers_only(ox, samples):
    """A model of numbers says which column holds none."""
    made, _ = linear(1, 2)
    data = Table(a=[1.0, 2.0], b=[3, 4])
    assert ox.DeepExplainer(made, data).feature_names == ["a", "b"]
    with pytest.raises(ox.ArgumentError, match='column "b" holds object'):
        ox.DeepExplainer(made, Table(a=[1.0, 2.0], b=["x", "y"]))


def test_columns_are_inputs(ox):
    """Of an ONNX file with an input for each column, in any order of the table's columns."""
    made = encoder().SerializeToString()
    data = Table(town=["Bonn", "Ulm"], age=[1.0, 3.0], more=[0, 0])
    X = Table(more=["x", "y"], age=[5.0, 7.0], town=["Jena", "Rome"])
    expected = [[3, 20 - 25], [5, 0 - 25]]
    arrays = {"age": np.float32([[1], [3]]), "town": np.array([["Bonn"], ["Ulm"]])}
    explained = ox.explain(made, data, gap=True)
    assert explained == ox.explain(made, arrays, gap=True)
    found = ox.Session(explained).run(X)
    assert np.allclose(np.concatenate([found["age_shap"], found["town_shap"]], 1), expected)
    for kind in (ox.DeepExplainer, ox.ExactExplainer, ox.TreeExplainer):
        explainer = kind(made, data)
        assert np.allclose(explainer.shap_values(X).reshape(2, 2), expected)
        explanation = explainer(X)
        assert explanation.feature_names == ["age", "town"]
        assert explanation.data.tolist() == [[5.0, "Jena"], [7.0, "Rome"]]
    calls = (lambda table: ox.explain(made, table), lambda table: ox.DeepExplainer(made, table),
             ox.DeepExplainer(made, data).shap_values, ox.Session(explained).run)
    for call in calls:
        for table, said in ((Table(age=[1.0]), 'no column "town"'),
                            (Table(age=["x"], town=["Ulm"]), 'column "age" holds object, and'),
                            (Table(age=[1.0], town=[3]), 'column "town" holds int64, and')):
            with pytest.raises(ox.ArgumentError, match=said):
                call(table)


def test_columns_in_another_order(ox):
    """Columns of samples go by the names that those of the data have."""
    made, _ = linear(1, 2)
    explainer = ox.DeepExplainer(made, Table(a=[1.0, 2.0], b=[3, 4]))
    expected = explainer.shap_values(np.array([[5.0, 7.0]]))
    X = Table(c=["x"], b=[7], a=[5.0])
    assert np.array_equal(explainer.shap_values(X), expected)
    found = explainer(X)
    assert found.feature_names == ["a", "b"] and found.data.tolist() == [[5, 7]]
    with pytest.raises(ox.ArgumentError, match='no column "b"'):
        explainer.shap_values(Table(a=[5.0], c=[7.0]))
    with pytest.raises(ox.ArgumentError, match='column "b" holds object'):
        ox.explain(made, Table(a=[1.0], b=["x"]))


def test_missing_values_in_columns(ox):
    """None and what pandas has for it are NaN, or an empty text."""
    from onnxexplainer import _tables
    column = Column([1.0, 2.0])
    column.values = np.array([1, None], object)
    assert np.array_equal(_tables._as_numbers(column), [1, np.nan], equal_nan=True)
    column.values = np.array(["Ulm", None, np.nan], object)
    assert _tables._texts(column).tolist() == ["Ulm", "", ""]


def test_boosted_classifiers(ox):
    """Margins of classifiers: no transform, and one target where two classes have one margin."""
    from onnxexplainer import _frameworks
    node = helper.make_node("TreeEnsembleClassifier", ["X"], ["label", "probabilities"],
                            domain="ai.onnx.ml", post_transform="LOGISTIC",
                            classlabels_int64s=[0, 1])
    maps = helper.make_node("ZipMap", ["probabilities"], ["maps"], domain="ai.onnx.ml",
                            classlabels_int64s=[0, 1])
    made = model([node, maps], [("X", TensorProto.FLOAT, 2)], [("maps", 2)], {})
    _frameworks._without_maps(made)
    assert [n.op_type for n in made.graph.node] == ["TreeEnsembleClassifier"]
    assert made.graph.output[0].name == "probabilities"
    assert _frameworks._margins(made) == "1"
    assert {a.name: a.s for a in made.graph.node[0].attribute}["post_transform"] == b"NONE"
