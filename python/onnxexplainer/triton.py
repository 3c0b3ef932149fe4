"""A model repository for Triton, whose ONNX Runtime backend runs explained models as they are.

    onnxexplainer.triton.write_repository("models/", "explained.onnx", name="scorer")
"""

from __future__ import annotations

import os
import pathlib
from typing import Any

from ._abi import ox_type
from ._errors import ArgumentError
from ._model import Source, ValueInfo
from ._serving import DATATYPES, check_name, copy_model, served, sizes

__all__ = ["config", "write_repository"]


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _tensor(info: ValueInfo, batched: bool) -> str:
    """One input or output. Triton has no tensors without axes beside the batch's: of those it is
    told how one of one number is reshaped."""
    datatype = DATATYPES[ox_type(info.type)]
    kind = "TYPE_" + {"BYTES": "STRING"}.get(datatype, datatype)
    dims = sizes(info, 1 if batched else 0)
    shape = f"dims: [ {', '.join(map(str, dims)) or '1'} ]"
    return f"  {{ name: {_quoted(info.name)} data_type: {kind} {shape}" + \
        ("" if dims else " reshape: { shape: [ ] }") + " }"


def config(model: Source, name: str, *, max_batch_size: int = 32, max_queue_delay: float = 0.002,
           max_queue_size: int = 256, instances: int = 1, gpus: bool = False) -> str:
    """The text of config.pbtxt; arguments are those of write_repository."""
    check_name(name)
    if max_batch_size < 1 or instances < 1 or max_queue_size < 0 or max_queue_delay < 0:
        raise ArgumentError("max_batch_size and instances are at least 1, the queue's numbers 0")
    found = served(model)
    batch = (1 if found.one else max_batch_size) if found.batched else 0
    lines = [f"name: {_quoted(name)}", 'backend: "onnxruntime"', f"max_batch_size: {batch}"]
    for key, infos in (("input", found.inputs), ("output", found.outputs)):
        lines += [f"{key} [", ",\n".join(_tensor(info, found.batched) for info in infos), "]"]
    if batch > 1:
        lines += ["dynamic_batching {",
                  f"  max_queue_delay_microseconds: {round(max_queue_delay * 1e6)}",
                  "  default_queue_policy { max_queue_size: %d }" % max_queue_size, "}"]
    lines += ["instance_group [ { count: %d kind: %s } ]" % (
        instances, "KIND_GPU" if gpus else "KIND_CPU")]
    return "\n".join(lines) + "\n"


def write_repository(folder: str | os.PathLike[str], model: Source, *, name: str = "explained",
                     version: int = 1, **options: Any) -> pathlib.Path:
    """Writes FOLDER/NAME/config.pbtxt and FOLDER/NAME/VERSION/model.onnx; returns FOLDER/NAME.

    max_batch_size:  requests of so many rows run together, where samples are independent and the
                     batch is free; otherwise each request runs as it is (0)
    max_queue_delay: seconds that a request may wait for others
    max_queue_size:  requests that may wait; more are refused
    instances, gpus: sessions, on the CPU or on each GPU
    """
    if version < 1:
        raise ArgumentError(f"version: {version} is below 1")
    text = config(model, name, **options)
    home = pathlib.Path(folder) / name
    (home / str(version)).mkdir(parents=True, exist_ok=True)
    copy_model(model, home / str(version) / "model.onnx")
    (home / "config.pbtxt").write_text(text)
    return home
