"""Kernels that change shapes (winners of pools, phases of convolutions, means over the references)
agree with the model-local functions whose place they take, and with their naive twins."""

import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from conftest import BUILD
from test_kernels import SETS, compute, one_node


def explained(folder, op, x, weights=(), **attributes):
    """The functions of a model of one node, explained against three references."""
    inputs = ["x", *(f"w{i}" for i in range(len(weights)))]
    graph = helper.make_graph(
        [helper.make_node(op, inputs, ["y"], **attributes)], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *x])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights)])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])
    onnx.save(onnx.shape_inference.infer_shapes(model), folder / "model.onnx")
    np.save(folder / "r.npy", np.zeros((3, *x), np.float32))
    subprocess.run([str(BUILD / "onnxexplainer"), "explain", folder / "model.onnx", "-r",
                    folder / "r.npy", "--target=all", "-o", folder / "out.onnx"], check=True)
    return {f.name: f for f in onnx.load(folder / "out.onnx").functions}


@pytest.fixture(scope="module")
def bodies(tmp_path_factory):
    """bodies(name): the model-local function, as the command line writes it."""
    folder, made = tmp_path_factory.mktemp("bodies"), {}
    made.update(explained(folder, "MaxPool", (1, 4, 4), kernel_shape=[2, 2]))

    def body(name, steps=(1, 1), at=(0, 0)):
        if name not in made:
            spread = name.startswith("Spread")
            kernel = (1, 1) if spread else (steps[0] + 1, steps[1] + 1)
            pads = [(steps[i] - at[i]) % steps[i] if spread else 0 for i in range(2)] * 2
            for cut in (0, 1):
                size = [5 * step - cut for step in steps]
                w = np.ones((3, 20, *kernel), np.float32)
                made.update(explained(folder, "Conv", (20, *size), [w], strides=steps, pads=pads))
        return made[name]

    return body


def runs_alike(monkeypatch, op, inputs, body, what=2e-6, isa="best"):
    """The kernel's result, having compared it with the body's and the naive twin's."""
    monkeypatch.setenv("ONNXEXPLAINER_ISA", "naive")
    twin = compute(one_node(op, inputs), inputs)
    monkeypatch.setenv("ONNXEXPLAINER_ISA", isa)
    found = compute(one_node(op, inputs), inputs)
    expected = [twin]
    if body is not None:
        expected.append(compute(one_node(op, inputs, [body]), inputs, library=False))
        np.testing.assert_array_equal(  # alike where nothing is known of the shapes
            compute(one_node(op, inputs, [body], symbolic=True), inputs), found)
    for other in expected:
        assert found.shape == other.shape and found.dtype == np.float32
        size = np.abs(other[np.isfinite(other)]).max(initial=0)
        np.testing.assert_allclose(found, other, rtol=what, atol=what * size)
    return found


# ---- winners -----------------------------------------------------------------------------------

# axes of m, x, x0 before the last, positions, windows
WINNERS = {
    "one": ((1,), (1,), (1,), 1, 1),
    "flat": ((), (), (), 7, 3),
    "references": ((3, 4, 5), (4, 5), (3, 1, 5), 33, 12),
    "targets": ((2, 3, 4, 5), (4, 5), (3, 1, 5), 49, 64),
    "one reference": ((2, 1, 4, 5), (4, 5), (1, 1, 5), 17, 9),
    "shared": ((1, 4, 5), (4, 5), (3, 1, 5), 20, 9),
    "shared targets": ((2, 1, 4, 3), (4, 3), (3, 1, 3), 20, 9),
    "blocks": ((2, 2, 1, 3), (1, 3), (2, 1, 3), 1031, 700),
    "many": ((2, 3, 40, 7), (40, 7), (3, 1, 7), 25, 16),
    "no samples": ((2, 3, 0, 5), (0, 5), (3, 1, 5), 4, 2),
}


def pooled(name, kind):
    """m, x, x0, and the first maxima of windows of up to four positions, which overlap."""
    m, x, x0, positions, windows = WINNERS[name]
    rng = np.random.default_rng(len(name) + len(kind))
    make = {"normal": lambda size: rng.normal(size=size),
            "ties": lambda size: rng.integers(0, 3, size=size),
            "same": lambda size: np.broadcast_to(np.linspace(-1, 1, positions), size),
            "infinite": lambda size: np.where(rng.integers(0, 9, size=size) == 0, -np.inf,
                                              rng.normal(size=size))}[kind]
    taps = np.sort(rng.integers(0, positions, size=(windows, 4)))
    made = {"m": rng.normal(size=(*m, windows)), "x": make((*x, positions)),
            "x0": make((*x0, positions))}
    made = {key: np.ascontiguousarray(v, np.float32) for key, v in made.items()}
    if kind == "normal" and made["x"].size:
        made["x0"].flat[::5] = np.resize(made["x"], made["x0"].size)[::5]
    for key, of in (("at", "x"), ("at0", "x0")):
        best = made[of][..., taps].argmax(-1)
        made[key] = np.take_along_axis(np.broadcast_to(taps, (*best.shape, 4)), best[..., None],
                                       -1)[..., 0]
    return made


@pytest.mark.parametrize("kind", ["normal", "ties", "same", "infinite"])
@pytest.mark.parametrize("name", WINNERS)
def test_winners(name, kind, bodies, monkeypatch):
    inputs = pooled(name, kind)
    found = runs_alike(monkeypatch, "WinnerFlow", inputs, bodies("WinnerFlow"))
    if kind in ("normal", "ties") and found.size:  # complete: dy of all windows
        y, y0 = [np.take_along_axis(inputs[v].astype(float), inputs[at], -1)
                 for v, at in (("x", "at"), ("x0", "at0"))]
        dx = inputs["x"].astype(float) - inputs["x0"]
        terms = inputs["m"] * (y - y0)
        limit = 1e-5 * np.abs(terms).sum(-1).max(initial=0)
        assert np.abs((found * dx).sum(-1) - terms.sum(-1)).max() <= limit
    if kind == "same" and found.size:  # all of m arrives
        np.testing.assert_allclose(found.sum(-1),
                                   np.broadcast_to(inputs["m"].sum(-1), found.shape[:-1]),
                                   atol=1e-5 * np.abs(inputs["m"]).sum(-1).max())


@pytest.mark.parametrize("isa", ["best", "naive"])
@pytest.mark.parametrize("which", ["at", "at0"])
@pytest.mark.parametrize("index", [-1, 33, 2 ** 62, -2 ** 63])
def test_winners_outside_are_refused(which, index, isa, monkeypatch):
    monkeypatch.setenv("ONNXEXPLAINER_ISA", isa)
    inputs = pooled("references", "normal")
    inputs[which].flat[-1] = index
    with pytest.raises(Exception, match="WinnerFlow: an index lies outside"):
        compute(one_node("WinnerFlow", inputs), inputs)


@pytest.mark.parametrize("wrong", ["m", "x", "x0", "at", "at0"])
def test_winners_of_other_shapes_are_refused(wrong):
    inputs = pooled("references", "normal")
    inputs[wrong] = np.ascontiguousarray(inputs[wrong][..., :-1])
    with pytest.raises(Exception, match="WinnerFlow: shapes do not fit"):
        compute(one_node("WinnerFlow", inputs, symbolic=True), inputs)


# ---- phases ------------------------------------------------------------------------------------

STEPS = [(2, 2), (3, 3), (2, 3), (3, 2), (2, 4), (4, 2), (1, 2), (2, 1), (1, 3), (3, 1)]
PARTS = [(1, 1, 1, 1), (2, 3, 4, 5), (3, 2, 7, 1), (0, 2, 3, 3), (6, 16, 14, 9)]


def put_together(parts, steps, size):
    """Parts by their place, (row, column)."""
    batch, channels, height, width = next(iter(parts.values())).shape
    whole = np.zeros((batch, channels, height * steps[0], width * steps[1]), np.float32)
    for at, part in parts.items():
        whole[:, :, at[0]::steps[0], at[1]::steps[1]] = part
    return whole[:, :, :size[0], :size[1]]


def phases(dims, steps, cut, places):
    """Parts, and the size of the whole, from which at most a step less one is cut off."""
    rng = np.random.default_rng(sum(dims) + sum(steps))
    size = [dims[2] * steps[0] - cut * (steps[0] - 1), dims[3] * steps[1] - cut * (steps[1] // 2)]
    return {at: rng.normal(size=dims).astype(np.float32) for at in places}, size


@pytest.mark.parametrize("cut", [0, 1])
@pytest.mark.parametrize("steps", STEPS)
def test_phases_are_interleaved(steps, cut, bodies, monkeypatch):
    name = f"Interleave{steps[0]}x{steps[1]}{'Cut' * cut}"
    for dims in PARTS:
        parts, size = phases(dims, steps, cut, np.ndindex(*steps))
        inputs = {f"p{i}": part for i, part in enumerate(parts.values())}
        inputs["shape"] = np.array([0, 0, *size])
        body = bodies(name, steps) if min(steps) > 1 else None  # those along one axis have none
        found = runs_alike(monkeypatch, name, inputs, body, 0)
        np.testing.assert_array_equal(found, put_together(parts, steps, size))


@pytest.mark.parametrize("cut", [0, 1])
@pytest.mark.parametrize("steps", [s for s in STEPS if min(s) > 1])
def test_a_phase_is_spread(steps, cut, bodies, monkeypatch):
    for at in np.ndindex(*steps):
        name = f"Spread{steps[0]}x{steps[1]}At{at[0]}x{at[1]}{'Cut' * cut}"
        for dims in PARTS[1:]:
            parts, size = phases(dims, steps, cut, [at])
            inputs = {"part": parts[at], "shape": np.array([0, 0, *size])}
            body = bodies(name, steps, at) if dims[0] else None
            found = runs_alike(monkeypatch, name, inputs, body, 0)
            np.testing.assert_array_equal(found, put_together(parts, steps, size))


@pytest.mark.parametrize("name, shape", [
    ("Interleave2x1", [0, 0, 5, 3]), ("Interleave2x1", [0, 0, 6, 2]),
    ("Interleave2x1", [1, 0, 6, 3]), ("Interleave2x1Cut", [0, 0, 7, 3]),
    ("Interleave2x1Cut", [0, 0, -1, 3]), ("Interleave2x1Cut", [0, 0, 6])])
def test_phases_of_other_shapes_are_refused(name, shape):
    part = np.ones((2, 2, 3, 3), np.float32)
    inputs = {"a": part, "b": part, "shape": np.array(shape)}
    with pytest.raises(Exception, match=f"{name}: shapes do not fit"):
        compute(one_node(name, inputs), inputs)


def test_parts_of_other_shapes_are_refused():
    part = np.ones((2, 2, 3, 3), np.float32)
    inputs = {"a": part, "b": part[:, :, :2], "shape": np.array([0, 0, 6, 3])}
    with pytest.raises(Exception, match="Interleave2x1: shapes do not fit"):
        compute(one_node("Interleave2x1", inputs), inputs)


# ---- means -------------------------------------------------------------------------------------

MEANS = {
    "one": ((1, 1), (1,), (1, 1)),
    "references": ((3, 4, 5, 7), (4, 5, 7), (3, 1, 5, 7)),
    "targets": ((2, 3, 4, 5, 7), (4, 5, 7), (3, 1, 5, 7)),
    "one reference": ((2, 1, 4, 33), (4, 33), (1, 1, 33)),
    "shared": ((1, 4, 33), (4, 33), (3, 1, 33)),
    "shared targets": ((2, 1, 4, 33), (4, 33), (3, 1, 33)),
    "thin": ((2, 37, 4, 5, 1, 1), (4, 5, 3, 7), (37, 1, 5, 1, 7)),
    "alone": ((5, 1), (1,), (5, 1)),
    "targets of one number": ((2, 5, 1, 1), (1, 1), (5, 1, 1)),
    "many targets of one number": ((1100, 3, 1, 1), (1, 1), (3, 1, 1)),
    "long": ((2, 10, 1, 70001), (1, 70001), (10, 1, 70001)),
    "many": ((100, 30, 20), (30, 20), (100, 1, 20)),
    "no samples": ((2, 3, 0, 5), (0, 5), (3, 1, 5)),
    "no references": ((2, 0, 4, 5), (4, 5), (0, 1, 5)),
}


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("name", MEANS)
def test_means(name, isa, bodies, monkeypatch):
    rng = np.random.default_rng(len(name))
    inputs = {key: np.asarray(rng.normal(size=size), np.float32)
              for key, size in zip(("m", "x", "x0"), MEANS[name])}
    found = runs_alike(monkeypatch, "MeanFlow", inputs, bodies("MeanFlow"), isa=isa)
    if name == "no references":
        assert not found.any()
        return
    m, x, x0 = [v.astype(np.float64) for v in inputs.values()]
    terms = m * (x - x0)
    np.testing.assert_allclose(found, terms.mean(terms.ndim - x0.ndim), rtol=0,
                               atol=1e-6 * np.abs(terms).max(initial=0))


@pytest.mark.parametrize("isa", SETS)
def test_means_of_many_add_up_in_stretches(isa, monkeypatch):
    """A sum rounds as often as numbers are added to it: 16 times, then once for every 16."""
    monkeypatch.setenv("ONNXEXPLAINER_ISA", isa)
    rng = np.random.default_rng(3)
    count = 4096
    inputs = {"m": (1 + rng.random((count, 21))).astype("f"), "x": np.zeros(21, "f"),
              "x0": -(1 + rng.random((count, 21))).astype("f")}
    found = compute(one_node("MeanFlow", inputs), inputs)
    exact = -(inputs["m"].astype(float) * inputs["x0"]).mean(0)
    assert np.abs(found / exact - 1).max() <= 2 ** -24 * (2 + 16 + count / 16)


@pytest.mark.parametrize("inputs", [((3, 4), (5,), (3, 5)), ((3, 5), (5,), (2, 5)),
                                    ((5,), (5,), ())])
def test_means_of_other_shapes_are_refused(inputs):
    made = {key: np.ones(size, np.float32) for key, size in zip(("m", "x", "x0"), inputs)}
    with pytest.raises(Exception, match="MeanFlow: shapes do not fit"):
        compute(one_node("MeanFlow", made, symbolic=True), made)


# ---- sums over channels ------------------------------------------------------------------------

GATED = """<ir_version: 10, opset_import: ["": 18]> g (float[N, 32, 4, 4] x) => (float[N, K] y)
    { r = Relu(x) a = GlobalAveragePool(r) s = Sigmoid(a) p = Mul(r, s) c = Conv(p, W)
      t = Tanh(c) d = Conv(t, V) e = Relu(d) f = Conv(e, V2)
      g = Relu(f) y = Flatten(g) }"""
SUMS = {"ChannelSum": lambda a, w: a * w, "ChannelSumOfGains": lambda m, x, x0: m * (x - x0) ** 2,
        "ChannelSumOfReluGains":
            lambda m, x, x0: m * (np.maximum(x, 0) - np.maximum(x0, 0)) ** 2,
        "ChannelSumOfMids": lambda m, x, x0: m * ((x + x0) / 2) ** 2}
# m, or what is added up; x or weights; x0
CHANNELS = {"one": ((1, 1, 1), (1, 1, 1), (1, 1, 1)),
            "weights": ((5, 1, 1), (2, 5, 7, 11), (3, 1, 5, 7, 11)),
            "pairs": ((3, 2, 5, 1, 1), (2, 5, 3, 3), (3, 1, 5, 3, 3)),
            "long": ((70, 1, 1), (1, 70, 60, 61), (2, 1, 70, 60, 61)),
            "many": ((3, 400, 1, 1), (400, 2, 3), (3, 400, 2, 3)),
            "whole": ((3, 1, 5, 7, 11), (5, 7, 11), (5, 1, 11)),
            "no samples": ((5, 1, 1), (0, 5, 2, 2), (3, 1, 5, 2, 2)),
            "no channels": ((0, 1, 1), (2, 0, 2, 2), (3, 1, 0, 2, 2))}


@pytest.fixture(scope="module")
def gated_bodies(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("gated"), np.random.default_rng(2)
    model = onnx.parser.parse_model(GATED)
    for name, shape in (("W", (40, 32, 1, 1)), ("V", (32, 40, 3, 3)),
                        ("V2", (40, 32, 2, 2))):
        value = rng.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    onnx.save(model, folder / "m.onnx")
    np.save(folder / "r.npy", np.zeros((3, 32, 4, 4), np.float32))
    subprocess.run([str(BUILD / "onnxexplainer"), "explain", folder / "m.onnx", "-r",
                    folder / "r.npy", "--order=2", "-o", folder / "out.onnx"], check=True)
    return {f.name: f for f in onnx.load(folder / "out.onnx").functions}


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("shape", CHANNELS)
@pytest.mark.parametrize("name", SUMS)
def test_sums_over_channels(name, shape, isa, gated_bodies, monkeypatch):
    rng = np.random.default_rng(len(name + shape))
    names = ("m", "x", "x0")[:3 - (name == "ChannelSum")]
    inputs = {key: rng.normal(size=size).astype(np.float32)
              for key, size in zip(names, CHANNELS[shape])}
    found = runs_alike(monkeypatch, name, inputs, gated_bodies[name], isa=isa)
    terms = SUMS[name](*(v.astype(np.float64) for v in inputs.values()))
    np.testing.assert_allclose(found, terms.sum(-3, keepdims=True), rtol=0,
                               atol=2e-6 * np.abs(terms).sum(-3).max(initial=0))


def test_sums_without_channels_are_refused():
    made = {key: np.ones((3, 4), np.float32) for key in ("v", "w")}
    with pytest.raises(Exception, match="ChannelSum: shapes do not fit"):
        compute(one_node("ChannelSum", made, symbolic=True), made)
