"""python -m onnxexplainer plot: plots from models, photographs and files of results."""

from __future__ import annotations

import argparse
import inspect
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _inputs, _pictures, plots
from ._errors import ArgumentError, Error
from ._explain import load
from .plots import _guess
from .plots._values import explained, lines

EXAMPLES = """examples:
  plot explained.onnx -i photo.jpg --preprocess imagenet --labels classes.txt -o photo.png
  plot model.onnx -i photo.jpg --preprocess imagenet --labels classes.txt -o photo.png
  plot beeswarm explained.onnx -i table.csv -o table.svg
  plot waterfall results.npz -i table.csv --sample 3 -o third.html
  plot text explained.onnx -i ids.npy --tokens vocabulary.txt
"""


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser("onnxexplainer plot", description="Draws SHAP values.",
                                   epilog=EXAMPLES, allow_abbrev=False,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("words", nargs="+", metavar="[KIND] SOURCE", help="KIND: " +
                      ", ".join(plots.KINDS) + " (default: what fits). SOURCE: an explained "
                      "model, a model, or the .npz that run wrote")
    made.add_argument("-o", "--output", metavar="OUT", help=".png, .svg or .html (texts and "
                      "tables: also .txt; default: to the terminal)")
    _inputs.add_options(made)
    made.add_argument("--image", metavar="FILE", help="pictures to show in place of the samples")
    made.add_argument("--of", metavar="INPUT", help="of several inputs the one to draw")
    made.add_argument("--sample", type=int, metavar="I", help="this sample alone, from 0")
    made.add_argument("--count", type=int, metavar="N", help="features, at most")
    made.add_argument("--sign", help="images: all, positive, negative, absolute, or several of "
                      "them with commas")
    made.add_argument("--blend", type=float, help="images: how much of the original shows, 0 to 1")
    made.add_argument("--smooth", type=int, metavar="PIXELS", help="images: pixels to average over")
    made.add_argument("--probability", choices=("auto", "softmax", "sigmoid", "none"),
                      help="what outputs are made")
    made.add_argument("--feature", help="scatter: the feature, by name or number")
    made.add_argument("--color", help="scatter: the feature that colours the dots")
    made.add_argument("--alphabet", help="logo: a letter for each place of the one-hot axis")
    return made


def _values(source: str, options: argparse.Namespace) -> tuple[plots.Values, _inputs.Inputs]:
    """SHAP values of a file of results or of a model's run."""
    common: dict[str, Any] = {"labels": options.labels, "input": options.of}
    if pathlib.Path(source).suffix == ".npz":
        given = _inputs.files(options.input, explained(source, options.of), options,
                              lines(options.names))
        return plots.values(source, data=given.arrays, feature_names=options.names or given.names,
                            **common), given
    session, given, _ = _inputs.open_model(source, options)
    found = _inputs.run(session, given)
    kept = session.metadata["feature_names"].splitlines() or None
    return plots.values(found, data=given.arrays, feature_names=options.names or given.names or
                        kept, **common), given


def _arguments(kind: str, options: argparse.Namespace, given: _inputs.Inputs,
               values: plots.Values) -> dict[str, Any]:
    """What is given of what the plot takes; what it does not take is refused."""
    found: dict[str, Any] = {name: getattr(options, name) for name in
                             ("sample", "count", "blend", "smooth", "probability", "feature",
                              "color", "alphabet") if getattr(options, name) is not None}
    if options.sign:
        signs = options.sign.split(",")
        found["sign"] = signs if len(signs) > 1 else signs[0]
    if options.tokens:
        found["tokens"] = lines(options.tokens)
    if options.steps_last:
        found["steps_last"] = True
    known = inspect.signature(plots.KINDS[kind]).parameters
    if kind == "image": # which takes some, and is given them
        found.pop("sample", None)
    for name in found:
        if name not in known:
            raise ArgumentError(f"--{name.replace('_', '-')} is nothing that the plot \"{kind}\" takes")
    if kind == "image":
        found["original"] = _originals(options) or given.pictures
    if options.target is not None and not options.target.startswith(("top", "all")):
        _target(options.target, values, known, found)
    return found


def _target(target: str, values: plots.Values, known: Any, found: dict[str, Any]) -> None:
    """Draws the output that is asked for, where there are several."""
    if "output" in known and values.outputs > 1:
        found["output"] = target


def _originals(options: argparse.Namespace) -> list[Any] | None:
    if not options.image:
        return None
    if _pictures.is_picture(options.image):
        return [np.asarray(_pictures.read(options.image))]
    return list(load(options.image))


def draw(options: argparse.Namespace) -> None:
    """Draws what is asked for."""
    kind, source = options.words[0], options.words[-1]
    if len(options.words) > 2 or (len(options.words) == 2 and kind not in plots.KINDS):
        raise ArgumentError(f"{kind!r} is none of {', '.join(plots.KINDS)}")
    values, given = _values(source, options)
    if not values.rows:
        raise ArgumentError("there are no samples")
    rows, sample = values.rows, options.sample
    if sample is not None and not 0 <= sample < rows:
        raise ArgumentError(f"sample {sample}: there are {rows}, from 0")
    row = slice(None) if sample is None else slice(sample, sample + 1)
    if len(options.words) == 1:
        kind = _guess.kinds(values.of_rows(row), bool(options.tokens))[0]
    arguments = _arguments(kind, options, given, values)
    if kind == "image":
        originals = arguments["original"]
        arguments["original"] = originals[row] if originals and len(originals) == rows else originals
        values = values.of_rows(row)
        if options.target and values.outputs > 1 and \
                not options.target.startswith(("top", "all")):
            values = values.of_output(options.target)
    made = plots.KINDS[kind](values, **arguments)
    if options.output:
        made.save(options.output)
        drawn = f"sample {sample}" if sample is not None else _drawn(kind, values)
        _inputs.note(options, f"wrote {options.output}: {kind} of {drawn}")
    elif hasattr(made, "print"):
        made.print()
    else:
        raise ArgumentError("give the file to write: -o OUT.png")


def _drawn(kind: str, values: plots.Values) -> str:
    """How many samples a plot shows."""
    most = inspect.signature(plots.KINDS[kind]).parameters.get("samples")
    shown = 1 if _guess.is_alone(kind, values) else most.default if most else values.rows
    if shown < values.rows:
        return f"the first {f'{shown} ' if shown > 1 else ''}of {values.rows} samples"
    return f"{values.rows} sample{'s' if values.rows > 1 else ''}"


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    try:
        draw(parser().parse_args(arguments))
    except Error as error:
        print(f"onnxexplainer: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1
    except OSError as error:
        print(f"onnxexplainer: {error.filename or ''}: {error.strerror}", file=sys.stderr)
        return 1
    return 0
