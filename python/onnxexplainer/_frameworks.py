"""Models of frameworks as ONNX: what their own exporters write, with an example from the data."""

from __future__ import annotations

import importlib
import importlib.util
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._arrays import Array
from ._errors import ArgumentError, UnsupportedError
from ._model import Source

# Two rows: exporters take a batch of one for a batch that is always one.
EXAMPLE = 2


def _framework(model: Any) -> str | None:
    """Which of those that are known the class of the model comes from."""
    modules = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    return next((name for name in ("torch", "sklearn", "keras", "tensorflow", "xgboost", "lightgbm")
                 if name in modules), None)


def to_onnx(model: Any, data: Sequence[Array]) -> Source:
    """A model as `Model.read` takes it. `data` are arrays of samples, one an input."""
    if isinstance(model, (str, bytes)) or hasattr(model, "SerializeToString"):
        return model
    framework = _framework(model)
    if framework == "torch":
        return _from_torch(model, data)
    if framework == "sklearn":
        return _from_sklearn(model, data)
    if framework is not None:
        raise UnsupportedError(f"a model of {framework} is not exported here: make an ONNX file of "
                               "it (tf2onnx, onnxmltools) and give that")
    return model # a path, or refused where it is read


def _from_torch(model: Any, data: Sequence[Array]) -> bytes:
    torch: Any = importlib.import_module("torch")
    parameter = next(iter(model.parameters()), None)
    device = "cpu" if parameter is None else parameter.device
    example = tuple(torch.from_numpy(np.repeat(array[:1], EXAMPLE, axis=0)).to(device)
                    for array in data)
    training = model.training
    model.eval() # as in a prediction
    try:
        if importlib.util.find_spec("onnxscript"):
            batch = torch.export.Dim("batch")
            program = torch.onnx.export(model, example, dynamo=True, verbose=False,
                                        dynamic_shapes=tuple({0: batch} for _ in example))
            exported: bytes = program.model_proto.SerializeToString()
            return exported
        names = [f"input_{i}" for i in range(len(example))]
        buffer = io.BytesIO()
        torch.onnx.export(model, example, buffer, dynamo=False, input_names=names,
                          output_names=["output"],
                          dynamic_axes={name: {0: "batch"} for name in [*names, "output"]})
        return buffer.getvalue()
    finally:
        model.train(training)


def _from_sklearn(model: Any, data: Sequence[Array]) -> bytes:
    if not importlib.util.find_spec("skl2onnx"):
        raise UnsupportedError("a model of sklearn needs the package skl2onnx: install it, or give "
                               "an ONNX file")
    if len(data) != 1:
        raise ArgumentError(f"{len(data)} arrays of data where a model of sklearn takes one")
    skl2onnx: Any = importlib.import_module("skl2onnx")
    options = {id(model): {"zipmap": False}} if hasattr(model, "classes_") else None
    exported: bytes = skl2onnx.to_onnx(model, data[0][:1].astype(np.float32),
                                       options=options).SerializeToString()
    return exported
