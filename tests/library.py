"""The library in this process, for tests that explain more models than starting the command line
for each of them would allow. What the C structs look like is read from the public header."""

import ctypes
import pathlib
import re

import numpy as np
import onnx
from onnx import helper

from conftest import BUILD, ROOT

HEADER = (ROOT / "include" / "onnxexplainer.h").read_text()
PLAIN = {"bool": ctypes.c_bool, "int": ctypes.c_int, "int64_t": ctypes.c_int64,
         "uint64_t": ctypes.c_uint64, "size_t": ctypes.c_size_t, "double": ctypes.c_double}
ENUM = {name: ctypes.c_int for name in re.findall(r"typedef enum (\w+)", HEADER)}
POINTER = ctypes.c_void_p


def struct(name):
    """The ctypes structure of `typedef struct name { ... } name;`."""
    body = re.search(rf"typedef struct {name} {{(.*?)}} {name};", HEADER, re.DOTALL).group(1)
    body = re.sub(r"/\*.*?\*/", "", body, flags=re.DOTALL)
    fields = []
    for kind, stars, field, length in re.findall(
            r"([\w ]+?)\s*([ *]|\*const \*)(\w+)(?:\[(\d+)\])?;", body):
        kind = kind.replace("const", "").strip()
        if "*" in stars or kind in ("ox_evaluate", "ox_note"):
            kind = POINTER
        elif kind == "char":
            kind = ctypes.c_char * int(length)
        else:
            kind = (PLAIN | ENUM)[kind]
        fields.append((field, kind))
    kind = type(name, (ctypes.Structure,), {"_fields_": fields})
    if fields[0][0] != "size":
        return kind

    def start(self, **values):
        super(kind, self).__init__(**{"size": ctypes.sizeof(kind)} | values)

    kind.__init__ = start  # as the INIT macro does
    return kind


Error, Tensor, Options, Rule, Findings = map(
    struct, ("ox_error", "ox_tensor", "ox_options", "ox_rule_info", "ox_findings"))
Sink = ctypes.CFUNCTYPE(ctypes.c_bool, POINTER, POINTER, ctypes.c_size_t)
Note = ctypes.CFUNCTYPE(None, POINTER, ctypes.c_char_p)
STATES = ("differentiated", "decomposed", "carries nothing", "refused")

library = ctypes.CDLL(str(BUILD / "libonnxexplainer.so"))
library.ox_parse.restype = library.ox_explain.restype = POINTER
library.ox_parse.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, POINTER]
library.ox_explain.argtypes = [POINTER, POINTER, POINTER]
library.ox_serialize.restype = ctypes.c_bool
library.ox_serialize.argtypes = [POINTER, Sink, POINTER, POINTER]
library.ox_free.argtypes = [POINTER]
library.ox_check.restype = library.ox_check_inputs.restype = ctypes.c_bool
library.ox_check.argtypes = [POINTER, POINTER, ctypes.c_size_t, POINTER, Note, POINTER, POINTER]
library.ox_check_inputs.argtypes = [POINTER, POINTER, ctypes.c_size_t, Note, POINTER, POINTER]
library.ox_rules.restype = ctypes.POINTER(Rule)
library.ox_inspect.restype = POINTER
library.ox_inspect.argtypes = [POINTER, POINTER, POINTER]
library.ox_report_free.argtypes = [POINTER]


class Refused(Exception):
    """What the library says about a model that it does not explain."""


def rules():
    """{(domain, operator): (state, formula or reason)}."""
    count = ctypes.c_size_t()
    rows = library.ox_rules(ctypes.byref(count))
    text = [[ctypes.string_at(getattr(rows[i], field)).decode()
             for field in ("domain", "op", "formula")] for i in range(count.value)]
    return {(domain, op): (STATES[rows[i].state], formula)
            for i, (domain, op, formula) in enumerate(text)}


def tensor(name, array):
    """An ox_tensor, and what it points to."""
    array = np.ascontiguousarray(array)
    dims = (ctypes.c_int64 * max(array.ndim, 1))(*array.shape)
    keep = (name.encode(), dims, array)
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return Tensor(ctypes.cast(ctypes.c_char_p(keep[0]), POINTER), kind, array.ndim,
                  ctypes.cast(dims, POINTER), array.ctypes.data), keep


def read(model):
    """The model as the library reads it; to be freed by ox_free."""
    error = Error()
    data = model if isinstance(model, bytes) else model.SerializeToString()
    parsed = library.ox_parse(data, len(data), None, ctypes.byref(error))
    if not parsed:
        raise Refused(error.message.decode(errors="replace"))
    return parsed


def inspect(model):
    """Looks at a model as `show` does."""
    parsed, error = read(model), Error()
    report = library.ox_inspect(parsed, ctypes.byref(Options()), ctypes.byref(error))
    library.ox_free(parsed)
    library.ox_report_free(report)
    if not report:
        raise Refused(error.message.decode(errors="replace"))


def explain(model, references, **options):
    """The explained model, as a ModelProto. `references` is a dict of arrays by input name, or None
    for references that come in as inputs; `options` are fields of ox_options."""
    texts = {k: v.encode() for k, v in options.items() if isinstance(v, str)}
    options.update((k, ctypes.cast(ctypes.c_char_p(v), POINTER)) for k, v in texts.items())
    if references is None:
        options["reference_source"] = 1
    tensors, kept = zip(*(tensor(*item) for item in references.items())) if references else ((), ())
    array = (Tensor * max(len(tensors), 1))(*tensors)
    options.update(references=ctypes.cast(array, POINTER), reference_count=len(tensors))
    settings, error = Options(**options), Error()
    parsed = read(model)
    made = library.ox_explain(parsed, ctypes.byref(settings), ctypes.byref(error))
    library.ox_free(parsed)
    del kept
    if not made:
        raise Refused(error.message.decode(errors="replace"))
    pieces = []
    sink = Sink(lambda _, at, size: pieces.append(ctypes.string_at(at, size)) or True)
    written = library.ox_serialize(made, sink, None, ctypes.byref(error))
    library.ox_free(made)
    assert written, error.message
    return onnx.ModelProto.FromString(b"".join(pieces))


def told(path, call, arrays):
    """What `call`, of the model at path and arrays by name, tells of."""
    tensors, keep = zip(*(tensor(*item) for item in arrays.items()))
    array, error, lines = (Tensor * len(tensors))(*tensors), Error(), []
    data = onnx.load(path).SerializeToString()
    model = library.ox_parse(data, len(data), None, ctypes.byref(error))
    note = Note(lambda _, text: lines.append(text.decode()))
    good = call(model, array, len(tensors), note, error)
    library.ox_free(model)
    del keep
    return good, lines, error.message.decode()


def check(path, outputs):
    """Findings and lines of ox_check; the message where it fails."""
    found = Findings()

    def call(model, array, count, note, error):
        return library.ox_check(model, array, count, ctypes.byref(found), note, None,
                                ctypes.byref(error))

    good, lines, message = told(path, call, outputs)
    if not good:
        return message
    return (found.samples, found.not_finite, found.incomplete, found.unknown), lines


def notes(path, inputs):
    def call(model, array, count, note, error):
        return library.ox_check_inputs(model, array, count, note, None, ctypes.byref(error))

    good, lines, _ = told(path, call, inputs)
    assert good
    return lines
