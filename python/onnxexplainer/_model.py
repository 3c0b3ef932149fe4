"""Models as the library reads them, from what Python programs have."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from . import _abi
from ._arrays import DTYPES, type_name
from ._errors import ArgumentError
from ._library import call, library

Source: TypeAlias = Any # str | os.PathLike[str] | bytes | onnx.ModelProto


class ValueInfo(NamedTuple):
    """An input or output of a model.

    name:  as in the model
    dtype: as NumPy spells it; "bfloat16" for what arrays have as float32
    shape: one entry an axis: a number, a name, or None for a nameless one; None where not known
    type:  number of the element type, as ONNX has it
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None
    type: int


def text_path(path: str | os.PathLike[str]) -> bytes:
    """A path as C takes it."""
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ArgumentError(f"{path!r}: a path holds no NUL")
    return encoded


def content(source: Source) -> bytes | None:
    """The bytes of a model that is no path; None for a path."""
    if isinstance(source, (str, os.PathLike)):
        return None
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if hasattr(source, "SerializeToString"):
        data: bytes = source.SerializeToString()
        return data
    raise ArgumentError(f"{type(source).__name__}: a model is a path, bytes or an onnx.ModelProto")


class Model:
    """A model of the library's, freed with `with`."""

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer

    @classmethod
    def read(cls, source: Source, limit: int = 0) -> Model:
        """Reads a path, bytes or ModelProto. External data is found beside a file alone."""
        data = content(source)
        if data is None:
            return cls(call("ox_read_limited", text_path(source), limit))
        return cls(call("ox_parse_limited", data, len(data), None, limit))

    @classmethod
    def read_all(cls, source: Source | Sequence[Source], connect: Sequence[str] = (),
                 limit: int = 0) -> Model:
        """Reads a model, or several in a list, of which it makes one."""
        if not isinstance(source, (list, tuple)):
            if connect:
                raise ArgumentError("connect: there is one model; give several in a list")
            return cls.read(source, limit)
        with contextlib.ExitStack() as stack:
            models = [stack.enter_context(cls.read(one, limit)) for one in source]
            pointers = (ctypes.c_void_p * max(len(models), 1))(*[m.pointer for m in models])
            texts = [text.encode() for text in connect]
            pairs = (ctypes.c_char_p * max(len(texts), 1))(*texts)
            return cls(call("ox_stack", pointers, len(models), pairs, len(texts)))

    def __enter__(self) -> Model:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        library.ox_free(self.pointer)

    def inputs(self) -> list[ValueInfo]:
        """Its inputs, without those that are initializers."""
        return self._infos(library.ox_inputs)

    def outputs(self) -> list[ValueInfo]:
        """Its outputs."""
        return self._infos(library.ox_outputs)

    def _infos(self, function: Any) -> list[ValueInfo]:
        count = ctypes.c_size_t()
        infos = function(self.pointer, ctypes.byref(count))
        return [_info(infos[i]) for i in range(count.value)]

    def metadata(self, key: str) -> str | None:
        """Metadata `onnxexplainer.KEY`."""
        value: bytes | None = library.ox_metadata(self.pointer, f"onnxexplainer.{key}".encode())
        return None if value is None else value.decode()

    def serialize(self) -> bytes:
        """Its bytes; fails where they need a second file."""
        pieces: list[bytes] = []

        def keep(user: Any, data: int, size: int) -> bool:
            pieces.append(ctypes.string_at(data, size))
            return True

        call("ox_serialize", self.pointer, _abi.ox_sink(keep), None)
        return b"".join(pieces)


def _info(info: Any) -> ValueInfo:
    def dimension(axis: int) -> int | str | None:
        size: int = info.dims[axis]
        symbol = info.symbols[axis] if size < 0 and info.symbols else None
        return size if size >= 0 else (symbol or b"").decode() or None

    shape = None if info.rank < 0 else tuple(dimension(axis) for axis in range(info.rank))
    return ValueInfo(info.name.decode(), type_name(info.type), shape, info.type)


def is_float(info: ValueInfo) -> bool:
    """Whether it holds floating-point numbers."""
    dtype = DTYPES.get(_abi.ox_type(info.type))
    return info.type == _abi.ox_type.BFLOAT16 or (dtype is not None and
                                                  np.issubdtype(dtype, np.floating))


def portable(source: Source) -> bytes:
    """A model as bytes, with weights that lie in other files."""
    data = content(source)
    if data is not None:
        return data
    with Model.read(source) as read:
        return read.serialize()


def stack(models: Sequence[Source], connect: str | Sequence[str] = ()) -> bytes:
    """One model of several, in the order in which they follow each other.

    models:  paths of ONNX files, their bytes, or ModelProtos
    connect: "OUTPUT:INPUT", what feeds what; else it goes by name, and a model with one input takes
             the one output of the model before it
    Returns its bytes, for `explain` and all else that takes a model.
    """
    pairs = [connect] if isinstance(connect, str) else list(connect)
    with Model.read_all(list(models), pairs) as made:
        return made.serialize()
