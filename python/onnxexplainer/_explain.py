"""explain: a model that predicts and explains, made by the library's ox_explain."""

from __future__ import annotations

import ctypes
import difflib
import math
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, Unpack, overload

import numpy as np

from . import _abi, _tables
from ._arrays import Array, Tensors, as_array, convert, is_mapping, type_of
from ._errors import ArgumentError
from ._library import Remarks, call, library, runtime_bytes, told
from ._model import Model, Source, ValueInfo, text_path

References: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any] | Sequence[Any] | Array | Any"
Named: TypeAlias = "tuple[str | None, Array, int]" # with the number of the element type


def parse_size(value: int | str, name: str) -> int:
    """A number of bytes, or a text such as "800M"."""
    text = str(value)
    unit = "KMGT".find(text[-1:]) + 1 if text else 0
    digits = text[:-1] if unit else text
    if isinstance(value, bool) or not (digits.isascii() and digits.isdecimal()):
        raise ArgumentError(f"{name}: {value!r} is not a size such as 800M")
    return _fits(int(digits) << (10 * unit), 2 ** 64, name)


def _fits(number: int, end: int, name: str) -> int:
    if not 0 <= number < end:
        raise ArgumentError(f"{name}: {number} is out of range")
    return number


def _texts(values: Iterable[str]) -> Any:
    encoded = [_text(value, "") for value in values]
    return (ctypes.c_char_p * max(len(encoded), 1))(*encoded)


def _text(value: Any, name: str) -> bytes:
    if not isinstance(value, str):
        raise ArgumentError(f"{name or 'a name'}: {value!r} is not a text")
    if "\0" in value:
        raise ArgumentError(f"{name or 'a name'}: {value!r} holds a NUL")
    return value.encode()


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _choice(value: Any, name: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise ArgumentError(f"{name}: {value!r} is none of {', '.join(choices)}")


def _set_cache(c: _abi.ox_options, value: Any) -> None:
    modes = {mode.name.removeprefix("CACHE_").lower(): mode for mode in _abi.ox_cache}
    _choice(value, "cache", modes)
    c.cache = modes[value]


def _set_cache_dtype(c: _abi.ox_options, value: Any) -> None:
    _choice(value, "cache_dtype", ("float32", "float16"))
    c.cache_dtype = _abi.ox_type.FLOAT16 if value == "float16" else _abi.ox_type.NONE


def _set_integrate(c: _abi.ox_options, value: Any) -> None:
    """K or "K:Op,Op"."""
    points, colon, ops = str(value).partition(":")
    names = ops.split(",") if colon else []
    if isinstance(value, bool) or not points.isdecimal() or int(points) < 1 or "" in names:
        raise ArgumentError(f"integrate: {value!r} is not of the form K or K:Op,Op")
    c.integrate = _fits(int(points), 2 ** 31, "integrate")
    c.integrate_ops, c.integrate_op_count = _texts(names), len(names)


def _set_feature_names(c: _abi.ox_options, value: Any) -> None:
    """Names, or the file that has one a line."""
    if isinstance(value, (str, os.PathLike)):
        value = pathlib.Path(value).read_text(encoding="utf-8").splitlines()
    c.feature_names, c.feature_count = _texts(value), len(value)


SETTERS = {"cache": _set_cache, "cache_dtype": _set_cache_dtype, "integrate": _set_integrate,
           "feature_names": _set_feature_names}
# They are no fields of ox_options.
OURS = ("references", "output", "quiet", "external_data", "fix", "groups", "target", "weights",
        "connect")


def check_keywords(given: Iterable[str], known: Iterable[str], function: str) -> None:
    """Raises for keywords that are not known, with the one that may be meant."""
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, list(known), 1)
            hint = f"; did you mean \"{close[0]}\"?" if close else ""
            raise TypeError(f"{function}() has no option \"{name}\"{hint}")


def _set(c: _abi.ox_options, name: str, value: Any) -> None:
    """Sets the field of an option by its kind in the table."""
    kind = _abi.OPTIONS[name].kind
    if name in SETTERS:
        SETTERS[name](c, value)
    elif kind == "flag":
        setattr(c, name, bool(value))
    elif kind == "text":
        setattr(c, name, _text(str(value) if isinstance(value, int) else value, name))
    elif kind == "count":
        setattr(c, name, _fits(int(value), 2 ** 63, name))
    elif kind == "bytes":
        setattr(c, name, parse_size(value, name))
    else:
        texts = _list(value)
        setattr(c, name, _texts(texts))
        setattr(c, f"{name}_count", len(texts))


# ---- references --------------------------------------------------------------------------


def load(path: str | os.PathLike[str]) -> Any:
    """What a .npy or .npz file holds; that of np.savez(file, x) without its made-up name."""
    if pathlib.Path(path).suffix not in (".npy", ".npz"):
        raise ArgumentError(f"{os.fspath(path)}: references are read from .npy and .npz, give "
                            "others as arrays")
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ArgumentError(f"{os.fspath(path)}: {error}") from error
    if isinstance(found, np.ndarray):
        return found
    with found:
        arrays = dict(found)
    return arrays["arr_0"] if list(arrays) == ["arr_0"] else arrays


def _named(spec: Any) -> Any:
    """What a path, NAME=FILE or anything else stands for: an array, or a dict by name."""
    if isinstance(spec, str) and "=" in spec:
        name, _, path = spec.partition("=")
        return {name: load(path)}
    return load(spec) if isinstance(spec, (str, os.PathLike)) else spec


def _explained_inputs(inputs: list[ValueInfo], held: Sequence[str]) -> list[ValueInfo]:
    return [info for info in inputs if info.name not in held]


def _by_name(references: Any, inputs: list[ValueInfo], held: Sequence[str]) -> list[Named]:
    """The arrays by input, as they are given."""
    free = _explained_inputs(inputs, held)
    if isinstance(references, (list, tuple)):
        specs = [_named(spec) for spec in references]
        if all(is_mapping(spec) for spec in specs):
            references = {name: array for spec in specs for name, array in spec.items()}
        elif len(specs) == len(free):
            references = dict(zip([info.name for info in free], specs))
        else:
            raise ArgumentError(f"{len(specs)} references where the model has {len(free)} inputs "
                                "to explain: give them by name")
    else:
        references = _tables.by_input(_named(references), free)
    if not is_mapping(references):
        references = {free[0].name if len(free) == 1 else None: references}
    found: list[Named] = []
    for name, value in references.items():
        if name is not None and name not in {info.name for info in inputs}:
            raise ArgumentError(f"the model has no input \"{name}\", it has " +
                                ", ".join(f"\"{info.name}\"" for info in inputs))
        array = np.asarray(as_array(value), order="C")
        found.append((name, array, type_of(array)))
    return found


def _converted(given: list[Named], inputs: list[ValueInfo]) -> list[Named]:
    """In the types of the inputs. Those without a name stay: the library knows whose they are."""
    kinds: dict[str | None, int] = {info.name: info.type for info in inputs}
    return [(name, convert(array, name or "", kinds.get(name, kind)), kinds.get(name, kind))
            for name, array, kind in given]


def _set_references(c: _abi.ox_options, model: Model, references: Any, held: Sequence[str],
                    remarks: Remarks) -> Tensors | None:
    """Sets where references come from; what is returned is to be kept."""
    if isinstance(references, str) and references == "input":
        c.reference_source = _abi.ox_reference_source.REFERENCES_INPUT
        return None
    if isinstance(references, str) and references == "paired":
        c.reference_source = _abi.ox_reference_source.REFERENCES_PAIRED
        return None
    if isinstance(references, str) and references.startswith("fill:"):
        c.reference_source = _abi.ox_reference_source.REFERENCES_FILL
        try:
            c.fill = float(references.removeprefix("fill:"))
        except ValueError:
            c.fill = math.nan
        if not math.isfinite(c.fill):
            raise ArgumentError(f"references: \"{references}\" is not a number")
        return None
    inputs = model.inputs()
    given = _by_name(references, inputs, held)
    named = Tensors([item for item in given if item[0] is not None])
    call("ox_check_inputs", model.pointer, named.items, named.count, remarks.note, None)
    tensors = Tensors(_converted(given, inputs))
    c.references, c.reference_count = tensors.items, tensors.count
    return tensors


def _shaped(array: Array, info: ValueInfo) -> Array:
    """In the input's shape; its free axes are 1 but for the last of them."""
    dims = [d if isinstance(d, int) else -1 for d in info.shape or ()]
    if info.shape is None or array.ndim == len(dims):
        return array
    free = [i for i, d in enumerate(dims) if d < 0]
    for i in free[:-1]:
        dims[i] = 1
    try:
        return array.reshape(dims)
    except ValueError:
        raise ArgumentError(f"fix: {array.size} values for input \"{info.name}\" of shape "
                            f"{list(info.shape)}") from None


def _set_fixed(c: _abi.ox_options, model: Model, fixed: Mapping[str, Any]) -> Tensors:
    """Inputs that become constants; what is returned is to be kept."""
    if not is_mapping(fixed):
        raise TypeError("fix is a dict of values by input name")
    inputs = model.inputs()
    infos = {info.name: info for info in inputs}
    given = _by_name(dict(fixed), inputs, ())
    shaped: list[Named] = [(name, _shaped(array, infos[name or ""]), kind)
                           for name, array, kind in given]
    tensors = Tensors(_converted(shaped, inputs))
    c.fix, c.fix_count = tensors.items, tensors.count
    return tensors


def _set_target(c: _abi.ox_options, target: Any) -> Tensors | None:
    """A text, an array (a mask), or a pair of "mask" or "cosine" and an array, which may be a path
    of a .npy; what is returned is to be kept."""
    word, array = "mask", target
    if isinstance(target, tuple):
        word, array = target
    elif isinstance(target, str) and target.endswith(".npy"):
        word, _, path = target.rpartition(":")
        word, array = (word, path) if word in ("mask", "cosine") else ("mask", target)
    elif isinstance(target, (str, int)) or target is None:
        c.target = None if target is None else _text(str(target), "target")
        return None
    array = load(array) if isinstance(array, (str, os.PathLike)) else as_array(array)
    found = np.asarray(array, order="C")
    tensors = Tensors([("target", found, type_of(found))])
    c.target, c.target_array = _text(word, "target"), tensors.items
    return tensors


def _set_weights(c: _abi.ox_options, weights: Any) -> Array | None:
    """A number for each reference; what is returned is to be kept."""
    if weights is None:
        return None
    given = load(weights) if isinstance(weights, (str, os.PathLike)) else as_array(weights)
    found = np.ascontiguousarray(given, np.float64)
    c.weights = ctypes.cast(found.ctypes.data, ctypes.POINTER(ctypes.c_double))
    c.weight_count = found.size
    return found


def _set_groups(c: _abi.ox_options, model: Model, groups: Any) -> Tensors:
    """Rules, files and label maps, one or several; what is returned is to be kept."""
    texts: list[str] = []
    maps: dict[str, Any] = {}
    alone = isinstance(groups, (str, os.PathLike)) or hasattr(groups, "shape") or is_mapping(groups)
    given = [] if groups is None else [groups] if alone else list(groups)
    names = [info.name for info in model.inputs()]
    for spec in given:
        name, _, path = str(spec).rpartition("=") if isinstance(spec, str) else ("", "", "")
        if is_mapping(spec):
            maps.update(spec)
        elif isinstance(spec, str) and (spec == "tokens" or spec.startswith("patch:") or
                                        ":" in spec and not os.path.exists(spec)):
            texts.append(spec)
        elif isinstance(spec, (str, os.PathLike)) and pathlib.Path(spec).suffix == ".npy":
            maps[name or names[0]] = load(path or spec)
        elif isinstance(spec, (str, os.PathLike)):
            lines = pathlib.Path(spec).read_text(encoding="utf-8").splitlines()
            texts += [line for line in lines if line.strip()]
        else:
            maps[names[0]] = spec
    arrays = [(name, np.asarray(as_array(value), order="C")) for name, value in maps.items()]
    tensors = Tensors([(name, array, type_of(array)) for name, array in arrays])
    c.groups, c.group_count = _texts(texts), len(texts)
    c.labels, c.label_count = tensors.items, tensors.count
    return tensors


# ---- explaining --------------------------------------------------------------------------


def _refuse_replacing(output: str | os.PathLike[str], sources: Iterable[Any], model: Model) -> None:
    """No file that is read may be what the output replaces."""
    for source in sources:
        path = isinstance(source, (str, os.PathLike)) and os.path.exists(source)
        if path and os.path.exists(output) and os.path.samefile(source, output):
            raise ArgumentError(f"{os.fspath(output)}: the output would replace an input")
    if library.ox_uses(model.pointer, text_path(output)):
        raise ArgumentError(f"{os.fspath(output)}: the output would replace weights of the model")


@overload
def explain(model: Source | Sequence[Source], references: References, *, output: None = None,
            **options: Unpack[_abi.ExplainOptions]) -> bytes: ...


@overload
def explain(model: Source | Sequence[Source], references: References, *, output: str | os.PathLike[str],
            **options: Unpack[_abi.ExplainOptions]) -> str: ...


def explain(model: Source | Sequence[Source], references: References, *, output: str | os.PathLike[str] | None = None,
            **options: Any) -> bytes | str:
    """Makes a model that gives the prediction and its SHAP values in one call.

    model:      path of an ONNX file, its bytes, or an onnx.ModelProto; or a list of these, of which
                outputs of each feed inputs of those after it (`connect`)
    references: what SHAP values compare with: an array of R rows shaped like the input (R, ...);
                a dict of such arrays by input name, or a list of them in the order of inputs; a
                table of pandas, whose columns are the inputs of their names, or all of them the
                only one;
                the path of a .npy or .npz; "fill:0" for one reference of the sample's shape;
                "input" for new inputs `<input>_references`, "paired" for such with one reference
                for each sample
    Returns the bytes of the explained model, or with `output` writes it there and returns the path.
    It has the outputs of the model, `<input>_shap` (shaped like the input, with an axis of targets
    after the batch where there are several), `shap_target` (int64) and `base_value`.

    Raises TypeError for keywords that do not exist, and subclasses of Error: ArgumentError for
    values that cannot be used, UnsupportedError where a node has no rule, and so on. Notes go to
    the logger "onnxexplainer", warnings are ExplainWarning.

    Keywords, as of the command line:
    """
    check_keywords(options, _abi.ExplainOptions.__annotations__, "explain")
    c = _abi.ox_options(size=ctypes.sizeof(_abi.ox_options))
    for name, value in options.items():
        if name not in OURS and value is not None:
            _set(c, name, value)
    settings = _abi.ox_session_options(size=ctypes.sizeof(_abi.ox_session_options))
    settings.runtime = runtime_bytes()
    c.evaluate = ctypes.cast(library.ox_evaluate_runtime, _abi.ox_evaluate)
    c.evaluate_user = ctypes.addressof(settings)
    with told(bool(options.get("quiet"))) as remarks, Model.read_all(
            model, _list(options.get("connect") or ()), c.limit) as original:
        split = bool(options.get("external_data"))
        if output is not None:
            _refuse_replacing(output, (model, references), original)
        elif split:
            raise ArgumentError("external_data needs an output file to lie beside")
        c.note, c.warn = remarks.note, remarks.warn
        fixed = _set_fixed(c, original, options.get("fix") or {})
        kept = _set_references(c, original, references, [*_list(options.get("hold") or ()), *(options.get("fix") or ())], remarks)
        aim = _set_target(c, options.get("target"))
        counted = _set_weights(c, options.get("weights"))
        labels = _set_groups(c, original, options.get("groups"))
        with Model(call("ox_explain", original.pointer, ctypes.byref(c))) as explained:
            del kept, fixed, labels, aim, counted
            if output is None:
                return explained.serialize()
            call("ox_write_split" if split else "ox_write", explained.pointer, text_path(output))
            return os.fsdecode(output)


if explain.__doc__: # python -OO has none
    explain.__doc__ += "\n".join(f"    {name + ':':15}{option.help}" for name, option
                                 in _abi.OPTIONS.items() if name != "references") + "\n"
