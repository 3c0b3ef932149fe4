"""Plots of text: tokens coloured by their SHAP values, in HTML, in a terminal, as a picture."""

from __future__ import annotations

import dataclasses
import html as markup
import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO

import numpy as np

from .._arrays import Array
from .._errors import ArgumentError
from . import _draw
from ._bars import one
from ._draw import FAINT, INK, NEGATIVE, POSITIVE, Plot, number, styled
from ._steps import scale_of
from ._values import Values, of, probabilities

# Marks of word beginnings, as tokenisers have them: of SentencePiece, of byte-level BPE.
BEGINS = ("\u2581", "\u0120")
PADDING = ("[PAD]", "<pad>", "<PAD>", "<|endoftext|>", "")
STYLE = """.ox-text { line-height: 2.1 } .ox-text span { padding: .15em .2em; border-radius: .25em }
.ox-head { color: #6b6b6b; font-size: 90%; margin: .6em 0 .2em }
.ox-key { display: inline-block; width: 9em; height: .7em; vertical-align: middle;
          margin: 0 .5em }"""


@dataclasses.dataclass(frozen=True)
class Line:
    """A sample: its head, its tokens and their values."""

    head: str
    tokens: list[str]
    values: Array


def _merged(tokens: Sequence[str], values: Array) -> tuple[list[str], Array]:
    """Pieces of words put together, their values added up."""
    marked = any(token.startswith(BEGINS) for token in tokens)
    texts: list[str] = []
    sums: list[float] = []
    for token, value in zip(tokens, values):
        special = token.startswith(("[", "<")) and token.endswith(("]", ">"))
        follows = token.startswith("##") or \
            (marked and not token.startswith(BEGINS) and not special)
        text = token.removeprefix("##").lstrip("".join(BEGINS))
        if follows and texts:
            texts[-1] += text
            sums[-1] += float(value)
        else:
            texts.append(text)
            sums.append(float(value))
    return texts, np.array(sums)


def _short_padding(tokens: Sequence[str], values: Array) -> tuple[list[str], Array]:
    """With the padding at the end as one token, and without it where it has no value."""
    end = len(tokens)
    while end and tokens[end - 1] in PADDING:
        end -= 1
    rest, count = float(values[end:].sum()), len(tokens) - end
    if count < 2 or np.abs(values[end:]).max() <= 1e-6 * scale_of(values):
        count = 0 if not count or not np.any(values[end:]) else count
    if not count:
        return list(tokens[:end]), values[:end]
    name = f"{tokens[end]} \u00d7 {count}" if count > 1 else tokens[end]
    return [*tokens[:end], name], np.append(values[:end], rest)


def _line(values: Values, row: int, k: int, tokens: Sequence[str], merge: bool,
          chances: Array | None) -> Line:
    phi = values.phi[row, k]
    phi = phi.reshape(phi.shape[0] if phi.ndim else 1, -1).sum(axis=1)
    if len(tokens) > len(phi):
        raise ArgumentError(f"{len(tokens)} tokens for {len(phi)} SHAP values")
    texts, sums = _short_padding(tokens, phi[:len(tokens)])
    if merge:
        texts, sums = _merged(texts, sums)
    target, said = int(values.targets[row, k]), number(values.predictions()[row, k])
    label = values.label(row, k)
    head = f"{label}: {said}" if label else f"prediction {said}"
    if chances is not None and target >= 0:
        head += f" ({chances[row, target]:.1%})"
    if values.base is not None:
        head += f", base value {number(values.base[row, k])}"
    return Line(head, texts, sums)


class Text:
    """Texts with coloured tokens: as HTML, in a terminal, as a picture.

    `print(text.terminal())` shows it in a terminal; a notebook shows the HTML.
    """

    def __init__(self, lines: list[Line]) -> None:
        self.lines, self.title = lines, "SHAP values of tokens"
        self.scale = max((scale_of(line.values) for line in lines), default=1.0)

    def _colour(self, value: float) -> tuple[str, float]:
        """The colour of a value, and how much of it is there, from 0 to 1."""
        return (POSITIVE if value > 0 else NEGATIVE), min(abs(value) / self.scale, 1.0)

    def _mixed(self, value: float) -> tuple[int, int, int]:
        """Red, green, blue of a value on white."""
        colour, share = self._colour(value)
        parts = [int(colour[i:i + 2], 16) for i in (1, 3, 5)]
        red, green, blue = (round(255 + (part - 255) * share) for part in parts)
        return red, green, blue

    # ---- HTML ----

    def fragment(self) -> str:
        """HTML without what makes a page of it."""
        scale = number(self.scale)
        key = (f"<p class=ox-head>\u2212{scale}<span class=ox-key style=\"background: "
               f"linear-gradient(90deg, {NEGATIVE}, #fff, {POSITIVE})\"></span>+{scale}</p>")
        body = "\n".join(f"<p class=ox-head>{markup.escape(line.head)}</p>\n"
                         f"<p class=ox-text>{self._spans(line)}</p>" for line in self.lines)
        return f"<style>{STYLE}</style>\n<div>{key}\n{body}</div>"

    def _spans(self, line: Line) -> str:
        parts = []
        for token, value in zip(line.tokens, line.values):
            red, green, blue = self._mixed(value)
            ink = "#fff" if self._colour(value)[1] > 0.75 else INK
            parts.append(f"<span style=\"background: rgb({red},{green},{blue}); color: {ink}\" "
                         f"title=\"{number(value, True)}\">{markup.escape(token)}</span>")
        return " ".join(parts)

    def html(self) -> str:
        """A page."""
        return _draw.page(self.title, self.fragment())

    def _repr_html_(self) -> str:
        return self.fragment()

    # ---- terminal ----

    def terminal(self, colour: bool | None = None, deep: bool | None = None) -> str:
        """Text with colours of the terminal behind tokens; without colours, numbers stand behind
        the tokens that have at least a twentieth of the strongest value.

        colour: default: where standard output is a terminal, and not under NO_COLOR
        deep:   24 bits a colour; default: where COLORTERM says so; else the 256 colours
        """
        if colour is None:
            colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        if deep is None:
            deep = os.environ.get("COLORTERM", "") in ("truecolor", "24bit")
        paint = (self._deep if deep else self._cube) if colour else self._plain
        return "\n\n".join(line.head + "\n" + " ".join(
            paint(token, float(value)) for token, value in zip(line.tokens, line.values))
            for line in self.lines) + "\n"

    def _plain(self, token: str, value: float) -> str:
        return token if self._colour(value)[1] < 0.05 else f"{token}[{number(value, True)}]"

    def _ink(self, value: float) -> str:
        return "97" if self._colour(value)[1] > 0.75 else "30"

    def _deep(self, token: str, value: float) -> str:
        red, green, blue = self._mixed(value)
        return f"\x1b[{self._ink(value)};48;2;{red};{green};{blue}m{token}\x1b[0m"

    def _cube(self, token: str, value: float) -> str:
        """The nearest of the 6 x 6 x 6 colours."""
        red, green, blue = (round(part / 255 * 5) for part in self._mixed(value))
        cell = 16 + 36 * red + 6 * green + blue
        return f"\x1b[{self._ink(value)};48;5;{cell}m{token}\x1b[0m"

    def __str__(self) -> str:
        return self.terminal()

    # ---- pictures ----

    def plot(self) -> Plot:
        """The same as a figure of matplotlib."""
        plot: Plot = _flow(self)
        return plot

    def save(self, path: str | os.PathLike[str]) -> str:
        """Writes .html, .png, .svg or .txt; returns the path."""
        return _draw.save_as(path, "texts", self.plot, self.html, lambda: self.terminal(False))

    def print(self, file: TextIO | None = None) -> None:
        """Writes it to a terminal."""
        print(self.terminal(), file=file, end="")


@styled
def _flow(text: Text) -> Plot:
    """Tokens in rows of 8 inches."""
    width, row, gap = 8.0, 0.28, 0.07
    figure = _draw.new_figure(width + 0.3, 1)
    places: list[tuple[float, float, float, str, float]] = []
    heads: list[tuple[float, str]] = []
    y = 0.0
    for line in text.lines:
        heads.append((y, line.head))
        x, y = 0.0, y + row
        for token, value in zip(line.tokens, line.values):
            wide = _draw.measure(figure, token, fontsize=10)[0] + 0.1
            if x + wide > width and x:
                x, y = 0.0, y + row
            places.append((x, y, wide, token, float(value)))
            x += wide + gap
        y += row + 0.12
    figure.set_size_inches(width + 0.3, y + 0.15)
    axes = figure.add_axes((0.15 / (width + 0.3), 0, width / (width + 0.3), 1))
    axes.set_xlim(0, width)
    axes.set_ylim(y + 0.05, -0.1)
    axes.axis("off")
    for top, head in heads:
        axes.text(0, top + row / 2, head, fontsize=8.5, color=FAINT, va="center")
    _boxes(axes, text, places, row)
    return Plot(figure, text.title)


def _boxes(axes: Any, text: Text, places: list[tuple[float, float, float, str, float]],
           row: float) -> None:
    patches = _draw.module("matplotlib.patches")
    for x, y, wide, token, value in places:
        colour = [part / 255 for part in text._mixed(value)]
        axes.add_patch(patches.Rectangle((x, y + 0.02), wide, row - 0.05, color=colour,
                                         linewidth=0))
        ink = "white" if text._colour(value)[1] > 0.75 else INK
        axes.text(x + wide / 2, y + row / 2, token, fontsize=10, ha="center", va="center",
                  color=ink)


def text(source: Any, tokens: Any = None, *, sample: int | None = None,
         output: int | str | None = None, merge: bool = True, probability: str = "auto",
         samples: int = 8, **options: Any) -> Text:
    """Tokens of texts, coloured by their SHAP values.

    source:  an Explanation, outputs of a session, the path of an .npz, or arrays: see `values`;
             values of embeddings (N, tokens, width) are added up over the width
    tokens:  lists of texts, one a sample, or one list for one sample; a dict or list that says what
             ids mean, of which the samples are; default: the samples
    sample:  this one alone
    output:  number or name; default: that which each sample predicts
    merge:   put pieces of words together (##ing; those of SentencePiece and of byte-level BPE)
    probability, samples, options: as those of `image`
    """
    values = of(source, **options)
    chosen = range(min(values.rows, samples)) if sample is None else [sample]
    if sample is not None and not -values.rows <= sample < values.rows:
        raise ArgumentError(f"sample {sample}: there are {values.rows}")
    lines = []
    for row in chosen:
        alone = one(values, row, output)
        lines.append(_line(alone, 0, 0, _tokens_of(values, row, tokens), merge,
                           probabilities(alone, probability)))
    return Text(lines)


def _tokens_of(values: Values, row: int, tokens: Any) -> list[str]:
    """The tokens of a sample."""
    if isinstance(tokens, dict) or (tokens is not None and values.data is not None and
                                    np.asarray(values.data).dtype.kind in "iu" and
                                    isinstance(tokens[0], str) and len(tokens) > values.shape[0]):
        if values.data is None:
            raise ArgumentError("what ids mean is given, but no samples: give data=")
        ids = np.asarray(values.data[row]).reshape(-1)
        known = tokens if isinstance(tokens, dict) else dict(enumerate(tokens))
        return [str(known.get(int(i), f"<{int(i)}>")) for i in ids]
    if tokens is not None:
        own = tokens if isinstance(tokens[0], str) else tokens[row]
        return [str(token) for token in own]
    if values.data is None or np.ndim(values.data) != 2:
        raise ArgumentError("tokens= is needed: what the values belong to is not known")
    return [str(token) for token in np.asarray(values.data[row])]
