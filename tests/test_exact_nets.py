"""Against Shapley values by enumeration on nets in which nonlinear operators follow each other:
medians over seeded nets (bench/exact.py prints more of them), completeness of each, and multipliers
that stay bounded."""

import functools
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest

import exact_nets
import rulecheck
from library import explain as explained

SEEDS = range(30)
EPS = np.finfo(np.float32).eps

# Rank correlation at least, relative L2 distance at most.
FLOORS = {
    "relu": (0.90, 0.35), "gelu": (0.95, 0.22), "gate": (0.99, 0.05),
    "softmax1": (0.98, 0.10), "softmax2": (0.96, 0.22), "softmax4": (0.92, 0.42),
    "softmax8": (0.84, 0.52), "layernorm": (0.97, 0.15), "attention": (0.88, 0.38),
    "transformer": (0.94, 0.25), "maxpool22": (0.85, 0.36), "maxpool32": (0.75, 0.57),
    "maxpool88": (0.55, 0.60), "lstm": (0.94, 0.35), "residual": (0.85, 0.47),
    "gated": (0.85, 0.40),
}
TREES = {"maxpool22": (0.93, 0.18), "maxpool32": (0.91, 0.27), "maxpool88": (0.82, 0.42)}
SECOND = {  # at order 2
    "relu": (0.92, 0.22), "gelu": (0.95, 0.18), "gate": (0.99, 0.05), "layernorm": (0.97, 0.15),
    "transformer": (0.94, 0.26), "lstm": (0.96, 0.13), "maxpool22": (0.94, 0.13),
    "maxpool32": (0.92, 0.20), "maxpool88": (0.88, 0.33), "residual": (0.92, 0.22),
    "gated": (0.92, 0.26), "signal_add": (0.94, 0.18), "softmax2": (0.96, 0.17),
    "softmax4": (0.94, 0.35),
}
THIRD = {  # at order 3
    "relu": (0.93, 0.20), "gelu": (0.96, 0.14), "maxpool32": (0.93, 0.18),
    "residual": (0.93, 0.19), "signal_add": (0.95, 0.16), "transformer": (0.94, 0.25),
}
INTEGRATED = {
    "softmax1": (0.98, 0.10), "softmax4": (0.94, 0.48), "layernorm": (0.95, 0.30),
    "maxpool22": (0.94, 0.20), "maxpool32": (0.90, 0.33), "maxpool88": (0.80, 0.50),
}


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


@functools.cache
def truth(kind, seed):
    """The net, its Shapley values, the index of the output, and its change."""
    net = exact_nets.make(kind, seed)
    plain = session(net.model())
    return net, *exact_nets.exact(net, lambda rows: plain.run(["out"], {"x": rows})[0])


def measured(kind, **options):
    """Agreement for each seed; completeness is checked."""
    rows = []
    for seed in SEEDS:
        net, exact, target = truth(kind, seed)
        model = explained(net.model(), {"x": net.r}, target=str(target), **options)
        phi = session(model).run(["x_shap"], {"x": net.x})[0]
        size = max(np.abs(phi).max(), np.abs(exact).max(), 1)
        assert abs(phi.sum(dtype=np.float64) - exact.sum()) <= 64 * phi.size * EPS * size
        rows.append(exact_nets.agreement(net.per_player(phi), exact))
    return np.array(rows)


@pytest.mark.parametrize("kind", FLOORS)
def test_agreement(kind):
    rows = measured(kind)
    rank, error = FLOORS[kind]
    found = np.median(rows, axis=0)
    assert found[0] >= rank and found[1] <= error, found
    if kind.startswith("softmax"):
        assert rows[:, 2].max() <= 5


@pytest.mark.parametrize("kind", TREES)
def test_trees_of_maxima(kind):
    found = np.median(measured(kind, pool="tree"), axis=0)
    rank, error = TREES[kind]
    assert found[0] >= rank and found[1] <= error, found


@pytest.mark.parametrize("kind", SECOND)
def test_second_order(kind):
    found = np.median(measured(kind, order=2), axis=0)
    rank, error = SECOND[kind]
    assert found[0] >= rank and found[1] <= error, found


@pytest.mark.parametrize("kind", THIRD)
def test_third_order(kind):
    found = np.median(measured(kind, order=3), axis=0)
    rank, error = THIRD[kind]
    assert found[0] >= rank and found[1] <= error, found


@pytest.mark.parametrize("kind", INTEGRATED)
def test_integrated(kind):
    found = np.median(measured(kind, integrate=4), axis=0)
    rank, error = INTEGRATED[kind]
    assert found[0] >= rank and found[1] <= error, found


# ---- attention --------------------------------------------------------------------------------

def attention_rule(dtype, mask=None, heads=2):
    """Heads of width 3 over 4 tokens of 6 features, its logits scaled and masked."""
    node, rng = rulecheck.node, np.random.default_rng(3)
    constants = {k: rng.normal(size=(6, 6)) * scale for k, scale in
                 (("wq", 0.8), ("wk", 0.8), ("wv", 0.6))}
    constants |= {"root": np.sqrt(3), "mask": np.zeros((4, 4)) if mask is None else mask}
    constants = {k: np.asarray(v, dtype) for k, v in constants.items()}
    constants["split"] = np.array([0, 4, heads, 6 // heads])
    nodes = []
    for name in "qkv":
        order = [0, 2, 3, 1] if name == "k" else [0, 2, 1, 3]
        nodes += [node("MatMul", f"x w{name}", f"{name}1"),
                  node("Reshape", f"{name}1 split", f"{name}2"),
                  node("Transpose", f"{name}2", name, perm=order)]
    nodes += [node("MatMul", "q k", "qk"), node("Div", "qk root", "scaled"),
              node("Add", "mask scaled", "s"), node("Softmax", "s", "p", axis=-1),
              node("MatMul", "p v", "y")]
    return rulecheck.Rule(nodes, {"x": (4, 6)}, constants, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("masked", [None, -np.inf, -1e9])
def test_attention(dtype, masked, explain, run):
    mask = None if masked is None else np.triu(np.full((4, 4), masked), 1)
    rulecheck.check(attention_rule(dtype, mask), explain, run)


@pytest.mark.parametrize("options", [["--no-functions"], ["--chunk=2"], ["--cache=none"],
                                     ["--integrate=2", "--chunk=1"]])
def test_attention_with_options(options, explain, run):
    """The walk in a Scan, one reference a step, and integrals inside of it."""
    rule = attention_rule(np.float64)
    integral = [option for option in options if "integrate" in option]
    whole = rulecheck.explained(rule, explain, run, rule.x, rule.r, *integral)
    other = rulecheck.explained(rule, explain, run, rule.x, rule.r, *options)
    np.testing.assert_allclose(other["x_shap"], whole["x_shap"], rtol=0, atol=1e-10)


# ---- --integrate ------------------------------------------------------------------------------

NORM = {"scale": rulecheck.floats(5, seed=1), "bias": rulecheck.floats(5, seed=2)}
OPERATORS = [
    ("Softmax", {"x": (4, 5)}, {}, {"axis": -1}), ("Softmax", {"x": (4, 3)}, {}, {"axis": 1}),
    ("LogSoftmax", {"x": (3, 4)}, {}, {"axis": -1}),
    ("LayerNormalization", {"x": (3, 5)}, NORM, {"axis": -1}),
    ("GlobalMaxPool", {"x": (2, 3, 4)}, {}, {}),
    ("MaxPool", {"x": (2, 6, 5)}, {}, {"kernel_shape": [3, 2], "strides": [2, 1],
                                       "pads": [1, 0, 1, 0]}),
    ("MaxPool", {"x": (2, 7)}, {}, {"kernel_shape": [2], "strides": [2], "ceil_mode": 1}),
]


@pytest.mark.parametrize("points", [1, 3])
@pytest.mark.parametrize("case", range(len(OPERATORS)))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_integral_is_complete(case, points, dtype, explain, run):
    op, inputs, constants, attributes = OPERATORS[case]
    if op == "GlobalMaxPool" and dtype == np.float64:
        pytest.skip("no kernel in ONNX Runtime")
    constants = {k: v.astype(dtype) for k, v in constants.items()}
    names = " ".join(["x", *constants])
    rule = rulecheck.Rule([rulecheck.node(op, names, "y", **attributes)], inputs, constants, dtype)

    def integrated(*arguments):
        return explain(*arguments, f"--integrate={points}:{op}")
    rulecheck.check_same(rule, integrated, run)
    rulecheck.check_pairs(rule, integrated, run)


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize("options", [["--integrate=4"], ["--integrate=3", "--order=2"],
                                     ["--integrate=2", "--splits=1"]])
def test_maxima_of_integers(kind, options, explain, run):
    """As those of the numbers that they stand for."""
    def made(*nodes):
        return rulecheck.Rule(nodes, {"x": (2, 8)}, {"k": np.float32(0.02), "z": kind(7)})
    pool = {"kernel_shape": [3], "strides": [2]}
    coded = made(rulecheck.node("QuantizeLinear", "x k z", "q"),
                 rulecheck.node("MaxPool", "q", "p", **pool),
                 rulecheck.node("DequantizeLinear", "p k z", "d"), rulecheck.node("Tanh", "d", "y"))
    plain = made(rulecheck.node("QuantizeLinear", "x k z", "q"),
                 rulecheck.node("DequantizeLinear", "q k z", "d"),
                 rulecheck.node("MaxPool", "d", "p", **pool), rulecheck.node("Tanh", "p", "y"))
    found = [run(explain(one.model, coded.r, "--target=0", "--gap", *options), coded.x)
             for one in (coded, plain)]
    assert np.abs(found[0]["completeness_gap"]).max() < 1e-5
    np.testing.assert_allclose(found[0]["x_shap"], found[1]["x_shap"], rtol=0, atol=1e-5)


def test_operators_not_named_keep_their_rule(explain, run):
    net = exact_nets.make("softmax4", 0)
    values = [run(explain(net.model(), net.r, "--target=0", *option), net.x)["x_shap"]
              for option in ([], ["--integrate=4:MaxPool"], ["--integrate=4"])]
    assert (values[0] == values[1]).all() and (values[0] != values[2]).any()


@pytest.mark.parametrize("option, code, message", [
    ("0", 2, "form K"), ("x", 2, "form K"), ("3:", 2, "form K"), ("3;MaxPool", 2, "form K"),
    ("65", 1, "between 1 and 64"), ("3:Relu", 1, '"Relu" cannot be integrated')])
def test_what_cannot_be_integrated(option, code, message, cli, tmp_path):
    net = exact_nets.make("softmax1", 0)
    onnx.save(net.model(), tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", net.r)
    done = subprocess.run([cli, "explain", tmp_path / "m.onnx", "-r", tmp_path / "r.npy",
                           f"--integrate={option}"], capture_output=True, text=True)
    assert done.returncode == code and message in done.stderr


# ---- bounded multipliers ----------------------------------------------------------------------

@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("options", [[], ["--integrate=4"]], ids=["closed", "integrated"])
def test_shifted_logits(op, options, explain, run):
    """A feature that adds the same to all logits changes nothing: neither its own value nor those
    of the others may grow with it."""
    rng = np.random.default_rng(5)
    weights = {"w": np.vstack([rng.normal(size=(9, 6)), np.ones((1, 6))]).astype(np.float32)}
    net = exact_nets.Net([rulecheck.node("MatMul", "x w", "l"), rulecheck.node(op, "l", "out")],
                         weights, (10,), 6)
    r = rng.normal(size=(3, 10)).astype(np.float32)
    shifts = np.float32([0, 1, -1, 10, -10, 30, 87, 100, -100, 200, 300, -300])
    x = np.repeat(rng.normal(size=(1, 10)).astype(np.float32), len(shifts), axis=0)
    x[:, 9] += shifts
    phi = run(explain(net.model(), r, "--target=all", *options), x)["x_shap"]
    assert np.isfinite(phi).all()
    rounding = 64 * EPS * np.abs(x).max() * np.abs(phi[0]).max()
    assert np.abs(phi - phi[:1]).max() <= 4 * rounding


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("options", [[], ["--integrate=4"]], ids=["closed", "integrated"])
def test_multipliers_of_shifted_logits(op, options, explain, run):
    """Logits as the input: the multipliers do not depend on the shift."""
    rng = np.random.default_rng(6)
    net = exact_nets.Net([rulecheck.node(op, "x", "out")], {}, (6,), 6)
    r = (rng.normal(size=(1, 6)) * 4).astype(np.float32)
    x = (rng.normal(size=(1, 6)) * 4 + np.arange(-300, 301, 25)[:, None]).astype(np.float32)
    phi = run(explain(net.model(), r, "--target=all", *options), x)["x_shap"]
    m = phi / (x - r)[:, None]
    assert np.isfinite(phi).all() and np.abs(m).max() <= 1 + 1e-5
    assert np.abs(m - m[len(m) // 2]).max() <= 1e-3


def test_steep_attention_is_bounded(explain, run):
    """Logits of attention in the hundreds."""
    net = exact_nets.make("attention", 1)
    net.weights["wq"] *= np.float32(30)
    out = run(explain(net.model(), net.r, "--target=0"), net.x)
    assert np.isfinite(out["x_shap"]).all()
