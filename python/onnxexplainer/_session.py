"""Session: a model in ONNX Runtime, arrays in and out."""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from . import _abi
from ._arrays import Array, Tensors, convert, is_mapping, take, type_of
from ._errors import ArgumentError, ExplainWarning, UnsupportedError
from ._library import Remarks, call, library, runtime_bytes, told
from ._model import Model, Source, ValueInfo, content, text_path

PROVIDERS = ("CPUExecutionProvider", "CPU", "cpu")


class Session:
    """A model loaded into ONNX Runtime, plain or explained.

    model:     path of an ONNX file, its bytes, or an onnx.ModelProto
    providers: None or ["CPUExecutionProvider"]; others are not done and raise UnsupportedError
    threads:   of ONNX Runtime; 0: one per core
    kernels:   register the fused kernels that the package carries
    tune:      rewrite an explained model for this machine first, which costs about as much time as
               it saves over 16 samples
    limit:     bytes that may be made of the model, a number or a text such as "800M"

    `inputs` and `outputs` are lists of ValueInfo. Threads may share a session: `run` is safe in
    several at once, and they run at the same time, as the interpreter's lock is released.
    """

    inputs: list[ValueInfo]
    outputs: list[ValueInfo]

    def __init__(self, model: Source, providers: Sequence[str] | None = None, threads: int = 0,
                 kernels: bool = True, tune: bool = True, limit: int | str = 0) -> None:
        from ._explain import parse_size

        self._pointer = None
        for provider in providers or ():
            if provider not in PROVIDERS:
                raise UnsupportedError(f"provider {provider!r}: only CPUExecutionProvider is done")
        if not 0 <= threads <= _abi.MAX_THREADS:
            raise ArgumentError(f"threads: {threads} is not from 0 to {_abi.MAX_THREADS}")
        options = _abi.ox_session_options(size=ctypes.sizeof(_abi.ox_session_options))
        options.threads, options.no_kernels, options.no_tune = threads, not kernels, not tune
        options.runtime = runtime_bytes()
        is_path = content(model) is None
        with Model.read(model, parse_size(limit, "limit")) as read, told() as remarks:
            options.note = remarks.note
            self.inputs, self.outputs = read.inputs(), read.outputs()
            version = read.metadata("version")
            self.metadata = {key: read.metadata(key) or "" for key in
                             ("target", "output", "prefix", "feature_names", "batch")}
            if not is_path:
                self._pointer = call("ox_session_open_model", read.pointer, ctypes.byref(options))
        if is_path: # the model is gone before: ONNX Runtime has weights of its own
            with told() as remarks:
                options.note = remarks.note
                self._pointer = call("ox_session_open", text_path(model), ctypes.byref(options))
        self.explained = version is not None

    def __del__(self) -> None:
        if getattr(self, "_pointer", None) is not None:
            library.ox_session_free(self._pointer)
            self._pointer = None

    def _tensors(self, inputs: Mapping[str, Any] | Any) -> Tensors:
        if not is_mapping(inputs):
            if len(self.inputs) != 1:
                listed = ", ".join(f"\"{info.name}\"" for info in self.inputs)
                raise ArgumentError(f"the model has inputs {listed}: give a dict of arrays")
            inputs = {self.inputs[0].name: inputs}
        known = {info.name: info for info in self.inputs}
        for name in inputs:
            if name not in known:
                raise ArgumentError(f"input \"{name}\": the model has none of this name")
        return Tensors([(name, convert(value, name, known[name].type), known[name].type)
                        for name, value in inputs.items()])

    def run(self, inputs: Mapping[str, Any] | Any, outputs: Iterable[str] | None = None,
            check: bool = True) -> dict[str, Array]:
        """Runs once.

        inputs:  dict of arrays by name, or the array of the only input. Arrays of the type that the
                 model takes, in C order, are used where they lie, others are converted
        outputs: names of those to compute; None: all
        check:   warn (ExplainWarning) where SHAP values of an explained model are not finite, or
                 do not add up; needs all outputs
        Returns the arrays by name. They are views on memory of the library, which goes with them.

        Raises ArgumentError for inputs that do not fit, OnnxRuntimeError where it refuses.
        """
        given = self._tensors(inputs)
        if isinstance(outputs, str):
            outputs = [outputs]
        wanted = [info.name for info in self.outputs] if outputs is None else list(outputs)
        names = (ctypes.c_char_p * max(len(wanted), 1))(*(name.encode() for name in wanted))
        results = (_abi.ox_tensor * max(len(wanted), 1))()
        call("ox_session_run", self._pointer, given.items, given.count, names, results, len(wanted))
        found = {name: take(result) for name, result in zip(wanted, results)}
        if check and outputs is None and self.explained:
            for line in self._findings(found)[0]:
                warnings.warn(line, ExplainWarning, stacklevel=2)
        return found

    def _findings(self, outputs: Mapping[str, Array]) -> tuple[list[str], _abi.ox_findings]:
        """What is wrong with all outputs of an explained model, of one run or of several put
        together along the batch."""
        found, remarks = _abi.ox_findings(), Remarks()
        tensors = Tensors([(name, np.asarray(array, order="C"), type_of(array))
                           for name, array in outputs.items()])
        call("ox_session_check", self._pointer, tensors.items, tensors.count, ctypes.byref(found),
             remarks.warn, None)
        return remarks.warnings, found
