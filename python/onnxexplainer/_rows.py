"""Rows of Arrow tables through an explained model: what `arrow`, `ray` and `spark` share. A table
goes in, and comes out with columns added; rows that cannot be explained keep their place, and say
why."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import _batch
from ._abi import ox_type
from ._arrays import DTYPES, Array
from ._errors import ArgumentError, OnnxRuntimeError, OutOfMemoryError, UnsupportedError
from ._model import Source, ValueInfo, is_float
from ._session import Session

REASON = "reason"
# A batch of more rows than this of which none runs is no matter of its rows.
HOPELESS = 8


def needs(module: str, extra: str) -> Any:
    """A module of an optional requirement."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UnsupportedError(f"{module} is not installed: pip install 'onnxexplainer[{extra}]'") \
            from error


def arrow() -> Any:
    """PyArrow, where it is installed."""
    needs("pyarrow.compute", "arrow")
    return needs("pyarrow", "arrow")


# ---- columns in ------------------------------------------------------------------------------


class _Faults:
    """Why rows are set aside: the first reason of each."""

    def __init__(self, rows: int) -> None:
        self.reasons: Array = np.full(rows, None, dtype=object)

    def add(self, rows: Array, reason: str | Callable[[int], str]) -> None:
        """`rows`: a mask."""
        for row in np.flatnonzero(rows):
            if self.reasons[row] is None:
                self.reasons[row] = reason if isinstance(reason, str) else reason(int(row))

    def good(self) -> Array:
        return np.array([reason is None for reason in self.reasons], bool)


def _leaves(column: Any) -> tuple[Any, Array]:
    """The values in lists, and lists of lists, of a column, and how many each row has."""
    pa = arrow()
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    counts = np.ones(len(column), np.int64)
    nested = pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list
    while any(is_list(column.type) for is_list in nested):
        lengths = pa.compute.fill_null(pa.compute.list_value_length(column), 0)
        below = np.concatenate([[0], np.cumsum(lengths.to_numpy(zero_copy_only=False))])
        ends = np.concatenate([[0], np.cumsum(counts)])
        counts = np.diff(below[ends])
        column = pa.compute.list_flatten(column)
    return column, counts


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def _numbers(leaves: Any, name: str) -> tuple[Array, Array, Array]:
    """Numbers, where there are none, and where a text is no number."""
    pa = arrow()
    types = pa.types
    if types.is_dictionary(leaves.type):
        leaves = leaves.dictionary_decode()
    null = leaves.is_null().to_numpy(zero_copy_only=False)
    if types.is_string(leaves.type) or types.is_large_string(leaves.type):
        found = [_number(text) for text in leaves.to_pylist()]
        wrong = np.array([value is None for value in found], bool) & ~null
        return np.array([0.0 if value is None else value for value in found]), null, wrong
    if types.is_decimal(leaves.type):
        leaves = leaves.cast(pa.float64())
    elif types.is_boolean(leaves.type):
        leaves = leaves.cast(pa.uint8())
    if not (types.is_integer(leaves.type) or types.is_floating(leaves.type)):
        raise ArgumentError(f"column \"{name}\": {leaves.type} is no number")
    numbers: Array = leaves.fill_null(0).to_numpy(zero_copy_only=False)
    return numbers, null, np.zeros(len(null), bool)


def _texts(leaves: Any) -> tuple[Array, Array, Array]:
    null = leaves.is_null().to_numpy(zero_copy_only=False)
    kind = arrow().types
    is_text = kind.is_string(leaves.type) or kind.is_large_string(leaves.type) or \
        kind.is_dictionary(leaves.type)
    values = ["" if value is None else str(value) for value in leaves.to_pylist()]
    return np.array(values, dtype=str), null, np.full(len(null), not is_text) & ~null


def _fits(numbers: Array, dtype: Any) -> Array:
    """Which numbers a whole type, or bool, holds."""
    if numbers.dtype == dtype:
        return np.ones(len(numbers), bool)
    with np.errstate(invalid="ignore"):
        same = numbers.astype(dtype) == numbers
    if dtype.kind == "b":
        return np.asarray(same)
    limits = np.iinfo(dtype)
    return np.asarray(same & (numbers >= limits.min) & (numbers <= limits.max))


class _Taker:
    """The columns of one input of the model."""

    def __init__(self, info: ValueInfo, columns: Sequence[str], allow_nan: bool) -> None:
        self.info, self.columns, self.allow_nan = info, list(columns), allow_nan
        shape = info.shape[1:] if info.shape else ()
        if info.shape is None or not info.shape:
            raise UnsupportedError(f"input \"{info.name}\" has no axis of rows")
        self.shape = tuple(size if isinstance(size, int) else -1 for size in shape)
        free = self.shape.count(-1)
        self.width = math.prod(self.shape) if not free else 0
        self.flat = len(self.columns) > 1 or self.width == 1
        if self.flat and self.width and len(self.columns) != self.width:
            raise ArgumentError(f"input \"{info.name}\" takes {self.width} values a row, given "
                                f"{len(self.columns)} columns")
        if free > 1 or (free and len(self.shape) > 1):
            raise UnsupportedError(f"input \"{info.name}\": free dimensions besides that of the "
                                   "rows: fix them when exporting the model")

    def take(self, table: Any, faults: _Faults) -> Array:
        """[rows, ..], with zeros in rows that are at fault."""
        wanted = 1 if self.flat else self.width
        parts = [self._column(table, name, wanted, faults) for name in self.columns]
        array = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        return np.ascontiguousarray(array.reshape(len(array), *self.shape))

    def _column(self, table: Any, name: str, wanted: int, faults: _Faults) -> Array:
        if name not in table.column_names:
            raise ArgumentError(f"no column \"{name}\": the table has " +
                                ", ".join(f"\"{column}\"" for column in table.column_names))
        column = table[name].combine_chunks()
        where = f"column \"{name}\""
        faults.add(column.is_null().to_numpy(zero_copy_only=False), f"{where}: null")
        leaves, counts = _leaves(column)
        wanted = wanted or (int(np.bincount(counts).argmax()) if len(counts) else 0)
        faults.add(counts != wanted,
                   lambda row: f"{where}: {counts[row]} values, the model takes {wanted}")
        return self._fill(leaves, counts, wanted, name, faults)

    def _fill(self, leaves: Any, counts: Array, wanted: int, name: str, faults: _Faults) -> Array:
        """The leaves of rows that have as many as wanted, in the type of the input."""
        text = self.info.type == ox_type.STRING
        values, null, wrong = _texts(leaves) if text else _numbers(leaves, name)
        rows, right = len(counts), counts == wanted
        kept = np.repeat(right, counts)
        where = f"column \"{name}\""

        def spread(marks: Array) -> Array:
            found = np.zeros(rows, bool)
            found[right] = marks[kept].reshape(-1, wanted).any(axis=1)
            return found

        faults.add(spread(null), f"{where}: null")
        ends = np.cumsum(counts)
        faults.add(spread(wrong), lambda row: f"{where}: \"" + str(
            leaves[int(ends[row] - counts[row] + wrong[ends[row] - counts[row]:ends[row]].argmax())]
        )[:40] + ("\" is no text" if text else "\" is no number"))
        if not text:
            values = self._convert(values, null, spread, where, faults)
        array = np.zeros((rows, wanted), values.dtype)
        array[right] = values[kept].reshape(-1, wanted)
        return array

    def _convert(self, numbers: Array, null: Array, spread: Callable[[Array], Array], where: str,
                 faults: _Faults) -> Array:
        if is_float(self.info):
            dtype = DTYPES.get(ox_type(self.info.type), np.dtype(np.float32))
            with np.errstate(over="ignore"):
                converted = numbers.astype(dtype)
            faults.add(spread(np.isinf(converted)), f"{where}: infinite, or beyond {dtype}")
            if not self.allow_nan:
                faults.add(spread(np.isnan(converted)), f"{where}: NaN")
            return converted
        dtype = DTYPES[ox_type(self.info.type)]
        faults.add(spread(~_fits(numbers, dtype)), f"{where}: a value that is no {dtype}")
        with np.errstate(invalid="ignore"):
            return numbers.astype(dtype)


# ---- columns out -----------------------------------------------------------------------------


class _Column(NamedTuple):
    """A column that is added: its values are those of `of`, one a row, or a list."""

    name: str
    dtype: Any
    width: int | None # of lists; 0: one value, None: they differ
    of: Callable[[dict[str, Array]], Array]


def _dtype(info: ValueInfo) -> Any:
    """Parquet has no 16-bit floats everywhere."""
    dtype = DTYPES.get(ox_type(info.type), np.dtype(np.float32))
    return np.dtype(np.float32) if dtype == np.float16 else dtype


class Rows:
    """An explained model, opened, with the columns it takes and those it adds.

    model:         path, bytes or onnx.ModelProto of an explained model
    input_columns: names of the columns that are the features of the only input, in order; or a dict
                   by input, of such names or of the name of a column of lists. None: the feature
                   names of the model, else columns of the inputs' names
    prefix:        before the names of columns that are added
    keep_outputs:  names of outputs of the model to add whole
    allow_nan:     NaN is a value, as trees have it, and no fault
    retries:       of a batch that fails, before its halves are tried
    threads, kernels, tune, providers, limit: as those of Session
    """

    def __init__(self, model: Source, input_columns: Any = None, *, prefix: str = "",
                 keep_outputs: Sequence[str] = (), allow_nan: bool = False, retries: int = 1,
                 threads: int = 1, **session: Any) -> None:
        self.session = Session(model, threads=threads, **session)
        if not self.session.explained:
            raise ArgumentError("the model explains nothing: give one that explain made")
        if self.session.metadata["batch"] == "whole":
            raise UnsupportedError("samples of this model depend on the others of their batch: no "
                                   "results for rows")
        self.retries, self.prefix = retries, prefix
        self.retried: list[str] = [] # what batches failed by
        self._takers = [_Taker(info, columns, allow_nan)
                        for info, columns in self._assign(input_columns)]
        self._outputs = {info.name: info for info in self.session.outputs}
        self._columns = [*self._common(), *self._shap(), *self._kept(keep_outputs)]

    # ---- names -----------------------------------------------------------------------------

    def _lines(self, key: str) -> list[str]:
        text = self.session.metadata[key]
        return text.split("\n") if text else []

    def _assign(self, given: Any) -> list[tuple[ValueInfo, list[str]]]:
        """Columns of each input."""
        inputs = self.session.inputs
        if given is None:
            names = self._lines("feature_names")
            given = names if names and len(inputs) == 1 else {i.name: i.name for i in inputs}
        if not isinstance(given, Mapping):
            if len(inputs) != 1:
                raise ArgumentError("the model has several inputs: input_columns is a dict by "
                                    "input")
            given = {inputs[0].name: given}
        known = {info.name for info in inputs}
        if set(given) != known:
            odd = sorted(set(given) ^ known)[0]
            raise ArgumentError(f"input_columns: \"{odd}\" " + (
                "is no input of the model" if odd not in known else "has no columns"))
        return [(info, [given[info.name]] if isinstance(given[info.name], str)
                 else list(given[info.name])) for info in inputs]

    def _name(self, name: str) -> str:
        return str(self.session.metadata["prefix"]) + name

    # ---- what is added -----------------------------------------------------------------------

    def _common(self) -> list[_Column]:
        target = self._outputs[self._name("shap_target")]
        base = self._outputs[self._name("base_value")]
        shape = target.shape or (None,)
        size = shape[1] if len(shape) > 1 else 0
        self._targets = size if isinstance(size, int) else None
        dtype = _dtype(base)
        return [_Column("prediction", dtype, self._targets, lambda o: self._sums(o)[0]),
                _Column("target", np.dtype(np.int64), self._targets,
                        lambda o: o[self._name("shap_target")]),
                _Column("base_value", dtype, self._targets,
                        lambda o: o[self._name("base_value")]),
                _Column("gap", dtype, self._targets, lambda o: self._sums(o)[1])]

    def _sums(self, outputs: dict[str, Array]) -> tuple[Array, Array]:
        """The explained value and what the SHAP values miss of it, [rows, targets]."""
        target = outputs[self._name("shap_target")]
        rows = len(target)
        target = target.reshape(rows, -1)
        base = outputs[self._name("base_value")].reshape(rows, -1)
        total = base.astype(np.float64)
        for taker in self._takers:
            shap = outputs.get(self._name(taker.info.name + "_shap"))
            if shap is not None:
                total = total + shap.astype(np.float64).reshape(*base.shape, -1).sum(axis=2)
        gap = outputs.get(self._name("completeness_gap"))
        value = total if gap is None else total + gap.reshape(rows, -1)
        whole = outputs.get(str(self.session.metadata["output"]))
        if whole is not None and whole.size:
            flat = whole.reshape(rows, -1)
            known = (target >= 0) & (target < flat.shape[1])
            value = np.where(known, np.take_along_axis(flat, np.where(known, target, 0), axis=1),
                             value)
        return value, value - total if gap is None else gap

    def _shap(self) -> list[_Column]:
        found: list[_Column] = []
        names = self._lines("group_names") or self._lines("feature_names")
        for taker in self._takers:
            output = self._name(taker.info.name + "_shap")
            if output not in self._outputs:
                continue
            info = self._outputs[output]
            shape = info.shape[(2 if self._targets != 0 else 1):] if info.shape else (None,)
            width = math.prod(size if isinstance(size, int) else 0 for size in shape)
            own = names if len(names) == width and len(self._takers) == 1 else taker.columns
            if len(own) == width and not (len(self._takers) > 1 and not taker.flat):
                found += [_Column(f"shap_{name}", _dtype(info), self._targets,
                                  lambda o, output=output, at=at, width=width: # type: ignore[misc]
                                  o[output].reshape(len(o[output]), -1, width)[:, :, at])
                          for at, name in enumerate(own)]
            else:
                each = width * (self._targets or 1) if width and self._targets is not None else None
                found.append(_Column(output, _dtype(info), each,
                                     lambda o, output=output: o[output])) # type: ignore[misc]
        return found

    def _kept(self, names: Sequence[str]) -> list[_Column]:
        found = []
        for name in names:
            if name not in self._outputs:
                raise ArgumentError(f"keep_outputs: the model has no output \"{name}\"")
            info = self._outputs[name]
            sizes = [size if isinstance(size, int) else 0 for size in (info.shape or (0, 0))[1:]]
            width = math.prod(sizes) or None if sizes else 0
            found.append(_Column(name, _dtype(info), width,
                                 lambda o, name=name: o[name])) # type: ignore[misc]
        return found

    def schema(self, given: Any) -> Any:
        """That of what `tagged` makes of tables of a schema."""
        for field in self._fields():
            if field.name in given.names:
                raise ArgumentError(f"the table has a column \"{field.name}\" already: give a "
                                    "prefix")
            given = given.append(field)
        return given

    def _fields(self) -> list[Any]:
        pa = arrow()

        def kind(column: _Column) -> Any:
            value = pa.from_numpy_dtype(column.dtype)
            return value if column.width == 0 else pa.list_(value)

        return [pa.field(self.prefix + column.name, kind(column)) for column in self._columns] + \
            [pa.field(self.prefix + REASON, pa.string())]

    # ---- rows ------------------------------------------------------------------------------

    def tagged(self, table: Any) -> Any:
        """The table or record batch with columns added: of rows that cannot be explained they are
        null, and `reason` says why, which is null for all others."""
        pa = arrow()
        if isinstance(table, pa.RecordBatch):
            table = pa.Table.from_batches([table])
        schema = self.schema(table.schema)
        faults = _Faults(len(table))
        inputs = {taker.info.name: taker.take(table, faults) for taker in self._takers}
        rows = np.flatnonzero(faults.good())
        outputs, rows = self._run(inputs, rows, faults) if len(rows) else ({}, rows)
        rows = self._finite(outputs, rows, faults)
        for field, column in zip(self._fields(), self._columns):
            table = table.append_column(field, _spread(column, field, outputs, rows, len(table)))
        reasons = pa.array(faults.reasons.tolist(), pa.string())
        table = table.append_column(schema.field(len(schema) - 1), reasons)
        return table.cast(schema)

    def split(self, tagged: Any) -> tuple[Any, Any]:
        """The rows explained, and those set aside with their reason, of what `tagged` made."""
        return split(tagged, self.prefix, [field.name for field in self._fields()[:-1]])

    def _finite(self, outputs: dict[str, Array], rows: Array, faults: _Faults) -> Array:
        """The rows with finite results, to which it cuts the outputs."""
        bad = np.zeros(len(rows), bool)
        for name, array in outputs.items():
            ours = name.endswith("_shap") or name in (self._name("base_value"),
                                                      self.session.metadata["output"])
            if ours and array.dtype.kind == "f":
                bad |= ~np.isfinite(array.reshape(len(rows), -1)).all(axis=1)
        marks = np.zeros(len(faults.reasons), bool)
        marks[rows[bad]] = True
        faults.add(marks, "prediction or SHAP values are not finite")
        for name in outputs if bad.any() else ():
            outputs[name] = outputs[name][~bad]
        return rows[~bad]

    def _run(self, inputs: dict[str, Array], rows: Array,
             faults: _Faults) -> tuple[dict[str, Array], Array]:
        """Outputs of those of the rows that run."""
        outputs, failed = self._try(inputs, rows)
        if len(failed) == len(rows) > HOPELESS:
            raise OnnxRuntimeError(next(iter(failed.values())))
        for row, reason in failed.items():
            faults.add(np.arange(len(faults.reasons)) == row, reason)
        return outputs, rows[~np.isin(rows, list(failed))]

    def _once(self, inputs: dict[str, Array], rows: Array) -> dict[str, Array]:
        whole = len(rows) == len(next(iter(inputs.values())))
        return _batch.run(self.session, inputs if whole else
                          {name: array[rows] for name, array in inputs.items()})

    def _try(self, inputs: dict[str, Array], rows: Array) -> tuple[dict[str, Array], dict[int, str]]:
        """Outputs of those of the rows that run, and why the others do not. A batch that fails is
        tried again, as want of memory passes, then by halves."""
        reason = ""
        for _ in range(self.retries + 1):
            try:
                return self._once(inputs, rows), {}
            except ArgumentError: # what does not fit the model does not fit it later
                raise
            except (OnnxRuntimeError, OutOfMemoryError) as error:
                reason = str(error)
                self.retried.append(f"{len(rows)} rows: {reason}")
        if len(rows) == 1:
            return {}, {int(rows[0]): reason}
        (first, failed), (second, more) = (self._try(inputs, part)
                                           for part in np.array_split(rows, 2))
        if first and second:
            first = {name: np.concatenate([first[name], second[name]]) for name in first}
        return first or second, {**failed, **more}


def _spread(column: _Column, field: Any, outputs: dict[str, Array], rows: Array, total: int) -> Any:
    """A column of all rows, null where there is no result."""
    pa = arrow()
    if not len(rows):
        return pa.nulls(total, field.type)
    values = column.of(outputs).reshape(len(rows), -1).astype(column.dtype, copy=False)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    if column.width != 0:
        ends = np.arange(len(rows) + 1, dtype=np.int32) * values.shape[1]
        flat = pa.ListArray.from_arrays(pa.array(ends), flat)
    if len(rows) == total:
        return flat
    places = np.full(total, -1, np.int64)
    places[rows] = np.arange(len(rows))
    return flat.take(pa.array(places, mask=places < 0))


def split(tagged: Any, prefix: str = "", added: Sequence[str] = ()) -> tuple[Any, Any]:
    """The rows explained, and those set aside with their reason."""
    pa = arrow()
    name = prefix + REASON
    bad = pa.compute.is_valid(tagged[name])
    good = tagged.filter(pa.compute.invert(bad)).drop_columns([name])
    return good, tagged.filter(bad).drop_columns(list(added))
