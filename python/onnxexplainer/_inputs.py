"""Files of the commands `plot` and `report` as samples, and these through a model."""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _batch, _csv, _pictures
from ._arrays import Array, convert
from ._errors import ArgumentError
from ._explain import explain, load
from ._model import Model, ValueInfo, is_float
from ._session import Session

PICTURE_TARGET = "top:3"


@dataclasses.dataclass
class Inputs:
    """Samples by input, with pictures to show of the first and names of its features."""

    arrays: dict[str, Array] = dataclasses.field(default_factory=dict)
    pictures: list[Array] | None = None
    names: list[str] | None = None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options that say what goes in."""
    parser.add_argument("-i", "--input", action="append", default=[], metavar="[NAME=]FILE",
                        help="samples: .npy, .npz, .csv with a header, pictures, a folder of them; "
                        "may be repeated")
    parser.add_argument("-r", "--references", action="append", default=[], metavar="[NAME=]FILE",
                        help="what a model that is not explained yet is explained against, of the "
                        "same kinds; or fill:VALUE (pictures: one that is grey all over)")
    parser.add_argument("--preprocess", default=None, metavar="HOW",
                        help="of pictures: imagenet, tf (-1 to 1), 0-1 (default), FILE.json")
    parser.add_argument("--target", metavar="T", help="the output to draw, by number or name; of a "
                        "model that is not explained yet what to explain (pictures: top:3)")
    parser.add_argument("--labels", metavar="FILE", help="names of the outputs, one a line")
    parser.add_argument("--names", metavar="FILE", help="names of the features, one a line")
    parser.add_argument("--tokens", metavar="FILE",
                        help="the vocabulary, one a line: what token ids mean")
    parser.add_argument("--steps-last", action="store_true", help="sequences (heatmap): samples "
                        "are (features, steps), as PyTorch's Conv1d takes them")
    parser.add_argument("--method", metavar="METHOD", help="as that of explain")
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors")


def note(options: argparse.Namespace, text: str) -> None:
    """A remark, on standard error."""
    if not options.quiet:
        print(f"onnxexplainer: note: {text}", file=sys.stderr)


def _files(path: str) -> list[str]:
    """A file, or the pictures in a folder by name."""
    if not os.path.isdir(path):
        return [path]
    found = [str(p) for p in sorted(pathlib.Path(path).iterdir()) if _pictures.is_picture(p)]
    if not found:
        raise ArgumentError(f"{path}: no pictures in the folder")
    return found


def _settings(options: argparse.Namespace) -> _pictures.Preprocess:
    return _pictures.preprocess(options.preprocess or "0-1")


def _split(spec: str) -> tuple[str, str]:
    """NAME and FILE of [NAME=]FILE."""
    name, equals, path = spec.partition("=")
    return (name, path) if equals and not os.path.exists(spec) else ("", spec)


def files(specs: Sequence[str], infos: list[ValueInfo], options: argparse.Namespace,
          features: Sequence[str] | None = None, featured: Sequence[str] | None = None) -> Inputs:
    """Samples of the files, by input, in the types that they have there; those without a name belong
    to the first. Columns of tables are found by the features of some inputs, default all."""
    featured = [info.name for info in infos] if featured is None else featured
    found = Inputs()
    known = {info.name: info for info in infos}
    pictures: dict[str, list[str]] = {}
    for spec in specs:
        name, path = _split(spec)
        if name and name not in known:
            raise ArgumentError(f"input \"{name}\": the model has " + ", ".join(known))
        name = name or next(iter(known))
        paths = _files(path)
        if _pictures.is_picture(paths[0]):
            pictures.setdefault(name, []).extend(paths)
        elif path.endswith(".csv"):
            chosen = [known[name]] if _split(spec)[0] else infos
            arrays, found.names = _csv.arrays(path, chosen, features, featured)
            found.arrays.update(arrays)
        else:
            array = load(path)
            found.arrays.update(array if isinstance(array, dict) else {name: array})
    for name, paths in pictures.items():
        if options.preprocess is None:
            note(options, "pictures go in as 0 to 1; --preprocess says otherwise")
        found.arrays[name], shown = _pictures.load(paths, known[name], _settings(options))
        found.pictures = shown if name == next(iter(known)) else found.pictures
    if len(found.arrays) == 1 and len(known) == 1: # whatever its name
        found.arrays = {next(iter(known)): next(iter(found.arrays.values()))}
    return found


def read(specs: Sequence[str], infos: list[ValueInfo], options: argparse.Namespace,
         features: Sequence[str] | None = None, featured: Sequence[str] | None = None) -> Inputs:
    """Samples of the files, for each input, in its type."""
    found = files(specs, infos, options, features, featured)
    known = {info.name: info for info in infos}
    missing = [name for name in known if name not in found.arrays]
    if missing:
        raise ArgumentError(f"input \"{missing[0]}\" is not given: --input {missing[0]}=FILE")
    found.arrays = {name: convert(array, name, known[name].type)
                    for name, array in found.arrays.items() if name in known}
    for name, array in found.arrays.items():
        if array.shape[:1] == (0,):
            raise ArgumentError(f"input \"{name}\": there are no samples")
    return found


def _references(infos: list[ValueInfo], options: argparse.Namespace, pictures: bool,
                features: Sequence[str] | None) -> Any:
    if options.references:
        if options.references[0].startswith("fill:"):
            return options.references[0]
        return read(options.references, infos, options, features).arrays
    if not pictures:
        raise ArgumentError("the model is not explained yet: give --references")
    note(options, "the reference is a picture that is grey all over; --references gives others")
    return {infos[0].name: _pictures.grey(infos[0], _settings(options))}


def open_model(path: str, options: argparse.Namespace) -> tuple[Session, Inputs, Any]:
    """A session of an explained model, which is made first where it is not one, samples, and its
    path or bytes."""
    with Model.read(path) as model:
        infos, explained = model.inputs(), model.metadata("version") is not None
        shap = {info.name for info in model.outputs()}
        prefix = model.metadata("prefix") or ""
        features = (model.metadata("feature_names") or "").splitlines() or None
    featured = [info.name for info in infos if f"{prefix}{info.name}_shap" in shap]
    given = read(options.input, infos, options, features, featured if explained else None)
    if explained:
        return Session(path, tune=False), given, path
    floats = [info for info in infos if is_float(info)] or infos
    chosen: dict[str, Any] = {"gap": True, "quiet": True}
    if options.method:
        chosen["method"] = options.method
    target = options.target or (PICTURE_TARGET if given.pictures else "top")
    references = _references(infos, options, given.pictures is not None and floats is not None,
                             given.names)
    data = explain(path, references, target=_number(target, options), **chosen)
    return Session(data, tune=False), given, data


def _number(target: str, options: argparse.Namespace) -> str:
    """A target by its name among the labels."""
    if options.labels:
        with open(options.labels, encoding="utf-8") as file:
            labels = file.read().splitlines()
        if target in labels:
            return str(labels.index(target))
    return target


def run(session: Session, given: Inputs) -> dict[str, Array]:
    """All outputs for all samples."""
    return _batch.run(session, given.arrays)
