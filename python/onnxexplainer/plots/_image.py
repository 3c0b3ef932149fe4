"""Plots of images: SHAP values over the original, an output beside the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._arrays import Array, as_array
from .._errors import ArgumentError
from . import _draw
from ._draw import FAINT, NEGATIVE, NEUTRAL, POSITIVE, Plot, number, styled
from ._steps import scale_of
from ._values import Values, of, probabilities

SIGNS = ("all", "positive", "negative", "absolute")
MEANINGS = {"all": "SHAP value", "positive": "SHAP value > 0", "negative": "SHAP value < 0",
            "absolute": "|SHAP value|"}
CHANNELS = (1, 3, 4)


def axes_of(shape: tuple[int, ...]) -> tuple[int, int, int | None]:
    """Which axes of a sample are height, width and channels."""
    if len(shape) == 2:
        return 0, 1, None
    if len(shape) == 3:
        return (0, 1, 2) if shape[2] in CHANNELS and shape[0] not in CHANNELS else (1, 2, 0)
    raise ArgumentError(f"samples of shape {list(shape)} are no images")


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether samples of this shape look like images."""
    if len(shape) not in (2, 3):
        return False
    height, width, channels = axes_of(shape)
    return min(shape[height], shape[width]) >= 8 and \
        (len(shape) == 2 or shape[channels or 0] in CHANNELS)


def _smoothed(values: Array, reach: int) -> Array:
    """Means over squares that reach so many pixels around, cut off at the border."""
    if reach < 1:
        return values
    for axis in (0, 1):
        size = values.shape[axis]
        sums = np.concatenate([np.zeros_like(values.take([0], axis)), values.cumsum(axis)], axis)
        low = np.maximum(np.arange(size) - reach, 0)
        high = np.minimum(np.arange(size) + reach + 1, size)
        shape = [1, 1]
        shape[axis] = size
        values = (sums.take(high, axis) - sums.take(low, axis)) / (high - low).reshape(shape)
    return values


def heats(phi: Array, smooth: int | None) -> Array:
    """(K, H, W) of (K, ...): channels added up, smoothed."""
    height, width, channels = axes_of(phi.shape[1:])
    found = phi if channels is None else phi.sum(axis=channels + 1)
    if smooth is None:
        smooth = 2 if max(found.shape[1:]) > 112 else 0
    return np.asarray([_smoothed(plane, smooth) for plane in found])


def picture(image: Any) -> Array:
    """(H, W, 3) from 0 to 1 of an image: bytes and 0 to 1 as they are, others from the least value
    to the greatest."""
    array = as_array(image)
    _, _, channels = axes_of(array.shape)
    array = array[..., np.newaxis] if channels is None else np.moveaxis(array, channels, -1)
    whole = array.dtype == np.uint8
    array = array.astype(np.float64)
    low, high = float(np.nanmin(array)), float(np.nanmax(array))
    if whole:
        array = array / 255
    elif low < 0 or high > 1:
        array = (array - low) / max(high - low, 1e-30)
    if array.shape[-1] not in (3, 4):
        array = array.mean(axis=-1, keepdims=True)
    return np.asarray(np.clip(np.broadcast_to(array[..., :3], (*array.shape[:2], 3)), 0, 1))


def _colour_map(sign: str) -> tuple[Any, float]:
    """Colours, and the lowest value of their scale of 1."""
    if sign == "all":
        return _draw.diverging(), -1.0
    colour = {"positive": POSITIVE, "negative": NEGATIVE, "absolute": NEUTRAL}[sign]
    return _draw.rising(colour), 0.0


def _part(heat: Array, sign: str) -> Array:
    return {"all": heat, "positive": np.maximum(heat, 0), "negative": np.maximum(-heat, 0),
            "absolute": np.abs(heat)}[sign]


def _overlay(original: Array | None, heat: Array, sign: str, scale: float, blend: float) -> Array:
    """Colours of the values over a pale original in grey, which shows where they are weak."""
    colours, low = _colour_map(sign)
    part = np.clip(_part(heat, sign) / scale, -1, 1)
    paint = colours((part - low) / (1 - low))[..., :3]
    if original is None or blend <= 0:
        return np.asarray(paint)
    grey = original @ np.array([0.299, 0.587, 0.114])
    rows = np.arange(heat.shape[0]) * grey.shape[0] // heat.shape[0]
    columns = np.arange(heat.shape[1]) * grey.shape[1] // heat.shape[1]
    pale = 1 - blend * (1 - grey[np.ix_(rows, columns)])[..., np.newaxis]
    share = np.sqrt(np.abs(part))[..., np.newaxis]
    return np.asarray(share * paint + (1 - share) * pale)


def _captions(values: Values, kind: str) -> list[list[str]]:
    """A text for each sample and output: its name, with its probability or what the model gave."""
    chances, scores = probabilities(values, kind), values.scores
    found = []
    for row in range(values.rows):
        texts = []
        for k in range(values.outputs):
            target, label = int(values.targets[row, k]), _draw.wrap(values.label(row, k), 22)
            if chances is not None and target >= 0:
                said = f"{chances[row, target]:.1%}"
            elif scores is not None and 0 <= target < scores.shape[1]:
                said = number(scores[row, target])
            else:
                said = number(values.predictions()[row, k])
            texts.append(f"{label}\n{said}" if label else said)
        found.append(texts)
    return found


@styled
def image(source: Any, *, original: Any = None, sign: str | Sequence[str] = "all",
          blend: float = 0.45, smooth: int | None = None, percent: float = 99.5,
          probability: str = "auto", samples: int = 8, outputs: int = 6, titles: Any = None,
          **options: Any) -> Plot:
    """SHAP values of images over the originals, a row a sample, a column an output, with a scale at
    the end of each row.

    source:      an Explanation, outputs of a session, the path of an .npz, or arrays: see `values`
    original:    pictures to show in place of the samples: one, or one a sample
    sign:        "all", "positive", "negative" or "absolute", or several of them beside each other
    blend:       how much the original shines through, from 0 to 1
    smooth:      pixels around to average over; default: 2 above 112 x 112, else 0
    percent:     of the pixels of a row that are not as strong as full colour
    probability: "softmax" or "sigmoid" of the outputs, "none", or "auto": outputs that are
                 probabilities, else the softmax where there are names for all
    samples, outputs: rows and columns at most; outputs are taken from the highest prediction on
    titles:      of the samples
    options:     those of `values`: data, base_values, labels, feature_names, input
    """
    signs = [sign] if isinstance(sign, str) else list(sign)
    for name in signs:
        if name not in SIGNS:
            raise ArgumentError(f"sign: {name!r} is none of {', '.join(SIGNS)}")
    values = of(source, **options)
    values = values.of_rows(slice(0, samples))
    picked = [_picked(values, row, outputs) for row in range(values.rows)]
    originals = _originals(values, original)
    captions = _captions(values, probability)
    figure, grid = _grid(values, len(picked[0]) * len(signs), any(o is not None for o in originals))
    for row in range(values.rows):
        planes = heats(values.phi[row], smooth)
        scale = scale_of(planes[picked[row]], percent)
        shown = originals[row]
        if shown is not None:
            title = str(titles[row]) if titles is not None else "original" if row == 0 else ""
            _panel(grid[row][0], shown, _draw.wrap(title, 22))
        panels = grid[row] if shown is None else grid[row][1:]
        cells = [(k, name) for k in picked[row] for name in signs]
        for axes, (k, name) in zip(panels, cells):
            caption = captions[row][k] + (f", {name}" if len(signs) > 1 else "")
            _panel(axes, _overlay(shown, planes[k], name, scale, blend), caption)
        _scale(figure, panels[-1], signs, scale)
    title = "SHAP values of images"
    return Plot(figure, title, vector=False)


def _picked(values: Values, row: int, count: int) -> list[int]:
    """Outputs in the order of what they predict."""
    order = np.argsort(-values.predictions()[row], kind="stable")
    return [int(k) for k in order[:count]]


def _originals(values: Values, original: Any) -> list[Array | None]:
    if original is None:
        return [None if values.data is None else picture(values.data[row])
                for row in range(values.rows)]
    given = original if isinstance(original, (list, tuple)) else [original] \
        if np.ndim(original) in (2, 3) else list(original)
    if len(given) < values.rows:
        raise ArgumentError(f"{len(given)} originals for {values.rows} samples")
    return [picture(one) for one in given[:values.rows]]


def _grid(values: Values, columns: int, with_original: bool) -> tuple[Any, list[list[Any]]]:
    """Axes of all panels, in inches of their own."""
    height, width, _ = axes_of(values.shape)
    ratio = values.shape[height] / values.shape[width]
    wide = 2.1 if columns < 6 else 1.7
    tall, gap, head, right = wide * ratio, 0.12, 0.62, 0.85
    count = columns + with_original
    figure = _draw.new_figure(count * (wide + gap) + right, values.rows * (tall + head))
    size = figure.get_size_inches()
    grid = [[figure.add_axes((column * (wide + gap) / size[0],
                              ((values.rows - 1 - row) * (tall + head)) / size[1],
                              wide / size[0], tall / size[1])) for column in range(count)]
            for row in range(values.rows)]
    return figure, grid


def _panel(axes: Any, pixels: Array, title: str) -> None:
    axes.imshow(pixels, interpolation="nearest" if max(pixels.shape) < 112 else "antialiased")
    axes.set_title(title, fontsize=8.5, pad=4)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color("#dddddd")


def _scale(figure: Any, beside: Any, signs: list[str], scale: float) -> None:
    """The colour bar of a row, that of its first sign."""
    colours, low = _colour_map(signs[0])
    place = beside.get_position()
    inch = 1 / figure.get_figwidth()
    axes = figure.add_axes((place.x1 + 0.12 * inch, place.y0, 0.1 * inch, place.height))
    mappable = _draw.module("matplotlib.cm").ScalarMappable(
        _draw.module("matplotlib.colors").Normalize(low * scale, scale), colours)
    bar = figure.colorbar(mappable, cax=axes)
    bar.outline.set_visible(False)
    ticks = [low * scale, 0, scale] if low else [0, scale]
    bar.set_ticks(ticks, labels=[number(t) for t in ticks])
    axes.tick_params(labelsize=8, color=FAINT)
    axes.set_ylabel(MEANINGS[signs[0]] if len(signs) == 1 else "SHAP value", fontsize=8)
