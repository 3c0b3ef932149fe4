"""Rows of Arrow tables and Parquet files through explained models."""

import json
import os

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper, numpy_helper

from package import ox  # noqa: F401, a fixture

NAMES = ["age", "income", "height", "score"]
W = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
REFERENCES = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)


def linear(kind=TensorProto.FLOAT, rows="n", columns=4):
    """y = x W: the SHAP values of target k are (x - mean r) W[:, k]."""
    graph = helper.make_graph(
        [helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
         helper.make_node("MatMul", ["f", "W"], ["y"])], "g",
        [helper.make_tensor_value_info("x", kind, [rows, columns])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, 3])],
        [numpy_helper.from_array(W, "W")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.fixture(scope="module")
def engine(ox):  # noqa: F811
    import onnxexplainer.arrow
    return onnxexplainer.arrow


@pytest.fixture(scope="module")
def explained(ox):  # noqa: F811
    return ox.explain(linear(), REFERENCES, target="1", feature_names=NAMES)


def table(rows=100, seed=2):
    X = np.random.default_rng(seed).normal(size=(rows, 4)).astype(np.float32)
    return X, pa.table({"id": np.arange(rows), **dict(zip(NAMES, X.T))})


def shap(X, k=1):
    return (X - REFERENCES.mean(0)) * W[:, k]


def values(found):
    return np.stack([found[f"shap_{name}"].to_numpy() for name in NAMES], axis=1)


def test_table(engine, explained):
    """Columns that are added, and those that were there."""
    X, given = table()
    found = engine.explain(given, explained)
    assert found.column_names == [*given.column_names, "prediction", "target", "base_value", "gap",
                                  *(f"shap_{name}" for name in NAMES), "reason"]
    assert found.select(given.column_names).equals(given)
    np.testing.assert_allclose(values(found), shap(X), atol=1e-5)
    np.testing.assert_allclose(found["prediction"].to_numpy(), X @ W[:, 1], atol=1e-5)
    np.testing.assert_allclose(found["base_value"].to_numpy(), (REFERENCES @ W[:, 1]).mean(),
                               atol=1e-5)
    assert set(found["target"].to_pylist()) == {1}
    assert np.abs(found["gap"].to_numpy()).max() < 1e-5
    assert found["reason"].null_count == 100


def test_reader(engine, explained):
    """Batches go through as they come, and give the same."""
    _, given = table()
    whole = engine.explain(given, explained, batch_size=7)
    reader = engine.explain(given.to_reader(max_chunksize=9), explained)
    assert isinstance(reader, pa.RecordBatchReader)
    assert reader.read_all().combine_chunks().equals(whole.combine_chunks())


BAD = {
    "age": ([None, 1.0], 'column "age": null'),
    "income": ([float("nan"), 1.0], 'column "income": NaN'),
    "height": ([float("inf"), 1.0], 'column "height": infinite, or beyond float32'),
    "score": (["tall", "1e0"], 'column "score": "tall" is no number'),
}


@pytest.mark.parametrize("name", NAMES)
def test_bad_rows(engine, explained, name):
    """They keep their place and their values, and say why; the others are explained."""
    X, given = table(2)
    X[:, NAMES.index(name)] = 1
    given = given.set_column(given.column_names.index(name), name, pa.array(BAD[name][0]))
    found = engine.explain(given, explained)
    assert found["reason"].to_pylist() == [BAD[name][1], None]
    for column in found.column_names[5:-1]:
        assert found[column].is_null().to_pylist() == [True, False]
    assert found.select(given.column_names)["id"].equals(given["id"])
    np.testing.assert_allclose(values(found.slice(1)), shap(X[1:]), atol=1e-5)
    good, aside = engine.split(found)
    assert good.column_names == found.column_names[:-1] and good["id"].to_pylist() == [1]
    assert aside["id"].to_pylist() == [0] and aside["reason"].to_pylist() == [BAD[name][1]]


def test_types_of_columns(engine, explained):
    """Whole numbers, decimals, dictionaries, booleans and halves are numbers; dates are none."""
    X, given = table(3)
    X[:] = [[1, 0, 2, 0.5]] * 3
    kinds = [pa.int8(), pa.bool_(), pa.decimal128(5, 2), pa.float16()]
    given = pa.table({name: pa.array(X[:, i].astype(float).tolist()).cast(
        kind if kind != pa.float16() else pa.float32()).cast(kind)
        for i, (name, kind) in enumerate(zip(NAMES, kinds))})
    given = given.set_column(0, "age", given["age"].cast(pa.string()).dictionary_encode())
    np.testing.assert_allclose(values(engine.explain(given, explained)), shap(X), atol=1e-5)
    given = given.set_column(0, "age", pa.array([0, 1, 2]).cast(pa.timestamp("s")))
    with pytest.raises(ValueError, match='column "age": timestamp.* is no number'):
        engine.explain(given, explained)


def test_whole_numbers(ox, engine):  # noqa: F811
    """A fraction, or what is beyond the type, is no whole number."""
    model = ox.explain(linear(TensorProto.INT8), np.int8([[1, 2, 3, 4]]), feature_names=NAMES,
                       force=True, target="1")
    given = pa.table({name: [1.0, 1.5, 300.0] for name in NAMES})
    found = engine.explain(given, model)
    assert found["reason"].to_pylist() == [None] + 2 * ['column "age": a value that is no int8']


def test_missing_values(engine, explained):
    """Where NaN is a value it goes into the model; what comes out is not finite then."""
    _, given = table(2)
    given = given.set_column(1, "age", pa.array([float("nan"), 1.0]))
    found = engine.explain(given, explained, allow_nan=True)
    assert found["reason"].to_pylist() == ["prediction or SHAP values are not finite", None]


def test_lists(ox, engine):  # noqa: F811
    """All features in one column, several targets, outputs that are kept whole."""
    model = ox.explain(linear(), REFERENCES, target="all")
    X = table(4)[0]
    rows = [row.tolist() for row in X]
    rows[1], rows[2] = rows[1][:3], None
    for kind in (pa.list_(pa.float32()), pa.large_list(pa.float32())):
        found = engine.explain(pa.table({"v": pa.array(rows, kind)}), model, {"x": "v"},
                               keep_outputs=["y"], prefix="p_")
        assert found["p_reason"].to_pylist() == [
            None, 'column "v": 3 values, the model takes 4', 'column "v": null', None]
        for row in 0, 3:
            np.testing.assert_allclose(found["p_x_shap"][row].as_py(), np.concatenate(
                [shap(X[row], k) for k in range(3)]), atol=1e-5)
            np.testing.assert_allclose(found["p_y"][row].as_py(), X[row] @ W, atol=1e-5)
            np.testing.assert_allclose(found["p_prediction"][row].as_py(), X[row] @ W, atol=1e-5)
        assert found["p_target"][0].as_py() == [0, 1, 2]
    rows[1] = [None, 1, 2, 3]
    fixed = pa.array([rows[0], rows[1], None, rows[3]], pa.list_(pa.float32(), 4))
    found = engine.explain(pa.table({"x": fixed}), model)
    assert found["reason"].to_pylist() == [None, 'column "x": null', 'column "x": null', None]
    named = engine.explain(pa.table(dict(zip(NAMES, X.T))), model, NAMES)
    np.testing.assert_allclose(named["shap_score"][3].as_py(), [shap(X[3], k)[3] for k in range(3)],
                               atol=1e-5)


def test_pictures(ox, engine):  # noqa: F811
    """Lists of lists become an input of more axes."""
    graph = helper.make_graph(
        [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(np.int64([1, 2]), "axes")])
    model = ox.explain(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)],
                                         ir_version=8), np.zeros((1, 2, 3), np.float32))
    given = [[[1, 2, 3], [4, 5, 6]], [[1, 2], [3, 4, 5, 6]], [[1, 2, 3], [4, 5]], [[], [1]]]
    found = engine.explain(pa.table({"x": pa.array(given, pa.list_(pa.list_(pa.float64())))}), model)
    assert found["x_shap"][0].as_py() == [1, 2, 3, 4, 5, 6]
    assert found["reason"].to_pylist()[2:] == ['column "x": 5 values, the model takes 6',
                                               'column "x": 1 values, the model takes 6']


@pytest.mark.parametrize("columns, message", [
    (["age", "no", "height", "score"], 'no column "no": the table has "id", "age"'),
    (["age", "income"], "takes 4 values a row, given 2 columns"),
    ({"y": NAMES}, 'input_columns: "x" has no columns'),
    ({"x": NAMES, "y": "age"}, '"y" is no input'),
])
def test_columns_that_do_not_fit(engine, explained, columns, message):
    with pytest.raises(ValueError, match=message):
        engine.explain(table(2)[1], explained, columns)


def test_models_that_do_not_fit(ox, engine, explained):  # noqa: F811
    given = table(2)[1]
    with pytest.raises(ValueError, match="explains nothing"):
        engine.explain(given, linear())
    with pytest.raises(ValueError, match='a column "prediction" already: give a prefix'):
        engine.explain(given.append_column("prediction", given["id"]), explained)
    with pytest.raises(ValueError, match='no output "z"'):
        engine.explain(given, explained, keep_outputs=["z"])


def test_fixed_batch(ox, engine):  # noqa: F811
    model = ox.explain(linear(rows=4), REFERENCES, target="1", feature_names=NAMES)
    X, given = table(10)
    np.testing.assert_allclose(values(engine.explain(given, model)), shap(X), atol=1e-5)


class Failing:
    """A session that fails where one of its rows is `poison`, and the first `times` times."""

    def __init__(self, rows, poison=None, times=0):
        self.run_once, self.poison, self.times = rows._once, poison, times
        rows._once = self

    def __call__(self, inputs, rows):
        import onnxexplainer
        self.times -= 1
        if self.times >= 0 or self.poison in inputs["x"][rows, 0]:
            raise onnxexplainer.OnnxRuntimeError("device lost")
        return self.run_once(inputs, rows)


def test_failed_batch(engine, explained):
    """One that fails is tried again, which is told; a row that always fails is found."""
    X, given = table(50)
    rows = engine.Rows(explained, retries=1)
    Failing(rows, times=1)
    found = rows.tagged(given)
    assert rows.retried == ["50 rows: device lost"] and found["reason"].null_count == 50
    rows = engine.Rows(explained, retries=1)
    Failing(rows, poison=X[17, 0])
    found = rows.tagged(given)
    reasons = found["reason"].to_pylist()
    assert reasons[17] == "device lost" and reasons.count(None) == 49
    right = np.delete(np.arange(50), 17)
    np.testing.assert_allclose(values(found.take(right)), shap(X[right]), atol=1e-5)
    rows = engine.Rows(explained, retries=0)
    Failing(rows, times=1000)
    with pytest.raises(RuntimeError, match="device lost"):
        rows.tagged(given)


# ---- files ----------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    """Three files of rows with ids, of which three rows are bad."""
    (tmp_path / "in").mkdir()
    parts = []
    for k in range(3):
        X, part = table(50, seed=k)
        part = part.set_column(0, "id", pa.array(np.arange(50) + 50 * k))
        column = part["age"].to_numpy().copy()
        column[10 * k] = np.nan
        part = part.set_column(1, "age", pa.array(column))
        pq.write_table(part, tmp_path / f"in/{k}.parquet", row_group_size=20)
        parts.append(part)
    return tmp_path, pa.concat_tables(parts)


def run(engine, explained, folder, **options):
    return engine.explain_parquet(folder / "in", explained, folder / "out", unit_rows=15,
                                  progress=False, **options)


def test_parquet(engine, explained, files):
    """Every row once, in the order of the input; bad ones beside, with their reason."""
    folder, given = files
    report = run(engine, explained, folder)
    assert report[:6] == (150, 147, 3, 0, [], [])
    found, aside = pq.read_table(folder / "out"), pq.read_table(folder / "out/_set_aside")
    assert aside["id"].to_pylist() == [0, 60, 120]
    assert aside["reason"].to_pylist() == 3 * ['column "age": NaN']
    right = np.setdiff1d(np.arange(150), [0, 60, 120])
    assert found.select(given.column_names).equals(given.take(right))
    whole = engine.split(engine.explain(given, explained))[0]
    np.testing.assert_allclose(values(found), values(whole), atol=1e-6)


def test_resumed(engine, explained, files):
    """What is there is not computed again, and stays as it is."""
    folder, _ = files
    run(engine, explained, folder)
    there = sorted((folder / "out").glob("part-*"))
    assert len(there) == 15
    before = [path.read_bytes() for path in there]
    times = {path: path.stat().st_mtime_ns for path in there[:5] + there[6:]}
    there[5].unlink()
    (folder / "out/.part-000005.parquet.0").write_bytes(b"half")  # of one that was killed
    assert run(engine, explained, folder)[:4] == (150, 14, 1, 135)
    assert [path.read_bytes() for path in there] == before
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert run(engine, explained, folder)[:4] == (150, 0, 0, 150)


def test_not_resumed_with_another(ox, engine, explained, files):  # noqa: F811
    folder, _ = files
    run(engine, explained, folder)
    other = ox.explain(linear(), REFERENCES, target="2", feature_names=NAMES)
    with pytest.raises(ValueError, match="results of another run are there, with other model"):
        run(engine, other, folder)
    with pytest.raises(ValueError, match="with other settings"):
        run(engine, explained, folder, prefix="p")
    with pytest.raises(ValueError, match="resume is off"):
        run(engine, explained, folder, resume=False)
    os.unlink(folder / "out/_onnxexplainer.json")
    with pytest.raises(ValueError, match="holds files of others"):
        run(engine, explained, folder)


def test_failed_unit(engine, explained, files):
    """A file without a column: its pieces are told, the others done, and done alone next time."""
    folder, _ = files
    broken = folder / "in/1.parquet"
    whole = pq.read_table(broken)
    pq.write_table(whole.drop_columns(["score"]), broken, row_group_size=20)
    with pytest.raises(engine.UnitsFailed, match='5 of 15 pieces failed.*no column "score"') as told:
        run(engine, explained, folder)
    assert told.value.report.explained == 98 and len(told.value.report.failed) == 5
    assert len(list((folder / "out").glob("part-*"))) == 10


def test_no_files(engine, explained, tmp_path):
    with pytest.raises(ValueError, match="no Parquet files"):
        engine.explain_parquet(tmp_path, explained, tmp_path / "out")


def test_optional(ox, monkeypatch):  # noqa: F811
    """What is not installed is named with what brings it."""
    import onnxexplainer._rows
    with pytest.raises(NotImplementedError, match=r"pip install 'onnxexplainer\[ray\]'"):
        onnxexplainer._rows.needs("no_such_module", "ray")
