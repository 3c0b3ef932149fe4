"""The C library in this process: where it lies, which ONNX Runtime it takes, and what it says."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import logging
import os
import pathlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from . import _abi
from ._errors import ExplainWarning, OnnxRuntimeError, error_of

FOLDER = pathlib.Path(__file__).parent
logger = logging.getLogger("onnxexplainer")


def _load() -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(FOLDER / "lib" / "libonnxexplainer.so"))
    for name, (result, parameters) in _abi.FUNCTIONS.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, parameters
    return loaded


library = _load()


@functools.cache
def runtime_path() -> str | None:
    """The shared library of the installed onnxruntime package, which is found without importing it.
    None where the environment names another, as the C library reads it."""
    if os.environ.get("ONNXRUNTIME_LIBRARY") or os.environ.get("ONNXRUNTIME_ROOT"):
        return None
    spec = importlib.util.find_spec("onnxruntime")
    for folder in (spec and spec.submodule_search_locations) or []:
        for found in sorted(pathlib.Path(folder, "capi").glob("libonnxruntime.so*")):
            return str(found)
    raise OnnxRuntimeError("no libonnxruntime.so in Python's onnxruntime package: install "
                           "onnxruntime, or set ONNXRUNTIME_LIBRARY")


def runtime_bytes() -> bytes | None:
    """The same as C takes it."""
    path = runtime_path()
    return None if path is None else os.fsencode(path)


def call(name: str, *arguments: Any) -> Any:
    """Calls a function that can fail; its error is raised."""
    err = _abi.ox_error()
    result = getattr(library, name)(*arguments, ctypes.byref(err))
    if not result:
        raise error_of(err)
    return result


class Remarks:
    """Callbacks that keep what the library remarks. Python code must not fail inside them, so that
    `told` passes the remarks on after the call."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.note = _abi.ox_note(self._keep(self.notes))
        self.warn = _abi.ox_note(self._keep(self.warnings))

    @staticmethod
    def _keep(lines: list[str]) -> Callable[[Any, bytes], None]:
        return lambda user, text: lines.append(text.decode(errors="replace"))


@contextmanager
def told(quiet: bool = False) -> Iterator[Remarks]:
    """Remarks of the calls inside: notes go to the logger "onnxexplainer", warnings are warned."""
    remarks = Remarks()
    try:
        yield remarks
    finally:
        for line in [] if quiet else remarks.notes:
            logger.info("%s", line)
    for line in remarks.warnings:
        warnings.warn(line, ExplainWarning, stacklevel=4)
