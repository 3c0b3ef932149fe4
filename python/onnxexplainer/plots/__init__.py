"""Plots of SHAP values, drawn by matplotlib.

    explanation = onnxexplainer.DeepExplainer(model, data)(samples)
    onnxexplainer.plots.image(explanation, labels="classes.txt").save("digits.png")

All take an Explanation (ours or shap's), the outputs of a Session by name, the path of an .npz file
that `run` wrote, or arrays (N, ...) or (N, ..., outputs) beside `data`. They return what a notebook
shows and `.save` writes to PNG, SVG or HTML: a Plot, whose `.figure` is matplotlib's, a Text or a
Table. `python -m onnxexplainer plot` is the same in the shell. docs/plots.md shows them all.
"""

from collections.abc import Callable
from typing import Any

from ._bars import bar, force, waterfall
from ._draw import Plot
from ._image import image
from ._steps import heatmap, logo
from ._swarm import beeswarm, decision, scatter
from ._table import Table, table
from ._text import Text, text
from ._values import Values
from ._values import of as values

KINDS: dict[str, Callable[..., Any]] = {
    "image": image, "text": text, "bar": bar, "waterfall": waterfall, "beeswarm": beeswarm,
    "force": force, "scatter": scatter, "decision": decision, "heatmap": heatmap,
    "logo": logo, "table": table}

__all__ = ["KINDS", "Plot", "Table", "Text", "Values", "bar", "beeswarm", "decision", "force",
           "heatmap", "image", "logo", "scatter", "table", "text", "values", "waterfall"]
