"""Explanations of Parquet files and datasets over Ray Data.

    report = onnxexplainer.ray.explain("in/", "explained.onnx", output="out/", concurrency=16)
    dataset = onnxexplainer.ray.explain(ray.data.read_csv("in/"), "explained.onnx")
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from . import _units
from ._errors import ArgumentError
from ._model import Source, portable
from ._rows import Rows, needs
from ._units import Report, UnitsFailed

__all__ = ["Report", "UnitsFailed", "explain"]


class _Tagger:
    """A worker on blocks of a dataset."""

    def __init__(self, settings: Any) -> None:
        self.rows = Rows(**_arrived(settings))

    def __call__(self, table: Any) -> Any:
        return self.rows.tagged(table)


class _Doer:
    """A worker on units."""

    def __init__(self, job: _units.Job, settings: Any) -> None:
        job.settings = _arrived(settings)
        self.worker = _units.Worker(job)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        done = self.worker.work(_units.Unit(**row))
        return done | {"retried": "\n".join(done["retried"])} # lists that are empty have no type


def _arrived(settings: Any) -> dict[str, Any]:
    found: dict[str, Any] = needs("ray", "ray").get(settings)
    return found


def explain(dataset: Any, explained_model: Source, input_columns: Any = None, *,
            output: str | None = None, batch_size: int = 4096, concurrency: int | None = None,
            unit_rows: int = 65536, set_aside: str | None = None, resume: bool = True,
            progress: bool | None = None, resources: Mapping[str, Any] | None = None,
            **options: Any) -> Any:
    """Explains all rows on the workers of a Ray cluster, each with one session.

    dataset:         Parquet: a path or URI of a file, a folder, a pattern, or a list of them; or a
                     ray.data.Dataset
    explained_model: path, bytes or onnx.ModelProto; its bytes travel to the workers
    input_columns:   as those of onnxexplainer.arrow.explain, which has the columns that are added
    output:          folder of the results, for Parquet. Rows that cannot be explained go to
                     `set_aside` (OUTPUT/_set_aside), with a column `reason`. Files begin with those
                     rows that the input begins with, are of `unit_rows` rows at most, and whole or
                     not there: what is there is not computed again (`resume`), a worker that is
                     killed loses one of them
    batch_size:      rows a worker runs on at a time
    concurrency:     workers; None: one per CPU of the cluster
    progress:        show a bar where tqdm is installed; None: on a terminal
    resources:       of a worker, as ray.remote takes them; None: {"num_cpus": 1}
    options:         as those of onnxexplainer.arrow.Rows: a worker has one thread

    Returns a Report, and raises UnitsFailed with it where pieces could not be done; of a Dataset the
    Dataset with columns added, where `reason` says what could not be explained.
    """
    ray = needs("ray", "ray")
    needs("ray.data", "ray")
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False)
    workers = concurrency or max(int(ray.cluster_resources().get("CPU", 1)), 1)
    settings = ray.put({"model": portable(explained_model), "input_columns": input_columns,
                        **options})
    ours = dict(resources or {"num_cpus": 1})
    if isinstance(dataset, ray.data.Dataset):
        if output is not None:
            raise ArgumentError("output: give the paths of Parquet files, or write the dataset "
                                "that is returned")
        # What reads needs a CPU, too: a pool that held all would wait for rows forever.
        pool = ray.data.ActorPoolStrategy(min_size=1, max_size=workers)
        return dataset.map_batches(_Tagger, fn_constructor_args=(settings,), batch_format="pyarrow",
                                   batch_size=batch_size, compute=pool, **ours)
    if output is None:
        raise ArgumentError("output: where do the results of Parquet files go?")
    units = _units.plan(dataset, unit_rows)
    job = _units.Job(output, set_aside, batch_size,
                     {"model": explained_model, "input_columns": input_columns, **options})
    done = job.begin(units, resume)
    left = [unit for unit in units if unit.name not in done]
    shown = sys.stderr.isatty() if progress is None else progress
    job.settings = {}
    how = {"compute": ray.data.ActorPoolStrategy(size=workers), **ours}
    return _units.collect(units, done, _results(ray, left, job, settings, how), shown)


def _results(ray: Any, units: Sequence[_units.Unit], job: _units.Job, settings: Any,
             how: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if not units:
        return
    ray.data.DataContext.get_current().enable_progress_bars = False
    items = [unit._asdict() for unit in units]
    done = ray.data.from_items(items, override_num_blocks=len(items)).map(
        _Doer, fn_constructor_args=(job, settings), **how)
    for row in done.iter_rows():
        yield row | {"retried": [line for line in row["retried"].split("\n") if line]}
