"""What servers of the KServe (Triton) v2 protocol have to know of a model."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
from typing import NamedTuple

from ._abi import ox_type
from ._errors import ArgumentError, UnsupportedError
from ._model import Model, Source, ValueInfo, content

# The names that the protocol has for types. bfloat16 has none in JSON.
DATATYPES = {ox_type.FLOAT: "FP32", ox_type.DOUBLE: "FP64", ox_type.FLOAT16: "FP16",
             ox_type.BFLOAT16: "BF16", ox_type.BOOL: "BOOL", ox_type.STRING: "BYTES",
             **{ox_type[name]: name for name in ("INT8", "INT16", "INT32", "INT64", "UINT8",
                                                 "UINT16", "UINT32", "UINT64")}}


class Served(NamedTuple):
    """Inputs and outputs of a model, and whether requests can be put together along axis 0."""

    inputs: list[ValueInfo]
    outputs: list[ValueInfo]
    batched: bool
    one: bool # but each has to run alone


def served(model: Source) -> Served:
    """Reads a model."""
    with Model.read(model) as read:
        inputs, outputs, batch = read.inputs(), read.outputs(), read.metadata("batch")
    for info in [*inputs, *outputs]:
        if info.type not in DATATYPES:
            raise UnsupportedError(f"\"{info.name}\" holds {info.dtype}, for which the protocol has "
                                   "no name")
        if info.shape is None:
            raise UnsupportedError(f"\"{info.name}\" has no shape, which servers ask for")
    free = all(info.shape and not isinstance(info.shape[0], int) for info in [*inputs, *outputs])
    return Served(inputs, outputs, free and batch != "whole", batch == "one")


def sizes(info: ValueInfo, start: int = 0) -> list[int]:
    """Dimensions from an axis on, -1 where they are free."""
    return [size if isinstance(size, int) else -1 for size in (info.shape or ())[start:]]


def check_name(name: str) -> None:
    """Names are folders and parts of addresses."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise ArgumentError(f"name: \"{name}\" is not made of letters, digits, \".\", \"-\", \"_\"")


def copy_model(model: Source, path: pathlib.Path) -> None:
    """The model as one file, where one can hold it, else with its second file as it is."""
    data = content(model)
    if data is not None:
        path.write_bytes(data)
        return
    with Model.read(model) as read:
        try:
            whole: bytes | None = read.serialize()
        except UnsupportedError:
            whole = None
    if whole is not None:
        path.write_bytes(whole)
        return
    source = pathlib.Path(os.fspath(model))
    shutil.copyfile(source, path)
    for other in source.parent.glob(f"{source.name}.*.data"):
        shutil.copyfile(other, path.parent / other.name)

