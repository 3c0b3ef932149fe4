"""Shape inference against what comes out: the ONNX backend's node models, real models with a
symbolic batch, and windows with drawn attributes. `tests/shapes.c` prints what is inferred."""

import pathlib
import re
import subprocess
import tempfile
import warnings

import numpy as np
import onnx
import onnx.reference
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from conftest import BUILD, ROOT

# Not tensors, a subgraph, or training, which is refused: outputs keep what the model says of them.
NOT_INFERRED = re.compile("_if|_loop|_scan|_sequence|optional|identity_opt|split_to|string_split|"
                          "strnormalizer|flexattention|ml_tree|adagrad|adam|momentum|"
                          "batchnorm_.*training_mode")
# The values decide.
DATA_DEPENDENT = re.compile("nonzero|compress|unique|nonmaxsuppression|image_decoder")


def infer(model, symbol="N"):
    """name -> (type, dims or None, elements or None), each dimension or element as text."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "model.onnx")
        onnx.save(model, path)
        done = subprocess.run([BUILD / "tests" / "shapes", path, symbol], capture_output=True,
                              text=True)
    if done.returncode != 0:
        return done.stderr.strip()

    def items(text):
        return None if text in ("", "?") else [i for i in text.strip("[]").split(",") if i]

    values = {}
    for line in done.stdout.splitlines():
        name, kind, shape, elements = line.split("\t")
        values[name] = kind, items(shape), items(elements)
    return values


def strip(model):
    """Takes out everything that the model says of values other than its inputs."""
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.ClearField("type")


def evaluate(text, batch):
    """The number that a dimension is for a batch, None where it is not known."""
    if text == "?":
        return None
    number = text.rstrip("N")
    return (int(number) if number else 1) * batch ** (len(text) - len(number))


def check(inferred, name, array, batch=0):
    """No contradiction; returns whether all is known."""
    kind, dims, elements = inferred[name]
    if kind == "?":
        return False
    assert kind == array.dtype.name or array.dtype.name in ("object", "str"), name
    if dims is None:
        return False
    known = [evaluate(d, batch) for d in dims]
    assert len(known) == array.ndim, (name, dims, array.shape)
    for got, want in zip(known, array.shape, strict=True):
        assert got in (None, want), (name, dims, array.shape)
    if elements is not None and array.size <= 16:
        for got, want in zip(elements, array.ravel().tolist(), strict=True):
            assert evaluate(got, batch) in (None, int(want)), (name, elements, array)
    return None not in known


# ---- node models ----------------------------------------------------------------------------

with warnings.catch_warnings(action="ignore"):
    NODES = {c.name: c for c in collect_testcases(None) if not c.name.endswith("expanded")}


def make_case(name):
    """Model, its inputs, and what has to come out."""
    case = NODES[name]
    if NOT_INFERRED.search(name):
        pytest.skip("not inferred")
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    strip(model)
    graph = model.graph
    if not all(isinstance(a, (np.ndarray, np.generic)) for d in case.data_sets[0] for a in d):
        pytest.skip("not tensors")
    inputs, outputs = ([np.asarray(a) for a in d] for d in case.data_sets[0])
    if any(a.dtype.name not in np.sctypeDict for a in [*inputs, *outputs]):
        pytest.skip("types that numpy has not")
    # Exporters write shapes, axes and sizes as initializers, so they are here.
    for value, array in list(zip(graph.input, inputs, strict=True))[1:]:
        graph.initializer.append(numpy_helper.from_array(array, value.name))
        graph.input.remove(value)
    first = graph.node[0]
    if first.op_type in ("ConstantOfShape", "Range", "BlackmanWindow", "HammingWindow",
                         "HannWindow", "MelWeightMatrix"):
        graph.initializer.append(numpy_helper.from_array(inputs[0], graph.input[0].name))
        graph.input.remove(graph.input[0])
    return model, inputs, outputs


def infer_case(model):
    inferred = infer(model)
    if isinstance(inferred, str):
        assert "opset" in inferred, inferred
        pytest.skip(inferred)
    return inferred


@pytest.mark.parametrize("name", NODES)
def test_node(name):
    model, _, outputs = make_case(name)
    inferred = infer_case(model)
    for value, array in zip(model.graph.output, outputs, strict=True):
        known = check(inferred, value.name, array)
        assert known or DATA_DEPENDENT.search(name), (value.name, inferred[value.name])


@pytest.mark.parametrize("name", NODES)
def test_node_with_symbols(name):
    """What is said of a symbolic first dimension, and with all others unknown, holds."""
    model, inputs, outputs = make_case(name)
    if not model.graph.input or inputs[0].ndim == 0 or inputs[0].shape[0] < 2:
        pytest.skip("no batch")
    dims = model.graph.input[0].type.tensor_type.shape.dim
    for others in (False, True):
        for i, d in enumerate(dims):
            if i == 0 or others:
                d.dim_param = "N" if i == 0 else f"free{i}"
        inferred = infer_case(model)
        for value, array in zip(model.graph.output, outputs, strict=True):
            check(inferred, value.name, array, inputs[0].shape[0])


@pytest.mark.parametrize("name", NODES)
def test_node_without_shapes(name):
    """Of an input without a shape, and of inputs that are known to exist only, nothing false is said."""
    model, _, outputs = make_case(name)
    graph = model.graph
    for given in ("constants", "nothing"):
        if given == "nothing":
            graph.input.extend(helper.make_tensor_value_info(t.name, t.data_type, None) for t in graph.initializer)
            del graph.initializer[:]
        for value in graph.input:
            value.type.tensor_type.ClearField("shape")
        inferred = infer_case(model)
        for value, array in zip(graph.output, outputs, strict=True):
            check(inferred, value.name, array)


CONTRIB = ["NhwcConv (x, x)", "NhwcMaxPool <kernel_shape = [2]> (q)", "GatherBlockQuantized (q, i, x)",
           "QLinearAdd (q, x, q, q, x, q, x, q)", "QLinearConcat <axis = 1> (x, q, q, x, q)",
           "QLinearGlobalAveragePool (q, x, q, x, q)", "QLinearWhere (c, q, x, q, q, x, q, x, q)",
           "Attention <num_heads = 2> (x, x, x)", "MultiHeadAttention <num_heads = 2> (x, x, x)",
           "QAttention <num_heads = 2> (q, q, x, x, x)", "MatMulNBits <K = 8, N = 2, bits = 4, block_size = 16> (x, q, x)"]


@pytest.mark.parametrize("node", CONTRIB)
def test_contrib_without_shapes(node):
    """Of inputs whose ranks nobody knows nothing is said."""
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18, "com.microsoft" : 1]> '
        f"graph (float x, uint8 q, int64 i, bool c) => (float y) {{ y = com.microsoft.{node} }}")
    for value in model.graph.input:
        value.type.tensor_type.ClearField("shape")
    strip(model)
    assert infer(model)["y"][1] is None


CONTENTS = ["GreaterOrEqual (a, b)", "LessOrEqual (a, b)", "Greater (a, b)", "Equal (a, b)", "Add (a, b)",
            "Sub (a, b)", "Mul (a, b)", "Div (a, b)", "Mod (a, b)", "Min (a, b)", "Max (a, b)", "Abs (a)", "Neg (a)",
            "Where (c, a, b)", "NonZero (a)", "ReduceSum (a)", "ReduceProd (a)", "ReduceMax (a)", "ReduceMin (a)",
            "Squeeze (d)", "Concat <axis = 0> (a, b)", "Gather (a, i)", "Slice (a, i, j)", "CumSum (a, z)", "Not (c)",
            "Identity (a)", "Cast <to = 6> (a)", "Tile (a, i)", "Expand (z, i)", "ConstantOfShape (i)", "Range (z, k, o)",
            "Constant <value_int = 7> ()", "Constant <value_ints = [7, 8]> ()"]


@pytest.mark.parametrize("node", CONTENTS)
def test_contents(node):
    """What is computed of whole numbers while shapes are inferred, to the last."""
    model = onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["" : 18]> graph (float[N] x) => (int64[M] y) {{ y = {node} }}')
    known = {"a": [3, -2, 0, 5], "b": [3, 7, -1, -5], "d": [[4]], "i": [2], "j": [4], "z": 0, "k": 5, "o": 2}
    known = {name: np.int64(value) for name, value in known.items()} | {"c": np.bool_([1, 0, 0, 1])}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in known.items())
    strip(model)
    check(infer(model), "y", onnx.reference.ReferenceEvaluator(model).run(None, {"x": np.zeros(1, np.float32)})[0])


# ---- real models ----------------------------------------------------------------------------

MODELS = sorted((ROOT.parent / "shared" / "models").glob("*/model.onnx"))
# Free dimensions other than the batch, and what they are in the run below.
FREE = {"sequence_length": 24, "sequence": 576, "p2o.DynamicDimension.1": 64,
        "p2o.DynamicDimension.2": 96, "?": 48}


def run_all(model, inputs):
    """Every value that a node makes, by name."""
    graph = model.graph
    known = {o.name for o in graph.output}
    for node in graph.node:
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in node.output
                            if name and name not in known)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def make_input(value, batch):
    kind = value.type.tensor_type
    shape = [d.dim_value or (batch if i == 0 or d.dim_param == "batch" else FREE[d.dim_param])
             for i, d in enumerate(kind.shape.dim)]
    dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
    if value.name == "sr":
        return np.array(16000, dtype)
    random = np.random.default_rng(0)
    if np.issubdtype(dtype, np.integer):
        return random.integers(1, 2, shape).astype(dtype)
    return random.random(shape).astype(dtype)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.parent.name)
def test_model(path):
    model = onnx.load(path)
    strip(model)
    constants = {i.name for i in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in constants]
    first = inputs[0].type.tensor_type.shape.dim
    free = not first[0].HasField("dim_value")
    symbol = first[0].dim_param or "N"
    for value in inputs if free else []:
        dims = value.type.tensor_type.shape.dim
        if dims and (not first[0].dim_param):
            dims[0].dim_param = symbol
        # All but the batch is fixed, as explaining does.
        for d in dims:
            if not d.HasField("dim_value") and d.dim_param != symbol:
                d.dim_value = FREE[d.dim_param]
    inferred = infer(model, symbol)
    assert not isinstance(inferred, str), inferred
    batch = 2 if free else 1
    arrays = run_all(model, {i.name: make_input(i, batch) for i in inputs})
    unknown = [name for name, array in arrays.items()
               if name in inferred and not check(inferred, name, array, batch)]
    assert not unknown or path.parent.name == "silero_vad_ifless", unknown  # has an If


# ---- windows --------------------------------------------------------------------------------

def draw_window(random, op):
    axes = int(random.integers(1, 3))
    attrs = {"kernel_shape": random.integers(1, 5, axes).tolist(),
             "strides": random.integers(1, 5, axes).tolist()}
    if op != "LpPool" or random.random() < 0.5:
        attrs["dilations"] = random.integers(1, 3, axes).tolist()
    mode = random.choice(["NOTSET", "NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"])
    if mode == "NOTSET":
        most = min(attrs["kernel_shape"])
        attrs["pads"] = random.integers(0, most, 2 * axes).tolist()
    else:
        attrs["auto_pad"] = str(mode)
        attrs.pop("dilations", None)
    if op.endswith("Pool"):
        attrs["ceil_mode"] = int(random.integers(0, 2))
    if op == "ConvTranspose" and random.random() < 0.5:
        attrs["output_padding"] = [int(random.integers(0, s)) for s in attrs["strides"]]
    return axes, attrs


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool"])
def test_windows(op):
    random = np.random.default_rng(1)
    done = 0
    for _ in range(60):
        axes, attrs = draw_window(random, op)
        x = random.random([2, 4, *random.integers(5, 14, axes)]).astype(np.float32)
        names, constants = ["x"], []
        if op.startswith("Conv"):
            names.append("w")
            w = random.random([4, 2 if op == "Conv" else 3, *attrs["kernel_shape"]])
            constants.append(numpy_helper.from_array(w.astype(np.float32), "w"))
            attrs["group"] = 2
        graph = helper.make_graph(
            [helper.make_node(op, names, ["y"], **attrs)], "graph",
            [helper.make_tensor_value_info("x", 1, ["N", *x.shape[1:]])],
            [onnx.ValueInfoProto(name="y")], constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)])
        model.ir_version = 10
        try:
            arrays = run_all(model, {"x": x})
        except Exception:
            continue  # onnxruntime refuses the attributes
        inferred = infer(model)
        assert not isinstance(inferred, str), (inferred, attrs, x.shape, arrays["y"].shape)
        assert check(inferred, "y", arrays["y"], 2), attrs
        done += 1
    assert done > 30
