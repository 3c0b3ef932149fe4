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
        """Some samples, by a number, a slice, an array of numbers or truths."""
        if isinstance(rows, tuple):
            raise IndexError("samples alone can be picked here; install shap for more")
        picked = {name: getattr(self, name)[rows] for name in ("values", "base_values", "data")
                  if getattr(self, name) is not None}
        return dataclasses.replace(self, **picked)


def make(**fields: Any) -> Any:
    """An Explanation, of shap where it is installed."""
    if importlib.util.find_spec("shap"):
        shap: Any = importlib.import_module("shap")
        return shap.Explanation(**fields)
    return Explanation(**fields)
