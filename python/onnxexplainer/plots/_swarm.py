"""Plots of many samples: beeswarm, scatter (dependence), decision."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import Array
from .._errors import ArgumentError
from . import _draw
from ._draw import FAINT, INK, LINE, Plot, number, styled
from ._values import Values, of

MISSING = "#9a9a9a" # of values that are no numbers


def _numbers(column: Any) -> Array:
    """A feature's values as numbers; categories are numbered in their order, and what is missing is
    NaN."""
    array = np.asarray(column)
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError):
        known = sorted({str(v) for v in array if v is not None and v == v})
        return np.array([known.index(str(v)) if v is not None and v == v else np.nan
                         for v in array], dtype=np.float64)


def _shades(column: Any) -> Array:
    """From 0, the lowest twentieth, to 1, the highest."""
    values = _numbers(column)
    if not np.isfinite(values).any():
        return np.full(len(values), np.nan)
    low, high = np.nanpercentile(values, [5, 95])
    if high <= low:
        low, high = np.nanmin(values), np.nanmax(values)
    spread = high - low
    return np.asarray(np.clip((values - low) / spread, 0, 1) if spread > 0 else values * 0 + 0.5)


def _colours(shades: Array) -> Any:
    colours = _draw.low_high()(np.nan_to_num(shades, nan=0.5))
    colours[np.isnan(shades)] = _draw.module("matplotlib.colors").to_rgba(MISSING)
    return colours


def _swarm(values: Array, room: float) -> Array:
    """Offsets by which points at equal places stand beside each other: those in one of 120 bins
    take turns on both sides of the line."""
    span = max(float(np.ptp(values)), 1e-30)
    bins = np.round((values - values.min()) / span * 120).astype(np.int64)
    offsets = np.zeros(len(values))
    for number_ in np.unique(bins):
        members = np.flatnonzero(bins == number_)
        ranks = np.arange(len(members))
        offsets[members] = np.where(ranks % 2, 1, -1) * ((ranks + 1) // 2)
    widest = np.abs(offsets).max()
    return np.asarray(offsets * min(0.09, room / widest if widest else 0.09))


def _colour_bar(figure: Any, place: tuple[float, float, float, float], title: str) -> None:
    """What colours of features mean."""
    axes = figure.add_axes(place)
    axes.imshow(np.linspace(0, 1, 128)[:, np.newaxis], aspect="auto", cmap=_draw.low_high(),
                origin="lower", extent=(0, 1, 0, 1))
    axes.set_xticks([])
    axes.set_yticks([])
    inches = place[3] * figure.get_figheight()
    while len(title) > 4 and _draw.measure(figure, title, fontsize=8.5)[0] > inches:
        title = _draw.shorten(title, len(title) - 1)
    axes.text(0.5, 1.0, "high", ha="center", va="bottom", fontsize=8.5)
    axes.text(0.5, -0.02, "low", ha="center", va="top", fontsize=8.5)
    axes.text(1.5, 0.5, title, rotation=90, ha="left", va="center", fontsize=8.5)
    for spine in axes.spines.values():
        spine.set_visible(False)


@styled
def beeswarm(source: Any, *, output: int | str | None = None, count: int = 12,
             **options: Any) -> Plot:
    """SHAP values of all samples, a row a feature, coloured by what the feature is worth.

    source:  an Explanation, outputs of a session, the path of an .npz, or arrays: see `values`
    output:  number or name of the output; default: the one that most samples predict
    count:   rows at most; the last is the sum of all other features
    options: those of `values`: data, base_values, labels, feature_names, input
    """
    values = of(source, **options).of_output(output)
    phi, data, names = values.flat()
    top, others = _draw.by_strength(phi, max(count, 2))
    rows = len(top) + bool(len(others))
    figure = _draw.new_figure(7.2, 1.1 + 0.36 * rows)
    height = figure.get_figheight()
    axes = figure.add_axes((0.3, 0.6 / height, 0.58, 1 - 1.0 / height))
    for at, i in enumerate(top):
        shades = np.full(len(phi), np.nan) if data is None else _shades(data[:, i])
        _dots(axes, phi[:, i], rows - 1 - at, shades)
    labels = [_draw.shorten(names[i]) for i in top]
    if len(others):
        _dots(axes, phi[:, others].sum(axis=1), 0, np.full(len(phi), np.nan))
        labels.append(f"sum of {len(others)} others")
    axes.set_yticks(np.arange(rows)[::-1], labels)
    axes.set_ylim(-0.6, rows - 0.4)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="y", color="#eeeeee", zorder=-1)
    axes.set_axisbelow(True)
    _draw.zero_line(axes)
    _draw.ticks(figure, axes)
    axes.set_xlabel("SHAP value")
    title = _draw.of_output(f"SHAP values of {values.rows} samples", values.common_label())
    figure.text(0.02, 1 - 0.08 / height, title, va="top", fontsize=9.5)
    if data is not None:
        _colour_bar(figure, (0.91, 0.6 / height, 0.014, 1 - 1.0 / height), "value of the feature")
    return Plot(figure, title)


def _dots(axes: Any, values: Array, row: float, shades: Array) -> None:
    axes.scatter(values, row + _swarm(values, 0.4), s=13, c=_colours(shades), linewidths=0.25,
                 edgecolors="white", zorder=2)


# ---- scatter -----------------------------------------------------------------------------


@styled
def scatter(source: Any, feature: int | str | None = None, *, color: int | str | None = "auto",
            output: int | str | None = None, **options: Any) -> Plot:
    """How SHAP values of a feature depend on what it is worth, a dot a sample.

    feature: number or name; default: the strongest
    color:   the feature that colours the dots; "auto": the one with which the SHAP values vary most
             among neighbours; None: all alike
    Other parameters are those of `beeswarm`. A band at the bottom shows where samples lie.
    """
    values = of(source, **options).of_output(output)
    phi, data, names = values.flat()
    if data is None:
        raise ArgumentError("a scatter plot needs the samples: give data=")
    at = int(_draw.by_strength(phi, 1)[0][0]) if feature is None and phi.shape[1] == 1 else \
        int(np.abs(phi).mean(axis=0).argmax()) if feature is None else _feature(feature, names)
    by = _partner(at, phi, data) if color == "auto" else \
        None if color is None else _feature(color, names)
    figure = _draw.new_figure(6.0, 4.0)
    axes = figure.add_axes((0.13, 0.14, 0.7, 0.76))
    x, categories = _positions(data[:, at])
    colours = "#3a5a8c" if by is None else _colours(_shades(data[:, by]))
    _band(axes, x, categories)
    axes.axhline(0, color=LINE, linewidth=1, zorder=0)
    axes.scatter(x, phi[:, at], s=20, c=colours, linewidths=0.3, edgecolors="white", zorder=2)
    if categories:
        axes.set_xticks(range(len(categories)), [_draw.wrap(c, 12) for c in categories])
    elif np.isfinite(x).any():
        _draw.ticks(figure, axes)
    axes.set_xlabel(_draw.shorten(names[at], 50))
    axes.set_ylabel(f"SHAP value of {_draw.shorten(names[at], 30)}")
    title = _draw.of_output(names[at], values.common_label())
    figure.text(0.02, 0.98, title, va="top", fontsize=9.5)
    if by is not None:
        _colour_bar(figure, (0.87, 0.14, 0.02, 0.76), _draw.shorten(names[by], 30))
    return Plot(figure, title)


def _feature(feature: int | str, names: list[str]) -> int:
    if isinstance(feature, str) and feature in names:
        return names.index(feature)
    if isinstance(feature, str) and feature.isdecimal():
        feature = int(feature)
    if isinstance(feature, int) and 0 <= feature < len(names):
        return feature
    raise ArgumentError(f"feature {feature!r} is none of " + ", ".join(names[:12]) +
                        (", ..." if len(names) > 12 else ""))


def _positions(column: Any) -> tuple[Array, list[str]]:
    """Where a feature's values stand; categories beside each other, their samples apart."""
    array = np.asarray(column)
    x = _numbers(array)
    if array.dtype.kind in "fiub":
        return x, []
    try:
        array.astype(np.float64)
    except (TypeError, ValueError):
        known = sorted({str(v) for v in array if v is not None and v == v})
        return x + np.random.default_rng(0).uniform(-0.18, 0.18, len(x)), known
    return x, []


def _band(axes: Any, x: Array, categories: list[str]) -> None:
    """A histogram behind the dots."""
    finite = x[np.isfinite(x)]
    if len(finite) < 2:
        return
    behind = axes.twinx()
    bins = np.arange(len(categories) + 1) - 0.5 if categories else 24
    counts, _, _ = behind.hist(finite, bins=bins, color="#e9e9e9", zorder=-2, rwidth=0.92)
    behind.set_ylim(0, max(counts.max(), 1) * 6)
    behind.axis("off")
    axes.set_zorder(behind.get_zorder() + 1)
    axes.patch.set_visible(False)


def _partner(at: int, phi: Array, data: Array) -> int | None:
    """The feature that tells most of how SHAP values differ among samples of about the same value:
    the largest correlation within stretches of samples in order, summed."""
    order = np.argsort(_numbers(data[:, at]), kind="stable")
    size = max(min(len(order) // 4, 50), 6)
    best, strongest = None, 0.0
    for i in range(phi.shape[1]):
        column = np.nan_to_num(_numbers(data[:, i]))
        score = 0.0
        for begin in range(0, len(order), size):
            part = order[begin:begin + size]
            a, b = phi[part, at], column[part]
            if len(part) > 2 and a.std() > 0 and b.std() > 0:
                score += abs(float(np.corrcoef(a, b)[0, 1])) * len(part)
        if i != at and score > strongest:
            best, strongest = i, score
    return best


# ---- decision ----------------------------------------------------------------------------


@styled
def decision(source: Any, *, sample: int | None = None, output: int | str | None = None,
             count: int = 14, **options: Any) -> Plot:
    """How samples come from the base value, at the bottom, to their predictions, feature by
    feature: a line a sample, coloured by where it ends.

    sample: draw this one alone. Other parameters are those of `beeswarm`.
    """
    values = of(source, **options)
    if sample is not None:
        if not -values.rows <= sample < values.rows:
            raise ArgumentError(f"sample {sample}: there are {values.rows}")
        values = values.of_rows(slice(sample, sample + 1 or None))
    values = values.of_output(output)
    phi, data, names = values.flat()
    top, others = _draw.by_strength(phi, max(count, 2))
    steps = phi[:, top[::-1]]
    labels = [_draw.assignment(names[i], data[0, i] if data is not None and len(phi) == 1 else None)
              for i in top[::-1]]
    if len(others):
        steps = np.concatenate([phi[:, others].sum(axis=1, keepdims=True), steps], axis=1)
        labels.insert(0, f"{len(others)} other features")
    base = np.zeros((len(phi), 1)) if values.base is None else values.base
    lines = np.concatenate([base, base + np.cumsum(steps, axis=1)], axis=1)
    return _lines(lines, labels, values)


def _lines(lines: Array, labels: list[str], values: Values) -> Plot:
    figure = _draw.new_figure(6.8, 1.5 + 0.3 * len(labels))
    height = figure.get_figheight()
    axes = figure.add_axes((0.32, 0.6 / height, 0.62, 1 - 1.45 / height))
    ends = lines[:, -1]
    low, high = float(ends.min()), float(ends.max())
    shades = (ends - low) / (high - low) if high > low else np.full(len(ends), 0.5)
    for line, colour in zip(lines, _colours(shades)):
        axes.plot(line, np.arange(lines.shape[1]), color=colour, linewidth=1.2,
                  alpha=0.9 if len(lines) < 30 else 0.6)
    axes.axvline(float(lines[:, 0].mean()), color=FAINT, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.set_yticks(np.arange(len(labels)) + 0.5, labels)
    axes.set_yticks(np.arange(len(labels) + 1), minor=True)
    axes.tick_params(axis="y", which="both", length=0)
    axes.grid(axis="y", which="minor", color="#eeeeee")
    axes.set_ylim(0, len(labels))
    axes.spines["left"].set_visible(False)
    _draw.ticks(figure, axes)
    axes.set_xlabel(f"from the base value {number(lines[0, 0])} to the prediction")
    strip = axes.inset_axes((0, 1.0, 1, 0.14 / (height * axes.get_position().height)))
    left, right = axes.get_xlim()
    mesh = np.linspace(float(left), float(right), 256)
    span = (mesh - low) / (high - low) if high > low else mesh * 0 + 0.5
    strip.imshow(_colours(np.clip(span, 0, 1))[np.newaxis], aspect="auto",
                 extent=(*axes.get_xlim(), 0, 1))
    strip.set_yticks([])
    strip.xaxis.tick_top()
    if len(lines) == 1:
        strip.set_xticks([float(ends[0])], [f"prediction {number(ends[0])}"])
    strip.tick_params(colors=INK, labelsize=8)
    if len(lines) > 1:
        _draw.ticks(figure, strip, axes.get_position().width * figure.get_figwidth())
    title = _draw.of_output("decisions", values.common_label())
    figure.text(0.02, 1 - 0.08 / height, title, va="top", fontsize=9.5)
    return Plot(figure, title)
