"""Tables of plots and reports: columns go to the inputs that they are named after, texts stay texts,
fields may be empty."""

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from package import ox  # noqa: F401, a fixture
from test_plots_command import model, plot  # noqa: F401, a fixture

CITIES = ["Lima, Peru", "Oslo", "São Paulo"]
ROWS = """visits,city,age,note
1,São Paulo,65,a
8,Oslo,41,"b ""c"" d"

3,"Lima, Peru",,d
"""


def mixed(path):
    """A classifier of an age, which may be missing, a city and a number of visits; with labels."""
    node, ml = helper.make_node, {"domain": "ai.onnx.ml"}
    nodes = [node("Imputer", ["age"], ["known"], imputed_value_floats=[40.0],
                  replaced_value_float=float("nan"), **ml),
             node("OneHotEncoder", ["city"], ["hot"], cats_strings=CITIES, zeros=1, **ml),
             node("Flatten", ["hot"], ["flat"]),
             node("Cast", ["visits"], ["counted"], to=TensorProto.FLOAT),
             node("Concat", ["known", "flat", "counted"], ["all"], axis=1),
             node("MatMul", ["all", "w"], ["scores"])]
    weights = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32) * 0.1
    inputs = [helper.make_tensor_value_info(name, kind, ["N", 1]) for name, kind in
              (("age", TensorProto.FLOAT), ("city", TensorProto.STRING),
               ("visits", TensorProto.INT64))]
    graph = helper.make_graph(nodes, "g", inputs, [
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 3])],
        [onnx.numpy_helper.from_array(weights, "w")])
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[
        helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]), path)
    return path


@pytest.fixture
def table(ox, tmp_path):
    """An explained model, a CSV file, and the results of its rows."""
    (tmp_path / "x.csv").write_text(ROWS)
    arrays = {"age": np.float32([[65], [41], [np.nan]]), "visits": [[1], [8], [3]],
              "city": np.array([["São Paulo"], ["Oslo"], ["Lima, Peru"]])}
    explained = tmp_path / "e.onnx"
    ox.explain(mixed(tmp_path / "m.onnx"), arrays, gap=True, output=explained)
    np.savez(tmp_path / "v.npz", **ox.Session(explained, tune=False).run(arrays))
    return explained, tmp_path / "x.csv", tmp_path / "v.npz"


def test_texts_and_missing(plot, table, tmp_path):
    """From a model and from results; categories stand by name."""
    explained, rows, results = table
    shown = [plot("table", source, "-i", rows, "--sample", i, "-q")
             for source in (explained, results) for i in range(3)]
    assert shown[:3] == shown[3:]
    for (text, said, code), city, age, visits in zip(shown, ("São Paulo", "Oslo", "Lima, Peru"),
                                                     ("65", "41", "nan"), "183"):
        assert code == 0, said
        for name, value in (("city", city), ("age", age), ("visits", visits)):
            assert re.search(f"^{name} +{value} ", text, re.M), (name, text)
    text, said, code = plot("table", tmp_path / "m.onnx", "-i", rows, "-r", rows, "-q")
    assert code == 0 and "São Paulo" in text, said


@pytest.mark.parametrize("kind", ["waterfall", "beeswarm", "bar", "force", "scatter", "decision",
                                  "heatmap"])
def test_kinds(plot, table, tmp_path, kind):
    for i, source in enumerate((table[0], table[2])):
        assert plot(kind, source, "-i", table[1], "-o", tmp_path / f"{i}.svg", "-q") == ("", "", 0)
    assert (tmp_path / "0.svg").read_bytes() == (tmp_path / "1.svg").read_bytes()


def test_report(ox, table, tmp_path):
    """The columns are one table, not a part of the report each."""
    from onnxexplainer._report import main
    assert main([str(table[0]), "-i", str(table[1]), "-o", str(tmp_path / "r.html"), "-q"]) == 0
    page = (tmp_path / "r.html").read_text()
    assert page.count("<h2") == 5 and "São Paulo" in page and "beeswarm" in page


def test_columns_by_feature(ox, plot, tmp_path):
    """Columns of one input go by the names of the features, in any order and among others."""
    path = model(tmp_path / "m.onnx", (3,), 1)
    ox.explain(path, np.zeros((1, 3), np.float32), feature_names=["age", "size", "hue"], gap=True,
               output=tmp_path / "e.onnx")
    (tmp_path / "a.csv").write_text("age,size,hue\n1,2,3\n4,5,6\n")
    (tmp_path / "b.csv").write_text("hue,id,size,age\n3,x,2,1\n6,y,5,4\n")
    a, b = (plot("table", tmp_path / "e.onnx", "-i", tmp_path / name, "-q")
            for name in ("a.csv", "b.csv"))
    assert a == b and a[2] == 0, b
    a, b = (plot("table", path, "-i", tmp_path / "a.csv", "-r", tmp_path / name, "-q")
            for name in ("a.csv", "b.csv"))
    assert a == b and a[2] == 0, b


@pytest.mark.parametrize("text, said", [
    ("age,size,hue\n1,2,red\n", 'row 1, column "hue": "red" is no number'),
    ("age,size,hue\n1,2,1_0\n", 'row 1, column "hue": "1_0" is no number'),
    ("age,size\n1,2\n", "2 columns where the model takes 3"),
    ("age,size,hue,id\n1,2,3,4\n", "4 columns where the model takes 3, and their names"),
    ("1,2,3\n1,2,3\n", "a header with the names"),
    ("age,size,hue\n1,2\n", "row 1 has 2 fields, the header 3"),
    ("", "empty"), (b"\xff\xfe\x00", "not text")])
def test_refused(plot, tmp_path, text, said):
    path = model(tmp_path / "m.onnx", (3,), 1)
    (tmp_path / "x.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    out, err, code = plot("table", path, "-i", tmp_path / "x.csv", "-r", "fill:0")
    assert code == 1 and said in err and err.count("\n") == 1, err


def test_whole_numbers(plot, table, tmp_path):
    """A field of an input of whole numbers may not be empty."""
    (tmp_path / "y.csv").write_text("visits,city,age\n,Oslo,3\n")
    _, err, code = plot("table", table[0], "-i", tmp_path / "y.csv")
    assert code == 1 and 'row 1, column "visits": "" is no number' in err
