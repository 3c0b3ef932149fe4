"""Arrays of others as NumPy arrays of the type that a model takes, and these as C tensors."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ._abi import ox_tensor, ox_type
from ._errors import ArgumentError, UnsupportedError
from ._library import library

Array: TypeAlias = npt.NDArray[Any]

DTYPES = {ox_type[name]: np.dtype(kind) for name, kind in (
    ("FLOAT", "float32"), ("DOUBLE", "float64"), ("FLOAT16", "float16"), ("BOOL", "bool"),
    ("INT8", "int8"), ("INT16", "int16"), ("INT32", "int32"), ("INT64", "int64"),
    ("UINT8", "uint8"), ("UINT16", "uint16"), ("UINT32", "uint32"), ("UINT64", "uint64"))}
TYPES = {dtype: kind for kind, dtype in DTYPES.items()}


def as_array(value: Any) -> Array:
    """An array, or what has one: a tensor of PyTorch or TensorFlow, a table of pandas."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    if hasattr(value, "numpy"):
        value = value.numpy()
    elif hasattr(value, "to_numpy"):
        value = value.to_numpy()
    array = np.asarray(value)
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    if array.dtype.kind == "S" or (array.dtype.kind in "OT" and all(
            isinstance(text, str) for text in array.flat)):
        array = np.char.decode(array) if array.dtype.kind == "S" else array.astype(str)
    if array.dtype.kind != "U" and array.dtype not in TYPES:
        raise ArgumentError(f"an array of {array.dtype}: only numbers, bool and text can be used")
    return array


def type_of(array: Array) -> int:
    """The element type of what `as_array` gives."""
    return ox_type.STRING if array.dtype.kind == "U" else TYPES[array.dtype]


def _narrow(array: Array) -> Array:
    """The bits of float32 rounded to bfloat16, ties to even."""
    bits = np.asarray(array, order="C").view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.asarray(np.where(np.isnan(array), 0x7FC0, rounded), dtype=np.uint16)


def convert(value: Any, name: str, kind: int) -> Array:
    """The array in the type that input `name` takes, in C order; the array itself where it is so.
    Whole numbers become floats, and others where all fit."""
    array = as_array(value)
    if (array.dtype.kind == "U") != (kind == ox_type.STRING):
        given = "text" if array.dtype.kind == "U" else array.dtype
        raise ArgumentError(f"input \"{name}\" takes {type_name(kind)}, given {given}")
    if kind == ox_type.STRING:
        return array
    if kind == ox_type.BFLOAT16:
        return _narrow(array.astype(np.float32))
    dtype = DTYPES.get(ox_type(kind))
    if dtype is None:
        raise UnsupportedError(f"input \"{name}\" takes {type_name(kind)}, which no array can hold")
    if array.dtype == dtype:
        return np.asarray(array, order="C")
    if dtype.kind == "f":
        return np.asarray(array, dtype=dtype, order="C")
    with np.errstate(invalid="ignore"):
        converted = array.astype(dtype, order="C")
    if not np.array_equal(converted, array):
        raise ArgumentError(f"input \"{name}\": values of {array.dtype} do not fit {dtype}")
    return converted


def type_name(kind: int) -> str:
    """The element type as NumPy spells it."""
    text: bytes = library.ox_type_name(kind)
    return text.decode()


class Tensors:
    """C tensors on arrays by name, which are kept as long as these. A name may be None."""

    def __init__(self, arrays: Sequence[tuple[str | None, Array, int]]) -> None:
        self.count = len(arrays)
        self.items = (ox_tensor * max(self.count, 1))()
        self.kept = arrays
        self._texts: list[Any] = []
        for item, (name, array, kind) in zip(self.items, arrays):
            item.name = None if name is None else name.encode()
            item.type, item.rank = kind, array.ndim
            item.dims = (ctypes.c_int64 * max(array.ndim, 1))(*array.shape)
            if kind == ox_type.STRING:
                texts = (ctypes.c_char_p * max(array.size, 1))(
                    *(str(text).encode() for text in array.flat))
                self._texts.append(texts)
                item.data = ctypes.addressof(texts)
            else:
                item.data = array.ctypes.data


class _Memory:
    """What the library allocated for a tensor, freed when the last array on it goes."""

    def __init__(self, tensor: ox_tensor, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self._tensor = tensor
        self.__array_interface__ = {"version": 3, "typestr": dtype.str, "shape": shape,
                                    "data": (tensor.data, False)}

    def __del__(self) -> None:
        library.ox_tensor_free(ctypes.byref(self._tensor))


def _take_texts(own: ox_tensor, shape: tuple[int, ...]) -> Array:
    pointers = ctypes.cast(own.data, ctypes.POINTER(ctypes.c_char_p))
    texts = [(pointers[i] or b"").decode() for i in range(math.prod(shape))]
    library.ox_tensor_free(ctypes.byref(own))
    return np.array(texts, dtype=str).reshape(shape)


def take(tensor: ox_tensor) -> Array:
    """The array of a tensor that the library made, which it takes over. bfloat16 is widened."""
    own = ox_tensor.from_buffer_copy(tensor)
    if own.type == ox_type.STRING:
        return _take_texts(own, tuple(own.dims[axis] for axis in range(own.rank)))
    wide = own.type == ox_type.BFLOAT16
    shape = tuple(own.dims[axis] for axis in range(own.rank))
    dtype = np.dtype(np.uint16) if wide else DTYPES[ox_type(own.type)]
    if math.prod(shape):
        array = np.asarray(_Memory(own, dtype, shape))
    else:
        library.ox_tensor_free(ctypes.byref(own))
        array = np.empty(shape, dtype)
    return np.asarray(array.astype(np.uint32) << 16).view(np.float32) if wide else array


def names(value: Any) -> list[str] | None:
    """Names of the columns of a table of pandas; None for others."""
    columns = getattr(value, "columns", None)
    return None if columns is None else [str(column) for column in columns]


def is_mapping(value: Any) -> bool:
    """Whether values come by name: a dict, or an open .npz file, but no table."""
    return isinstance(value, Mapping)
