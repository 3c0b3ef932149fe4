"""The custom-op library: its kernels agree with the model-local functions whose place they take, and
on every instruction set with their naive twins."""

import math
import zlib

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from conftest import BUILD

LIBRARY = str(BUILD / "libonnxexplainer_ops.so")
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


# function: a model that has it, its operands, what y and y0 are
FLOWS = {
    "ReluFlow": ("y = Relu(x)", "m x x0", None),
    "SigmoidFlow": ("y = Sigmoid(x)", "m x x0 y y0", sigmoid),
    "SwishFlow": ("y = Swish<alpha = 1.5>(x)", "m x x0 y y0 a", lambda x, a: x * sigmoid(a * x)),
    "MulFlow": ("s = Neg(x) y = Mul(x, s)", "m x x0", None),
}
PARAMETERS = {"SwishFlow": {"a": 1.5}}
# what takes numbers from everywhere
EVERYWHERE = {"ReluFlow"}


def random(shape, rng, size=3.0):
    """Normal numbers, with some that are 0, tiny, whole, or large."""
    x = np.asarray(rng.normal(size=shape) * size)
    kind = rng.integers(0, 40, size=shape)
    x = np.where(kind == 0, 0, x)
    x = np.where(kind == 1, x * 1e-40, x)
    x = np.where(kind == 2, np.round(x), x)
    x = np.where(kind == 3, x * 10, x)
    return np.asarray(x, np.float32)


def operands(function, shapes, seed=""):
    """Inputs by name; some pairs of x and x0 are equal, or nearly."""
    _, names, y = FLOWS[function]
    rng = np.random.default_rng(zlib.crc32(f"{function} {shapes} {seed}".encode()))
    m, x, x0, parameter = shapes
    made = {"m": random(m, rng), "x": random(x, rng), "x0": random(x0, rng)}
    if made["x"].size:
        near = np.resize(made["x"], math.prod(x0)).reshape(x0)
        kind = rng.integers(0, 12, size=x0)
        step = rng.normal(size=x0) * 10.0 ** rng.integers(-7, -1, size=x0)
        x0 = np.where(kind == 0, near, made["x0"])
        made["x0"] = np.where(kind == 1, near * (1 + step), x0).astype(np.float32)
    for name, value in PARAMETERS.get(function, {}).items():
        made[name] = np.full(parameter, value, np.float32)
    return with_results(function, made)


def with_results(function, made):
    _, names, y = FLOWS[function]
    if y is not None:
        used = [np.float64(v) for v in PARAMETERS.get(function, {}).values()]
        with np.errstate(all="ignore"):
            for name in ("y", "y0"):
                made[name] = np.asarray(y(made[name.replace("y", "x")].astype(np.float64), *used),
                                        np.float32)
    return {name: made[name] for name in names.split()}


def one_node(op, inputs, functions=(), symbolic=False, **attributes):
    """A model of a single node of our domain."""
    node = helper.make_node(op, list(inputs), ["out"], domain="onnxexplainer", **attributes)
    values = [helper.make_tensor_value_info(
        name, TensorProto.FLOAT, [f"{name}{i}" if symbolic else n for i, n in enumerate(v.shape)])
        for name, v in inputs.items() if name]
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "one", values, [out])
    opsets = [helper.make_opsetid("", 24), helper.make_opsetid("onnxexplainer", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=functions)


def compute(model, inputs, library=True):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if library:
        options.register_custom_ops_library(LIBRARY)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    return session.run(None, {name: v for name, v in inputs.items() if name})[0]


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
    import subprocess
    folder, made = tmp_path_factory.mktemp("bodies"), {}

    def body(name):
        if name not in made:
            model = onnx.parser.parse_model(
                '<ir_version: 10, opset_import: ["": 24]> g (float[N, 4] x) => (float[N, 4] y) '
                f"{{ {FLOWS[name][0]} }}")
            onnx.save(model, folder / "model.onnx")
            np.save(folder / "r.npy", np.zeros((2, 4), np.float32))
            subprocess.run([str(BUILD / "onnxexplainer"), "explain", folder / "model.onnx", "-r",
                            folder / "r.npy", "--target=all", "-o", folder / "out.onnx"], check=True)
            made.update((f.name, f) for f in onnx.load(folder / "out.onnx").functions)
        return made[name]

    return body


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
@pytest.mark.parametrize("flow", sorted(EVERYWHERE))
def test_infinities_and_extremes(flow, isa, bodies, monkeypatch):
    ends = np.float32([0, -0.0, 1e-45, -1e-45, 1e-39, -1e-39, 1e-30, 1, -1, 40, -40, 120, -120, 1e4,
                       -1e4, 1e18, -1e18, 3e38, -3e38, np.inf, -np.inf])
    x, x0 = [np.ascontiguousarray(v).ravel() for v in np.meshgrid(ends, ends)]
    inputs = with_results(flow, {"m": np.ones_like(x), "x": x, "x0": x0, **{
        name: np.float32(v) for name, v in PARAMETERS.get(flow, {}).items()}})
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


@pytest.mark.parametrize("isa", SETS + ["naive"])
@pytest.mark.parametrize("op", ["Relu", "Swish"])
def test_tuned_flows_scale_and_add_up(op, isa, monkeypatch):
    monkeypatch.setenv("ONNXEXPLAINER_ISA", isa)
    rng = np.random.default_rng(7)
    for m, x, x0, scale, acc in [
        ((3, 2, 5, 7, 7), (2, 5, 7, 7), (3, 1, 5, 7, 7), (5, 1, 1), (3, 2, 9, 7, 7)),
        ((3, 1, 4, 40, 40), (4, 40, 40), (3, 1, 4, 40, 40), (4, 1, 1), (3, 1, 4, 40, 40)),
        ((2, 3, 7), (3, 7), (2, 1, 7), (), (1, 1, 7)),
    ]:
        inputs = {name: np.asarray(rng.normal(size=size) * 3, np.float32)
                  for name, size in (("m", m), ("x", x), ("x0", x0))}
        inputs["x0"].flat[::5] = np.resize(inputs["x"], inputs["x0"].size)[::5]
        a, b = inputs["x"].astype(np.float64), inputs["x0"].astype(np.float64)
        f = (lambda v: np.maximum(v, 0)) if op == "Relu" else (lambda v: v * sigmoid(v))
        near = (lambda v: v > 0) if op == "Relu" else \
            (lambda v: sigmoid(v) * (1 + v * (1 - sigmoid(v))))
        with np.errstate(all="ignore"):
            slope = np.where(a == b, near(a), (f(a) - f(b)) / (a - b))
        plain = inputs["m"] * slope
        extra = {"scale": random(scale, rng), "acc": random(acc, rng)}
        added = extra["acc"] if acc[-3:-2] == m[-3:-2] or acc[0] == 1 else extra["acc"][:, :, :m[-3]]
        for given, expected in [
            ({}, plain), ({"scale": extra["scale"]}, plain * extra["scale"]),
            (extra, plain * extra["scale"] + added),
            ({"": np.float32(0), "acc": extra["acc"]}, plain + added),
        ]:
            given = {**inputs, **given}
            close(compute(one_node(f"Tuned{op}Flow", given), given), expected)


def test_shapes_that_do_not_fit_are_refused():
    inputs = {"m": np.ones((2, 3), np.float32), "x": np.ones((2, 4), np.float32),
              "x0": np.ones((1, 3), np.float32)}
    with pytest.raises(Exception, match="ReluFlow: shapes do not fit"):
        compute(one_node("ReluFlow", inputs, symbolic=True), inputs)
