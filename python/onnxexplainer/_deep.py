"""DeepExplainer: the class of SHAP of that name, by explained models."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np

from . import _batch, _explanation
from ._abi import TUNE_FROM, ExplainOptions
from ._arrays import Array, as_array, convert, is_mapping, names
from ._errors import AdditivityError, ArgumentError, UnsupportedError
from ._explain import check_keywords, explain
from ._frameworks import to_onnx
from ._model import Model
from ._session import Session

ORDERS = {"max": "top", "min": "bottom", "max_abs": "absolute"}
# Options that are the class's own to set, or by which the expected value would be none.
TAKEN = ("target", "hold", "at", "prefix", "gap", "no_batch")


class DeepExplainer:
    """SHAP values of a model against the rows of `data`, with the interface of shap.DeepExplainer.

    model: path of an ONNX file, its bytes, an onnx.ModelProto; a torch.nn.Module, which is exported
           in evaluation mode with an example from the data; an estimator or pipeline of sklearn,
           where skl2onnx is installed; or (model, "tensor") to explain at a tensor of the graph
    data:  the references, (R, ...): an array, a tensor of PyTorch or TensorFlow, a table of pandas,
           whose columns name the features; for several inputs a list of them in the order of the
           inputs, or a dict by name
    threads, kernels: as those of Session
    Keywords of `explain` such as output_name, cache, chunk or integrate may be given.

    `expected_value` is the mean prediction of the data, an array of one number an output.
    """

    expected_value: Array

    def __init__(self, model: Any, data: Any, *, threads: int = 0, kernels: bool = True,
                 **options: Unpack[ExplainOptions]) -> None:
        check_keywords(options, [name for name in ExplainOptions.__annotations__
                                 if name not in TAKEN], "DeepExplainer")
        self.multi_input = isinstance(data, (list, tuple)) or is_mapping(data)
        self.feature_names = names(data)
        self._at: str | None = None
        if isinstance(model, tuple):
            model, self._at = _split(model)
        self._options: dict[str, Any] = {**options, "gap": True}
        if self._at is not None:
            self._options["at"] = self._at
        self._session_options: dict[str, Any] = {"threads": threads, "kernels": kernels,
                                                 "limit": options.get("limit", 0)}
        self._model = to_onnx(model, _arrays(data))
        with Model.read(self._model) as read:
            self._inputs = read.inputs()
        self._data = self._by_name(data)
        self._explained = self._find_explained()
        self._bytes: dict[str, bytes] = {}
        self._sessions: dict[tuple[str, bool], Session] = {}
        self._lock = threading.Lock()
        first = {name: array[:1] for name, array in self._data.items()}
        base = _batch.run(self._session("all", False), first, ["base_value"])["base_value"]
        self.expected_value = np.atleast_1d(base[0])
        self.num_outputs = len(self.expected_value)
        self.multi_output = self.num_outputs > 1

    # ---- inputs --------------------------------------------------------------------------

    def _by_name(self, X: Any) -> dict[str, Array]:
        """Arrays by input, in the types of the inputs, all of as many rows."""
        if not is_mapping(X):
            values = list(X) if isinstance(X, (list, tuple)) and self.multi_input else [X]
            if len(values) != len(self._inputs):
                raise ArgumentError(f"{len(values)} arrays where the model has "
                                    f"{len(self._inputs)} inputs: " + self._listed())
            X = {info.name: value for info, value in zip(self._inputs, values)}
        found = {info.name: convert(X[info.name], info.name, info.type)
                 for info in self._inputs if info.name in X}
        if len(found) != len(self._inputs) or len(X) != len(found):
            raise ArgumentError("the arrays do not go with the inputs of the model: " +
                                self._listed())
        rows = {len(array) if array.ndim else 0 for array in found.values()}
        if len(rows) != 1 or rows == {0}:
            raise ArgumentError("the inputs have no samples, or not as many each")
        return found

    def _listed(self) -> str:
        return ", ".join(f"\"{info.name}\"" for info in self._inputs)

    def _find_explained(self) -> list[str]:
        """The inputs that the explained output is computed from. The library knows: an explained
        model without references has an input for those of each."""
        if len(self._inputs) == 1:
            return [self._inputs[0].name]
        options = {**self._options, "quiet": True, "cache": "auto"}
        with Model.read(explain(self._model, "input", **options)) as probe:
            found = {info.name for info in probe.inputs()}
        return [info.name for info in self._inputs if info.name + "_references" in found]

    # ---- sessions ------------------------------------------------------------------------

    def _session(self, target: str, tune: bool) -> Session:
        """The session of the model explained for a target, made when first asked for."""
        with self._lock:
            if target not in self._bytes:
                references = {name: self._data[name] for name in self._explained}
                self._bytes[target] = explain(self._model, references, target=target,
                                              **self._options)
            if (target, tune) not in self._sessions:
                self._sessions[target, tune] = Session(self._bytes[target], tune=tune,
                                                       **self._session_options)
            return self._sessions[target, tune]

    def _run(self, inputs: dict[str, Array], target: str, check: bool) -> dict[str, Array]:
        rows = len(next(iter(inputs.values())))
        session = self._session(target, rows >= TUNE_FROM)
        found = _batch.run(session, inputs)
        if check:
            lines, findings = session._findings(found)
            if findings.not_finite or findings.incomplete:
                raise AdditivityError(lines[0])
        return found

    # ---- values --------------------------------------------------------------------------

    def _values(self, found: Mapping[str, Array], name: str, inputs: dict[str, Array]) -> Array:
        """(N, ..., K) of an input or tensor; zeros where the output does not depend on it."""
        targets = found["shap_target"]
        values = found.get(f"{name}_shap")
        if values is None:
            width = targets.shape[1] if targets.ndim == 2 else 1
            return np.zeros((*inputs[name].shape, width), np.float32)
        return np.moveaxis(values, 1, -1) if targets.ndim == 2 else values[..., np.newaxis]

    def shap_values(self, X: Any, ranked_outputs: int | None = None,
                    output_rank_order: str = "max", check_additivity: bool = True) -> Any:
        """SHAP values of samples.

        X: (N, ...), or for several inputs a list or dict as for the data
        ranked_outputs:    only so many outputs, those that come first in the sample's prediction
        output_rank_order: by "max", "min" or "max_abs"
        check_additivity:  raise AdditivityError where values are not finite or do not add up
        Returns an array (N, ..., outputs), or for data in a list one such array an input; with
        ranked_outputs the pair of that and the outputs' indices, int64 (N, ranked_outputs).
        """
        target = "all"
        if ranked_outputs is not None:
            if output_rank_order not in ORDERS:
                raise ArgumentError(f"output_rank_order: {output_rank_order!r} is none of " +
                                    ", ".join(ORDERS))
            if ranked_outputs < 1:
                raise ArgumentError(f"ranked_outputs: {ranked_outputs} is less than 1")
            if self.multi_output:
                ranked = min(ranked_outputs, self.num_outputs)
                target = f"{ORDERS[output_rank_order]}:{ranked}"
        inputs = self._by_name(X)
        found = self._run(inputs, target, check_additivity)
        values: Any
        if self._at is not None:
            values = self._values(found, self._at, inputs)
        elif self.multi_input:
            values = [self._values(found, info.name, inputs) for info in self._inputs]
        else:
            values = self._values(found, self._inputs[0].name, inputs)
        if ranked_outputs is None:
            return values
        indices = found["shap_target"]
        return values, indices if indices.ndim == 2 else indices[:, np.newaxis]

    def __call__(self, X: Any) -> Any:
        """A shap.Explanation, or an onnxexplainer.Explanation where shap is not installed. With
        several inputs values and data are lists."""
        values = self.shap_values(X)
        if self.multi_input:
            return _explanation.make(values=values, data=_arrays(X))
        array = as_array(X)
        return _explanation.make(values=values, data=array,
                                 base_values=np.tile(self.expected_value, (len(array), 1)),
                                 feature_names=names(X) or self.feature_names)


def _arrays(data: Any) -> list[Array]:
    """The arrays of the data, one an input."""
    if is_mapping(data):
        data = list(data.values())
    return [as_array(value) for value in (data if isinstance(data, (list, tuple)) else [data])]


def _split(pair: tuple[Any, ...]) -> tuple[Any, str]:
    """(model, "tensor")."""
    if len(pair) != 2:
        raise ArgumentError(f"{len(pair)} parts where a model and a tensor are expected")
    model, layer = pair
    if not isinstance(layer, str):
        raise UnsupportedError(f"a layer of {type(layer).__name__} cannot be named in the graph: "
                               "export the model and give (model, \"tensor\")")
    return model, layer
