"""The custom-op library: its kernels agree with the model-local functions whose place they take, and
on every instruction set with their naive twins."""

import math
import re
import subprocess
import zlib

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import kernels
from conftest import BUILD, ROOT

SETS = ["plain", "neon", "avx2", "avx512"]  # one that the machine lacks runs as its best

# m [K, R, N, C, H, W] and so on, with what x, x0 and parameters have of it
SHAPES = {
    "one": ((1,), (1,), (1,), ()),
    "scalar": ((), (), (), ()),
    "odd": ((37,), (37,), (37,), ()),
    "row": ((1031,), (1031,), (1031,), ()),
    "sample": ((3, 1, 5, 7, 11), (1, 5, 7, 11), (3, 1, 5, 7, 11), ()),
    "batch": ((3, 4, 5, 7, 5), (4, 5, 7, 5), (3, 1, 5, 7, 5), ()),
    "targets": ((2, 3, 4, 33), (4, 33), (3, 1, 33), ()),
    "shared": ((1, 4, 33), (4, 33), (3, 1, 33), ()),
    "gates": ((3, 2, 5, 7, 7), (2, 5, 1, 1), (3, 1, 5, 1, 1), ()),
    "channels": ((3, 2, 5, 7, 7), (2, 5, 7, 7), (3, 1, 5, 7, 7), (5, 1, 1)),
    "columns": ((3, 2, 9), (2, 9), (3, 1, 1), (9,)),
    "long": ((3, 1, 2, 5000), (1, 2, 5000), (3, 1, 2, 5000), (2, 1)),
    "many": ((2, 1, 70001), (1, 70001), (2, 1, 70001), ()),
    "empty": ((3, 0, 4), (0, 4), (3, 1, 4), ()),
}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def erf(x):
    return np.vectorize(math.erf, otypes=[float])(x)


def gelu_tanh(x):
    return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3))) / 2


# function: a model that has it, its operands, y of x
FLOWS = {
    "AbsFlow": ("y = Abs(x)", "m x x0", None),
    "AtanFlow": ("y = Atan(x)", "m x x0 y y0", np.arctan),
    "CeilFlow": ("y = Ceil(x)", "m x x0 y y0", np.ceil),
    "CeluFlow": ("y = Celu<alpha = 0.7>(x)", "m x x0 a", None),
    "ClipFlow": ("y = Clip(x, a, b)", "m x x0 a b", lambda x: np.clip(x, -1, 2)),
    "ConditionFlow": ("s = Neg(x) z = Sigmoid(x) c = Less(x, z) y = Where(c, s, z)",
                      "m c c0 x x0 b b0", None),
    "CubeFlow": ("y = Pow(x, three)", "m x x0", None),
    "DivideConstantFlow": ("s = Exp(x) y = Div(one, s)", "m a p p0", None),
    "DividendFlow": ("s = Sigmoid(x) y = Div(x, s)", "m p p0", None),
    "DivisorFlow": ("s = Sigmoid(x) y = Div(x, s)", "m x x0 p p0", None),
    "DivisorOfExpFlow": ("e = Exp(x) s = Add(e, one) y = Div(x, s)", "m x x0 p p0", None),
    "EluFlow": ("y = Elu<alpha = 0.7>(x)", "m x x0 a", None),
    "ErfFlow": ("y = Erf(x)", "m x x0 y y0", erf),
    "ExpFlow": ("y = Exp(x)", "m x x0 y y0", np.exp),
    "FloorFlow": ("y = Floor(x)", "m x x0 y y0", np.floor),
    "GainFlow": ("h = Exp(x) y = Tanh(h)", "m x x0", None),
    "GainSquareFlow": ("y = Tanh(x)", "m x x0", None),
    "GeluFlow": ("y = Gelu(x)", "m x x0 y y0", lambda x: x * (1 + erf(x / np.sqrt(2))) / 2),
    "GeluTanhFlow": ('y = Gelu<approximate = "tanh">(x)', "m x x0 y y0", gelu_tanh),
    "HardSigmoidFlow": ("y = HardSigmoid<alpha = 0.3>(x)", "m x x0 a b", None),
    "HardSwishFlow": ("y = HardSwish(x)", "m x x0", None),
    "InverseRootFlow": ("y = Pow(x, root)", "m p p0 y y0",
                        lambda p: p ** -0.5),
    "LeakyReluFlow": ("y = LeakyRelu<alpha = 0.1>(x)", "m x x0 a", None),
    "LowerBoundFlow": ("y = Max(x, one)", "m x x0 a", None),
    "MaxFlow": ("s = Sigmoid(x) y = Max(x, s)", "m x x0 b b0", None),
    "MinFlow": ("s = Sigmoid(x) y = Min(x, s)", "m x x0 b b0", None),
    "MishFlow": ("y = Mish(x)", "m x x0 y y0", lambda x: x * np.tanh(np.logaddexp(0, x))),
    "MulFlow": ("s = Neg(x) y = Mul(x, s)", "m x x0", None),
    "MulSquareFlow": ("s = Neg(x) p = Mul(x, s) y = Tanh(p)", "m x x0", None),
    "PReluFlow": ("y = PRelu(x, one)", "m x x0 a", None),
    "PReluSlopeFlow": ("s = Sigmoid(x) y = PRelu(x, s)", "m x x0", None),
    "PowerFlow": ("y = Pow(x, power)", "m p p0 y y0 a",
                  lambda p: p ** 2.5),
    "ReciprocalFlow": ("y = Reciprocal(x)", "m p p0", None),
    "ReluGainSquareFlow": ("r = Relu(x) y = Tanh(r)", "m x x0", None),
    "ReluFlow": ("y = Relu(x)", "m x x0", None),
    "RoundFlow": ("y = Round(x)", "m x x0 y y0", np.round),
    "SeluFlow": ("y = Selu(x)", "m x x0 a b", None),
    "SigmoidFlow": ("y = Sigmoid(x)", "m x x0 y y0", sigmoid),
    "SignFlow": ("y = Sign(x)", "m x x0 y y0", np.sign),
    "SoftplusFlow": ("y = Softplus(x)", "m x x0 y y0", lambda x: np.logaddexp(0, x)),
    "SoftsignFlow": ("y = Softsign(x)", "m x x0", None),
    "SqrtFlow": ("y = Sqrt(x)", "m p p0", np.sqrt),
    "SquareFlow": ("y = Pow(x, two)", "m x x0", None),
    "StepFlow": ("c = Greater(x, one) y = Cast<to = 1>(c)", "m y y0 x x0",
                 lambda x: (x > 1) * 1.0),
    "SwishFlow": ("y = Swish<alpha = 1.5>(x)", "m x x0 a", lambda x: x * sigmoid(1.5 * x)),
    "TanhFlow": ("y = Tanh(x)", "m x x0 y y0", np.tanh),
    "UpperBoundFlow": ("y = Min(x, one)", "m x x0 a", None),
}
# flows along the last axis: a model that has it
WEIGHT = "w = Constant<value_floats = [2.0, -1.0, 0.5, 1.0]>()"
AXES = {
    "LogSoftmaxScoresFlow": "y = LogSoftmax(x)",
    "LogSumExpScoresFlow": "axis = Constant<value_ints = [-1]>() y = ReduceLogSumExp(x, axis)",
    "SoftmaxScoresFlow": "y = Softmax(x)",
}
# of rows and numbers of them
NORMS = {"LayerNormFlow": f"{WEIGHT} y = LayerNormalization(x, w)",
         "RootNormFlow": f"{WEIGHT} y = RMSNormalization(x, w)"}
SECOND = {"GainFlow", "GainSquareFlow", "MulSquareFlow", "ReluGainSquareFlow"}  # of the second order
# units of the second order: operands after m, Q, x and x0
UNITS = {"AbsUnit": "", "CeluUnit": "a", "ClipUnit": "a b", "EluUnit": "a",
         "HardSigmoidUnit": "a b", "HardSwishUnit": "", "LeakyReluUnit": "a", "PReluUnit": "a", "ReluUnit": "",
         "ReluOffUnit": "",
         "SeluUnit": "a b", "SigmoidUnit": "", "SoftsignUnit": "", "SwishUnit": "a", "TanhUnit": ""}
PARAMETERS = {"CeluFlow": {"a": 0.7}, "ClipFlow": {"a": -1, "b": 2},
              "DivideConstantFlow": {"a": 1}, "EluFlow": {"a": 0.7},
              "HardSigmoidFlow": {"a": 0.3, "b": 0.5},
              "LeakyReluFlow": {"a": 0.1}, "LowerBoundFlow": {"a": 1}, "PReluFlow": {"a": 0.2},
              "PowerFlow": {"a": 2.5},
              "SeluFlow": {"a": 1.6732632, "b": 1.050701},
              "SwishFlow": {"a": 1.5}, "UpperBoundFlow": {"a": 1}}


def random(shape, rng, size=3.0):
    """Normal numbers, with some that are 0, tiny, whole, or large."""
    x = np.asarray(rng.normal(size=shape) * size)
    kind = rng.integers(0, 40, size=shape)
    x = np.where(kind == 0, 0, x)
    x = np.where(kind == 1, x * 1e-40, x)
    x = np.where(kind == 2, np.round(x), x)
    x = np.where(kind == 3, x * 10, x)
    return np.asarray(x, np.float32)


def operands(flow, shapes, seed=""):
    """Inputs by name; some pairs of x and x0 are equal, or nearly."""
    rng = np.random.default_rng(zlib.crc32(f"{flow} {shapes} {seed}".encode()))
    m, x, x0, parameter = shapes
    made = {"m": random(m, rng), "x": random(x, rng), "x0": random(x0, rng)}
    if made["x"].size:
        near = np.resize(made["x"], math.prod(x0)).reshape(x0)
        kind = rng.integers(0, 12, size=x0)
        step = rng.normal(size=x0) * 10.0 ** rng.integers(-7, -1, size=x0)
        x0 = np.where(kind == 0, near, made["x0"])
        made["x0"] = np.asarray(np.where(kind == 1, near * (1 + step), x0), np.float32)
    return with_others(flow, made, parameter, rng)


def with_others(flow, made, parameter=(), rng=None):
    """The operands of a function where m, x, x0 are given: b is a second operand, c a condition, p
    positive, y the operator's result."""
    _, names, y = FLOWS[flow]
    for end in ("", "0"):
        x = made[f"x{end}"].astype(np.float64)
        if rng is not None:
            made[f"b{end}"] = random(x.shape, rng)
        made[f"c{end}"] = np.asarray(x > 0, np.float32)
        made[f"p{end}"] = np.asarray(np.abs(x) + 0.01, np.float32)
        if y is not None:
            of = made[f"p{end}"] if "p" in names.split() else made[f"x{end}"]
            with np.errstate(all="ignore"):
                made[f"y{end}"] = np.asarray(y(of.astype(np.float64)), np.float32)
    for name, value in PARAMETERS.get(flow, {}).items():
        made[name] = np.full(parameter, value, np.float32)
    return {name: made[name] for name in names.split()}


def one_node(op, inputs, functions=(), symbolic=False, **attributes):
    """A model of a single node of our domain."""
    results = ["out", "second"][:1 + op.endswith("Unit")]
    node = helper.make_node(op, list(inputs), results, domain="onnxexplainer", **attributes)
    values = [helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(v.dtype),
        [f"{name}{i}" if symbolic else n for i, n in enumerate(v.shape)])
        for name, v in inputs.items()]
    out = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in results]
    graph = helper.make_graph([node], "one", values, out)
    opsets = [helper.make_opsetid("", 24), helper.make_opsetid("onnxexplainer", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=functions)


def flow_of(unit):
    return unit.replace("OffUnit", "Flow").replace("Unit", "Flow")


def model_of(name):
    """Of a unit: behind another, so that its V is not that of an input alone."""
    if name not in UNITS:
        return FLOWS[name][0]
    return "h = Tanh(x) " + FLOWS[flow_of(name)][0].replace("(x", "(h")


def compute(model, inputs, library=True):
    return outputs(model, inputs, library)[0]


def outputs(model, inputs, library=True):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if library:
        kernels.register(options, model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def close(found, expected, what=1e-5):
    """Equal to 1e-5 of the largest value; where nothing is expected, nothing is checked."""
    assert found.shape == expected.shape and found.dtype == np.float32
    known = np.isfinite(expected)
    if known.any():
        size = np.abs(expected[known]).max()
        assert np.abs(found[known] - expected[known]).max() <= what * size


@pytest.fixture(scope="module")
def bodies(tmp_path_factory):
    """bodies(name): the model-local function, as the command line writes it."""
    folder, made = tmp_path_factory.mktemp("bodies"), {}

    def body(name):
        if name not in made:
            model = onnx.parser.parse_model(
                '<ir_version: 10, opset_import: ["": 24]> g (float[N, 4] x) => (float[N, 4] y) '
                "<float one = {1}, float two = {2}, float three = {3}, float root = {-0.5}, "
                "float power = {2.5}, float a = {-1}, float b = {2}, int8 zero = {0}> "
                f"{{ {AXES.get(name) or NORMS.get(name) or model_of(name)} }}")
            onnx.save(model, folder / "model.onnx")
            np.save(folder / "r.npy", np.zeros((2, 4), np.float32))
            subprocess.run([str(BUILD / "onnxexplainer"), "explain", folder / "model.onnx", "-r",
                            folder / "r.npy", "--target=all", "-o", folder / "out.onnx",
                            f"--order={1 + (name in SECOND or name in UNITS) + ('Off' in name)}"],
                           check=True)
            made.update((f.name, f) for f in onnx.load(folder / "out.onnx").functions)
        return made[name]

    return body


@pytest.mark.parametrize("name", [*FLOWS, *UNITS])
def test_functions_read_what_they_take(name, bodies):
    """What a function takes and does not read would be kept of the references for nothing."""
    body = bodies(name)
    assert set(body.input) <= {read for node in body.node for read in node.input}


def test_functions_run_with_the_library_registered():
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18, "onnxexplainer": 1]>
        graph (float[N, 4] x) => (float[N, 4] y) { y = onnxexplainer.Twice(x) }
        <domain: "onnxexplainer", opset_import: ["": 18]>
        Twice (a) => (b) { b = Add(a, a) }""")
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.testing.assert_array_equal(compute(model, {"x": x}), 2 * x)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("flow", FLOWS)
def test_kernel_agrees_with_the_function(flow, shape, bodies):
    inputs = operands(flow, SHAPES[shape])
    model = one_node(flow, inputs, [bodies(flow)])
    expected = compute(model, inputs, library=False)
    assert expected.size == 0 or np.isfinite(expected).any()
    # without the function's body, so that nothing but the kernel can run
    close(compute(one_node(flow, inputs, symbolic=True), inputs), expected)
    close(compute(model, inputs), expected)


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("flow", FLOWS)
def test_instruction_sets_agree_with_the_naive_twin(flow, isa, monkeypatch):
    for shape in ("odd", "batch", "gates", "many"):
        inputs = operands(flow, SHAPES[shape], isa)
        model = one_node(flow, inputs)
        monkeypatch.setenv("ONNXEXPLAINER_ISA", "naive")
        expected = compute(model, inputs)
        monkeypatch.setenv("ONNXEXPLAINER_ISA", isa)
        close(compute(model, inputs), expected)


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("flow", [f for f in FLOWS if not {"b0", "p0"} & set(FLOWS[f][1].split())])
def test_infinities_and_extremes(flow, isa, bodies, monkeypatch):
    ends = np.float32([0, -0.0, 1e-45, -1e-45, 1e-39, -1e-39, 1e-30, 1, -1, 40, -40, 120, -120, 1e4,
                       -1e4, 1e18, -1e18, 3e38, -3e38, np.inf, -np.inf])
    x, x0 = [np.ascontiguousarray(v).ravel() for v in np.meshgrid(ends, ends)]
    inputs = with_others(flow, {"m": np.ones_like(x), "x": x, "x0": x0})
    expected = compute(one_node(flow, inputs, [bodies(flow)]), inputs, library=False)
    monkeypatch.setenv("ONNXEXPLAINER_ISA", isa)
    close(compute(one_node(flow, inputs), inputs), expected)


@pytest.mark.parametrize("flow", FLOWS)
def test_sums_add_the_second_multiplier(flow):
    for shape in ("batch", "gates", "many", "shared"):
        inputs = operands(flow, SHAPES[shape])
        like = () if shape == "gates" else SHAPES[shape][0][-2:]
        m2 = random(like, np.random.default_rng(1))
        summed = {**inputs, "m2": m2}
        expected = compute(one_node(flow, inputs), {**inputs, "m": inputs["m"] + m2})
        name = flow.replace("Flow", "SumFlow")
        close(compute(one_node(name, summed), summed), expected, 1e-7)


# ---- units ---------------------------------------------------------------------------------------

def unit_operands(unit, shapes, seed="", thin=False):
    """Operands of a unit; Q and V are products with one number a channel where `thin`."""
    flow = flow_of(unit)
    of = operands(flow, shapes, seed)
    rng = np.random.default_rng(zlib.crc32(f"{unit} {seed}".encode()))
    x, x0 = of["x"].astype(np.float64), of["x0"].astype(np.float64)
    made = {"m": of["m"], "q": random(of["m"].shape, rng), "q2": np.float32(0.5), "x": of["x"],
            "x0": of["x0"]}
    if y_of(unit) is not None:
        made |= {"y": y_of(unit)(x).astype("f"), "y0": y_of(unit)(x0).astype("f")}
    v = (1 + x ** 2 + x0 ** 2) * rng.uniform(0.3, 9, np.broadcast_shapes(x.shape, x0.shape))
    made |= {"v": v.astype("f"), "v2": np.float32(1.5)}
    if thin and x.ndim > 3:
        made |= {name: np.abs(made[name][..., :1, :, :]) for name in ("q", "v")}
        made |= {f"{name}2": rng.uniform(0.5, 2, (x.shape[-3], 1, 1)).astype("f") for name in "qv"}
    return {k: np.asarray(v) for k, v in made.items()} | {a: of[a] for a in UNITS[unit].split()}


def y_of(unit):
    """f where a unit takes it."""
    alone, flow = {"AbsUnit", "LeakyReluUnit", "PReluUnit", "ReluUnit"}, flow_of(unit)
    elu = lambda x, a, b=1: b * np.where(x > 0, x, a * np.expm1(np.minimum(x, 0)))  # noqa: E731
    own = {"CeluFlow": lambda x: np.where(x > 0, x, 0.7 * np.expm1(np.minimum(x, 0) / 0.7)),
           "EluFlow": lambda x: elu(x, 0.7), "SeluFlow": lambda x: elu(x, 1.6732632, 1.050701),
           "HardSigmoidFlow": lambda x: np.clip(0.3 * x + 0.5, 0, 1),
           "HardSwishFlow": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
           "SoftsignFlow": lambda x: x / (1 + np.abs(x)), "ReluFlow": lambda x: np.maximum(x, 0)}
    return None if unit in alone else own.get(flow) or FLOWS[flow][2]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("unit", UNITS)
def test_units_agree_with_the_functions(unit, shape, bodies):
    for thin in (False, True):
        inputs = unit_operands(unit, SHAPES[shape], thin=thin)
        expected = outputs(one_node(unit, inputs, [bodies(unit)]), inputs, library=False)
        for a, b in zip(outputs(one_node(unit, inputs, symbolic=True), inputs), expected):
            close(a, b, 1e-4)  # a ratio of differences from 1e-2 of a box on


ENDS = np.float32([0, -0.0, 1e-45, 1e-39, -1e-30, 1, -1, 40, -120, 1e4, 1e18, -1e18, 3e38, -3e38,
                   np.inf, -np.inf])


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("unit", UNITS)
def test_units_at_infinities_and_extremes(unit, isa, bodies, monkeypatch):
    x, x0, v = [np.ascontiguousarray(v).ravel() for v in np.meshgrid(ENDS, ENDS, ENDS)]
    inputs = unit_operands(unit, (x.shape, x.shape, x.shape, ()))
    inputs |= {"m": np.ones_like(x), "q": np.zeros_like(x), "x": x, "x0": x0, "v": np.abs(v)}
    if y_of(unit) is not None:
        with np.errstate(all="ignore"):
            f = y_of(unit)
            inputs |= {"y": f(x.astype(float)).astype("f"), "y0": f(x0.astype(float)).astype("f")}
    expected = outputs(one_node(unit, inputs, [bodies(unit)]), inputs, library=False)
    monkeypatch.setenv("ONNXEXPLAINER_ISA", isa)
    found = outputs(one_node(unit, inputs), inputs)
    close(found[0], expected[0], 1e-4)  # bounded; the other has no size of its own
    usual = np.maximum(np.maximum(np.abs(x), np.abs(x0)), np.abs(v)) <= 1e18
    assert np.isfinite(found[0][usual]).all() and np.isfinite(found[1][usual]).all()


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("unit", UNITS)
def test_units_agree_with_their_naive_twins(unit, isa, monkeypatch):
    for shape, thin in (("odd", False), ("batch", True), ("gates", False), ("many", False)):
        inputs = unit_operands(unit, SHAPES[shape], isa, thin)
        model = one_node(unit, inputs)
        monkeypatch.setenv("ONNXEXPLAINER_ISA", "naive")
        expected = outputs(model, inputs)
        monkeypatch.setenv("ONNXEXPLAINER_ISA", isa)
        for a, b in zip(outputs(model, inputs), expected):
            close(a, b, 1e-4)  # a ratio of differences from 1e-2 of a box on


@pytest.mark.parametrize("unit", UNITS)
def test_sums_of_units_add_to_both_multipliers(unit):
    rng = np.random.default_rng(4)
    for shape in ("batch", "gates", "many"):
        inputs = unit_operands(unit, SHAPES[shape])
        like = (*SHAPES[shape][0][:-2], 1, 1) if len(SHAPES[shape][0]) > 3 else ()
        more = {"m2": random(like, rng), "q3": random(like, rng)}
        whole = {**inputs, "m": inputs["m"] + more["m2"],
                 "q": inputs["q"] * inputs["q2"] + more["q3"], "q2": np.float32(1)}
        whole = {name: np.asarray(v) for name, v in whole.items()}
        expected = outputs(one_node(unit, whole), whole)
        summed = inputs | more
        found = outputs(one_node(unit.replace("Unit", "SumUnit"), summed), summed)
        for a, b in zip(found, expected):
            close(a, b, 1e-5)


# A dx + B V is dy, whatever V is: to the rounding of y, divided by V and times it
@pytest.mark.parametrize("isa", SETS + ["naive"])
@pytest.mark.parametrize("unit", UNITS)
def test_units_are_complete(unit, isa, monkeypatch):
    monkeypatch.setenv("ONNXEXPLAINER_ISA", isa)
    inputs = unit_operands(unit, SHAPES["batch"], isa)
    first, second = (o.astype(np.float64) for o in outputs(one_node(unit, inputs), inputs))
    m, q, x, x0, v = (inputs[n].astype(np.float64) for n in ("m", "q", "x", "x0", "v"))
    f = y_of(unit) or {
        "AbsUnit": np.abs, "ReluUnit": lambda x: np.maximum(x, 0),
        "LeakyReluUnit": lambda x: np.where(x > 0, x, 0.1 * x),
        "PReluUnit": lambda x: np.where(x > 0, x, 0.2 * x)}[unit]
    dy = f(x) - f(x0)
    every = m + q * 0.5 * dy
    scale = (np.abs(m) + np.abs(q * 0.5 * dy)) * (np.abs(f(x)) + np.abs(f(x0)) + np.abs(x - x0) + 1)
    scale = scale + np.abs(second) * v + np.abs(first * (x - x0))
    off = first * (x - x0) + second * v * 1.5 - every * dy
    assert (np.abs(off) <= 4e-6 * scale + np.finfo("f").tiny).all()


def logarithms(x):
    """Of what softmax makes of x."""
    x = np.asarray(x, np.float64) - x.max(-1, keepdims=True, initial=-1e30)
    return (x - np.log(np.exp(x).sum(-1, keepdims=True))).astype(np.float32)


@pytest.mark.parametrize("isa", SETS + ["naive"])
@pytest.mark.parametrize("flow", AXES)
def test_flows_along_an_axis_agree_with_the_functions(flow, isa, bodies, monkeypatch):
    monkeypatch.setenv("ONNXEXPLAINER_ISA", isa)
    rng = np.random.default_rng(11)
    for m, x, x0 in [((7,), (7,), (7,)), ((3, 2, 5, 33), (2, 5, 33), (3, 1, 5, 33)),
                     ((2, 3, 1, 2000), (1, 2000), (3, 1, 2000)), ((3, 4, 1), (4, 1), (3, 1, 1)),
                     ((1, 4, 19), (4, 19), (3, 1, 19)), ((3, 2, 1), (2, 21), (3, 1, 21)),
                     ((2, 0, 5), (0, 5), (2, 1, 5)), ((2, 400, 49), (400, 49), (2, 400, 49)),
                     ((3, 700, 2), (700, 2), (3, 700, 2)), ((3, 70, 5), (70, 5), (5,)),
                     ((3, 2, 5, 2, 33), (2, 5, 1, 33), (3, 1, 5, 1, 33))]:
        if m[-1] != x[-1] and flow != "LogSumExpScoresFlow":
            continue  # the others have multipliers of the whole axis
        inputs = {"m": random(m, rng), "l": random(x, rng), "l0": random(x0, rng)}
        inputs["l0"].flat[::7] = np.resize(inputs["l"], inputs["l0"].size)[::7]
        if x[-1] > 4:
            inputs["l"][..., 2:3], inputs["l0"][..., 2:3] = -np.inf, -np.inf  # a mask
            inputs["l"][..., 3:4], inputs["l0"][..., 4:5] = -np.inf, -3e38  # and one side's
        inputs |= {name: logarithms(inputs[name]) for name in ("l", "l0")}
        expected = compute(one_node(flow, inputs, [bodies(flow)]), inputs, library=False)
        assert np.isfinite(expected).all()
        close(compute(one_node(flow, inputs, symbolic=True), inputs), expected)


@pytest.mark.parametrize("isa", SETS + ["naive"])
@pytest.mark.parametrize("flow", NORMS)
def test_flows_of_normalisations_agree_with_the_functions(flow, isa, bodies, monkeypatch):
    monkeypatch.setenv("ONNXEXPLAINER_ISA", isa)
    rng = np.random.default_rng(14)
    for m, x, x0 in [((7,), (7,), (7,)), ((3, 2, 5, 33), (2, 5, 33), (3, 1, 5, 33)),
                     ((2, 3, 1, 2000), (1, 2000), (3, 1, 2000)), ((2, 0, 5), (0, 5), (2, 1, 5)),
                     ((2, 300, 49), (300, 49), (2, 300, 49)), ((3, 1, 384), (1, 384), (384,))]:
        inputs = {"m": random(m, rng), "d": random(x, rng), "d0": random(x0, rng)}
        inputs |= {"s": np.abs(random((*x[:-1], 1), rng)) + 0.1,
                   "s0": np.abs(random((*x0[:-1], 1), rng)) + 0.1}
        expected = compute(one_node(flow, inputs, [bodies(flow)]), inputs, library=False)
        assert np.isfinite(expected).all()
        close(compute(one_node(flow, inputs, symbolic=True), inputs), expected)


@pytest.mark.parametrize("isa", SETS + ["naive"])
def test_softmax_is_complete(isa, monkeypatch):
    monkeypatch.setenv("ONNXEXPLAINER_ISA", isa)
    rng = np.random.default_rng(12)
    m, x, x0 = [rng.normal(size=s) * 3 for s in ((3, 5, 40), (5, 40), (3, 1, 40))]
    inputs = {"m": m.astype("f"), "l": logarithms(x), "l0": logarithms(x0)}
    m, x, x0 = [v.astype(np.float64) for v in inputs.values()]
    y, y0 = [np.exp(v) / np.exp(v).sum(-1, keepdims=True) for v in (x, x0)]
    flow = compute(one_node("SoftmaxScoresFlow", inputs), inputs)
    dx = x - x0
    np.testing.assert_allclose((flow * dx).sum(-1), (m * (y - y0)).sum(-1),
                               atol=1e-6 * np.abs(flow * dx).sum(-1).max())


# what a pair of neighbouring floats makes of dy stands in the tolerance: epsilon abs y m
@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("flow", ["ReluFlow", "SigmoidFlow", "TanhFlow", "ErfFlow", "GeluFlow",
                                  "GeluTanhFlow", "MishFlow", "SoftplusFlow", "SwishFlow"])
def test_kernels_are_complete(flow, isa, monkeypatch):
    monkeypatch.setenv("ONNXEXPLAINER_ISA", isa)
    inputs = operands(flow, SHAPES["batch"])
    out = compute(one_node(flow, inputs), inputs).astype(np.float64)
    m, x, x0 = [inputs[name].astype(np.float64) for name in ("m", "x", "x0")]
    twin = {"ReluFlow": lambda x: np.maximum(x, 0), "SwishFlow": FLOWS["SwishFlow"][2]}.get(flow)
    y, y0 = (twin(x), twin(x0)) if twin else \
        (inputs["y"].astype(np.float64), inputs["y0"].astype(np.float64))
    scale = np.abs(m) * (np.abs(y) + np.abs(y0) + np.abs(x - x0) + 1)
    assert (np.abs(out * (x - x0) - m * (y - y0)) <= 1e-6 * scale + np.finfo("f").tiny).all()


def test_every_kernel_is_tested():
    base = ROOT / "src" / "base"
    listed = [name for file, row in (("operators.inc", r'^KERNEL\("(\w+)"'),
                                     ("flows.inc", r'^KERNEL_FLOW\(\w+, "(\w+)"'),
                                     ("ours.h", r'^    X\(\w+, "(\w+)"\)'))
              for name in re.findall(row, (base / file).read_text(), re.MULTILINE)]
    of_units = re.search(r"define OX_UNITS.*?define", (base / "ours.h").read_text(), re.DOTALL)[0]
    units = re.findall(r'^    X\(\w+, "(\w+)", \d, \d\)', of_units, re.MULTILINE)
    assert sorted(f"{name}Flow" for name in listed) == sorted([*FLOWS, *AXES, *NORMS])
    assert sorted(f"{name}Unit" for name in units) == sorted(UNITS)


@pytest.mark.parametrize("name", ["resnet_mnist", "mobile_se_silu_mnist", "norms_digits",
                                  "vit_digits", "lstm_digits"])
def test_explained_models_run_alike(name, shared, explain):
    folder = shared / "models" / name
    path = explain(folder / "model.onnx", np.load(folder / "background.npy")[:4])
    loaded = onnx.load(path)
    x = {loaded.graph.input[0].name: np.load(folder / "input.npy")[:3]}
    plain, fused = [outputs(loaded, x, library) for library in (False, True)]
    for a, b in zip(plain, fused):
        if a.dtype == np.float32:
            close(b, a)
        else:
            np.testing.assert_array_equal(a, b)


def test_shapes_that_do_not_fit_are_refused():
    inputs = {"m": np.ones((2, 3), np.float32), "x": np.ones((2, 4), np.float32),
              "x0": np.ones((1, 3), np.float32)}
    with pytest.raises(Exception, match="ReluFlow: shapes do not fit"):
        compute(one_node("ReluFlow", inputs, symbolic=True), inputs)
