"""What a call of an explainer returns: shap's class where it is installed, else one like it."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
from typing import Any

import numpy as np


@dataclasses.dataclass
class Explanation:
    """SHAP values with what they belong to; the fields of shap.Explanation.

    values:      (N, ..., outputs), or a list of such arrays, one an input
    base_values: (N, outputs)
    data:        the samples, (N, ...)
    """

    values: Any
    base_values: Any = None
    data: Any = None
    display_data: Any = None
    instance_names: Any = None
    feature_names: Any = None
    output_names: Any = None
    output_indexes: Any = None
    lower_bounds: Any = None
    upper_bounds: Any = None
    error_std: Any = None
    main_effects: Any = None
    hierarchical_values: Any = None
    clustering: Any = None
    compute_time: float | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the values."""
        return tuple(np.shape(self.values))

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> Explanation:
        """Some samples, by a number, a slice, an array of numbers or truths; behind slices of all
        features one output of several, as in [0, :, 3] or [..., 3]."""
        if not isinstance(rows, tuple):
            return self._pick(rows, ())
        first, *between, last = rows
        whole = [part for part in between if part is not Ellipsis]
        axes = np.ndim(self.values) - 2
        if any(part != slice(None) for part in whole) or \
                len(whole) != axes and Ellipsis not in rows[:-1] or np.ndim(self.base_values) < 2:
            raise IndexError("samples and outputs can be picked here; install shap for more")
        return self._pick(slice(None) if first is Ellipsis else first, (last,))

    def _pick(self, rows: Any, output: tuple[Any, ...]) -> Explanation:
        found = {"values": self.values[rows][(..., *output)] if output else self.values[rows],
                 "base_values": self.base_values[rows][(..., *output)] if output else
                 self.base_values[rows]}
        names = self.output_names
        if output and isinstance(names, (list, tuple)) and isinstance(output[0], (int, slice)):
            found["output_names"] = names[output[0]]
        if self.data is not None:
            found["data"] = self.data[rows]
        return dataclasses.replace(self, **found)


def make(**fields: Any) -> Any:
    """An Explanation, of shap where it is installed."""
    if importlib.util.find_spec("shap"):
        shap: Any = importlib.import_module("shap")
        return shap.Explanation(**fields)
    return Explanation(**fields)
