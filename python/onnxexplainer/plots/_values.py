"""SHAP values in one form for all plots, from what explainers, sessions and files give."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._arrays import Array, as_array, is_mapping
from .._arrays import names as column_names
from .._errors import ArgumentError, FileError
from .._model import ValueInfo

SUFFIX = "_shap"


@dataclasses.dataclass(frozen=True)
class Values:
    """SHAP values of N samples for K outputs each.

    phi:      (N, K, ...), ... being the shape of a sample
    base:     (N, K), the mean prediction of the references; None where it is not known
    data:     (N, ...), the samples, of any type; None where they are not known
    targets:  (N, K), numbers of the outputs; -1 for sums and differences
    labels:   names of all outputs; None: they have numbers only
    features: names of the values of a sample
    scores:   (N, outputs), what the model gave; None where it is not known
    """

    phi: Array
    base: Array | None = None
    data: Any = None
    targets: Array = dataclasses.field(default_factory=lambda: np.zeros((0, 0), np.int64))
    labels: list[str] | None = None
    features: list[str] | None = None
    scores: Array | None = None

    @property
    def rows(self) -> int:
        """The number of samples."""
        return len(self.phi)

    @property
    def outputs(self) -> int:
        """The number of outputs of each sample."""
        return int(self.phi.shape[1])

    @property
    def shape(self) -> tuple[int, ...]:
        """That of a sample."""
        return self.phi.shape[2:]

    def sums(self) -> Array:
        """(N, K), SHAP values added up."""
        return np.asarray(self.phi.sum(axis=tuple(range(2, self.phi.ndim))))

    def predictions(self) -> Array:
        """(N, K), where SHAP values start from the base value; from 0 where that is not known."""
        return self.sums() if self.base is None else np.asarray(self.base + self.sums())

    def label(self, row: int, k: int) -> str:
        """The name of an output; "" where a model has one without name."""
        target = int(self.targets[row, k])
        if self.labels is not None and 0 <= target < len(self.labels):
            return self.labels[target]
        single = self.outputs == 1 and not self.targets.any()
        return "" if target < 0 or single else f"output {target}"

    def common_label(self) -> str:
        """The name of the first output where it is the same for all samples."""
        if len(np.unique(self.targets[:, 0])) == 1:
            return self.label(0, 0)
        return "each sample's predicted output"

    def of_rows(self, rows: Any) -> Values:
        """Some samples."""
        picked = {name: getattr(self, name)[rows] for name in
                  ("phi", "base", "data", "targets", "scores") if getattr(self, name) is not None}
        return dataclasses.replace(self, **picked)

    def of_output(self, output: int | str | None = None) -> Values:
        """One output: a number, a name, or (None) the one that most samples predict."""
        if output is None:
            best = np.argmax(self.predictions(), axis=1)
            k = int(np.bincount(best, minlength=self.outputs).argmax())
        else:
            k = self._find(output)
        part = slice(k, k + 1)
        return dataclasses.replace(self, phi=self.phi[:, part], targets=self.targets[:, part],
                                   base=None if self.base is None else self.base[:, part])

    def _find(self, output: int | str) -> int:
        number = output
        if isinstance(output, str):
            known = self.labels or []
            number = known.index(output) if output in known else int(output) \
                if output.isdecimal() else -2
        for k in range(self.outputs):
            if (self.targets[:, k] == number).all():
                return k
        listed = ", ".join(f"\"{self.label(0, k)}\"" for k in range(min(self.outputs, 8)))
        raise ArgumentError(f"output {output!r} is none of those explained: {listed}")

    def flat(self) -> tuple[Array, Array | None, list[str]]:
        """Values (N, F) of the first output, samples (N, F) and names of the features."""
        phi = self.phi[:, 0].reshape(self.rows, -1)
        data = None if self.data is None else np.asarray(self.data).reshape(self.rows, -1)
        names = self.features
        if names is None:
            names = [_place(i, self.shape) for i in range(phi.shape[1])]
        if len(names) != phi.shape[1]:
            raise ArgumentError(f"{len(names)} names for {phi.shape[1]} features")
        return phi, data if data is not None and data.shape == phi.shape else None, names


def _place(index: int, shape: tuple[int, ...]) -> str:
    """The name of a feature without one."""
    if len(shape) == 1:
        return f"feature {index}"
    return "[" + ", ".join(str(int(i)) for i in np.unravel_index(index, shape)) + "]"


# ---- from what others give ---------------------------------------------------------------


def of(source: Any, *, data: Any = None, base_values: Any = None, labels: Any = None,
       feature_names: Any = None, input: str | int | None = None) -> Values:
    """Values of an Explanation, of outputs of a session by name, of the path of an .npz file, or of
    an array (N, ...) or (N, ..., outputs) beside `data`.

    labels:        names of all outputs, or the path of a file that has one a line
    feature_names: names of the values of a sample, or such a path
    input:         of several inputs the one to draw, by name or number
    """
    labels, feature_names = lines(labels), lines(feature_names)
    if isinstance(source, Values):
        found = source
    elif isinstance(source, (str, os.PathLike)):
        found = _of_outputs(_file(source), data, input)
    elif is_mapping(source):
        found = _of_outputs(dict(source), data, input)
    elif hasattr(source, "values") and hasattr(source, "base_values"):
        found = _of_explanation(source, data, input)
    else:
        found = _of_arrays(source, data, base_values, column_names(data), input)
    given = {"labels": labels, "features": feature_names}
    wrong = np.flatnonzero(~np.isfinite(found.phi.reshape(len(found.phi), -1)).all(axis=1))
    if len(wrong):
        raise ArgumentError(f"SHAP values of sample {wrong[0]} are not finite")
    return dataclasses.replace(found, **{k: v for k, v in given.items() if v is not None})


def lines(value: Any) -> list[str] | None:
    """Names, or those in a file that has one a line."""
    if value is None:
        return None
    if isinstance(value, (str, os.PathLike)):
        try:
            with open(value, encoding="utf-8") as file:
                return file.read().splitlines()
        except OSError as error:
            raise ArgumentError(f"{os.fspath(value)}: {error.strerror}") from error
    return [str(name) for name in value]


def _file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The arrays of an .npz file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except OSError as error:
        raise FileError(f"{os.fspath(path)}: {error.strerror or error}") from error
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ArgumentError(f"{os.fspath(path)}: no .npz file") from error


def _choose(items: Sequence[Any], input: str | int | None) -> Any:
    number = input or 0
    if not isinstance(number, int) or not 0 <= number < len(items):
        raise ArgumentError(f"input {input!r}: give a number below {len(items)}")
    return items[number]


def _of_explanation(source: Any, data: Any, input: str | int | None) -> Values:
    display = getattr(source, "display_data", None)
    data = data if data is not None else source.data if display is None else display
    return _of_arrays(source.values, data, source.base_values,
                      getattr(source, "feature_names", None), input,
                      getattr(source, "output_names", None))


def _raw(data: Any) -> Any:
    """An array of any type."""
    if data is None:
        return None
    if hasattr(data, "detach") or hasattr(data, "numpy"):
        return as_array(data)
    return np.asarray(data)


def _of_arrays(values: Any, data: Any, base: Any, names: Any, input: str | int | None,
               labels: Any = None) -> Values:
    """What outputs and samples are is told by the shapes of data and base values."""
    if isinstance(values, (list, tuple)):
        values = _choose(values, input)
        data = _choose(data, input) if isinstance(data, (list, tuple)) else data
    phi = as_array(values).astype(np.float64)
    samples = _raw(data)
    base = None if base is None else np.asarray(base, dtype=np.float64)
    wide = phi.ndim > 1 if samples is None else phi.ndim == samples.ndim + 1
    if samples is not None and phi.shape != samples.shape and phi.shape[:-1] != samples.shape:
        samples, wide = None, base is not None and base.ndim == 2 # groups have no data
    alone = base is not None and base.ndim < 1 + wide and phi.ndim == 1 + wide
    if samples is None and base is None and names is not None and phi.ndim == 2:
        wide = False # a table: (N, features)
    if alone: # one sample, without its axis
        phi, samples = phi[np.newaxis], None if samples is None else samples[np.newaxis]
        base = None if base is None else base[np.newaxis]
    phi = np.moveaxis(phi, -1, 1) if wide else phi[:, np.newaxis]
    rows, outputs = phi.shape[:2]
    if base is not None:
        base = np.broadcast_to(base if base.ndim == 2 or outputs > 1 else base.reshape(-1, 1),
                               (rows, outputs))
    if names is not None and len(np.shape(names)) != 1:
        names = None
    if isinstance(labels, str):
        labels = [labels]
    targets = np.tile(np.arange(outputs), (rows, 1))
    known = Values(phi, base, samples, targets, None if labels is None else list(labels),
                   None if names is None else [str(name) for name in names])
    return dataclasses.replace(known, scores=known.predictions() if base is not None else None)


def explained(path: str | os.PathLike[str], first: str | None = None) -> list[ValueInfo]:
    """The inputs that a file of outputs has SHAP values of, of a type that is not known; one of them
    first."""
    found = _file(path)
    axes = 1 + (np.ndim(found.get("shap_target", 0)) == 2)
    infos = [ValueInfo(name.removesuffix(SUFFIX), "", (None, *array.shape[axes:]), 0)
             for name, array in found.items() if name.endswith(SUFFIX)]
    return sorted(infos, key=lambda info: info.name != first)


def is_table(found: dict[str, Any]) -> bool:
    """Whether outputs are those of a table that goes in column by column."""
    sizes = [array.size for name, array in found.items() if name.endswith(SUFFIX)]
    return len(sizes) > 1 and all(size == found["shap_target"].size for size in sizes)


def _of_outputs(found: dict[str, Any], data: Any, input: str | int | None) -> Values:
    """Outputs of an explained model, by name."""
    names = [name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX)]
    if not names or "shap_target" not in found:
        raise ArgumentError("no SHAP values: neither \"shap_target\" nor outputs that end in "
                            "\"_shap\"")
    targets = found["shap_target"]
    of_columns = input is None and is_table(found)
    if of_columns:
        phi = np.stack([found[name + SUFFIX].reshape(targets.shape) for name in names], axis=-1)
        data = _join(data, names, len(targets)) if is_mapping(data) else data
    else:
        name = input if isinstance(input, str) else _choose(names, input)
        if name not in names:
            raise ArgumentError(f"input \"{name}\": SHAP values are there of {', '.join(names)}")
        phi, data = found[name + SUFFIX], data.get(name) if is_mapping(data) else data
    phi = phi.astype(np.float64)
    if targets.ndim == 1:
        phi, targets = phi[:, np.newaxis], targets[:, np.newaxis]
    base = found["base_value"].reshape(targets.shape).astype(np.float64)
    samples = _raw(data)
    if samples is not None and samples.shape != phi.shape[:1] + phi.shape[2:]:
        raise ArgumentError(f"samples of shape {list(samples.shape)} for SHAP values of shape "
                            f"{[len(phi), *phi.shape[2:]]}")
    return Values(phi, base, samples, targets, features=names if of_columns else None,
                  scores=_scores(found, phi, base, targets))


def _join(data: Any, names: list[str], rows: int) -> Array | None:
    """The columns (rows, 1) of some inputs as a table (rows, inputs)."""
    columns = [np.asarray(_raw(data[name])).reshape(rows) for name in names if name in data]
    if len(columns) != len(names):
        return None
    kind = np.result_type(*columns) if all(c.dtype.kind in "biuf" for c in columns) else object
    return np.stack([column.astype(kind) for column in columns], axis=1)


def _scores(found: dict[str, Any], phi: Array, base: Array, targets: Array) -> Array | None:
    """The output that the values explain: the one whose numbers at the targets they add up to."""
    sums = base + phi.sum(axis=tuple(range(2, phi.ndim)))
    sums = sums + found["completeness_gap"].reshape(sums.shape) \
        if "completeness_gap" in found else sums
    for name, array in found.items():
        if name.endswith(SUFFIX) or name in ("shap_target", "base_value", "completeness_gap") or \
                array.dtype.kind != "f" or array.shape[:1] != phi.shape[:1]:
            continue
        flat = array.reshape(len(phi), -1).astype(np.float64)
        if targets.min() < 0 or targets.max() >= flat.shape[1]:
            continue
        at = np.take_along_axis(flat, targets.astype(np.int64), axis=1)
        if np.allclose(at, sums, rtol=1e-3, atol=1e-3 * max(float(np.abs(flat).max()), 1e-30)):
            return np.asarray(flat)
    return None


def probabilities(values: Values, kind: str = "auto") -> Array | None:
    """(N, outputs) probabilities, or None where the outputs are none.

    kind: "softmax" or "sigmoid" of the outputs, "none", or "auto": outputs that are probabilities,
          else, where there are names for at least two outputs, their softmax
    """
    kinds = ("auto", "softmax", "sigmoid", "none")
    if kind not in kinds:
        raise ArgumentError(f"probabilities: {kind!r} is none of {', '.join(kinds)}")
    scores = values.scores
    if scores is None or kind == "none":
        return None
    if kind == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-scores)))
    classes = scores.shape[1]
    inside = scores.min() >= -1e-6 and scores.max() <= 1 + 1e-6
    if kind == "auto" and inside and np.allclose(scores.sum(1), 1, atol=1e-3) and classes > 1:
        return np.asarray(scores)
    named = values.labels is not None and len(values.labels) == classes > 1
    if kind == "auto" and not named:
        return None
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
