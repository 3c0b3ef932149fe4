"""Channels that do not fill their last block: every function and every kernel in a plan of 30
channels, which gives what the portable model gives. What padded channels hold stays finite, or is
not made."""

import re
import subprocess

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from conftest import BUILD, ROOT
from test_kernels import FLOWS, PARAMETERS, SECOND, UNITS, compute, one_node
from test_tune import assert_same, run_all, tune

CHANNELS = 30

# function: nodes that need it, from c of small whole numbers to b; one operator as in FLOWS
NETS = {flow.removesuffix("Flow"): nodes.replace("y =", "b =").replace("(x)", "(c)")
        for flow, (nodes, *_) in FLOWS.items()
        if flow not in SECOND and re.fullmatch(r"y = \w+\(x\)", nodes)}
NETS |= {
    "Acos": "s = Mul(c, tiny) b = Acos(s)",
    "Acosh": "r = Relu(c) s = Add(r, two) b = Acosh(s)", "Asin": "s = Mul(c, tiny) b = Asin(s)",
    "Asinh": "b = Asinh(c)", "Atanh": "s = Mul(c, tiny) b = Atanh(s)",
    "Ceil": "s = Mul(c, quarter) b = Ceil(s)", "Celu": "b = Celu(c)",
    "Clip": "b = Clip(c, zero, two)", "Cos": "b = Cos(c)",
    "Condition": "s = Sigmoid(c) k = Less(c, s) t = Neg(c) b = Where(k, s, t)",
    "Cosh": "s = Mul(c, tiny) b = Cosh(s)", "Cube": "b = Pow(c, three)",
    "DivideConstant": "t = Mul(c, tiny) s = Sigmoid(t) b = Div(one, s)",
    "Dividend Divisor": "t = Mul(c, tiny) s = Sigmoid(t) b = Div(c, s)",
    "Dividend DivisorOfExp": "s = Mul(c, tiny) e = Exp(s) t = Add(e, one) b = Div(c, t)",
    "Elu": "b = Elu(c)", "Erf": "s = Mul(c, quarter) b = Erf(s)",
    "Exp": "s = Mul(c, tiny) b = Exp(s)", "Floor": "s = Mul(c, quarter) b = Floor(s)",
    "GeluTanh": 'b = Gelu<approximate = "tanh">(c)',
    "HardSigmoid": "b = HardSigmoid(c)",
    "InverseRoot": "s = Abs(c) t = Add(s, one) b = Pow(t, root)", "LeakyRelu": "b = LeakyRelu(c)",
    "Log": "s = Abs(c) t = Add(s, one) b = Log(t)", "LowerBound": "b = Max(c, one)",
    "Max": "s = Sigmoid(c) b = Max(c, s)", "Min": "s = Sigmoid(c) b = Min(c, s)",
    "Mul": "s = Neg(c) b = Mul(c, s)", "PRelu": "b = PRelu(c, slopes)",
    "PReluSlope": "s = Sigmoid(c) b = PRelu(c, s)",
    "PowBase PowExponent": "s = Abs(c) t = Add(s, one) u = Mul(c, tiny) b = Pow(t, u)",
    "Power": "s = Abs(c) t = Add(s, one) b = Pow(t, power)",
    "Reciprocal": "s = Abs(c) t = Add(s, one) b = Reciprocal(t)",
    "Round": "s = Mul(c, tiny) b = Round(s)",
    "Shrink": "b = Shrink(c)",
    "Sin": "b = Sin(c)", "Sinh": "s = Mul(c, tiny) b = Sinh(s)",
    "Sqrt": "s = Abs(c) t = Add(s, one) b = Sqrt(t)", "Square": "b = Pow(c, two)",
    "Step": "k = Greater(c, one) b = Cast<to = 1>(k)", "Swish": "s = Sigmoid(c) b = Mul(c, s)",
    "Tan": "s = Mul(c, tiny) b = Tan(s)",
    "ThresholdedRelu": "b = ThresholdedRelu(c)", "UpperBound": "b = Min(c, one)",
    # beyond one element
    "SoftmaxScores": "b = Softmax(c)", "LogSoftmaxScores": "b = LogSoftmax(c)",
    "LogSumExpScores": "b = ReduceLogSumExp(c, last)",
    "Attention": "t = Transpose<perm = [0, 1, 3, 2]>(c) s = MatMul(c, t) l = Mul(s, tiny) "
              "q = Softmax(l) b = MatMul(q, c)",
    "LayerNorm": "b = LayerNormalization(c, wide)", "RootNorm": "b = RMSNormalization(c, wide)",
    "Winner": "b = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(c)",
    "Interleave": "b = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(c, K)",
    "Spread": "b = Conv<strides = [2, 2]>(c, L)",
    "gates": "g = GlobalAveragePool(c) h = Sigmoid(g) r = Relu(c) b = Mul(r, h)",
    "means": "r = Relu(c) b = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(r)",
}
BENT = {
    "MulSquare": "s = Neg(c) p = Mul(c, s) q = Mul(p, tiny) b = Tanh(q)",
    "ReluGainSquare": "r = Relu(c) s = Sigmoid(r) b = Tanh(s)",
    "Gain GainSquare": "s = Mul(c, tiny) e = Exp(s) b = Tanh(e)",
    **{name: NETS[name.removesuffix("Unit")] for name in UNITS if name != "ReluOffUnit"},
}
KERNELS = {"Winner": "BlockedMaxPoolFlow", "Interleave": "BlockedInterleave",
           "Spread": "BlockedInterleave", "Relu": "BlockedReluFlow", "Swish": "BlockedSwishFlow",
           "gates": "BlockedSumFlow"}
NUMBERS = {"zero": 0, "one": 1, "two": 2, "three": 3, "tiny": 1 / 64, "quarter": 1 / 4,
           "root": -0.5, "power": 2.5}


def build(names, twice):
    """Branches from one convolution, each before one of its own, or two. Sums of what is whole are
    exact in any order, so that no step is taken on another side."""
    rng = np.random.default_rng(len(names))
    nodes, ends = ["c = Conv<pads = [1, 1, 1, 1]>(x, W)"], []
    for i, name in enumerate(names):
        nodes.append(re.sub(r"\b([a-bd-uw-z])\b(?=[,) ]|$)", rf"\g<1>{i}", (NETS | BENT)[name]))
        for k in range(1 + twice):
            nodes.append(f"d{i}_{k} = Conv(b{i}, V{k}) m{i}_{k} = GlobalAveragePool(d{i}_{k})")
            ends.append(f"m{i}_{k}")
    text = " ".join(nodes) + f" z = Concat<axis = 1>({', '.join(ends)}) y = Flatten(z)"
    model = parser.parse_model(f"""<ir_version: 10, opset_import: ["": 23]>
        net (float[N, 3, 6, 6] x) => (float[N, K] y) {{ {text} }}""")
    weights = {"W": rng.integers(-1, 2, (CHANNELS, 3, 3, 3)), "last": np.array([3]),
               "V0": rng.normal(size=(8, CHANNELS, 1, 1)), "int": np.array(0, np.int8),
               "V1": rng.normal(size=(8, CHANNELS, 1, 1)),
               "K": rng.integers(-1, 2, (CHANNELS, CHANNELS, 3, 3)),
               "L": rng.integers(-1, 2, (CHANNELS, CHANNELS, 1, 1)),
               "slopes": rng.normal(size=(CHANNELS, 1, 1)), "wide": np.ones(6), **NUMBERS}
    for name, value in weights.items():
        if re.search(rf"\b{name}\b", text):
            value = np.asarray(value)
            value = value if name in ("last", "int") else value.astype(np.float32)
            model.graph.initializer.append(numpy_helper.from_array(value, name))
    return onnx.shape_inference.infer_shapes(model)


GROUPS = [list(NETS)[i::8] for i in range(8)]


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("names", [*GROUPS, list(BENT)], ids=" ".join)
def test_functions_of_padded_channels(cli, explain, names, twice):
    rng = np.random.default_rng(7)
    r, x = (rng.integers(-2, 3, (2, 3, 6, 6)).astype(np.float32) for _ in range(2))
    order = "--order=2" if names == list(BENT) else "--order=1"
    explained = explain(build(names, twice), r, "--target=0", "--force", order)
    made = {f.name for f in onnx.load(explained).functions}
    wanted = {f if f in UNITS else f"{f}Flow"
              for name in names for f in name.split() if f[0].isupper()}
    wanted -= {"InterleaveFlow", "SpreadFlow"}
    assert wanted <= {re.sub(r"SumFlow$|Flow\d$", "Flow", name) for name in made}
    tuned = tune(cli, explained)
    kernels = {n.op_type for n in onnx.load(tuned).graph.node}
    assert {KERNELS[name] for name in names if name in KERNELS} <= kernels
    assert_same(run_all(tuned, x), run_all(explained, x, kernels=False))


# ---- the table -----------------------------------------------------------------------------------

def table():
    """{function: whether the plan takes it for finite}"""
    base = ROOT / "src" / "base"
    flows = re.findall(r'^(?:KERNEL|UNARY)\("(\w+)".*, \w+, [01], [012], ([01]), \{.*\}\)$',
                       (base / "operators.inc").read_text(), re.MULTILINE)
    flows += re.findall(r'^KERNEL_FLOW\(\w+, "(\w+)", [01], [012], ([01]), ',
                        (base / "flows.inc").read_text(), re.MULTILINE)
    others = re.findall(r'X\((?:\w+, "(\w+)"|"(\w+)Flow", \d, \w+)\)', (base / "ours.h").read_text())
    return {name: finite == "1" for name, finite in flows} | {a or b: False for a, b in others}


def test_every_function_has_a_row():
    """Of those that the rules call, as `...Flow` or by ox_flow()."""
    text = "".join(p.read_text() for p in sorted((ROOT / "src").rglob("*.c")))
    named = {n for n in re.findall(r'"(\w+)Flow"', text) if not n.startswith("Blocked")}
    named = {n.removesuffix("Sum") for n in named} - {""}
    named |= {n for call in re.findall(r"ox_flow\(([^,]*),", text)
              for n in re.findall(r'"(\w+)"', call)}
    assert len(named) > 20 and named <= set(table())


def test_every_function_is_tested():
    tested = {f for name in NETS | BENT for f in name.split() if f[0].isupper()}
    assert set(table()) - {"Mean", "Hardmax", "Tree"} <= tested


@pytest.mark.parametrize("isa", ["naive", "best"])
def test_finite_functions_are_finite(isa, monkeypatch):
    monkeypatch.setenv("ONNXEXPLAINER_ISA", isa)
    rng, rows = np.random.default_rng(8), table()
    checked = [flow for flow in FLOWS if rows[flow.removesuffix("Flow")]]
    assert len(checked) > 30
    for flow in checked:
        fixed = PARAMETERS.get(flow, {})
        inputs = {name: np.float32(fixed[name]) if name in fixed else rng.choice(
            np.float32([-2, -1, -0.5, 0, 0, 0, 0.5, 1, 2]), 20000)
            for name in FLOWS[flow][1].split()}
        inputs = {name: np.asarray(v, np.float32) for name, v in inputs.items()}
        assert np.isfinite(compute(one_node(flow, inputs), inputs)).all(), flow
