"""Tables of pandas, also with columns of categories, as what models take."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._abi import ox_type
from ._arrays import Array, type_name
from ._errors import ArgumentError
from ._model import ValueInfo

UNKNOWN = -1 # of categories that the model does not know


def is_table(value: Any) -> bool:
    """Whether it is a table with columns, as pandas has them."""
    return hasattr(value, "columns") and hasattr(value, "to_numpy") and hasattr(value, "dtypes")


def is_category(column: Any) -> bool:
    """Whether a column holds no numbers."""
    kind = column.dtype
    inner = getattr(getattr(kind, "categories", None), "dtype", kind)
    return not (isinstance(inner, np.dtype) and inner.kind in "fiub" or
                getattr(inner, "kind", "O") in "fiub")


def _is_missing(value: Any) -> bool:
    """None, NaN, and what pandas has for a missing value, which is not equal to itself either."""
    try:
        return value is None or not value == value
    except TypeError: # pandas.NA says neither
        return True


def _as_numbers(column: Any) -> Array:
    """A column of numbers; of a nullable type missing values are NaN."""
    array = np.asarray(column)
    if array.dtype.kind != "O":
        return array
    return np.array([np.nan if _is_missing(value) else float(value) for value in array.flat])


def numbers(value: Any, names: Sequence[str] | None = None) -> Any:
    """A table whose columns are all numbers, also categories that are, as one array; columns by
    name, default all."""
    if not is_table(value):
        return value
    names = value.columns if names is None else names
    for name in names:
        if is_category(value[name]):
            raise ArgumentError(f"column \"{name}\" holds {value[name].dtype}, and the model takes "
                                "numbers: only pipelines of sklearn that encode it are explained")
    return _stack([_as_numbers(value[name]) for name in names])


def _stack(columns: Sequence[Array]) -> Array:
    """Columns beside each other, in a type that holds all of them."""
    mixed = any(column.dtype.kind not in "fiub" for column in columns)
    kind = np.dtype(object) if mixed else np.result_type(*(column.dtype for column in columns))
    return np.stack([column.astype(kind) for column in columns], axis=1)


def check_columns(table: Any, names: Sequence[str]) -> None:
    """Raises for a column that is not there."""
    for name in names:
        if name not in table.columns:
            raise ArgumentError(f"the table has no column \"{name}\"")


def _texts(column: Any) -> Array:
    """A column of texts; a missing one is empty."""
    values = np.asarray(column, object).flat
    return np.array(["" if _is_missing(value) else str(value) for value in values], dtype=str)


def of_input(column: Any, info: ValueInfo) -> Array:
    """A column as the input of its name takes it, (N, 1)."""
    rank = 2 if info.shape is None else len(info.shape)
    if rank < 1 or any(side not in (1, None) and not isinstance(side, str)
                       for side in (info.shape or ())[1:]):
        raise ArgumentError(f"input \"{info.name}\" of shape {list(info.shape or ())} is no column "
                            "of a table")
    if is_category(column) != (info.type == ox_type.STRING):
        raise ArgumentError(f"column \"{info.name}\" holds {column.dtype}, and the input of this "
                            f"name takes {type_name(info.type)}")
    array = _texts(column) if info.type == ox_type.STRING else _as_numbers(column)
    return array.reshape(-1, *[1] * (rank - 1))


def by_input(value: Any, inputs: Sequence[ValueInfo]) -> Any:
    """A table as a dict of arrays by input: its columns are several inputs, or all of them the only
    one. What is no table stays."""
    if not is_table(value):
        return value
    if len(inputs) != 1:
        check_columns(value, [info.name for info in inputs])
        return {info.name: of_input(value[info.name], info) for info in inputs}
    if inputs[0].type == ox_type.STRING:
        return {inputs[0].name: np.stack([_texts(value[name]) for name in value.columns], axis=1)}
    if list(value.columns) == [inputs[0].name]:
        return {inputs[0].name: of_input(value[inputs[0].name], inputs[0])}
    return {inputs[0].name: numbers(value)}


@dataclasses.dataclass(frozen=True)
class Columns:
    """How columns of a table are inputs of a model, one each: categories by their codes, where
    there are such."""

    inputs: dict[str, str] # by column
    codes: dict[str, int] | None = None # of all categories of all columns

    def arrays(self, table: Any, infos: Sequence[ValueInfo]) -> dict[str, Array]:
        """Arrays (N, 1) by input."""
        self._check(table)
        known = {info.name: info for info in infos}
        return {given: of_input(table[name], known[given]) if self.codes is None else
                self._array(table[name], self.codes) for name, given in self.inputs.items()}

    def _check(self, table: Any) -> None:
        if not is_table(table):
            raise ArgumentError("the model was given a table of pandas, and takes its columns by "
                                "name: give such a table")
        check_columns(table, list(self.inputs))

    def _array(self, column: Any, codes: dict[str, int]) -> Array:
        if not is_category(column):
            return _as_numbers(column).reshape(-1, 1)
        coded = [codes.get(str(value), UNKNOWN) for value in np.asarray(column, object)]
        return np.array(coded, np.int64).reshape(-1, 1)

    def shown(self, table: Any) -> Array:
        """The values as they are, in the order of the inputs."""
        self._check(table)
        return _stack([np.asarray(table[name]) for name in self.inputs])


def coded(model: Any) -> dict[str, int]:
    """Makes inputs of texts in an onnx.ModelProto inputs of codes, and the encoders behind them
    encoders of these; returns the codes. Texts are the same in all columns."""
    known: dict[str, int] = {}
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in ("cats_strings", "keys_strings") and attribute.strings:
                texts = [text.decode() for text in attribute.strings]
                numbered = [known.setdefault(text, len(known)) for text in texts]
                attribute.name = attribute.name.replace("strings", "int64s")
                attribute.ClearField("strings")
                attribute.type = 7 # AttributeProto.INTS
                attribute.ints.extend(numbered)
    for info in [*model.graph.input, *model.graph.value_info]:
        if info.type.tensor_type.elem_type == 8: # TensorProto.STRING
            info.type.tensor_type.elem_type = 7 # INT64
    return known
