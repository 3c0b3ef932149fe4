"""Explainers: the classes of SHAP of these names, by explained models."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np

from . import _batch, _explanation, _frameworks, _tables
from ._abi import TUNE_FROM, ExplainOptions
from ._arrays import Array, as_array, convert, is_mapping, names
from ._errors import AdditivityError, ArgumentError, UnsupportedError
from ._explain import check_keywords, explain
from ._model import Model
from ._session import Session

ORDERS = {"max": "top", "min": "bottom", "max_abs": "absolute"}
# Options that are the class's own to set, or by which the expected value would be none.
TAKEN = ("target", "hold", "at", "prefix", "gap", "no_batch", "method", "samples", "seed")
MODELS = """
    model: path of an ONNX file, its bytes, an onnx.ModelProto; a torch.nn.Module, which is exported
           in evaluation mode with an example from the data; an estimator or pipeline of sklearn
           (skl2onnx), a model of LightGBM, XGBoost (onnxmltools), CatBoost or Keras (tf2onnx), where
           the package in brackets is installed; or (model, at) to explain at a tensor of the graph,
           by its name, or at what goes into a layer of the torch.nn.Module
"""
DATA = """
    data:  the references, (R, ...): an array, a tensor of PyTorch or TensorFlow, a table of pandas,
           whose columns name the features, and may hold categories where the model takes them; for
           several inputs a list of them in the order of the inputs, or a dict by name
"""
OPTIONS = """
    threads, kernels, providers: as those of Session
    Keywords of `explain` such as output_name, cache, chunk or integrate may be given.
"""


class Explainer:
    """What all explainers share: one explained model for each target and setting that is asked for,
    made when it is first.

    `expected_value` is the mean prediction of the data."""

    METHOD: str | None = None
    LAST_AXIS = True # also of a model with one output

    expected_value: Any

    def __init__(self, model: Any, data: Any, *, threads: int = 0, kernels: bool = True,
                 providers: Any = None, **options: Unpack[ExplainOptions]) -> None:
        check_keywords(options, [name for name in ExplainOptions.__annotations__
                                 if name not in TAKEN], type(self).__name__)
        self._start(model, data, {"threads": threads, "kernels": kernels, "providers": providers},
                    dict(options))

    def _start(self, model: Any, data: Any, session: dict[str, Any],
               options: dict[str, Any]) -> None:
        self.multi_input = isinstance(data, (list, tuple)) or is_mapping(data)
        self.feature_names = names(data)
        self._session_options = {**session, "limit": options.get("limit", 0)}
        self._options: dict[str, Any] = {**options, "gap": True}
        if self.METHOD is not None:
            self._options["method"] = self.METHOD
        exported = self._export(model, data)
        self._model, self._at, self._columns = exported.source, exported.at, exported.columns
        if self._at is not None:
            self._options["at"] = self._at
        if exported.output is not None:
            self._options.setdefault("output_name", exported.output)
        self._all = "all" if exported.target is None else exported.target
        with Model.read(self._model) as read:
            self._inputs = read.inputs()
        self._table = self.feature_names if _tables.is_table(data) else None
        if self._columns is None and self._table is not None and len(self._inputs) > 1:
            self._columns = _tables.Columns({info.name: info.name for info in self._inputs})
        if self._columns is not None:
            self.feature_names = [str(name) for name in self._columns.inputs]
        self._data = self._by_name(data)
        self._explained = self._find_explained()
        self._bytes: dict[Any, bytes] = {}
        self._sessions: dict[Any, Session] = {}
        self._lock = threading.Lock()
        self._find_expected()

    def _export(self, model: Any, data: Any) -> _frameworks.Exported:
        """The model as ONNX."""
        return _frameworks.export(model, data)

    def _find_expected(self) -> None:
        first = {name: array[:1] for name, array in self._data.items()}
        session = self._session(self._all, False, self._settings())
        base = np.atleast_1d(_batch.run(session, first, ["base_value"])["base_value"][0])
        self.num_outputs = len(base)
        self.multi_output = self.num_outputs > 1
        single = not self.multi_output and not self.LAST_AXIS
        self.expected_value = float(base[0]) if single else base

    def _settings(self, **given: Any) -> dict[str, Any]:
        """Options that a call may change."""
        return {name: value for name, value in given.items() if value is not None}

    # ---- inputs --------------------------------------------------------------------------

    def _by_name(self, X: Any) -> dict[str, Array]:
        """Arrays by input, in the types of the inputs, all of as many rows."""
        if self._columns is not None:
            X = self._columns.arrays(X, self._inputs)
        elif not is_mapping(X):
            X = self._ordered(X)
            values = list(X) if isinstance(X, (list, tuple)) and self.multi_input else [X]
            if len(values) != len(self._inputs):
                raise ArgumentError(f"{len(values)} arrays where the model has "
                                    f"{len(self._inputs)} inputs: " + self._listed())
            X = {info.name: value for info, value in zip(self._inputs, values)}
        found = {info.name: convert(_tables.numbers(X[info.name]), info.name, info.type)
                 for info in self._inputs if info.name in X}
        if len(found) != len(self._inputs) or len(X) != len(found):
            raise ArgumentError("the arrays do not go with the inputs of the model: " +
                                self._listed())
        rows = {len(array) if array.ndim else 0 for array in found.values()}
        if len(rows) != 1 or rows == {0}:
            raise ArgumentError("the inputs have no samples, or not as many each")
        return found

    def _ordered(self, X: Any) -> Any:
        """Columns of a table in the order of those of the data."""
        if self._table is None or not _tables.is_table(X):
            return X
        _tables.check_columns(X, self._table)
        return _tables.numbers(X, self._table)

    def _listed(self) -> str:
        return ", ".join(f"\"{info.name}\"" for info in self._inputs)

    def _find_explained(self) -> list[str]:
        """The inputs that the explained output is computed from. The library knows: an explained
        model without references has an input for those of each."""
        if len(self._inputs) == 1:
            return [self._inputs[0].name]
        options = {**self._options, **self._settings(), "quiet": True, "cache": "auto"}
        with Model.read(explain(self._model, "input", **options)) as probe:
            found = {info.name for info in probe.inputs()}
        return [info.name for info in self._inputs if info.name + "_references" in found]

    # ---- sessions ------------------------------------------------------------------------

    def _session(self, target: str, tune: bool, settings: dict[str, Any]) -> Session:
        """The session of the model explained for a target, made when first asked for."""
        key = (target, *sorted(settings.items()))
        with self._lock:
            if key not in self._bytes:
                references = {name: self._data[name] for name in self._explained}
                self._bytes[key] = explain(self._model, references, target=target,
                                           **self._options, **settings)
            if (key, tune) not in self._sessions:
                self._sessions[key, tune] = Session(self._bytes[key], tune=tune,
                                                    **self._session_options)
            return self._sessions[key, tune]

    def _run(self, inputs: dict[str, Array], target: str, check: bool,
             settings: dict[str, Any], progress: bool = False) -> dict[str, Array]:
        rows = len(next(iter(inputs.values())))
        session = self._session(target, rows >= TUNE_FROM and self.METHOD is None, settings)
        found = _batch.run(session, inputs, progress=progress)
        if check:
            lines, findings = session._findings(found)
            if findings.not_finite or findings.incomplete:
                raise AdditivityError(lines[0])
        return found

    # ---- values --------------------------------------------------------------------------

    def _values(self, found: Mapping[str, Array], name: str, inputs: dict[str, Array],
                suffix: str = "_shap") -> Array:
        """(N, ..., K) of an input or tensor; zeros where the output does not depend on it."""
        targets = found["shap_target"]
        values = found.get(name + suffix)
        if values is None:
            width = targets.shape[1] if targets.ndim == 2 else 1
            values = np.zeros((*inputs[name].shape, width), np.float32)
        else:
            values = np.moveaxis(values, 1, -1) if targets.ndim == 2 else values[..., np.newaxis]
        return values if self.LAST_AXIS or self.multi_output else values[..., 0]

    def _of_inputs(self, found: Mapping[str, Array], inputs: dict[str, Array],
                   suffix: str = "_shap") -> Any:
        """Values as data came: of a tensor, of columns of a table, of inputs in a list, of one."""
        if self._at is not None:
            return self._values(found, self._at, inputs, suffix)
        each = [self._values(found, info.name, inputs, suffix) for info in self._inputs]
        if self._columns is not None and len(each) > 1:
            return np.concatenate(each, axis=1)
        return each if self.multi_input else each[0]

    def _target(self, ranked_outputs: int | None, order: str) -> str:
        if ranked_outputs is None:
            return self._all
        if order not in ORDERS:
            raise ArgumentError(f"output_rank_order: {order!r} is none of " + ", ".join(ORDERS))
        if ranked_outputs < 1:
            raise ArgumentError(f"ranked_outputs: {ranked_outputs} is less than 1")
        return f"{ORDERS[order]}:{min(ranked_outputs, self.num_outputs)}" if self.multi_output \
            else self._all

    def _explain(self, X: Any, ranked_outputs: int | None = None, order: str = "max",
                 check: bool = True, progress: bool = False, **settings: Any) -> Any:
        """Values, or with ranked outputs the pair of them and the outputs' indices."""
        target, inputs = self._target(ranked_outputs, order), self._by_name(X)
        found = self._run(inputs, target, check, self._settings(**settings), progress)
        values = self._of_inputs(found, inputs)
        if ranked_outputs is None:
            return values
        indices = found["shap_target"]
        return values, indices if indices.ndim == 2 else indices[:, np.newaxis]

    def shap_values(self, X: Any) -> Any:
        """SHAP values of samples."""
        return self._explain(X)

    def __call__(self, X: Any) -> Any:
        """A shap.Explanation, or an onnxexplainer.Explanation where shap is not installed. With
        several inputs values and data are lists."""
        start = time.perf_counter()
        values = self.shap_values(X)
        return self._explanation(X, values, time.perf_counter() - start)

    def _explanation(self, X: Any, values: Any, seconds: float, **more: Any) -> Any:
        if self.multi_input:
            return _explanation.make(values=values, data=_frameworks.arrays(X),
                                     compute_time=seconds)
        array = as_array(self._ordered(X)) if self._columns is None else self._columns.shown(X)
        base = np.tile(self.expected_value, (len(array), 1) if np.ndim(self.expected_value) else
                       len(array))
        return _explanation.make(values=values, data=array, base_values=base,
                                 feature_names=self._table and self.feature_names or names(X) or
                                 self.feature_names,
                                 compute_time=seconds, **more)


class DeepExplainer(Explainer):
    """SHAP values of a model against the rows of `data`, with the interface of shap.DeepExplainer.
    """

    expected_value: Array

    def shap_values(self, X: Any, ranked_outputs: int | None = None,
                    output_rank_order: str = "max", check_additivity: bool = True,
                    progress: bool = False) -> Any:
        """SHAP values of samples.

        X: (N, ...), or for several inputs a list or dict as for the data
        ranked_outputs:    only so many outputs, those that come first in the sample's prediction
        output_rank_order: by "max", "min" or "max_abs"
        check_additivity:  raise AdditivityError where values are not finite or do not add up
        progress:          show a bar (tqdm, where it is installed) while it takes long
        Returns an array (N, ..., outputs), or for data in a list one such array an input; with
        ranked_outputs the pair of that and the outputs' indices, int64 (N, ranked_outputs).
        """
        return self._explain(X, ranked_outputs, output_rank_order, check_additivity, progress)


class GradientExplainer(Explainer):
    """Expected gradients of a model, with the interface of shap.GradientExplainer: the method
    "expected-gradients", whose draws are spread evenly."""

    METHOD = "expected-gradients"

    def __init__(self, model: Any, data: Any, session: Any = None, batch_size: int | None = None,
                 local_smoothing: float = 0, **options: Any) -> None:
        if session is not None or local_smoothing:
            raise UnsupportedError("sessions of TensorFlow and local_smoothing are not done; "
                                   "explain(method=\"smoothgrad:expected-gradients\") has noise")
        super().__init__(model, data, **options)

    def shap_values(self, X: Any, nsamples: int = 200, ranked_outputs: int | None = None,
                    output_rank_order: str = "max", rseed: int | None = None,
                    return_variances: bool = False, progress: bool = False) -> Any:
        """As that of DeepExplainer, without a check: values add up in the mean only.

        nsamples: draws of a reference and a place on the way from it
        rseed:    of what is drawn; default 0, so that calls give the same
        """
        if return_variances:
            raise UnsupportedError("return_variances is not done: PermutationExplainer has errors")
        return self._explain(X, ranked_outputs, output_rank_order, False, progress,
                             samples=nsamples, seed=rseed)


class KernelExplainer(Explainer):
    """Kernel SHAP of a model that need only run, with the interface of shap.KernelExplainer; the
    model is given as such, not as a function."""

    METHOD, LAST_AXIS = "kernel", False

    def __init__(self, model: Any, data: Any, feature_names: Any = None, link: str = "identity",
                 **options: Any) -> None:
        if link != "identity":
            raise UnsupportedError(f"link {link!r}: give output_name=, the tensor of the logits")
        super().__init__(model, data, **options)
        self.feature_names = self.feature_names or feature_names

    def shap_values(self, X: Any, nsamples: int | str = "auto", l1_reg: Any = False,
                    silent: bool = True, check_additivity: bool = True) -> Any:
        """SHAP values (N, ..., outputs), or (N, ...) of a model with one output.

        nsamples: coalitions; "auto": 2048 + 2 per feature, all where there are no more
        l1_reg:   not done: features are not selected
        silent:   False shows a bar while it takes long
        """
        if l1_reg not in (False, 0, None):
            raise UnsupportedError("l1_reg is not done: give l1_reg=False")
        samples = None if nsamples == "auto" else int(nsamples)
        return self._explain(X, check=check_additivity, progress=not silent, samples=samples)


def _background(masker: Any) -> Any:
    """The data of a masker of shap, or what was given."""
    return masker.data if type(masker).__module__.partition(".")[0] == "shap" else masker


class ExactExplainer(Explainer):
    """Shapley values over all coalitions, of up to 16 features or groups, with the interface of
    shap.ExactExplainer. `masker` is an array or table of references, or a masker that has them."""

    METHOD, LAST_AXIS = "exact", False

    def __init__(self, model: Any, masker: Any, **options: Any) -> None:
        super().__init__(model, _background(masker), **options)

    def shap_values(self, X: Any, check_additivity: bool = True) -> Any:
        """SHAP values (N, ..., outputs), or (N, ...) of a model with one output."""
        return self._explain(X, check=check_additivity)


class PermutationExplainer(Explainer):
    """What a model gains with each feature, in the mean over drawn orders, with the interface of
    shap.PermutationExplainer. `masker` is as that of ExactExplainer."""

    METHOD, LAST_AXIS = "permutation", False

    def __init__(self, model: Any, masker: Any, feature_names: Any = None, seed: int | None = None,
                 **options: Any) -> None:
        self._seed = seed
        super().__init__(model, _background(masker), **options)
        self.feature_names = self.feature_names or feature_names

    def shap_values(self, X: Any, npermutations: int = 10, check_additivity: bool = True,
                    silent: bool = True) -> Any:
        """SHAP values (N, ..., outputs), or (N, ...) of a model with one output.

        npermutations: pairs of an order and its opposite
        """
        return self._explain(X, check=check_additivity, progress=not silent,
                             samples=npermutations, seed=self._seed)

    def __call__(self, X: Any, npermutations: int = 10, error_bounds: bool = False) -> Any:
        """An Explanation; with error_bounds its error_std has the standard errors of values."""
        start, inputs = time.perf_counter(), self._by_name(X)
        settings = self._settings(samples=npermutations, seed=self._seed)
        found = self._run(inputs, self._all, True, settings)
        errors = {"error_std": self._of_inputs(found, inputs, "_shap_error")} if error_bounds else {}
        return self._explanation(X, self._of_inputs(found, inputs), time.perf_counter() - start,
                                 **errors)


class TreeExplainer(Explainer):
    """Exact SHAP values of trees against references, with the interface of shap.TreeExplainer.

    model_output: "raw": of margins, as classifiers that were boosted have them; "probability"
    Values of the paths in a tree alone (feature_perturbation="tree_path_dependent") are not done:
    data is needed.
    """

    LAST_AXIS = False

    def __init__(self, model: Any, data: Any = None, model_output: str = "raw",
                 feature_perturbation: str = "interventional", feature_names: Any = None,
                 **options: Any) -> None:
        if data is None or feature_perturbation not in ("interventional", "auto"):
            raise UnsupportedError("values of paths in trees are not done: give data, what values "
                                   "are compared with, and feature_perturbation=\"interventional\"")
        if model_output not in ("raw", "probability"):
            raise UnsupportedError(f"model_output {model_output!r} is none of raw, probability")
        self._margins = model_output == "raw"
        super().__init__(model, _background(data), **options)
        self.feature_names = self.feature_names or feature_names

    def _export(self, model: Any, data: Any) -> _frameworks.Exported:
        return _frameworks.export(model, data, margins=self._margins)

    def shap_values(self, X: Any, y: Any = None, check_additivity: bool = True) -> Any:
        """SHAP values (N, ..., outputs), or (N, ...) of a model with one output."""
        if y is not None:
            raise UnsupportedError("values of a loss are not done")
        return self._explain(X, check=check_additivity)


for _kind in (DeepExplainer, GradientExplainer, KernelExplainer, ExactExplainer,
              PermutationExplainer, TreeExplainer):
    if _kind.__doc__: # python -OO has none
        _kind.__doc__ = _kind.__doc__.rstrip() + "\n" + MODELS.rstrip() + DATA.rstrip() + OPTIONS
