"""Plots of sequences and of whole tables: heatmap, logo."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .._arrays import Array
from .._errors import ArgumentError
from . import _draw
from ._bars import one
from ._draw import FAINT, LINE, PALETTE, Plot, styled
from ._values import Values, of

# Told apart by readers of any colour vision; other letters take turns.
BASES = {"A": "#00a078", "C": "#0a4f8f", "G": "#edb120", "T": "#c8401f", "U": "#c8401f"}
ALPHABETS = {4: "ACGT", 20: "ACDEFGHIKLMNPQRSTVWY"}


def scale_of(phi: Array, percent: float = 100.0) -> float:
    """The value that gets the full colour."""
    found = float(np.percentile(np.abs(phi), percent)) if phi.size else 0.0
    return found if found > 0 else float(np.abs(phi).max(initial=0.0)) or 1.0


@styled
def heatmap(source: Any, *, sample: int | None = None, output: int | str | None = None,
            count: int = 12, steps_last: bool = False, **options: Any) -> Plot:
    """Sequences: SHAP values of one sample, a column a step and a row a feature, their sum per step
    above. Tables: a column a sample, ordered so that like ones stand together, its prediction
    above.

    source:     an Explanation, outputs of a session, the path of an .npz, or arrays: see `values`
    sample:     of sequences: which; default the first
    output:     number or name; default: the one that is predicted (by most samples)
    count:      rows at most, the strongest; the last is the sum of all others
    steps_last: features come before steps in a sample, (..., features, steps)
    options:    those of `values`: data, base_values, labels, feature_names, input
    """
    values = of(source, **options)
    shape = [size for size in values.shape if size != 1]
    if len(shape) > 2:
        raise ArgumentError(f"samples of shape {list(values.shape)} are no sequences")
    if len(shape) < 2 and values.rows > 1 and sample is None:
        return _of_table(values.of_output(output), count)
    values = one(values, sample, output)
    grid = values.phi[0, 0].reshape(shape if len(shape) == 2 else (-1, 1))
    return _of_sequence(grid.T if steps_last else grid, values, count)


def _rows(grid: Array, names: list[str], count: int) -> tuple[Array, list[str]]:
    """(at most count, columns) of (columns, features), the strongest first."""
    top, others = _draw.by_strength(grid, max(count, 2))
    rows, labels = grid[:, top].T, [_draw.shorten(names[i], 24) for i in top]
    if len(others):
        rows = np.concatenate([rows, grid[:, others].sum(axis=1)[np.newaxis]])
        labels.append(f"{len(others)} others")
    return rows, labels


def _of_sequence(grid: Array, values: Values, count: int) -> Plot:
    names = values.features
    if names is None or len(names) != grid.shape[1]:
        names = [f"feature {i}" for i in range(grid.shape[1])]
    if grid.shape[1] <= count: # all of them: as they are
        rows, labels = grid.T, [_draw.shorten(name, 24) for name in names]
    else:
        rows, labels = _rows(grid, names, count)
    title = _draw.of_output("SHAP values over steps", values.label(0, 0))
    return _map(rows, labels if grid.shape[1] > 1 else ["value"], grid.sum(axis=1), "sum",
                "step", title)


def _order(phi: Array) -> Array:
    """Samples in an order in which neighbours are alike: along the strongest direction of what
    differs between them."""
    centred = phi - phi.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    direction = directions[0] * (1 if directions[0].sum() >= 0 else -1)
    return np.argsort(centred @ direction, kind="stable")


def _of_table(values: Values, count: int) -> Plot:
    phi, _, names = values.flat()
    order = _order(phi)
    rows, labels = _rows(phi[order], names, count)
    title = _draw.of_output(f"SHAP values of {values.rows} samples", values.common_label())
    return _map(rows, labels, values.predictions()[order, 0], "prediction", "sample, sorted", title)


def _map(rows: Array, labels: list[str], above: Array, what: str, along: str, title: str) -> Plot:
    figure = _draw.new_figure(7.4, 1.8 + 0.27 * len(rows))
    height = figure.get_figheight()
    bottom, tall = 0.55 / height, 0.27 * len(rows) / height
    axes = figure.add_axes((0.22, bottom, 0.64, tall))
    scale = scale_of(rows, 99.5)
    image = axes.imshow(rows, aspect="auto", cmap=_draw.diverging(), vmin=-scale, vmax=scale,
                        interpolation="nearest")
    axes.set_yticks(np.arange(len(rows)), labels)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(along)
    axes.xaxis.get_major_locator().set_params(integer=True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    line = figure.add_axes((0.22, bottom + tall + 0.1 / height, 0.64, 0.75 / height))
    line.plot(np.arange(len(above)), above, color=FAINT, linewidth=1.2, drawstyle="steps-mid")
    line.set_xlim(*axes.get_xlim())
    line.axhline(0, color=LINE, linewidth=0.8, zorder=0)
    line.set_xticks([])
    line.spines["bottom"].set_visible(False)
    line.yaxis.set_major_locator(_draw.module("matplotlib.ticker").MaxNLocator(3))
    line.set_ylabel(what, rotation=0, ha="right", va="center", labelpad=26)
    bar = figure.add_axes((0.885, bottom, 0.016, max(tall, 0.8 / height)))
    figure.colorbar(image, cax=bar).outline.set_visible(False)
    bar.set_ylabel("SHAP value")
    figure.text(0.02, 1 - 0.08 / height, title, va="top", fontsize=9.5)
    return Plot(figure, title)


# ---- logo --------------------------------------------------------------------------------


@functools.cache
def _outline(letter: str) -> tuple[Array, Any]:
    """The outline of a letter in the unit square."""
    paths = _draw.module("matplotlib.textpath")
    fonts = _draw.module("matplotlib.font_manager")
    font = fonts.FontProperties(family="DejaVu Sans", weight="bold")
    path = paths.TextPath((0, 0), letter, size=1, prop=font)
    low, high = path.vertices.min(axis=0), path.vertices.max(axis=0)
    return (path.vertices - low) / (high - low), path.codes


def _letter(axes: Any, letter: str, x: float, bottom: float, top: float, colour: str) -> None:
    unit, codes = _outline(letter)
    vertices = unit * (0.92, top - bottom) + (x - 0.46, bottom)
    path = _draw.module("matplotlib.path").Path(vertices, codes)
    axes.add_patch(_draw.module("matplotlib.patches").PathPatch(path, color=colour, linewidth=0))


@styled
def logo(source: Any, *, sample: int | None = None, output: int | str | None = None,
         alphabet: str | None = None, begin: int = 0, end: int | None = None,
         **options: Any) -> Plot:
    """One-hot sequences: letters as high as their SHAP values, those that speak against the output
    below the line.

    alphabet: a letter for each place of the one-hot axis; default: ACGT for 4, amino acids for 20
    begin, end: positions to draw
    Other parameters are those of `heatmap`. A sample is (steps, letters) or (letters, steps); each
    letter in it has its own value, so that one whose place holds 0 is drawn too, where it has one.
    """
    values = one(of(source, **options), sample, output)
    grid, letters = _letters(values, alphabet)
    grid = grid[begin:end]
    rows = max(1, int(np.ceil(len(grid) / 80)))
    size = int(np.ceil(len(grid) / rows))
    figure = _draw.new_figure(max(3.0, min(0.13 * size + 1.4, 11.8)), 0.5 + 1.5 * rows)
    height = figure.get_figheight()
    low = min(float(np.minimum(grid, 0).sum(axis=1).min()), 0.0)
    high = max(float(np.maximum(grid, 0).sum(axis=1).max()), 0.0)
    for row in range(rows):
        axes = figure.add_axes((0.09, (0.32 + 1.5 * (rows - 1 - row)) / height, 0.89,
                                1.08 / height))
        part = grid[row * size:(row + 1) * size]
        _stack(axes, part, letters, begin + row * size)
        axes.set_xlim(begin + row * size - 0.6, begin + (row + 1) * size - 0.4)
        axes.set_ylim(low - 0.05 * (high - low) or -1.0, high + 0.05 * (high - low) or 1.0)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel("SHAP value")
    title = _draw.of_output("SHAP values of letters", values.label(0, 0))
    figure.text(0.02, 1 - 0.06 / height, title, va="top", fontsize=9.5)
    return Plot(figure, title)


def _letters(values: Values, alphabet: str | None) -> tuple[Array, str]:
    """(steps, letters), and the letters."""
    shape = [size for size in values.shape if size != 1]
    if len(shape) != 2:
        raise ArgumentError(f"samples of shape {list(values.shape)} are no one-hot sequences")
    grid = values.phi[0, 0].reshape(shape)
    width = len(alphabet) if alphabet else next((n for n in (4, 20) if n in shape), 0)
    if width not in shape:
        raise ArgumentError(f"samples of shape {list(values.shape)}: give alphabet=, a letter for "
                            "each place of the one-hot axis")
    return grid if shape[1] == width else grid.T, alphabet or ALPHABETS[width]


def _stack(axes: Any, grid: Array, letters: str, first: int) -> None:
    """At each step the letters on top of each other, the strongest outside."""
    axes.axhline(0, color=LINE, linewidth=0.8, zorder=0)
    least = scale_of(grid) * 1e-3
    for step, values in enumerate(grid):
        ends = {1: 0.0, -1: 0.0}
        for i in np.argsort(np.abs(values), kind="stable"):
            if abs(values[i]) > least:
                side = 1 if values[i] > 0 else -1
                start, ends[side] = ends[side], ends[side] + float(values[i])
                colour = BASES.get(letters[i].upper()) if len(letters) <= 5 else None
                _letter(axes, letters[i], first + step, min(start, ends[side]),
                        max(start, ends[side]), colour or PALETTE[i % len(PALETTE)])
