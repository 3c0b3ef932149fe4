"""Which plots fit what was explained."""

from __future__ import annotations

import numpy as np

from . import _image
from ._steps import ALPHABETS
from ._values import Values


def _is_one_hot(values: Values) -> bool:
    """Whether samples are one-hot letters along one of two axes."""
    shape = [size for size in values.shape if size != 1]
    if values.data is None or len(shape) != 2 or not set(shape) & set(ALPHABETS):
        return False
    data = np.asarray(values.data)
    return bool(data.dtype.kind in "fiub" and np.isin(data, (0, 1)).all())


def kinds(values: Values, has_tokens: bool) -> list[str]:
    """Names of plots, the one that tells most first."""
    if has_tokens:
        return ["text"]
    if _is_one_hot(values):
        return ["logo", "heatmap"]
    if _image.is_image(values.shape):
        return ["image"]
    if len([size for size in values.shape if size != 1]) == 2:
        return ["heatmap"]
    if values.data is not None and np.asarray(values.data).dtype.kind in "U":
        return ["text"]
    if values.rows == 1:
        return ["waterfall", "force", "table"]
    return ["beeswarm", "bar", "waterfall", "scatter", "heatmap", "decision", "table"]


def is_alone(kind: str, values: Values) -> bool:
    """Whether a plot shows one sample, by default the first."""
    return kind in ("waterfall", "force", "table", "logo") or \
        (kind == "heatmap" and len([size for size in values.shape if size != 1]) == 2)
