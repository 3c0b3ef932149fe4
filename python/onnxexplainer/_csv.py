"""CSV files as the inputs of a model, as the command line reads them: columns by name, an empty
field is a missing value, texts stay texts."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence

import numpy as np

from ._arrays import Array
from ._errors import ArgumentError, FileError
from ._model import ValueInfo, is_float

ANY = 0 # the type of an input that is not known: numbers where all fields are some
TEXT = "str"


def cells(path: str) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a CSV file."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            head, *rows = list(csv.reader(file)) or [[]]
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ArgumentError(f"{path}: not text") from error
    if not head:
        raise ArgumentError(f"{path}: empty")
    if all(not field or _number(field) is not None for field in head):
        raise ArgumentError(f"{path}: the first line holds only numbers, a header with the names "
                            "of the columns is needed")
    rows = [row or [""] for row in rows if row or len(head) == 1]
    for i, row in enumerate(rows, 1):
        if len(row) != len(head):
            raise ArgumentError(f"{path}: row {i} has {len(row)} fields, the header {len(head)}")
    return head, rows


def _number(field: str) -> float | None:
    """What a field says; None where that is no number."""
    try:
        return None if "_" in field else float(field)
    except ValueError:
        return None


def arrays(path: str, infos: Sequence[ValueInfo], features: Sequence[str] | None = None,
           featured: Sequence[str] = ()) -> tuple[dict[str, Array], list[str] | None]:
    """Columns of a CSV file by input, and the names of those of the only one.

    features: names of the values of the inputs `featured`, one after the other
    """
    head, rows = cells(path)
    widths = [_width(path, info, len(infos) == 1, len(features or head)) for info in infos]
    picked = _assign(path, head, infos, widths, list(features or ()), featured)
    found, at = {}, 0
    for info, width in zip(infos, widths):
        found[info.name] = _take(path, head, rows, picked[at:at + width], info)
        at += width
    return found, [head[i] for i in picked] if len(infos) == 1 else None


def _width(path: str, info: ValueInfo, alone: bool, columns: int) -> int:
    """The number of columns that an input takes."""
    sample = (info.shape or ())[1:]
    if info.shape and all(isinstance(side, int) for side in sample):
        return math.prod(side for side in sample if isinstance(side, int))
    if alone and len(sample) == 1:
        return columns
    raise ArgumentError(f"{path}: input \"{info.name}\" has no fixed number of columns: give a "
                        ".npy")


def _assign(path: str, head: list[str], infos: Sequence[ValueInfo], widths: list[int],
            features: list[str], featured: Sequence[str]) -> list[int]:
    """Columns of the inputs, one after the other: those named after features or inputs, else,
    where no names are known, all of them in order."""
    total = sum(widths)
    if total > len(head):
        raise ArgumentError(f"{path}: {len(head)} columns where the model takes {total}")
    places: dict[str, int] = {}
    for i, name in enumerate(head):
        places.setdefault(name, i)
    known = bool(features) and len(features) == sum(
        width for info, width in zip(infos, widths) if info.name in featured)
    for by_feature in (True, False) if known else (False,):
        rest, found = iter(features), list[int | None]()
        for info, width in zip(infos, widths):
            for i in range(width):
                named = by_feature and info.name in featured
                place = places.get(next(rest) if named else f"{info.name}[{i}]")
                found.append(places.get(info.name) if place is None and width == 1 and not named
                             else place)
        if None not in found:
            return [i for i in found if i is not None]
    if known:
        _refuse(path, head, features)
    if total != len(head):
        raise ArgumentError(f"{path}: {len(head)} columns where the model takes {total}, and their "
                            "names do not say which")
    return list(range(total))


def _refuse(path: str, head: list[str], features: list[str]) -> None:
    """Says which feature has no column, and which column may be meant for it."""
    strangers = [name for name in head if name not in features]
    meant = f"; column \"{strangers[0]}\" is none" if strangers else ""
    for feature in features:
        if feature not in head:
            raise ArgumentError(f"{path}: no column \"{feature}\", which is a feature of the model"
                                + meant)
    raise ArgumentError(f"{path}: no columns for the inputs without features")


def _take(path: str, head: list[str], rows: list[list[str]], picked: list[int],
          info: ValueInfo) -> Array:
    """Some columns as an input takes them."""
    sides = [side if isinstance(side, int) else len(picked) for side in (info.shape or ())[1:]]
    shape = (len(rows), *sides)
    if info.dtype == TEXT:
        return np.array([row[i] for row in rows for i in picked], dtype=str).reshape(shape)
    missing = info.type == ANY or is_float(info)
    found: list[float | str] = []
    for at, row in enumerate(rows, 1):
        for i in picked:
            value = math.nan if missing and not row[i] else _number(row[i])
            if value is None and info.type != ANY:
                raise ArgumentError(f"{path}: row {at}, column \"{head[i]}\": \"{row[i][:40]}\" is "
                                    "no number")
            found.append(row[i] if value is None else value)
    mixed = any(isinstance(value, str) for value in found)
    made = np.empty(len(found), dtype=object if mixed else np.float64)
    made[:] = found
    return made.reshape(shape)
