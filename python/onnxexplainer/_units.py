"""Parquet files explained piece by piece: a unit is some rows of a row group, its results a file
that is there whole or not at all. What is there is not computed again, whoever was killed."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from . import _batch
from ._errors import ArgumentError, Error
from ._model import content
from ._rows import Rows, arrow, needs

MANIFEST = "_onnxexplainer.json" # readers of Parquet folders leave out what begins so
SET_ASIDE = "_set_aside"


class Unit(NamedTuple):
    """Rows of one row group of a file; `name` is that of the file of their results."""

    name: str
    path: str
    group: int
    first: int
    rows: int


class Report(NamedTuple):
    """What a run over files did. rows: those of the input, of which `resumed` were there already,
    `explained` and `set_aside` are new; retried and failed: a line for each batch that had to be
    tried again, and each piece that could not be done; seconds: that passed, and of CPUs over all
    workers, opening sessions aside."""

    rows: int
    explained: int
    set_aside: int
    resumed: int
    retried: list[str]
    failed: list[str]
    seconds: float
    cpu_seconds: float


class UnitsFailed(Error):
    """Some pieces could not be done; the others are. `report` says which."""

    report: Report


def _filesystem(uri: str) -> tuple[Any, str]:
    """Where a path or URI lies."""
    fs = needs("pyarrow.fs", "arrow")
    if "://" in uri:
        found: tuple[Any, str] = fs.FileSystem.from_uri(uri)
        return found
    return fs.LocalFileSystem(), uri


def absolute(path: str | os.PathLike[str]) -> str:
    """As workers find it, who start elsewhere."""
    text = os.fspath(path)
    return text if "://" in text else os.path.abspath(text)


def _join(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"


def _list(folder: str) -> list[Any]:
    """Files of a folder, by name; none where there is no folder."""
    fs, path = _filesystem(folder)
    found = fs.get_file_info(needs("pyarrow.fs", "arrow").FileSelector(path, allow_not_found=True))
    return sorted(found, key=lambda info: str(info.base_name))


def _files(sources: str | Sequence[str]) -> list[str]:
    """Parquet files of paths, folders and patterns with a star in the last part."""
    found: list[str] = []
    given = [sources] if isinstance(sources, (str, os.PathLike)) else sources
    for source in map(absolute, given):
        fs, path = _filesystem(source)
        info = fs.get_file_info(path)
        if info.is_file:
            found.append(source)
            continue
        folder, _, pattern = source.rpartition("/") if "*" in source else (source, "", "*.parquet")
        names = [entry.base_name for entry in _list(folder) if entry.is_file]
        names = [name for name in fnmatch.filter(names, pattern) if not name.startswith(("_", "."))]
        if not names:
            raise ArgumentError(f"{source}: no Parquet files")
        found += [_join(folder, name) for name in names]
    return found


def _open(path: str) -> Any:
    fs, inner = _filesystem(path)
    return needs("pyarrow.parquet", "arrow").ParquetFile(fs.open_input_file(inner))


def plan(sources: str | Sequence[str], unit_rows: int) -> list[Unit]:
    """The units of files, in order."""
    found: list[Unit] = []
    for path in _files(sources):
        with _open(path) as file:
            for group in range(file.metadata.num_row_groups):
                total = file.metadata.row_group(group).num_rows
                for first in range(0, total, unit_rows):
                    found.append(Unit(f"part-{len(found):06d}.parquet", path, group, first,
                                      min(unit_rows, total - first)))
    if not found:
        raise ArgumentError("the Parquet files have no rows")
    return found


class Job:
    """Where results go, and what makes them; it travels to the workers.

    settings: keywords of Rows, the model among them
    """

    def __init__(self, output: str, set_aside: str | None, batch_size: int,
                 settings: Mapping[str, Any]) -> None:
        if batch_size < 1:
            raise ArgumentError(f"batch_size: {batch_size} is below 1")
        self.output, self.batch_size = absolute(output), batch_size
        self.set_aside = absolute(set_aside or _join(self.output, SET_ASIDE))
        self.settings = dict(settings)

    # ---- resuming --------------------------------------------------------------------------

    def _identity(self, units: Sequence[Unit]) -> dict[str, Any]:
        """What results depend on."""
        sizes = {path: _filesystem(path)[0].get_file_info(_filesystem(path)[1]).size
                 for path in sorted({unit.path for unit in units})}
        settings = {name: repr(value) for name, value in sorted(self.settings.items())
                    if name not in ("model", "threads", "retries", "limit")}
        return {"model": _digest(self.settings["model"]), "inputs": sizes, "settings": settings,
                "batch_size": self.batch_size, "units": len(units)}

    def begin(self, units: Sequence[Unit], resume: bool) -> set[str]:
        """The names of units that are done already."""
        wanted = self._identity(units)
        path = _join(self.output, MANIFEST)
        fs, inner = _filesystem(path)
        for folder in (self.output, self.set_aside):
            _filesystem(folder)[0].create_dir(_filesystem(folder)[1], recursive=True)
        there = [info.base_name for info in _list(self.output)
                 if info.is_file and not info.base_name.startswith("_")]
        if there and not resume:
            raise ArgumentError(f"{self.output}: has files already, and resume is off")
        if fs.get_file_info(inner).is_file:
            with fs.open_input_file(inner) as file:
                before = json.loads(file.read())
            changed = [key for key in wanted if before.get(key) != wanted[key]]
            if changed and there:
                raise ArgumentError(f"{self.output}: results of another run are there, with other "
                                    f"{changed[0]}: give another output, or remove it")
        elif there:
            raise ArgumentError(f"{self.output}: holds files of others")
        with fs.open_output_stream(inner) as file:
            file.write(json.dumps(wanted, indent=1).encode())
        return set(there) & {unit.name for unit in units}


def _digest(model: Any) -> str:
    """Of the bytes of a model, or those of its file."""
    data = content(model)
    digest = hashlib.sha256()
    if data is not None:
        digest.update(data)
    else:
        with open(model, "rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()


class Worker:
    """Does units, with one session for all."""

    def __init__(self, job: Job) -> None:
        self.job, self.rows = job, Rows(**job.settings)
        self._path, self._group = "", -1
        self._table: Any = None

    def _read(self, unit: Unit) -> Any:
        """The row group, kept for the next unit of it."""
        if (unit.path, unit.group) != (self._path, self._group):
            with _open(unit.path) as file:
                self._table = file.read_row_group(unit.group)
            self._path, self._group = unit.path, unit.group
        return self._table.slice(unit.first, unit.rows)

    def work(self, unit: Unit) -> dict[str, Any]:
        """Explains and writes; the file of the results last, which says that all is done."""
        self.rows.retried.clear()
        start = time.process_time()
        done = {"name": unit.name, "rows": unit.rows, "explained": 0, "set_aside": 0,
                "retried": [], "failed": "", "cpu_seconds": 0.0}
        try:
            table = self._read(unit)
            pieces = [self.rows.tagged(table.slice(first, self.job.batch_size))
                      for first in range(0, len(table), self.job.batch_size)]
            good, bad = self.rows.split(arrow().concat_tables(pieces))
            if len(bad):
                _write(bad, _join(self.job.set_aside, unit.name))
            _write(good, _join(self.job.output, unit.name))
            done |= {"explained": len(good), "set_aside": len(bad)}
        except Exception as error: # of one unit: the others go on
            done["failed"] = f"{unit.path}, row group {unit.group}, rows {unit.first} to " \
                f"{unit.first + unit.rows - 1}: {error}"
        done["cpu_seconds"] = time.process_time() - start
        return done | {"retried": [f"{unit.path}: {line}" for line in self.rows.retried]}


def _write(table: Any, path: str) -> None:
    """Beside its place, then renamed."""
    fs, inner = _filesystem(path)
    folder, _, name = inner.rpartition("/")
    beside = _join(folder, f".{name}.{uuid.uuid4().hex}")
    try:
        needs("pyarrow.parquet", "arrow").write_table(table, beside, filesystem=fs)
        fs.move(beside, inner)
    except BaseException:
        if fs.get_file_info(beside).is_file:
            fs.delete_file(beside)
        raise


def collect(units: Sequence[Unit], done: set[str], results: Iterable[Mapping[str, Any]],
            progress: bool) -> Report:
    """Waits for the results, and adds them up."""
    start = time.perf_counter()
    total = sum(unit.rows for unit in units)
    resumed = sum(unit.rows for unit in units if unit.name in done)
    retried: list[str] = []
    failed: list[str] = []
    explained = set_aside = 0
    cpu_seconds = 0.0
    bar = _batch.bar(total, resumed, 0) if progress else None
    for result in results:
        explained += int(result["explained"])
        set_aside += int(result["set_aside"])
        cpu_seconds += float(result["cpu_seconds"])
        retried += list(result["retried"])
        failed += [str(result["failed"])] if result["failed"] else []
        if bar is not None:
            bar.update(int(result["rows"]))
    if bar is not None:
        bar.close()
    report = Report(total, explained, set_aside, resumed, retried, failed,
                    time.perf_counter() - start, cpu_seconds)
    if failed:
        error = UnitsFailed(f"{len(failed)} of {len(units)} pieces failed, the others are written: "
                            f"{failed[0]}")
        error.report = report
        raise error
    return report


def here(job: Job, units: Sequence[Unit]) -> Iterator[dict[str, Any]]:
    """Units done in this process."""
    if units:
        worker = Worker(job)
        for unit in units:
            yield worker.work(unit)
