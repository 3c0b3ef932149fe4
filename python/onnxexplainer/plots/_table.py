"""Features, their values and SHAP values as a table: in HTML, in a terminal, as a picture."""

from __future__ import annotations

import html as markup
import os
from typing import Any

import numpy as np

from .._arrays import Array
from .._errors import ArgumentError
from . import _draw
from ._bars import one
from ._draw import FAINT, INK, NEGATIVE, POSITIVE, Plot, number, styled
from ._values import of

STYLE = """.ox-table { border-collapse: collapse; font-variant-numeric: tabular-nums }
.ox-table caption { text-align: left; padding: .3em 0; color: #6b6b6b }
.ox-table th { text-align: left; font-weight: 600; border-bottom: 1px solid #888 }
.ox-table th, .ox-table td { padding: .2em .8em }
.ox-table td { border-bottom: 1px solid #eee } .ox-table .n { text-align: right }
.ox-bar { width: 12em; height: .8em; position: relative }
.ox-bar i { position: absolute; top: 0; height: 100% }
.ox-bar b { position: absolute; left: 50%; width: 1px; height: 100%; background: #c9c9c9 }"""
HEADS = ("feature", "value", "SHAP value", "")


class Table:
    """A table of one sample's features. A notebook shows the HTML, `str` gives text."""

    def __init__(self, title: str, names: list[str], data: Array | None, phi: Array,
                 sums: list[tuple[str, float]]) -> None:
        self.title, self.names, self.data, self.phi, self.sums = title, names, data, phi, sums
        self.scale = float(np.abs(phi).max(initial=0.0)) or 1.0

    def rows(self) -> list[tuple[str, str, float]]:
        """Name, value and SHAP value of each feature."""
        return [(name, "" if self.data is None or i >= len(self.data) else number(self.data[i]),
                 float(self.phi[i])) for i, name in enumerate(self.names)]

    # ---- HTML ----

    def fragment(self) -> str:
        """HTML without what makes a page of it."""
        heads = "".join(f"<th>{head}</th>" for head in HEADS)
        body = "\n".join(
            f"<tr><td>{markup.escape(name)}</td><td class=n>{markup.escape(value)}</td>"
            f"<td class=n>{number(phi, True)}</td><td>{self._bar(phi)}</td></tr>"
            for name, value, phi in self.rows())
        feet = "\n".join(f"<tr><td>{name}</td><td></td><td class=n><b>{number(value)}</b></td>"
                         "<td></td></tr>" for name, value in self.sums)
        return (f"<style>{STYLE}</style>\n<table class=ox-table><caption>"
                f"{markup.escape(self.title)}</caption>\n<tr>{heads}</tr>\n{body}\n{feet}</table>")

    def _bar(self, phi: float) -> str:
        width = 50 * abs(phi) / self.scale
        left, colour = (50.0, POSITIVE) if phi >= 0 else (50 - width, NEGATIVE)
        return (f"<div class=ox-bar><i style=\"left: {left:.2f}%; width: {width:.2f}%; "
                f"background: {colour}\"></i><b></b></div>")

    def html(self) -> str:
        """A page."""
        return _draw.page(self.title, self.fragment())

    def _repr_html_(self) -> str:
        return self.fragment()

    # ---- text ----

    def text(self, width: int = 12) -> str:
        """Columns with bars of signs, so that no colours are needed."""
        rows = self.rows()
        wide = max([len(name) for name, _, _ in rows] + [len(name) for name, _ in self.sums])
        least = max([len(value) for _, value, _ in rows] + [5])
        lines = [self.title, f"{'feature':{wide}}  {'value':>{least}}  {'SHAP value':>10}"]
        for name, value, phi in rows:
            count = round(width * abs(phi) / self.scale)
            bar = f"{'' if phi >= 0 else '-' * count:>{width}}|{'+' * count if phi >= 0 else ''}"
            line = f"{name:{wide}}  {value:>{least}}  {number(phi, True):>10}  {bar}"
            lines.append(line.rstrip())
        lines += [f"{name:{wide}}  {'':{least}}  {number(value):>10}" for name, value in self.sums]
        return "\n".join(lines) + "\n"

    __str__ = text

    def print(self) -> None:
        """Writes it to standard output."""
        print(self.text(), end="")

    # ---- pictures ----

    def plot(self) -> Plot:
        """The same as a figure of matplotlib."""
        plot: Plot = _picture(self)
        return plot

    def save(self, path: str | os.PathLike[str]) -> str:
        """Writes .html, .png, .svg or .txt; returns the path."""
        return _draw.save_as(path, "tables", self.plot, self.html, self.text)


@styled
def _picture(table: Table) -> Plot:
    row, rows = 0.26, table.rows()
    count = len(rows) + len(table.sums) + 2
    figure = _draw.new_figure(7.2, row * count + 0.1)
    axes = figure.add_axes((0.02, 0, 0.96, 1))
    axes.set_xlim(0, 7)
    axes.set_ylim(count, 0)
    axes.axis("off")
    axes.text(0, 0.5, table.title, va="center", color=FAINT)
    for x, head, align in ((0, "feature", "left"), (3.6, "value", "right"),
                           (4.7, "SHAP value", "right")):
        axes.text(x, 1.5, head, va="center", ha=align, fontweight="bold")
    axes.plot([0, 7], [2, 2], color=INK, linewidth=0.8)
    for i, (name, value, phi) in enumerate(rows):
        y = i + 2.5
        axes.text(0, y, _draw.shorten(name, 36), va="center")
        axes.text(3.6, y, _draw.shorten(value, 14), va="center", ha="right")
        axes.text(4.7, y, number(phi, True), va="center", ha="right")
        axes.barh(y, phi / table.scale, left=5.95, height=0.6,
                  color=POSITIVE if phi >= 0 else NEGATIVE)
        axes.plot([0, 7], [y + 0.5, y + 0.5], color="#eeeeee", linewidth=0.8, zorder=0)
    for i, (name, total) in enumerate(table.sums):
        axes.text(0, len(rows) + 2.5 + i, name, va="center")
        axes.text(4.7, len(rows) + 2.5 + i, number(total), va="center", ha="right",
                  fontweight="bold")
    axes.plot([5.95, 5.95], [2, len(rows) + 2], color="#c9c9c9", linewidth=0.8)
    return Plot(figure, table.title)


def table(source: Any, *, sample: int | None = None, output: int | str | None = None,
          count: int = 30, **options: Any) -> Table:
    """Features of one sample, from the strongest on, with what they are worth and their SHAP
    values; the base value and the prediction, to which they add up, at the end.

    source:  an Explanation, outputs of a session, the path of an .npz, or arrays: see `values`
    sample:  default the first
    output:  number or name of the output; default: the one that the sample predicts
    count:   rows at most; the last is the sum of all other features
    options: those of `values`: data, base_values, labels, feature_names, input
    """
    if count < 2:
        raise ArgumentError(f"count: {count} is less than 2")
    values = one(of(source, **options), sample, output)
    phi, data, names = values.flat()
    top, others = _draw.by_strength(phi, count)
    labels, shown = [names[i] for i in top], phi[0, top]
    if len(others):
        labels.append(f"{len(others)} other features")
        shown = np.append(shown, phi[0, others].sum())
    sums = [("prediction", float(values.predictions()[0, 0]))]
    if values.base is not None:
        sums.insert(0, ("base value", float(values.base[0, 0])))
    title = _draw.of_output("SHAP values", values.label(0, 0))
    return Table(title, labels, None if data is None else data[0, top], shown, sums)
