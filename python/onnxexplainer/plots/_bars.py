"""Plots of features as bars: bar, waterfall, force."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import Array
from .._errors import ArgumentError
from . import _draw
from ._draw import FAINT, INK, LINE, NEGATIVE, POSITIVE, Plot, number, styled
from ._values import Values, of

ROW = 0.34    # inches
BESIDE = 0.09 # between a bar and what stands behind its number


def one(values: Values, sample: int | None, output: int | str | None) -> Values:
    """One sample, and its output: by default the one that it predicts."""
    if sample is not None and not -values.rows <= sample < values.rows:
        raise ArgumentError(f"sample {sample}: there are {values.rows}")
    row = sample or 0
    return values.of_rows(slice(row, row + 1 or None)).of_output(output)


def ranked(values: Values, count: int) -> tuple[Array, list[str], Array]:
    """Values (N, at most `count`) of the strongest features, the others in a last column; labels
    with the sample's values where there is one; which columns they are (the others: -1)."""
    phi, data, names = values.flat()
    top, others = _draw.by_strength(phi, max(count, 2))
    shown = None if data is None or values.rows > 1 else data[0]
    labels = [_draw.assignment(names[i], None if shown is None else shown[i]) for i in top]
    columns = phi[:, top]
    if len(others):
        columns = np.concatenate([columns, phi[:, others].sum(axis=1, keepdims=True)], axis=1)
        labels.append(f"{len(others)} other features")
        top = np.append(top, -1)
    return columns, labels, top


@styled
def bar(source: Any, *, sample: int | None = None, output: int | str | None = None,
        count: int = 12, **options: Any) -> Plot:
    """How strong features are: the mean of absolute SHAP values over the samples, or with `sample`
    (or where there is one) the values of one sample with their signs.

    source:  an Explanation, outputs of a session, the path of an .npz, or arrays: see `values`
    output:  number or name of the output; default: the one that most samples predict
    count:   bars at most; the last is the sum of all other features
    options: those of `values`: data, base_values, labels, feature_names, input
    """
    values = of(source, **options)
    alone = sample is not None or values.rows == 1
    values = one(values, sample, output) if alone else values.of_output(output)
    columns, labels, top = ranked(values, count)
    if not alone: # others: the mean of each, added up
        phi = np.abs(values.flat()[0]).mean(axis=0)
        lengths = np.array([phi[i] if i >= 0 else phi.sum() - phi[top[:-1]].sum() for i in top])
    else:
        lengths = columns[0]
    title = "SHAP values" if alone else "mean |SHAP value|"
    return _bars(lengths, labels, _draw.of_output(title, values.common_label()), alone)


def _bars(lengths: Array, labels: list[str], title: str, signed: bool) -> Plot:
    figure = _draw.new_figure(6.4, 0.9 + ROW * len(lengths))
    axes = figure.add_axes((0.34, 0.5 / figure.get_figheight(), 0.62,
                            1 - 0.9 / figure.get_figheight()))
    places = np.arange(len(lengths))[::-1]
    axes.barh(places, lengths, height=0.68,
              color=[POSITIVE if v >= 0 else NEGATIVE for v in lengths] if signed else "#44546a")
    axes.set_yticks(places, labels)
    axes.tick_params(axis="y", length=0)
    low, high = min(float(lengths.min()), 0.0), max(float(lengths.max()), 0.0)
    room = 0.16 * max(high - low, 1e-30)
    wide = [_draw.measure(figure, number(v, signed), fontsize=8)[0] + BESIDE for v in lengths]
    axes.set_xlim(*_draw.widened(low - room * signed, high + room,
                                 axes.get_position().width * figure.get_figwidth(),
                                 lambda scale: [(v, w if v >= 0 else -w)
                                                for v, w in zip(lengths, wide)]))
    _beside(axes, lengths, places, signed)
    _draw.ticks(figure, axes)
    _draw.zero_line(axes)
    axes.spines["left"].set_visible(False)
    axes.set_title(title, loc="left")
    return Plot(figure, title)


def _beside(axes: Any, lengths: Array, places: Array, signed: bool) -> None:
    """The numbers at the ends of bars."""
    for value, place in zip(lengths, places):
        right = value >= 0
        axes.annotate(number(value, signed), (value, place), xytext=(3 if right else -3, 0),
                      textcoords="offset points", va="center", ha="left" if right else "right",
                      fontsize=8, color=INK)


@styled
def waterfall(source: Any, *, sample: int | None = None, output: int | str | None = None,
              count: int = 12, **options: Any) -> Plot:
    """How the features of one sample lead from the base value, at the bottom, to its prediction.

    Parameters are those of `bar`; sample: default the first.
    """
    values = one(of(source, **options), sample, output)
    columns, labels, _ = ranked(values, count)
    steps = columns[0]
    start = 0.0 if values.base is None else float(values.base[0, 0])
    ends = start + np.cumsum(steps[::-1])[::-1] # of each bar, the strongest on top
    begins = np.append(ends[1:], start)
    figure = _draw.new_figure(6.8, 1.3 + ROW * len(steps))
    axes = figure.add_axes((0.34, 0.65 / figure.get_figheight(), 0.62,
                            1 - 1.2 / figure.get_figheight()))
    places = np.arange(len(steps))[::-1]
    low, high = min(begins.min(), ends.min()), max(begins.max(), ends.max())
    room = 0.14 * max(high - low, 1e-30)
    axes.set_xlim(*_draw.widened(low - room, high + room,
                                 axes.get_position().width * figure.get_figwidth(),
                                 lambda scale: _outside(figure, steps, begins, scale)))
    axes.set_ylim(-0.7, len(steps) - 0.3)
    for value, begin, place in zip(steps, begins, places):
        _arrow(axes, begin, begin + value, place)
        if place:
            axes.plot([begin, begin], [place - 1.3, place + 0.3], color=LINE, linewidth=0.8,
                      zorder=0)
    _inside(figure, axes, steps, begins, places)
    _draw.ticks(figure, axes)
    axes.set_yticks(places, labels)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    title = _draw.of_output("from the base value to the prediction", values.label(0, 0))
    figure.text(0.02, 1 - 0.08 / figure.get_figheight(), title, va="top", fontsize=9.5)
    _mark(axes, start, f"base value {number(start)}", -0.7, (0, -24), "top")
    _mark(axes, float(ends[0]), f"prediction {number(ends[0])}", len(steps) - 0.3, (0, 3), "bottom")
    return Plot(figure, title)


def _mark(axes: Any, at: float, text: str, y: float, offset: tuple[int, int], va: str) -> None:
    """A text at the edge of the axes, over or under a value, kept inside."""
    low, high = axes.get_xlim()
    share = (at - low) / (high - low)
    align = "left" if share < 0.25 else "right" if share > 0.75 else "center"
    axes.axvline(at, color=FAINT, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0)
    axes.annotate(text, (at, y), xytext=offset, textcoords="offset points", ha=align, va=va,
                  fontsize=8.5, color=INK, annotation_clip=False)


def _arrow(axes: Any, begin: float, end: float, place: float, height: float = 0.62) -> None:
    """A bar with a point at its end; short ones are all point."""
    patches = _draw.module("matplotlib.patches")
    low, high = axes.get_xlim()
    tip = min(abs(end - begin), 0.018 * (high - low)) * (1 if end >= begin else -1)
    half = height / 2
    corners = [(begin, place - half), (end - tip, place - half), (end, place),
               (end - tip, place + half), (begin, place + half)]
    axes.add_patch(patches.Polygon(corners, color=POSITIVE if end >= begin else NEGATIVE,
                                   linewidth=0))


def _width(figure: Any, value: float) -> float:
    """Inches that the number of a bar takes."""
    return _draw.measure(figure, number(value, True), fontsize=8)[0]


def _fits(figure: Any, value: float, scale: float) -> bool:
    """Whether a bar of so many inches per unit has room for its number."""
    return abs(value) * scale > _width(figure, value) + 0.18


def _outside(figure: Any, steps: Array, begins: Array,
             scale: float) -> list[tuple[float, float]]:
    """Where numbers that bars have no room for begin, and their widths, with a sign."""
    return [(float(begin + value), (_width(figure, value) + BESIDE) * (1 if value >= 0 else -1))
            for value, begin in zip(steps, begins) if not _fits(figure, value, scale)]


def _inside(figure: Any, axes: Any, steps: Array, begins: Array, places: Array) -> None:
    """Numbers in white on bars that are long enough, else in ink behind their points."""
    low, high = axes.get_xlim()
    scale = axes.get_position().width * figure.get_figwidth() / (high - low)
    for value, begin, place in zip(steps, begins, places):
        text = number(value, True)
        if _fits(figure, value, scale):
            axes.text(begin + value / 2, place, text, ha="center", va="center", color="white",
                      fontsize=8)
            continue
        right = value >= 0
        axes.annotate(text, (begin + value, place), xytext=(4 if right else -4, 0),
                      textcoords="offset points", ha="left" if right else "right", va="center",
                      fontsize=8, bbox={"facecolor": "white", "linewidth": 0, "pad": 0.4})


@styled
def force(source: Any, *, sample: int | None = None, output: int | str | None = None,
          count: int = 12, **options: Any) -> Plot:
    """The same in one line: what speaks for the output pushes the prediction to the right, what
    speaks against it to the left.

    Parameters are those of `bar`; sample: default the first. Labels are written where they have
    room; the strongest come first.
    """
    values = one(of(source, **options), sample, output)
    columns, labels, _ = ranked(values, count)
    start = 0.0 if values.base is None else float(values.base[0, 0])
    end = start + float(columns[0].sum())
    figure = _draw.new_figure(9.6, 2.1)
    axes = figure.add_axes((0.02, 0.38, 0.96, 0.22))
    segments = _segments(columns[0], end)
    ends = [x for segment in segments for x in segment[1:]] + [start, end]
    room = 0.04 * max(max(ends) - min(ends), 1e-30)
    axes.set_xlim(*_draw.widened(min(ends) - room, max(ends) + room, 1.0, lambda scale: []))
    axes.set_ylim(0, 1)
    for _, begin, stop in segments:
        _arrow(axes, begin, stop, 0.5, 0.9)
        axes.plot([stop, stop], [0.05, 0.95], color="white", linewidth=0.6)
    _name_segments(figure, axes, segments, labels, columns[0])
    axes.get_yaxis().set_visible(False)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.xaxis.set_ticks_position("top")
    _draw.ticks(figure, axes)
    axes.spines["top"].set_visible(True)
    title = _draw.of_output("forces on the prediction", values.label(0, 0))
    _name_ends(figure, axes, start, end)
    figure.text(0.02, 0.995, title, va="top", fontsize=9.5)
    return Plot(figure, title)


def _segments(steps: Array, end: float) -> list[tuple[int, float, float]]:
    """(feature, begin, stop): those that push right end at the prediction from the left, those that
    push left from the right; the strongest nearest to it."""
    found = []
    for sign in (1, -1):
        at = end
        for i in np.argsort(-np.abs(steps), kind="stable"):
            if steps[i] * sign > 0:
                found.append((int(i), at - float(steps[i]), at))
                at -= float(steps[i])
    return found


def _name_segments(figure: Any, axes: Any, segments: list[tuple[int, float, float]],
                   labels: list[str], steps: Array) -> None:
    """Labels below, moved apart, with lines to what they name."""
    low, high = axes.get_xlim()
    inches = axes.get_position().width * figure.get_figwidth()
    kept: list[tuple[float, float, str, str]] = []
    room = inches
    for i, begin, stop in sorted(segments, key=lambda s: -abs(float(steps[s[0]]))):
        text = labels[i].replace(" = ", "\n= ", 1)
        width = _draw.measure(figure, text, fontsize=8)[0] + 0.12
        if width > room:
            continue
        room -= width
        middle = ((begin + stop) / 2 - low) / (high - low) * inches
        kept.append((middle, width, text, POSITIVE if stop > begin else NEGATIVE))
    places = _draw.spread([k[0] for k in kept], [k[1] for k in kept], 0.0, inches)
    for (middle, _, text, colour), place in zip(kept, places):
        axes.plot([middle / inches, middle / inches, place / inches], [0.05, -0.2, -0.55],
                  transform=axes.transAxes, color=colour, linewidth=0.8, clip_on=False)
        axes.text(place / inches, -0.62, text, transform=axes.transAxes, ha="center", va="top",
                  fontsize=8, color=colour)


def _name_ends(figure: Any, axes: Any, start: float, end: float) -> None:
    """The base value and the prediction over the axis."""
    low, high = axes.get_xlim()
    inches = axes.get_position().width * figure.get_figwidth()
    texts = [f"base value {number(start)}", f"prediction {number(end)}"]
    widths = [_draw.measure(figure, t, fontsize=9, fontweight="bold")[0] + 0.25 for t in texts]
    centres = [(x - low) / (high - low) * inches for x in (start, end)]
    for place, x, text, weight in zip(_draw.spread(centres, widths, 0, inches), (start, end),
                                      texts, ("normal", "bold")):
        axes.axvline(x, color=INK, linewidth=1, linestyle="-" if weight == "bold" else ":")
        axes.text(place / inches, 1.72, text, transform=axes.transAxes, ha="center", va="bottom",
                  fontsize=9, fontweight=weight)
