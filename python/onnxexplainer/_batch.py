"""Many samples through a session, some at a time."""

from __future__ import annotations

import importlib
import importlib.util
import resource
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from ._arrays import Array
from ._session import Session

# As `onnxexplainer run` does: larger batches exceed the caches and save nothing.
LARGEST = 64
GROWTH = 32 << 20


def peak() -> int:
    """Bytes that the process has taken at most."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _pieces(rows: int, fixed: int | None, start: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each batch: all of size `fixed`, or doubled while memory stays."""
    size, at = fixed or 1, 0
    while at < rows:
        yield at, min(at + size, rows)
        at += size
        if fixed is None and size < LARGEST and peak() - start < GROWTH:
            size *= 2


def bar(rows: int, done: int = 0, delay: float = 2) -> Any:
    """A bar that shows after `delay` seconds, where tqdm is installed."""
    if not importlib.util.find_spec("tqdm"):
        return None
    tqdm: Any = importlib.import_module("tqdm.auto")
    return tqdm.tqdm(total=rows, initial=done, unit="sample", delay=delay)


def fixed_batch(session: Session, names: list[str]) -> int | None:
    """The number of samples that the model's inputs are fixed to."""
    shapes = [info.shape for info in session.inputs if info.name in names]
    sizes = [shape[0] for shape in shapes if shape and isinstance(shape[0], int)]
    return sizes[0] if sizes and sizes[0] else None


def run(session: Session, inputs: dict[str, Array],
        outputs: list[str] | None = None, progress: bool = False) -> dict[str, Array]:
    """The outputs for all rows of the inputs. A last batch that is too small for the model is
    filled up with its last row, whose results are left out."""
    rows = len(next(iter(inputs.values())))
    fixed = fixed_batch(session, list(inputs)) or {
        "whole": rows, # samples depend on each other
        "one": 1,      # and are rounded by a scale of their batch
    }.get(session.metadata["batch"])
    found: list[dict[str, Array]] = []
    shown = bar(rows) if progress else None
    for begin, end in _pieces(rows, fixed, peak()):
        batch = {name: array[begin:end] for name, array in inputs.items()}
        missing = (fixed or 0) - (end - begin)
        if missing > 0:
            batch = {name: np.concatenate([array, np.repeat(array[-1:], missing, axis=0)])
                     for name, array in batch.items()}
        results = session.run(batch, outputs, check=False)
        found.append({name: array[:end - begin] for name, array in results.items()})
        if shown is not None:
            shown.update(end - begin)
    if shown is not None:
        shown.close()
    if len(found) == 1:
        return found[0]
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}
