"""Explanations of the rows of a Spark DataFrame, by mapInArrow.

    onnxexplainer.spark.explain(spark.read.parquet("in/"), "explained.onnx").write.parquet("out/")
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from ._model import Source, portable
from ._rows import Rows, needs

__all__ = ["explain"]

_opened: dict[str, Rows] = {} # of a Python worker, which Spark keeps for the tasks that follow


def explain(frame: Any, explained_model: Source, input_columns: Any = None, **options: Any) -> Any:
    """The DataFrame with the columns of onnxexplainer.arrow.explain added; rows whose `reason` is
    not null could not be explained. The bytes of the model are broadcast, and each Python worker of
    an executor opens one session, with one thread. Spark cuts batches:
    spark.sql.execution.arrow.maxRecordsPerBatch."""
    needs("pyspark", "spark")
    types = needs("pyspark.sql.pandas.types", "spark")
    settings = {"model": explained_model, "input_columns": input_columns, **options}
    schema = types.from_arrow_schema(Rows(**settings).schema(types.to_arrow_schema(frame.schema)))
    settings["model"] = portable(explained_model)
    key = uuid.uuid4().hex
    shipped = frame.sparkSession.sparkContext.broadcast(settings)

    def tag(batches: Iterator[Any]) -> Iterator[Any]:
        if key not in _opened:
            _opened.clear()
            _opened[key] = Rows(**shipped.value)
        for batch in batches:
            yield from _opened[key].tagged(batch).to_batches()

    return frame.mapInArrow(tag, schema)
