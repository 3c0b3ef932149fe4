"""Models of frameworks as ONNX: what their own exporters write, with an example from the data."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import io
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _tables
from ._arrays import Array, as_array, is_mapping
from ._errors import ArgumentError, UnsupportedError
from ._model import Source

# Two rows: exporters take a batch of one for a batch that is always one.
EXAMPLE = 2
KNOWN = ("torch", "sklearn", "keras", "tensorflow", "xgboost", "lightgbm", "catboost")
LAYER_INPUT = "layer_input"


@dataclasses.dataclass
class Exported:
    """A model as `Model.read` takes it.

    at:      the tensor to explain in place of the inputs
    output:  the output to explain, where it is not the first
    target:  of it the only one that says something
    columns: how columns of a table are its inputs
    """

    source: Source
    at: str | None = None
    output: str | None = None
    target: str | None = None
    columns: _tables.Columns | None = None


def arrays(data: Any) -> list[Array]:
    """The arrays of the data, one an input."""
    if is_mapping(data):
        data = list(data.values())
    return [as_array(_tables.numbers(value))
            for value in (data if isinstance(data, (list, tuple)) else [data])]


def _framework(model: Any) -> str | None:
    """Which of those that are known the class of the model comes from."""
    modules = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    # Those of boosting are estimators of sklearn, too, which does not know them.
    return next((name for name in reversed(KNOWN) if name in modules), None)


def _needs(package: str, framework: str) -> Any:
    if not importlib.util.find_spec(package):
        raise UnsupportedError(f"a model of {framework} needs the package {package}: install it, "
                               "or give an ONNX file")
    return importlib.import_module(package)


def _one(data: Sequence[Array], framework: str) -> Array:
    if len(data) != 1:
        raise ArgumentError(f"{len(data)} arrays of data where a model of {framework} takes one")
    return data[0]


def export(model: Any, data: Any, margins: bool = False) -> Exported:
    """A model, or (model, at), with an example from its data.

    margins: of boosted classifiers what they make probabilities of
    """
    if isinstance(model, tuple):
        if len(model) != 2:
            raise ArgumentError(f"{len(model)} parts where a model and a tensor are expected")
        model, at = model
        if not isinstance(at, str):
            return _with_layer(model, at, data)
        return dataclasses.replace(export(model, data), at=at)
    if isinstance(model, (str, bytes)) or hasattr(model, "SerializeToString"):
        return Exported(model)
    framework = _framework(model)
    if framework == "torch":
        return Exported(_from_torch(model, arrays(data)))
    if framework == "sklearn":
        return _from_sklearn(model, data, margins)
    if framework in ("xgboost", "lightgbm", "catboost"):
        return _from_boosting(model, framework, _one(arrays(data), framework), margins)
    if framework is not None:
        return Exported(_from_keras(model, arrays(data)))
    return Exported(model) # a path, or refused where it is read


# ---- PyTorch -----------------------------------------------------------------------------


def _from_torch(model: Any, data: Sequence[Array], outputs: Sequence[str] = ("output",)) -> bytes:
    torch: Any = importlib.import_module("torch")
    parameter = next(iter(model.parameters()), None)
    device = "cpu" if parameter is None else parameter.device
    example = tuple(torch.from_numpy(np.repeat(array[:1], EXAMPLE, axis=0)).to(device)
                    for array in data)
    training = {part: part.training for part in model.modules()}
    model.eval() # as in a prediction
    try:
        if importlib.util.find_spec("onnxscript"):
            batch = torch.export.Dim("batch")
            program = torch.onnx.export(model, example, dynamo=True, verbose=False,
                                        output_names=list(outputs) if len(outputs) > 1 else None,
                                        dynamic_shapes=_free(model, example, batch))
            exported: bytes = program.model_proto.SerializeToString()
            return exported
        names = [f"input_{i}" for i in range(len(example))]
        buffer = io.BytesIO()
        torch.onnx.export(model, example, buffer, dynamo=False, input_names=names,
                          output_names=list(outputs),
                          dynamic_axes={name: {0: "batch"} for name in [*names, *outputs]})
        return buffer.getvalue()
    finally:
        for part, was in training.items():
            part.training = was


def _free(model: Any, example: Sequence[Any], batch: Any) -> Any:
    """The first axis of all inputs is the batch; inputs of *args are one parameter."""
    free = tuple({0: batch} for _ in example)
    return (free,) if isinstance(model, _wrapper_type()) else free


_wrapper: list[Any] = []


def _wrapper_type() -> Any:
    """The class of a module that also gives what goes into one of its layers; made when torch is
    there."""
    if _wrapper:
        return _wrapper[0]
    torch: Any = importlib.import_module("torch")

    class WithLayer(torch.nn.Module): # type: ignore[misc]
        def __init__(self, model: Any, layer: Any) -> None:
            super().__init__()
            self.model = model
            self.seen: list[Any] = []
            layer.register_forward_pre_hook(lambda module, given: self.seen.append(given[0]))

        def forward(self, *given: Any) -> Any:
            self.seen.clear()
            result = self.model(*given)
            return result, self.seen[0]

    _wrapper.append(WithLayer)
    return WithLayer


def _takes_input(model: Any, layer: Any, data: Sequence[Array]) -> bool:
    """Whether what goes into a layer is the model's input itself."""
    torch: Any = importlib.import_module("torch")
    seen: list[Any] = []
    hook = layer.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    device = next((p.device for p in model.parameters()), "cpu")
    given = [torch.from_numpy(array[:EXAMPLE]).to(device) for array in data]
    try:
        with torch.no_grad():
            model(*given)
    finally:
        hook.remove()
    if len(given) > 1 and any(seen[0] is one for one in given):
        raise UnsupportedError("the layer takes an input of the model as it is: explain the inputs")
    return bool(seen) and seen[0] is given[0]


def _with_layer(model: Any, layer: Any, data: Any) -> Exported:
    """A module whose graph also gives what goes into a layer, as a tensor of a name."""
    parts = list(model.modules()) if _framework(model) == "torch" else []
    if not any(part is layer for part in parts):
        raise UnsupportedError(f"a layer of {type(layer).__name__} is no part of the model: give a "
                               "layer of a torch.nn.Module, or (model, \"tensor\")")
    if _takes_input(model, layer, arrays(data)):
        return Exported(_from_torch(model, arrays(data)))
    hooks = set(layer._forward_pre_hooks)
    try:
        wrapped = _wrapper_type()(model, layer)
        source = _from_torch(wrapped, arrays(data), ("output", LAYER_INPUT))
    finally:
        for key in set(layer._forward_pre_hooks) - hooks:
            del layer._forward_pre_hooks[key]
    return Exported(source, at=LAYER_INPUT, output="output")


# ---- sklearn -----------------------------------------------------------------------------


def _by_columns(model: Any) -> bool:
    """Whether a pipeline takes columns of a table by name."""
    if type(model).__name__ == "ColumnTransformer":
        return True
    return any(_by_columns(step) for _, step in getattr(model, "steps", ()))


def _from_sklearn(model: Any, data: Any, margins: bool) -> Exported:
    skl2onnx = _needs("skl2onnx", "sklearn")
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    options: dict[str, Any] = {"zipmap": False} if hasattr(last, "classes_") else {}
    boosted = "GradientBoostingClassifier" in type(last).__name__
    if margins and boosted:
        options["raw_scores"] = True
    chosen = {id(last): options} if options else None
    target = "1" if margins and boosted and len(last.classes_) == 2 else None
    if _tables.is_table(data) and _by_columns(model):
        return dataclasses.replace(_from_columns(skl2onnx, model, data, chosen), target=target)
    example = _one(arrays(data), "sklearn")[:1].astype(np.float32)
    made = skl2onnx.to_onnx(model, example, options=chosen)
    if target is not None and made.graph.output[-1].type.tensor_type.shape.dim[1].dim_value == 1:
        target = None
    return Exported(made.SerializeToString(), target=target)


def _from_columns(skl2onnx: Any, model: Any, table: Any, options: Any) -> Exported:
    """A pipeline with an input for each column of a table; texts become codes."""
    types: Any = importlib.import_module("skl2onnx.common.data_types")
    inputs = {}
    for name in table.columns:
        text = _tables.is_category(table[name])
        kind = types.StringTensorType if text else types.FloatTensorType
        inputs[str(name)] = kind([None, 1])
    made = skl2onnx.to_onnx(model, initial_types=list(inputs.items()), options=options)
    codes = _tables.coded(made)
    given = [info.name for info in made.graph.input]
    return Exported(made.SerializeToString(),
                    columns=_tables.Columns(dict(zip(table.columns, given)), codes))


# ---- boosting ----------------------------------------------------------------------------


def _from_boosting(model: Any, framework: str, data: Array, margins: bool) -> Exported:
    if framework == "catboost":
        made = _catboost(model)
    else:
        _needs("onnxmltools", framework)
        convert: Any = importlib.import_module("onnxmltools.convert")
        types: Any = importlib.import_module("onnxmltools.convert.common.data_types")
        shape = [("X", types.FloatTensorType([None, data.shape[1]]))]
        more = {"zipmap": False} if framework == "lightgbm" else {}
        made = getattr(convert, f"convert_{framework}")(model, initial_types=shape, **more)
    _without_maps(made)
    target = _margins(made) if margins else None
    return Exported(made.SerializeToString(), target=target)


def _catboost(model: Any) -> Any:
    onnx = _needs("onnx", "catboost")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        model.save_model(path, format="onnx")
        return onnx.load(path)


def _without_maps(made: Any) -> None:
    """Has classifiers give their tensor of scores, not a dict for each sample."""
    for node in [node for node in made.graph.node if node.op_type == "ZipMap"]:
        made.graph.node.remove(node)
        for output in made.graph.output:
            if output.name == node.output[0]:
                output.name = node.input[0]
                output.type.tensor_type.elem_type = 1 # FLOAT
                output.type.tensor_type.shape.dim.add()
                output.type.tensor_type.shape.dim.add()


def _margins(made: Any) -> str | None:
    """Has classifiers give margins; the only target that says something where there are two
    classes, and margins of one."""
    target = None
    for node in made.graph.node:
        if node.op_type == "TreeEnsembleClassifier":
            attributes = {attribute.name: attribute for attribute in node.attribute}
            transform = attributes.get("post_transform")
            if transform is not None:
                target = "1" if transform.s == b"LOGISTIC" else None
                transform.s = b"NONE"
    return target


# ---- Keras -------------------------------------------------------------------------------


def _from_keras(model: Any, data: Sequence[Array]) -> bytes:
    tf2onnx = _needs("tf2onnx", "Keras")
    tensorflow = _needs("tensorflow", "Keras")
    signature = [tensorflow.TensorSpec((None, *array.shape[1:]), given.dtype, name=f"input_{i}")
                 for i, (array, given) in enumerate(zip(data, model.inputs))]
    if not hasattr(model, "output_names"): # of Keras 3, which tf2onnx asks for
        model.output_names = [f"output_{i}" for i in range(len(model.outputs))]

    def call(*given: Any) -> Any:
        return model(given[0] if len(given) == 1 else list(given), training=False)

    traced = tensorflow.function(call, input_signature=signature)
    made, _ = tf2onnx.convert.from_function(traced, input_signature=signature)
    exported: bytes = made.SerializeToString()
    return exported
