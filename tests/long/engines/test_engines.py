"""Ray Data, Spark and DuckDB give what one process gives, each row once."""

import os
import pathlib
import shutil
import signal
import sys
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
from package import folder_of_package, ox  # noqa: E402, F401, a fixture
sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "bench"))
from test_arrow import NAMES, REFERENCES, linear, table, values  # noqa: E402

ROWS = 4000


@pytest.fixture(scope="module")
def folder(ox, tmp_path_factory):  # noqa: F811
    """With explained.onnx, in/ of four files, and alone/, what one process makes of it."""
    import onnxexplainer.arrow
    os.environ["PYTHONPATH"] = folder_of_package()  # of workers
    os.environ["PYSPARK_PYTHON"] = sys.executable
    home = tmp_path_factory.mktemp("rows")
    (home / "explained.onnx").write_bytes(
        ox.explain(linear(), REFERENCES, target="1", feature_names=NAMES))
    (home / "in").mkdir()
    for k in range(4):
        _, part = table(ROWS // 4, seed=k)
        part = part.set_column(0, "id", pa.array(np.arange(len(part)) + k * len(part)))
        age = part["age"].to_numpy().copy()
        age[k] = np.nan
        pq.write_table(part.set_column(1, "age", pa.array(age)), home / f"in/{k}.parquet",
                       row_group_size=250, compression="gzip")
    onnxexplainer.arrow.explain_parquet(home / "in", home / "explained.onnx", home / "alone",
                                        unit_rows=100)
    return home


def same(folder, found):
    """A table of all rows that could be explained."""
    alone = pq.read_table(folder / "alone")
    found = found.sort_by("id")
    assert found["id"].equals(alone["id"]) and len(found) == ROWS - 4
    np.testing.assert_allclose(values(found), values(alone), atol=1e-6)


@pytest.fixture(scope="module")
def ray():
    import ray
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


def kill_worker(folder, killed):
    """A worker of this Ray once ten pieces are there."""
    while len(list((folder / "ray").glob("part-*"))) < 10:
        time.sleep(0.02)
    from rows_on_ray import workers
    found = workers()
    if found:
        os.kill(found[0], signal.SIGKILL)
        killed.append(found[0])


@pytest.mark.parametrize("killed", [False, True])
def test_ray(folder, ray, killed):
    import onnxexplainer.ray
    shutil.rmtree(folder / "ray", ignore_errors=True)
    victims = []
    if killed:
        threading.Thread(target=kill_worker, args=(folder, victims), daemon=True).start()

    def explain():
        return onnxexplainer.ray.explain(folder / "in", folder / "explained.onnx", concurrency=2,
                                         output=folder / "ray", unit_rows=100)

    assert explain()[:4] == (ROWS, ROWS - 4, 4, 0)
    assert bool(victims) == killed
    same(folder, pq.read_table(folder / "ray"))
    assert len(pq.read_table(folder / "ray/_set_aside")) == 4
    (folder / "ray/part-000003.parquet").unlink()
    assert explain()[:4] == (ROWS, 100, 0, ROWS - 100)


def test_ray_dataset(folder, ray):
    import onnxexplainer.arrow
    import onnxexplainer.ray
    found = onnxexplainer.ray.explain(ray.data.read_parquet(str(folder / "in")),
                                      folder / "explained.onnx", concurrency=2)
    whole = pa.concat_tables(pa.table(block) for block in
                             found.iter_batches(batch_size=None, batch_format="pyarrow"))
    good, aside = onnxexplainer.arrow.split(whole)
    same(folder, good)
    assert len(aside) == 4


@pytest.mark.parametrize("master", ["local[2]", "local-cluster[2,1,1024]"])
def test_spark(folder, master):
    from pyspark.sql import SparkSession

    import onnxexplainer.spark
    spark = SparkSession.builder.master(master).config("spark.ui.enabled", "false").config(
        "spark.sql.parquet.compression.codec", "gzip").getOrCreate()
    try:
        frame = spark.read.parquet(str(folder / "in"))
        found = onnxexplainer.spark.explain(frame, folder / "explained.onnx")
        out = folder / f"spark-{master[:6]}"
        found.where("reason is null").write.parquet(str(out))
        same(folder, pq.read_table(out).drop_columns(["reason"]))
        assert found.where("reason is not null").count() == 4
    finally:
        spark.stop()


def test_duckdb(folder):
    import duckdb

    import onnxexplainer.arrow
    rows = duckdb.connect().sql(f"from '{folder}/in/*.parquet'").to_arrow_reader(300)
    explained = onnxexplainer.arrow.explain(rows, folder / "explained.onnx")
    found = duckdb.connect().sql("from explained where reason is null").to_arrow_table()
    same(folder, found)
