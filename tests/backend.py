"""The official ONNX node cases as models to explain: what is explained of each, at which sample,
against which references, and where it can run."""

import contextlib
import copy
import io
import warnings

import numpy as np
import onnx
import onnxruntime
from ml_dtypes import bfloat16
from onnx import TensorProto, defs, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx.reference import ReferenceEvaluator

REFERENCES = 3
NEWEST_OPSET = 26  # of ONNX Runtime
NEWEST_IR = 11
MOST_TARGETS = 64
FEW_TARGETS = 8
FLOATS = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}

# Floating-point inputs that are parameters of the operator rather than data become weights, as they
# are in models: {operator: (their places, why)}.
CONSTANT = {
    "BatchNormalization": ({1, 2, 3, 4}, "learnt"),
    "CastLike": ({1}, "only its type counts"),
    "CausalConvWithState": ({1, 2}, "filters and bias"),
    "Clip": ({1, 2}, "the bounds"),
    "Conv": ({1}, "filters"),
    "ConvTranspose": ({1}, "filters"),
    "DequantizeLinear": ({1}, "the scale, which quantising fixed"),
    "Dropout": ({1}, "the ratio, which inference does not use"),
    "GRU": ({1, 2}, "weights"),
    "LSTM": ({1, 2}, "weights"),
    "OneHot": ({1}, "the depth decides on the shape"),
    "Pad": ({2}, "the value that it pads with"),
    "QuantizeLinear": ({1}, "the scale, which quantising fixed"),
    "RNN": ({1, 2}, "weights"),
    "Range": ({0, 1, 2}, "they decide on the shape"),
    "Resize": ({1, 2}, "region and scales decide on the shape"),
    "RoiAlign": ({1}, "the regions"),
    "Upsample": ({1}, "the scales decide on the shape"),
}


# What ONNX Runtime computes with the precision of float32, whatever the inputs are.
INNER_FLOAT = {
    "Attention": "the scale is a float32 constant of its function body",
    "DFT": "the inverse in float64 is off by 1e-7",
    "GroupNormalization": "stash_type is float32",
}


class NoRuntime(Exception):
    """Neither ONNX Runtime nor the reference evaluator runs the model."""


def tensor_type(info):
    """Element type of a value; 0 for what is no tensor."""
    return info.type.tensor_type.elem_type if info.type.HasField("tensor_type") else 0


def collect():
    """The cases with a floating-point input and output, by name; those that are the same operator
    expanded to others are left out."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    return {case.name: case for case in cases
            if "_expanded" not in case.name
            and any(tensor_type(i) in FLOATS for i in case.model.graph.input)
            and any(tensor_type(o) in FLOATS for o in case.model.graph.output)}


def restated(model):
    """The model at an opset that ONNX Runtime knows, where its operators are the same there."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    model.ir_version = min(model.ir_version, NEWEST_IR)
    for opset in model.opset_import:
        if opset.domain == "" and opset.version > NEWEST_OPSET:
            since = [defs.get_schema(n.op_type, opset.version).since_version
                     for n in model.graph.node if n.domain == ""]
            if max(since, default=0) <= NEWEST_OPSET:
                opset.version = NEWEST_OPSET
    return model


def operator(model):
    """(domain, operator) of a case."""
    last = model.graph.node[-1]
    return "" if last.domain == "ai.onnx" else last.domain, last.op_type


def epsilon(dtype):
    """Distance of 1 to the next number of the type."""
    return 2.0 ** -7 if dtype == bfloat16 else float(np.finfo(dtype).eps)


def doubled(model):
    """The model with float64 in place of float32; not always one that runs."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        if tensor_type(value) == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for weight in graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(weight).astype(np.float64)
            weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    return model


def array_of(value):
    """The array, where it is a tensor: some cases hold them as scalars or as TensorProto."""
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.generic) else value


def wide(value):
    return np.asarray(value).astype(np.float64)


def finite(x):
    """1 where x is not: differences of infinities cannot be attributed."""
    return np.where(np.isfinite(wide(x)), x, np.ones((), x.dtype))


class Case:
    """A case with its sample `x` and references `r` (REFERENCES of them in front), by input name.
    Inputs that are not explained have become initializers."""

    def __init__(self, case, seed=0):
        self.rng = np.random.default_rng(seed)
        self.model = restated(case.model)
        self.x, self.r = {}, {}
        weights = CONSTANT.get(operator(self.model)[1], ((), ""))[0]
        graph = self.model.graph
        values = dict(zip((i.name for i in graph.input), map(array_of, case.data_sets[0][0])))
        places = {name: i for i, name in enumerate(graph.node[-1].input)}
        infos = [*graph.input]
        del graph.input[:]
        for info in infos:
            value = values[info.name]
            explained = (tensor_type(info) in FLOATS
                         and places.get(info.name) not in weights)
            if explained:
                self.x[info.name] = finite(value)
                self.r[info.name] = self.references(self.x[info.name])
            if explained or not isinstance(value, np.ndarray):
                graph.input.append(info)
            else:
                graph.initializer.append(numpy_helper.from_array(value, info.name))
        self.avoid_poles()
        self.outputs = [o.name for o in graph.output if tensor_type(o) in FLOATS]

    def references(self, x):
        """Values between x's own and those of other places of x, so that they stay where the
        operator is defined; some are equal, and the last reference is x itself."""
        own = wide(x)
        rows = [self.rng.permutation(own.reshape(-1)).reshape(x.shape) for _ in range(REFERENCES)]
        if x.size and own.min() == own.max():
            rows = [own * 0.7 for _ in rows]
        share = self.rng.uniform(0.1, 1, (REFERENCES, *x.shape))
        share[self.rng.random(share.shape) < 0.1] = 0
        share[-1] = 0
        return (own + share * (np.stack(rows) - own)).astype(x.dtype)

    def epsilon(self, *values):
        """Of the coarsest floating-point type of the inputs and `values`."""
        kinds = {np.asarray(v).dtype for v in (*self.x.values(), *values)}
        if operator(self.model)[1] in INNER_FLOAT:
            kinds.add(np.dtype(np.float32))
        return max(epsilon(kind) for kind in kinds)

    def avoid_poles(self):
        """Where something is divided by zero, there are no zeros."""
        with contextlib.suppress(NoRuntime):
            y = runner(self.model, self.x)[1].values()
            if not all(np.isfinite(wide(v)).all() for v in y if v is not None):
                for name, x in self.x.items():
                    self.x[name] = np.where(x == 0, np.ones((), x.dtype), x)
                    self.r[name] = self.references(self.x[name])

    def in_double(self):
        """The same case in float64."""
        twin = copy.copy(self)
        twin.model = doubled(self.model)
        twin.x, twin.r = ({name: v.astype(np.float64) for name, v in side.items()}
                          for side in (self.x, self.r))
        return twin

    def bent(self, size):
        """The same case between layers that mix the values of each input with others of its own and
        bend the first output, which is about `size`: the players' variances that arrive at the
        operator are others than the squares of what differs, and a multiplier of them comes back."""
        twin = copy.copy(self)
        twin.model = model = onnx.ModelProto.FromString(self.model.SerializeToString())
        graph, before = model.graph, []
        if not any(o.domain in ("", "ai.onnx") for o in model.opset_import):
            model.opset_import.append(helper.make_opsetid("", 13))

        def constant(name, value):
            graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))

        for info in [i for i in graph.input if i.name in self.x]:
            name, x = info.name, self.x[info.name]
            info.name = f"{name}_given"
            constant(f"{name}_flat", np.array([-1]))
            constant(f"{name}_own", np.array(x.shape, np.int64))
            constant(f"{name}_others", self.rng.permutation(x.size))
            constant(f"{name}_share", np.array(0.4, x.dtype))
            constant(f"{name}_rest", np.array(0.6, x.dtype))
            before += [helper.make_node(op, [f"{name}_{i}" for i in inputs.split()],
                                        [f"{name}_{output}" if output else name])
                       for op, inputs, output in (
                           ("Reshape", "given flat", "row"), ("Gather", "row others", "moved"),
                           ("Mul", "moved share", "shared"), ("Mul", "row rest", "kept"),
                           ("Add", "kept shared", "mixed"), ("Reshape", "mixed own", ""))]
        nodes, y = [*graph.node], graph.output[0]
        del graph.node[:], graph.output[:]
        kind = helper.tensor_dtype_to_np_dtype(tensor_type(y))
        constant("bent_scale", np.array(1 / size, kind))
        after = [helper.make_node("Mul", [y.name, "bent_scale"], ["bent_scaled"]),
                 helper.make_node("Tanh", ["bent_scaled"], ["bent"])]
        graph.node.extend([*before, *nodes, *after])
        graph.output.append(helper.make_tensor_value_info("bent", tensor_type(y), None))
        twin.x, twin.r = ({f"{name}_given": v for name, v in side.items()}
                          for side in (self.x, self.r))
        twin.outputs = ["bent"]
        return twin

    def reference(self, i):
        return {name: value[i, ...] for name, value in self.r.items()}


class Runner:
    """Runs a model: by ONNX Runtime where it can, else by the reference evaluator."""

    def __init__(self, model, reference=False):
        self.by_reference = reference
        self.names = [o.name for o in model.graph.output]
        self.inputs = {i.name for i in model.graph.input}
        try:
            if reference:
                self.session = ReferenceEvaluator(model)
            else:
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = 1
                options.log_severity_level = 4
                self.session = onnxruntime.InferenceSession(
                    model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise NoRuntime(str(error)) from error

    def __call__(self, inputs):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return dict(zip(self.names, self.session.run(None, inputs)))
        except Exception as error:
            raise NoRuntime(str(error)) from error


def runner(model, inputs):
    """What runs the model, and what came out on `inputs`."""
    try:
        run = Runner(model)
        return run, run(inputs)
    except NoRuntime:
        run = Runner(model, reference=True)
        return run, run(inputs)
