"""Tables of pandas, also with columns of categories, as what models take."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ._arrays import Array
from ._errors import ArgumentError

UNKNOWN = -1 # of categories that the model does not know


def is_table(value: Any) -> bool:
    """Whether it is a table with columns, as pandas has them."""
    return hasattr(value, "columns") and hasattr(value, "to_numpy") and hasattr(value, "dtypes")


def raw(table: Any) -> Array:
    """The values as they are."""
    return np.asarray(table.to_numpy() if hasattr(table, "to_numpy") else table)


def is_category(column: Any) -> bool:
    """Whether a column holds no numbers."""
    kind = column.dtype
    inner = getattr(getattr(kind, "categories", None), "dtype", kind)
    return not (isinstance(inner, np.dtype) and inner.kind in "fiub" or
                getattr(inner, "kind", "O") in "fiub")


def numbers(value: Any) -> Any:
    """A table whose columns are all numbers, also categories that are, as one array."""
    if not is_table(value):
        return value
    for name in value.columns:
        if is_category(value[name]):
            raise ArgumentError(f"column \"{name}\" holds {value[name].dtype}, and the model takes "
                                "numbers: only pipelines of sklearn that encode it are explained")
    columns = [np.asarray(value[name]) for name in value.columns]
    kind = np.result_type(*(column.dtype for column in columns))
    return np.stack([column.astype(kind) for column in columns], axis=1)


@dataclasses.dataclass(frozen=True)
class Columns:
    """How columns of a table are inputs of a model, one each: categories by their codes."""

    inputs: dict[str, str] # by column
    codes: dict[str, int]  # of all categories of all columns

    def arrays(self, table: Any) -> dict[str, Array]:
        """Arrays (N, 1) by input."""
        if not is_table(table):
            raise ArgumentError("the model was given a table of pandas, and takes its columns by "
                                "name: give such a table")
        missing = [name for name in self.inputs if name not in table.columns]
        if missing:
            raise ArgumentError(f"the table has no column \"{missing[0]}\"")
        return {given: self._array(table[name]) for name, given in self.inputs.items()}

    def _array(self, column: Any) -> Array:
        if not is_category(column):
            return np.asarray(column).reshape(-1, 1)
        coded = [self.codes.get(str(value), UNKNOWN) for value in np.asarray(column, object)]
        return np.array(coded, np.int64).reshape(-1, 1)


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
