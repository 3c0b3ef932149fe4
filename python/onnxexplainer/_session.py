"""Session: a model in ONNX Runtime, arrays in and out."""

from __future__ import annotations

import ctypes
import importlib
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from . import _abi, _tables
from ._arrays import Array, Tensors, convert, is_mapping, take, type_of
from ._errors import ArgumentError, ExplainWarning, OnnxRuntimeError, UnsupportedError
from ._library import FOLDER, Remarks, call, library, runtime_bytes, told
from ._model import Model, Source, ValueInfo, content, text_path

PROVIDERS = ("CPUExecutionProvider", "CPU", "cpu")


def _elsewhere(model: Source, providers: Sequence[Any], threads: int, kernels: bool) -> Any:
    """A session of Python's onnxruntime on other providers than the CPU's, which are those of the
    installed package. It takes what a provider lacks to the CPU, but not all of it in silence."""
    onnxruntime: Any = importlib.import_module("onnxruntime")
    wanted = [provider if isinstance(provider, str) else provider[0] for provider in providers]
    known = onnxruntime.get_available_providers()
    for name in wanted:
        if name not in known:
            raise UnsupportedError(f"provider {name!r}: the onnxruntime package here has " +
                                   ", ".join(known))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if kernels:
        options.register_custom_ops_library(str(FOLDER / "lib" / "libonnxexplainer_ops.so"))
    data = content(model)
    try:
        made = onnxruntime.InferenceSession(os.fspath(model) if data is None else data, options,
                                            providers=list(providers))
    except Exception as error: # its exceptions have no class of their own
        raise OnnxRuntimeError(str(error).splitlines()[0]) from error
    lost = [name for name in wanted if name not in made.get_providers()]
    if lost:
        raise OnnxRuntimeError(f"provider {lost[0]!r} could not be started, the model would run on "
                               "the CPU")
    return made


class Session:
    """A model loaded into ONNX Runtime, plain or explained.

    model:     path of an ONNX file, its bytes, or an onnx.ModelProto
    providers: None: the CPU's; else a list as onnxruntime takes it, such as
               ["CUDAExecutionProvider", "CPUExecutionProvider"], of those that the installed
               onnxruntime package has: the model runs there untuned
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

    def __init__(self, model: Source, providers: Sequence[Any] | None = None, threads: int = 0,
                 kernels: bool = True, tune: bool = True, limit: int | str = 0) -> None:
        from ._explain import parse_size

        self._pointer = None
        self._other: Any = None
        elsewhere = any(provider not in PROVIDERS for provider in providers or ())
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
                             ("target", "output", "prefix", "feature_names", "group_names", "batch")}
            if not is_path and not elsewhere:
                self._pointer = call("ox_session_open_model", read.pointer, ctypes.byref(options))
        if elsewhere:
            self._source = model
            self._other = _elsewhere(model, providers or (), threads, kernels)
        elif is_path: # the model is gone before: ONNX Runtime has weights of its own
            with told() as remarks:
                options.note = remarks.note
                self._pointer = call("ox_session_open", text_path(model), ctypes.byref(options))
        self.explained = version is not None

    def __del__(self) -> None:
        if getattr(self, "_pointer", None) is not None:
            library.ox_session_free(self._pointer)
            self._pointer = None

    def _tensors(self, inputs: Mapping[str, Any] | Any) -> Tensors:
        inputs = _tables.by_input(inputs, self.inputs)
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

        inputs:  dict of arrays by name, a table of pandas with columns of these names, or the array
                 or table of the only input. Arrays of the type that the
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
        found = self._run_here(given, wanted) if self._other is None else \
            self._run_elsewhere(given, wanted)
        if check and outputs is None and self.explained:
            for line in self._findings(found)[0]:
                warnings.warn(line, ExplainWarning, stacklevel=2)
        return found

    def _run_here(self, given: Tensors, wanted: list[str]) -> dict[str, Array]:
        names = (ctypes.c_char_p * max(len(wanted), 1))(*(name.encode() for name in wanted))
        results = (_abi.ox_tensor * max(len(wanted), 1))()
        call("ox_session_run", self._pointer, given.items, given.count, names, results, len(wanted))
        return {name: take(result) for name, result in zip(wanted, results)}

    def _run_elsewhere(self, given: Tensors, wanted: list[str]) -> dict[str, Array]:
        arrays = {name: array for name, array, _ in given.kept}
        try:
            return dict(zip(wanted, self._other.run(wanted, arrays)))
        except Exception as error:
            raise OnnxRuntimeError(str(error).splitlines()[0]) from error

    def _findings(self, outputs: Mapping[str, Array]) -> tuple[list[str], _abi.ox_findings]:
        """What is wrong with all outputs of an explained model, of one run or of several put
        together along the batch."""
        found, remarks = _abi.ox_findings(), Remarks()
        tensors = Tensors([(name, np.asarray(array, order="C"), type_of(array))
                           for name, array in outputs.items()])
        rest = tensors.items, tensors.count, ctypes.byref(found), remarks.warn, None
        if self._pointer is not None:
            call("ox_session_check", self._pointer, *rest)
        else: # on another provider there is no session of the library's
            with Model.read(self._source) as read:
                call("ox_check", read.pointer, *rest)
        return remarks.warnings, found
