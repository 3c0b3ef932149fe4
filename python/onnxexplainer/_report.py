"""python -m onnxexplainer report: one page about an explained model and samples, which needs
nothing beside it."""

from __future__ import annotations

import argparse
import collections
import ctypes
import html as markup
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from . import _abi, _inputs, plots
from ._arrays import Array
from ._errors import ArgumentError, Error
from ._library import call, library, runtime_bytes
from ._model import Model, ValueInfo
from ._session import Session
from .plots import _draw, _guess
from .plots._draw import number
from .plots._values import SUFFIX, is_table, lines, probabilities

OURS = "onnxexplainer/"
STYLE = """h1 { font-size: 1.6em } h2 { margin-top: 2em; border-bottom: 1px solid #ccc }
table.card { border-collapse: collapse } .card td, .card th { padding: .25em .9em .25em 0;
text-align: left; vertical-align: top } .card th { font-weight: 600; white-space: nowrap }
.card tr { border-bottom: 1px solid #eee }
.share { display: inline-block; height: .7em; background: #44546a; margin-right: .4em }
.bad { color: #a32a0d; font-weight: 600 } .good { color: #17663f; font-weight: 600 }
figure { margin: 1.2em 0 } nav a { margin-right: 1em } p.small { color: #6b6b6b; font-size: 90% }"""
SINGLE = 3     # samples that are drawn alone
PREDICTED = 20 # samples whose predictions are listed
REPEATS = 5    # runs that are timed


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser("onnxexplainer report", allow_abbrev=False,
                                   description="Writes one page about a model and samples: card, "
                                   "predictions, plots, gaps, timings. It opens offline.")
    made.add_argument("model", metavar="MODEL", help="an explained model, or one to explain")
    made.add_argument("-o", "--output", required=True, metavar="OUT.html")
    made.add_argument("--title", help="default: the model's name")
    _inputs.add_options(made)
    return made


# ---- what the model is -------------------------------------------------------------------


def _operators(model: Model) -> tuple[dict[str, int], int]:
    """How often each operator of the original is there, and how many nodes were added."""
    report = ctypes.cast(call("ox_inspect", model.pointer, None),
                         ctypes.POINTER(_abi.ox_report))
    found: collections.Counter[str] = collections.Counter()
    try:
        nodes = ctypes.cast(report.contents.nodes, ctypes.POINTER(_abi.ox_node_report))
        for i in range(report.contents.node_count):
            node = nodes[i]
            ours = node.name.decode().startswith(OURS) or node.domain == b"onnxexplainer"
            found[OURS if ours else node.op.decode()] += 1
    finally:
        library.ox_report_free(report)
    found.pop("Constant", None) # numbers, not what is done with them
    added = found.pop(OURS, 0)
    return dict(found.most_common()), added


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.3g} {unit}" if unit != "bytes" else f"{count:.0f} bytes"
        count /= 1000
    return ""


def _signature(infos: Sequence[ValueInfo]) -> str:
    return "<br>".join(f"{markup.escape(info.name)}: {info.dtype} "
                       f"{markup.escape(str(list(info.shape or ())).replace(chr(39), ''))}"
                       for info in infos)


def _card(path: str, session: Session, source: Any) -> Iterator[tuple[str, str]]:
    """Rows of the model card; values are HTML."""
    with Model.read(source) as model:
        operators, added = _operators(model)
        said = {key: model.metadata(key) for key in
                ("version", "method", "target", "output", "inputs", "references", "cache", "fixed",
                 "held", "logits")}
        opset, version = library.ox_opset(model.pointer, None), library.ox_ir_version(model.pointer)
    yield "file", f"{markup.escape(os.path.basename(path))}, {_size(os.path.getsize(path))}"
    yield "format", f"opset {opset}, IR {version}"
    for name, key in (("method", "method"), ("explained output", "output"), ("target", "target"),
                      ("explained inputs", "inputs"), ("references", "references"),
                      ("kept of them", "cache"), ("constants", "fixed"), ("held", "held"),
                      ("logits before it", "logits"), ("onnxexplainer", "version")):
        if said[key]:
            yield name, markup.escape(str(said[key]))
    yield "inputs", _signature(session.inputs)
    yield "outputs", _signature(session.outputs)
    yield "operators", f"{sum(operators.values())}: " + ", ".join(
        f"{markup.escape(op)} {count}" if count > 1 else markup.escape(op)
        for op, count in operators.items()) + f"; added to explain: {added}"


def _rows(rows: Iterator[tuple[str, str]]) -> str:
    return "<table class=card>" + "".join(f"<tr><th>{name}</th><td>{text}</td></tr>"
                                          for name, text in rows) + "</table>"


# ---- what it says ------------------------------------------------------------------------


def _predictions(values: plots.Values, count: int = 3) -> str:
    """The highest outputs of each sample."""
    chances, scores = probabilities(values), values.scores
    shown = chances if chances is not None else scores
    body = []
    for row in range(min(values.rows, PREDICTED)):
        if shown is None:
            cells = [number(values.predictions()[row, 0])]
        else:
            order = np.argsort(-shown[row], kind="stable")[:count]
            cells = [_cell(values, int(k), float(shown[row, k]), chances is not None)
                     for k in order]
        body.append(f"<tr><th>{row}</th>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    rest = values.rows - PREDICTED
    more = f"<p class=small>and {rest} more samples</p>" if rest > 0 else ""
    return f"<table class=card>{''.join(body)}</table>{more}"


def _cell(values: plots.Values, k: int, value: float, chance: bool) -> str:
    known = values.labels is not None and k < len(values.labels)
    label = values.labels[k] if known and values.labels else f"output {k}"
    label = "" if not known and values.scores is not None and values.scores.shape[1] == 1 else label
    text = f"{value:.1%}" if chance else number(value)
    bar = f"<span class=share style=\"width: {4 * value:.2f}em\"></span>" if chance else ""
    return f"{bar}{markup.escape(label)} {text}"


# ---- plots -------------------------------------------------------------------------------


def _figures(values: plots.Values, given: _inputs.Inputs, options: argparse.Namespace,
             first: bool) -> Iterator[tuple[str, str]]:
    """Captions and HTML of the plots that fit."""
    tokens = lines(options.tokens)
    for kind in _guess.kinds(values, bool(tokens)):
        alone = _guess.is_alone(kind, values)
        more: dict[str, Any] = {}
        if kind == "text":
            more["tokens"] = tokens
        if kind == "heatmap" and options.steps_last:
            more["steps_last"] = True
        if kind == "image" and first and given.pictures is not None:
            more["original"] = given.pictures
        for sample in range(min(values.rows, SINGLE)) if alone else (None,):
            made = plots.KINDS[kind](values, **more, **({} if sample is None else
                                                        {"sample": sample}))
            yield kind if sample is None else f"{kind}, sample {sample}", made.fragment()


def _explained(found: dict[str, Array], session: Session) -> list[str]:
    """Names that have SHAP values of inputs; tensors inside come last."""
    names = [name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX)]
    inputs = {info.name for info in session.inputs}
    return sorted(names, key=lambda name: name not in inputs)


# ---- how well, how fast ------------------------------------------------------------------


def _gaps(session: Session, found: dict[str, Array]) -> str:
    """How well values add up, and what the check says."""
    said, findings = session._findings(found)
    rows = [("samples", str(findings.samples)), ("not finite", str(findings.not_finite)),
            ("sums that miss by more than rounding", str(findings.incomplete))]
    gap = found.get("completeness_gap")
    if gap is not None and gap.size:
        largest = np.abs(gap).max()
        rows.append(("largest gap, |f(x) \u2212 base value \u2212 sum of SHAP values|",
                     number(largest)))
    else:
        rows.append(("gaps", "the model was explained without --gap"))
    verdict = "".join(f"<p class=bad>{markup.escape(line)}</p>" for line in said) or \
        "<p class=good>Nothing to warn of: values are finite, sums are what they should be.</p>"
    return _rows(iter(rows)) + verdict


def _timings(source: Any, given: _inputs.Inputs) -> str:
    """Seconds to load, of one sample, and of all."""
    start = time.perf_counter()
    session = Session(source, tune=False)
    rows = [("load", f"{number(time.perf_counter() - start)} s")]
    one = {name: array[:1] for name, array in given.arrays.items()}
    count = len(next(iter(given.arrays.values())))
    for name, arrays, repeats in (("one sample", _inputs.Inputs(one), REPEATS),
                                  (f"all {count} samples", given, 2)):
        took = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            _inputs.run(session, arrays)
            took.append(time.perf_counter() - start)
        rows.append((name, f"{number(1000 * statistics.median(took[1:]))} ms"))
    version = ctypes.create_string_buffer(32)
    call("ox_runtime_version", runtime_bytes(), version, 32)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, ONNX Runtime {version.value.decode()}"
    return _rows(iter([*rows, ("on", machine)])) + \
        f"<p class=small>Medians of {REPEATS} and 2 runs, prediction and values together.</p>"


def _finite(found: dict[str, Array],
            given: _inputs.Inputs) -> tuple[dict[str, Array], _inputs.Inputs]:
    """The samples that can be drawn; what the check says of the others stands in the report."""
    rows = np.ones(len(found["shap_target"]), bool)
    for name, array in found.items():
        if name.endswith(SUFFIX) or name == "base_value":
            rows &= np.isfinite(array.reshape(len(rows), -1)).all(axis=1)
    if rows.all():
        return found, given
    if not rows.any():
        raise ArgumentError("no sample has SHAP values that are finite")

    def of(arrays: dict[str, Array]) -> dict[str, Array]:
        return {name: array[rows] if array.shape[:1] == rows.shape else array
                for name, array in arrays.items()}
    pictures = given.pictures and [p for p, good in zip(given.pictures, rows) if good]
    return of(found), _inputs.Inputs(of(given.arrays), pictures, given.names)


# ---- the page ----------------------------------------------------------------------------


def build(options: argparse.Namespace) -> str:
    """The page."""
    session, given, source = _inputs.open_model(options.model, options)
    found = _inputs.run(session, given)
    kept = session.metadata["feature_names"].splitlines() or None
    parts = [("Model", _rows(_card(options.model, session, source)))]
    whole, all_given = found, given
    found, given = _finite(found, given)
    drawn_at: list[str | None] = [None] if is_table(found) else [*_explained(found, session)]
    for i, name in enumerate(drawn_at):
        data = given.arrays if name is None else given.arrays.get(name)
        values = plots.values(found, data=data, labels=options.labels, input=name)
        names = lines(options.names) or given.names or kept
        if names is not None and len(names) == int(np.prod(values.shape)):
            values = plots.values(values, feature_names=names)
        if i == 0:
            parts.append(("Predictions", _predictions(values)))
        figures = "".join(f"<figure>{drawn}<figcaption class=small>{caption}</figcaption></figure>"
                          for caption, drawn in _figures(values, given, options, i == 0))
        parts.append((f"SHAP values of {name}" if name else "SHAP values", figures))
    parts += [("Sums", _gaps(session, whole)), ("Time", _timings(source, all_given))]
    title = options.title or f"{os.path.basename(options.model)}, explained"
    links = "".join(f"<a href=\"#part{i}\">{markup.escape(head)}</a>"
                    for i, (head, _) in enumerate(parts))
    body = "\n".join(f"<h2 id=part{i}>{markup.escape(head)}</h2>\n{text}"
                     for i, (head, text) in enumerate(parts))
    return _draw.page(title, f"<h1>{markup.escape(title)}</h1>\n<nav>{links}</nav>\n{body}", STYLE)


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    options = parser().parse_args(arguments)
    try:
        if not options.output.lower().endswith(".html"):
            raise ArgumentError(f"{options.output}: reports are written to .html")
        _draw.write(options.output, build(options))
        _inputs.note(options, f"wrote {options.output}")
    except Error as error:
        print(f"onnxexplainer: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"onnxexplainer: {error.filename or ''}: {error.strerror}", file=sys.stderr)
        return 1
    return 0
