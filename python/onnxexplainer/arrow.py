"""Explanations of the rows of Arrow tables, of whatever engine has them, and of Parquet files, in
this process.

    table = onnxexplainer.arrow.explain(table, "explained.onnx")
    rows = onnxexplainer.arrow.explain(duckdb.sql("from t").to_arrow_reader(10_000), "explained.onnx")
    report = onnxexplainer.arrow.explain_parquet("in/", "explained.onnx", "out/")
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from . import _units
from ._model import Source
from ._rows import Rows, arrow, split
from ._units import Report, UnitsFailed

__all__ = ["Report", "Rows", "UnitsFailed", "explain", "explain_parquet", "split"]


def explain(data: Any, explained_model: Source, input_columns: Any = None, *,
            batch_size: int = 4096, **options: Any) -> Any:
    """A pyarrow.Table, or a RecordBatchReader that is read as the result is, with columns added:

        prediction, target, base_value, gap    of the explained value; lists for several targets
        shap_FEATURE                           one for each feature that has a name, else
        INPUT_shap                             lists
        reason                                 null, or why the row could not be explained: the
                                               columns above are null then

    options: as those of Rows. `split` separates the rows.
    """
    rows = Rows(explained_model, input_columns, **options)
    pa = arrow()

    def pieces() -> Iterator[Any]:
        for batch in data.to_batches(batch_size) if isinstance(data, pa.Table) else data:
            for first in range(0, len(batch), batch_size):
                yield from rows.tagged(batch.slice(first, batch_size)).to_batches()

    schema = rows.schema(data.schema)
    if isinstance(data, pa.Table):
        return pa.Table.from_batches(pieces(), schema)
    return pa.RecordBatchReader.from_batches(schema, pieces())


def explain_parquet(source: str | Sequence[str], explained_model: Source, output: str,
                    input_columns: Any = None, *, batch_size: int = 4096, unit_rows: int = 65536,
                    set_aside: str | None = None, resume: bool = True,
                    progress: bool | None = None, **options: Any) -> Report:
    """What `onnxexplainer.ray.explain` does with files, in this process."""
    job = _units.Job(output, set_aside, batch_size,
                     {"model": explained_model, "input_columns": input_columns, **options})
    units = _units.plan(source, unit_rows)
    done = job.begin(units, resume)
    left = [unit for unit in units if unit.name not in done]
    shown = sys.stderr.isatty() if progress is None else progress
    return _units.collect(units, done, _units.here(job, left), shown)
