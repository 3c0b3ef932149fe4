"""What all plots share: matplotlib, colours, and how a drawing becomes a file."""

from __future__ import annotations

import base64
import functools
import html as markup
import importlib
import io
import os
import pathlib
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np

from .._arrays import Array
from .._errors import ArgumentError, FileError, UnsupportedError

P = ParamSpec("P")
T = TypeVar("T")

# Vermilion speaks for an output, blue against. They differ in hue for readers of any colour vision,
# and both carry white letters.
POSITIVE, NEGATIVE, NEUTRAL = "#c8401f", "#1f6bb0", "#5b2a86"
INK, FAINT, LINE = "#222222", "#6b6b6b", "#c9c9c9"
# Of Okabe and Ito, for things that are told apart.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#444444", "#8c564b")
STYLE = {"font.family": "DejaVu Sans", "font.size": 9.0, "axes.edgecolor": FAINT,
         "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK,
         "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 9.5,
         "axes.linewidth": 0.8, "svg.hashsalt": "onnxexplainer", "figure.facecolor": "white",
         "axes.unicode_minus": True, "text.parse_math": False}
END = 0.13 # inches that a number may reach beyond its axis
SUFFIXES = (".png", ".svg", ".html")
DPI = 144


def module(name: str) -> Any:
    """A module of matplotlib, which nothing but plots needs."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UnsupportedError("plots are drawn by matplotlib, which is not installed: "
                               "pip install matplotlib") from error


def diverging() -> Any:
    """Colours from -1 by white to 1."""
    colours = module("matplotlib.colors")
    return colours.LinearSegmentedColormap.from_list(
        "against_for", ["#0d3b66", NEGATIVE, "#a9cbe8", "#ffffff", "#f4bba6", POSITIVE, "#7c1d06"])


def rising(colour: str) -> Any:
    """Colours from white to a full one."""
    colours = module("matplotlib.colors")
    return colours.LinearSegmentedColormap.from_list("rising", ["#ffffff", colour])


def low_high() -> Any:
    """Colours of what features are worth, from low to high: also their lightness rises."""
    colours = module("matplotlib.colors")
    plasma = module("matplotlib").colormaps["plasma"]
    return colours.ListedColormap(plasma(np.linspace(0.03, 0.83, 256)), "low_high")


def new_figure(width: float, height: float) -> Any:
    """A figure of its own, in inches: pyplot's state is left alone."""
    figure = module("matplotlib.figure").Figure(figsize=(width, height))
    module("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    return figure


def styled(function: Callable[P, T]) -> Callable[P, T]:
    """Draws in our style, and leaves that of the caller."""
    @functools.wraps(function)
    def inside(*arguments: P.args, **options: P.kwargs) -> T:
        with module("matplotlib").rc_context(STYLE):
            return function(*arguments, **options)
    return inside


def extent(figure: Any, text: Any) -> tuple[float, float]:
    """Width and height of a text in inches."""
    box = text.get_window_extent(figure.canvas.get_renderer())
    return box.width / figure.dpi, box.height / figure.dpi


def measure(figure: Any, text: str, **style: Any) -> tuple[float, float]:
    """Width and height that a text would have, in inches."""
    item = figure.text(0, 0, text, **style)
    size = extent(figure, item)
    item.remove()
    return size


def wrap(text: str, width: int, rows: int = 2) -> str:
    """A text in so many rows, with an ellipsis where it is longer."""
    parts = textwrap.wrap(text, width, max_lines=rows, placeholder="…") or [""]
    return "\n".join(part if len(part) <= width else part[:width - 1] + "…" for part in parts)


def shorten(text: str, width: int = 28) -> str:
    """A text in one row; what is left out is in its middle, as its ends tell more."""
    if len(text) <= width:
        return text
    return text[:(width - 1) * 2 // 3] + "…" + text[-((width - 1) // 3):]


def number(value: Any, sign: bool = False) -> str:
    """A number in few digits, with a true minus; what is no number as it is."""
    try:
        value = float(value)
    except (TypeError, ValueError):
        return str(value)
    text = f"{value:{'+' if sign else ''}.3g}"
    if "e" in text and 1e-4 < abs(value) < 1e6:
        text = f"{value:{'+' if sign else ''}.0f}"
    return text.replace("-", "\u2212").replace("e+0", "e").replace("e\u22120", "e\u2212")


def assignment(name: str, value: Any) -> str:
    """"name = value", shortened."""
    return shorten(name) if value is None else f"{shorten(name)} = {shorten(number(value), 14)}"


def spread(centres: Sequence[float], widths: Sequence[float], low: float, high: float) -> Array:
    """Places near the centres where intervals of these widths do not overlap between low and high;
    the widths fit in there. Neighbours that touch move as one, to the mean of where they belong."""
    order = np.argsort(centres, kind="stable")
    groups: list[list[float]] = [] # left end, width, sum of wanted left ends, count
    for i in order:
        group = [0.0, widths[i], centres[i] - widths[i] / 2, 1.0]
        while True:
            group[0] = min(max(group[2] / group[3], low), high - group[1])
            if not groups or groups[-1][0] + groups[-1][1] <= group[0]:
                break
            last = groups.pop()
            group = [0.0, last[1] + group[1], last[2] + group[2] - last[1] * group[3],
                     last[3] + group[3]]
        groups.append(group)
    placed, at = np.zeros(len(order)), iter(order)
    for left, width, _, count in groups:
        for _ in range(int(count)):
            i = next(at)
            placed[i] = left + widths[i] / 2
            left += widths[i]
    return placed


def by_strength(phi: Array, count: int) -> tuple[Array, Array]:
    """Features (columns) from the strongest on, at most `count`, and those that are left."""
    order = np.argsort(-np.abs(phi).mean(axis=0), kind="stable")
    return (order, order[:0]) if len(order) <= count else (order[:count - 1], order[count - 1:])


def zero_line(axes: Any, at: float = 0.0) -> None:
    """A line where values change their sign."""
    axes.axvline(at, color=LINE, linewidth=1, zorder=0)


def widened(low: float, high: float, inches: float,
            beside: Callable[[float], Sequence[tuple[float, float]]]) -> tuple[float, float]:
    """Limits of an axis of so many inches that also has room for texts.

    beside: for inches per unit, where texts begin and how long they are in inches, those to the left
            less than 0
    """
    least = 1e-12 * max(abs(low), abs(high), 1e-30)
    if high - low < least: # nothing changes
        low, high = low - 1e6 * least, high + 1e6 * least
    for _ in range(50):
        scale = inches / (high - low)
        ends = [at + long / scale for at, long in beside(scale)]
        wide = min([low, *ends]), max([high, *ends])
        if wide == (low, high):
            break
        low, high = wide
    return low, high


def ticks(figure: Any, axes: Any, inches: float | None = None) -> None:
    """Numbers along an x axis: as many as have room beside each other, each in full, as a power of
    ten at the end would have to be looked for."""
    low, high = axes.get_xlim()
    inches = inches or axes.get_position().width * figure.get_figwidth()
    size = axes.xaxis.get_ticklabels()[0].get_fontsize()
    locators = module("matplotlib.ticker").MaxNLocator
    for count in range(min(max(axes.xaxis.get_tick_space(), 1), 9), 0, -1):
        places = locators(count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        texts = _of_ticks(places, places[1] - places[0])
        at = (places - low) / (high - low) * inches
        half = np.array([measure(figure, text, fontsize=size)[0] / 2 for text in texts])
        slack = 1e-9 * inches
        inside = (at >= -slack) & (at <= inches + slack) & (at - half > -END) & \
            (at + half < inches + END)
        places, at, half = places[inside], at[inside], half[inside]
        texts = [text for text, is_there in zip(texts, inside) if is_there]
        if (half[:-1] + half[1:] + 0.06 <= np.diff(at)).all():
            break
    axes.set_xticks(places, texts)
    axes.set_xlim(low, high)


def _of_ticks(places: Array, step: float) -> list[str]:
    """Texts of numbers that are multiples of a step, with as many digits as tell them apart."""
    places = np.where(np.abs(places) < step / 2, 0.0, places)
    largest = float(np.abs(places).max(initial=0.0))
    digits = -int(np.floor(np.log10(step) + 1e-9)) # behind the point, of the step's first
    digits += abs(step * 10.0 ** digits - round(step * 10.0 ** digits)) > 1e-6
    if 1e-4 <= largest < 1e6 and digits <= 8:
        texts = [f"{place:.{max(digits, 0)}f}" for place in places]
    else:
        texts = ["0" if not place else
                 f"{place:.{max(int(np.floor(np.log10(abs(place)) + 1e-9)) + digits, 0)}e}"
                 for place in places]
    return [text.replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
            .replace("-", "\u2212") for text in texts]


def of_output(text: str, label: str) -> str:
    """A title with the output that it is about."""
    return f"{text}: {label}" if label else text


# ---- files -------------------------------------------------------------------------------

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; color: {ink}; margin: 2em auto;
       max-width: 70em; padding: 0 1em; background: #fff }}
img, svg {{ max-width: 100%; height: auto }}
{style}</style></head><body>
{body}
</body></html>
"""


def page(title: str, body: str, style: str = "") -> str:
    """A page that needs nothing beside it."""
    return PAGE.format(title=markup.escape(title), body=body, style=style, ink=INK)


def write(path: str | os.PathLike[str], content: str | bytes) -> str:
    """Writes a file, whole or not at all; returns its path."""
    place = pathlib.Path(path)
    beside = place.with_name(f"{place.name}.{os.getpid()}.tmp")
    try:
        if place.exists() and not place.is_file(): # a device or a pipe
            place.write_bytes(content.encode() if isinstance(content, str) else content)
            return os.fspath(path)
        beside.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(beside, place)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise FileError(f"{os.fspath(path)}: {error.strerror}") from error
    return os.fspath(path)


class Plot:
    """A plot: a matplotlib figure with the text that describes it.

    `figure` can be changed and drawn further; a notebook shows the plot where it is the last value
    of a cell.
    """

    def __init__(self, figure: Any, title: str, vector: bool = True) -> None:
        self.figure, self.title, self._vector = figure, title, vector

    def png(self, dpi: int = DPI) -> bytes:
        """The picture as PNG."""
        return self._saved("png", dpi)

    def svg(self) -> str:
        """The picture as SVG, with letters as outlines."""
        return self._saved("svg", DPI).decode()

    def _saved(self, kind: str, dpi: int) -> bytes:
        buffer = io.BytesIO()
        with module("matplotlib").rc_context(STYLE):
            self.figure.savefig(buffer, format=kind, dpi=dpi, bbox_inches="tight", pad_inches=0.12,
                                metadata={"Date": None} if kind == "svg" else {"Software": None})
        return buffer.getvalue()

    def fragment(self) -> str:
        """HTML without what makes a page of it."""
        alt = markup.escape(self.title, quote=True)
        if self._vector:
            svg = self.svg()
            return f'<div role="img" aria-label="{alt}">{svg[svg.index("<svg"):]}</div>'
        data = base64.b64encode(self.png()).decode()
        return f'<img alt="{alt}" src="data:image/png;base64,{data}">'

    def html(self) -> str:
        """A page with the plot in it."""
        return page(self.title, self.fragment())

    def save(self, path: str | os.PathLike[str]) -> str:
        """Writes .png, .svg or .html; returns the path."""
        suffix = pathlib.Path(path).suffix.lower()
        if suffix not in SUFFIXES:
            raise ArgumentError(f"{os.fspath(path)}: plots are written to {', '.join(SUFFIXES)}")
        return write(path, self.png() if suffix == ".png" else self.svg() if suffix == ".svg" else
                     self.html())

    def _repr_png_(self) -> bytes:
        return self.png()


def save_as(path: str | os.PathLike[str], what: str, plot: Callable[[], Plot],
            html: Callable[[], str], text: Callable[[], str]) -> str:
    """Writes .html, .png, .svg or .txt, each as its function gives it; returns the path."""
    suffix = pathlib.Path(path).suffix.lower()
    if suffix in (".png", ".svg"):
        return plot().save(path)
    if suffix not in (".html", ".txt"):
        raise ArgumentError(f"{os.fspath(path)}: {what} are written to .html, .png, .svg, .txt")
    return write(path, html() if suffix == ".html" else text())
