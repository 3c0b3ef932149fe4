"""Elementwise operators: their slopes against float64 on a grid of pairs, from far apart to equal;
completeness, the limit, and several references through the command line."""

import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

EPS = float(np.finfo(np.float32).eps)

erf = np.vectorize(math.erf)


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def sigmoid(x):
    return 0.5 * (1 + np.tanh(0.5 * x))


def elu(x, alpha=1.0, width=1.0):
    return np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0) / width)


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def shrink(x, bias, lambd):
    return np.where(x > lambd, x - bias, np.where(x < -lambd, x + bias, 0))


ALL = (-1e4, 1e4)
JUMPS = "jumps"  # slopes are as large as the jump over the distance
SMOOTH = "smooth"  # no closed form: rounding of y divided by the distance

# op, attributes, constant inputs, f in float64, domain, how exact. Where nothing is said, the slope
# is exact but for rounding of itself and for ONNX Runtime's own error in f.
CASES = [
    ("Abs", {}, [], np.abs, ALL, ""),
    ("Acos", {}, [], np.arccos, (-1, 1), ""),
    ("Acosh", {}, [], np.arccosh, (1, 1e4), ""),
    ("Asin", {}, [], np.arcsin, (-1, 1), ""),
    ("Asinh", {}, [], np.arcsinh, ALL, SMOOTH),
    ("Atan", {}, [], np.arctan, ALL, SMOOTH),
    ("Atanh", {}, [], np.arctanh, (-0.999, 0.999), ""),
    ("Ceil", {}, [], np.ceil, ALL, JUMPS),
    ("Celu", {"alpha": 0.5}, [], lambda x: elu(x, 0.5, 0.5), ALL, ""),
    ("Celu", {"alpha": 2.0}, [], lambda x: elu(x, 2.0, 2.0), ALL, ""),
    ("Clip", {}, [0.0, 6.0], lambda x: np.clip(x, 0, 6), ALL, ""),
    ("Clip", {}, [None, 1.5], lambda x: np.minimum(x, 1.5), ALL, ""),
    ("Clip", {}, [-1.5], lambda x: np.maximum(x, -1.5), ALL, ""),
    ("Cos", {}, [], np.cos, (-20, 20), ""),
    ("Cosh", {}, [], np.cosh, (-5, 5), ""),
    ("Elu", {"alpha": 1.7}, [], lambda x: elu(x, 1.7), ALL, ""),
    ("Erf", {}, [], erf, ALL, SMOOTH),
    ("Exp", {}, [], np.exp, (-1e4, 20), ""),
    ("Floor", {}, [], np.floor, ALL, JUMPS),
    ("Gelu", {}, [], lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))), ALL, SMOOTH),
    ("Gelu", {"approximate": "tanh"}, [], gelu_tanh, ALL, SMOOTH),
    ("HardSigmoid", {}, [], lambda x: np.clip(0.2 * x + 0.5, 0, 1), ALL, ""),
    ("HardSigmoid", {"alpha": 1.25, "beta": 0.25}, [],
     lambda x: np.clip(1.25 * x + 0.25, 0, 1), ALL, ""),
    ("HardSwish", {}, [], lambda x: x * np.clip(x / 6 + 0.5, 0, 1), ALL, ""),
    ("LeakyRelu", {"alpha": 0.1}, [], lambda x: np.where(x > 0, x, 0.1 * x), ALL, ""),
    ("LeakyRelu", {"alpha": -2.0}, [], lambda x: np.where(x > 0, x, -2 * x), ALL, ""),
    ("Log", {}, [], np.log, (1e-4, 1e4), ""),
    ("Mish", {}, [], lambda x: x * np.tanh(softplus(x)), ALL, SMOOTH),
    ("Pow", {}, [2.0], lambda x: x**2, (-100, 100), ""),
    ("Pow", {}, [3.0], lambda x: x**3, (-100, 100), ""),
    ("Pow", {}, [0.5], np.sqrt, (1e-4, 1e4), ""),
    ("Pow", {}, [-0.5], lambda x: x**-0.5, (1e-3, 1e4), ""),
    ("Pow", {}, [-1.0], lambda x: 1 / x, (1e-3, 1e4), ""),
    ("Pow", {}, [-2.0], lambda x: x**-2, (1e-2, 1e4), SMOOTH),
    ("Pow", {}, [1.0], lambda x: x, ALL, ""),
    ("Pow", {}, [0.75], lambda x: x**0.75, (1e-4, 1e4), SMOOTH),
    ("Pow", {}, [4.0], lambda x: x**4, (-10, 10), SMOOTH),
    ("Pow", {}, [0.0], lambda x: 0 * x, (0.1, 10), SMOOTH),
    ("Reciprocal", {}, [], lambda x: 1 / x, (1e-3, 1e4), ""),
    ("Relu", {}, [], lambda x: np.maximum(x, 0), ALL, ""),
    ("Round", {}, [], np.round, ALL, JUMPS),
    ("Selu", {}, [], lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772), ALL, ""),
    ("Shrink", {"bias": 0.5, "lambd": 0.5}, [], lambda x: shrink(x, 0.5, 0.5), ALL, ""),
    ("Shrink", {"bias": 0.25, "lambd": 1.5}, [], lambda x: shrink(x, 0.25, 1.5), ALL, JUMPS),
    ("Sigmoid", {}, [], sigmoid, ALL, ""),
    ("Sign", {}, [], np.sign, ALL, JUMPS),
    ("Sin", {}, [], np.sin, (-20, 20), ""),
    ("Sinh", {}, [], np.sinh, (-5, 5), ""),
    ("Softplus", {}, [], softplus, ALL, SMOOTH),
    ("Softsign", {}, [], lambda x: x / (1 + np.abs(x)), ALL, ""),
    ("Sqrt", {}, [], np.sqrt, (0, 1e4), ""),
    ("Tan", {}, [], np.tan, (-1.5, 1.5), ""),
    ("Tanh", {}, [], np.tanh, ALL, ""),
    ("ThresholdedRelu", {"alpha": 1.0}, [], lambda x: np.where(x > 1, x, 0), ALL, JUMPS),
]


def name_of(case):
    op, attributes, constants = case[:3]
    return "-".join([op, *(f"{v}" for v in attributes.values()), *(f"{c}" for c in constants)])


def unary_node(op, attributes, constants):
    """The node from "x" to "y", and initializers for its constant inputs."""
    initializers = [numpy_helper.from_array(np.float32(c), f"c{i}")
                    for i, c in enumerate(constants) if c is not None]
    names = [f"c{i}" if c is not None else "" for i, c in enumerate(constants)]
    return helper.make_node(op, ["x", *names], ["y"], **attributes), initializers


def make(nodes, initializers, inputs, outputs, functions=(), opset=20):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value(n, TensorProto.FLOAT, s) for n, s in inputs],
        [value(n, TensorProto.FLOAT, s) for n, s in outputs], initializers)
    imports = [helper.make_opsetid("", opset)]
    if functions:
        imports.append(helper.make_opsetid("onnxexplainer", 1))
    return helper.make_model(graph, opset_imports=imports, ir_version=10, functions=functions)


def grid(domain):
    """Pairs of floats of the domain: apart, on both sides of kinks, neighbours, and equal."""
    low, high = domain
    sizes = np.array([0, 1e-41, 1e-38, 1e-30, 1e-20, 1e-7, 1e-3, 0.1, 0.3, 0.5, 0.9, 0.99, 1, 1.5,
                      2, 2.5, 3, 4, 5.5, 6, 8, 12, 20, 50, 100, 1e3, 1e4])
    rng = np.random.default_rng(1)
    others = [1.0000001, 5.9999995, -2.9999998, *rng.normal(0, 3, 20)]
    points = np.concatenate([sizes, -sizes, others])
    points = points[(points >= low) & (points <= high)].astype(np.float32)
    first = np.repeat(points, len(points))
    second = np.tile(points, len(points))
    pairs = [(first, second)]
    for distance in (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 0.05):
        for sign in (-1, 1):
            pairs.append((points, points + np.float32(sign * distance)))
    for toward in (-np.inf, np.inf):
        pairs.append((points, np.nextafter(points, np.float32(toward))))
    x, x0 = (np.concatenate(side).astype(np.float32) for side in zip(*pairs))
    inside = (x0 >= low) & (x0 <= high)
    return x[inside], x0[inside]


def step_around(f, middle):
    """For a difference quotient: f is finer around 0 only where f(0) is 0."""
    with np.errstate(all="ignore"):
        return np.maximum(1e-5 * np.abs(middle), 1e-300 if f(np.float64(0)) == 0 else 1e-5)


def near_kink(f, x, x0):
    """Where the slopes on both sides of close pairs differ: anything between them is right."""
    middle = 0.5 * (x.astype(np.float64) + x0)
    step = step_around(f, middle)
    with np.errstate(all="ignore"):
        left = (f(middle) - f(middle - step)) / step
        right = (f(middle + step) - f(middle)) / step
    return ~(np.abs(left - right) <= 1e-3 * np.maximum(1, np.abs(left)))


def true_slope(f, x, x0, how):
    """The divided difference in float64, which is 2^29 times finer than x; the slope in the middle
    where it would cancel."""
    x, x0 = x.astype(np.float64), x0.astype(np.float64)
    d = x - x0
    middle = 0.5 * (x + x0)
    step = step_around(f, middle)
    far = np.abs(d) > (0 if how == JUMPS else 0.1 * step)
    step = np.where(far, 1, step)
    with np.errstate(all="ignore"):
        slope = (f(middle + step) - f(middle - step)) / (2 * step)
        return np.where(far, (f(x) - f(x0)) / np.where(far, d, 1), slope), far


@pytest.fixture
def slope(explain, run):
    """slope(case, x, x0): what the fused node gives for a multiplier of 1, as ONNX Runtime runs the
    body, and y, y0."""

    def slope(case, x, x0):
        node, initializers = unary_node(*case[:3])
        small = make([node], initializers, [("x", ("N", 4))], [("y", ("N", 4))])
        explained = onnx.load(explain(small, np.full((1, 4), 0.5, np.float32)))
        calls = [n for n in explained.graph.node
                 if n.domain == "onnxexplainer" and n.op_type != "MeanFlow"]
        twin = helper.make_node(node.op_type, ["x0", *node.input[1:]], ["y0"], **case[1])
        ends = ["x", "x0"]
        if len(calls) == 0:  # linear: the multiplier itself
            return np.ones_like(x), x, x0
        (call,) = calls
        constants = {i.name: i for i in explained.graph.initializer}
        parameters = [i for i in call.input[3:] if i in constants and not constants[i].dims]
        inputs = ["m", *ends, *(["y", "y0"] if len(call.input) - len(parameters) == 5 else [])]
        test = helper.make_node(call.op_type, inputs + parameters, ["s"], domain="onnxexplainer")
        shape = (len(x),)
        model = make([node, twin, test], [*initializers, *(constants[p] for p in parameters)],
                     [(n, shape) for n in ("m", *ends)], [(n, shape) for n in ("s", "y", "y0")],
                     explained.functions)
        out = run(model, {"m": np.ones_like(x), "x": x, "x0": x0})
        return out["s"], out["y"], out["y0"]

    return slope


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_slope(slope, case):
    f, domain, how = case[3:]
    x, x0 = grid(domain)
    got, y, y0 = slope(case, x, x0)
    assert np.isfinite(got).all()
    want, far = true_slope(f, x, x0, how)
    # A denormal distance is no distance where ONNX Runtime flushes denormals to 0.
    normal = [(np.abs(side) > 1e-30) | (side == 0) for side in (x, x0)]
    want_ok = np.isfinite(want) & normal[0] & normal[1]
    scale = np.maximum(1, np.maximum(np.abs(y), np.abs(y0)))
    d = np.abs(x.astype(np.float64) - x0)
    # Rounding of the slope, and a few eps of f where the distance does not divide them.
    tolerance = 20 * EPS * np.abs(want) + 8 * EPS
    if how == SMOOTH:
        # Some eps of y over 2c, where c = 1e-3 is the distance of equal weights.
        tolerance = tolerance + 2e-4 * np.maximum(scale, np.abs(want))
    # The error of m dx: rounding of y, and of the slope.
    error = np.abs(got * d - want * d)
    bad = want_ok & (error > 24 * EPS * scale + (24 * np.abs(want) + 8) * EPS * d)
    assert not bad.any(), list(zip(x[bad], x0[bad], got[bad], want[bad]))[:8]
    check = want_ok & (far | (how != JUMPS))
    kink = ~far & near_kink(f, x, x0)
    bad = check & ~kink & (np.abs(got - want) > tolerance)
    assert not bad.any(), list(zip(x[bad], x0[bad], got[bad], want[bad]))[:8]


# ---- through the command line ------------------------------------------------------------------


def linear_after(op, attributes, constants, shape, seed):
    """x -> op -> random linear layer to 3 outputs, batch free."""
    rng = np.random.default_rng(seed)
    node, initializers = unary_node(op, attributes, constants)
    size = int(np.prod(shape))
    weights = rng.normal(size=(size, 3)).astype(np.float32)
    nodes = [node, helper.make_node("Flatten", ["y"], ["flat"]),
             helper.make_node("MatMul", ["flat", "w"], ["z"])]
    initializers.append(numpy_helper.from_array(weights, "w"))
    model = make(nodes, initializers, [("x", ("N", *shape))], [("z", ("N", 3))])
    return model, weights


def samples_of(domain, shape, seed):
    """2 samples and 3 references, equal in places."""
    rng = np.random.default_rng(seed)
    low, high = max(domain[0], -4), min(domain[1], 4)
    x = rng.uniform(low, high, (2, *shape)).astype(np.float32)
    r = rng.uniform(low, high, (3, *shape)).astype(np.float32)
    r[0].flat[::3] = x[0].flat[::3]
    r[1] = x[1]
    return x, r


@pytest.mark.parametrize("case", CASES, ids=name_of)
@pytest.mark.parametrize("shape", [(6,), (2, 3)], ids=str)
def test_complete(explain, run, case, shape):
    """One reference at a time, with random multipliers: sum(phi) = f(x) - f(r)."""
    op, attributes, constants, f, domain, _ = case
    model, weights = linear_after(op, attributes, constants, shape, 2)
    x, references = samples_of(domain, shape, 3)
    for r in references:
        out = run(explain(model, r[None], "--target=all"), x)
        assert out["x_shap"].shape == (2, 3, *shape)
        gap = out["x_shap"].reshape(2, 3, -1).sum(-1) - (out["z"] - out["base_value"])
        with np.errstate(all="ignore"):
            size = np.abs(f(x.astype(float))).reshape(2, -1) + np.abs(f(r.astype(float))).ravel()
        bound = (size + 1) @ np.abs(weights) + np.abs(out["x_shap"]).reshape(2, 3, -1).sum(-1)
        assert (np.abs(gap) <= 20 * EPS * bound).all()


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_mean_of_references(explain, run, case):
    """With several references the mean over them of single ones; with bodies written out, too."""
    op, attributes, constants, _, domain, _ = case
    model, _ = linear_after(op, attributes, constants, (4,), 4)
    x, references = samples_of(domain, (4,), 5)
    together = run(explain(model, references), x)["x_shap"]
    singly = [run(explain(model, r[None]), x)["x_shap"] for r in references]
    assert np.allclose(together, np.mean(singly, 0), rtol=1e-5, atol=1e-5)
    written_out = run(explain(model, references, "--no-functions"), x)["x_shap"]
    assert np.allclose(together, written_out, rtol=1e-5, atol=1e-6)


DOUBLES = ["Abs", "Clip", "Exp", "Log", "Relu", "Sigmoid", "Sin", "Sqrt", "Tanh"]


@pytest.mark.parametrize("op", DOUBLES)
def test_double(explain, run, op):
    """Doubles are explained in doubles."""
    value = helper.make_tensor_value_info
    rng = np.random.default_rng(6)
    bounds = ["low", "high"] if op == "Clip" else []
    graph = helper.make_graph(
        [helper.make_node(op, ["x", *bounds], ["y"]),
         helper.make_node("MatMul", ["y", "w"], ["z"])], "g",
        [value("x", TensorProto.DOUBLE, ("N", 5))], [value("z", TensorProto.DOUBLE, ("N", 2))],
        [numpy_helper.from_array(rng.normal(size=(5, 2)), "w"),
         *(numpy_helper.from_array(np.float64(b), n) for n, b in zip(bounds, (0.5, 1.5)))])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    x, r = rng.uniform(0.1, 3, (2, 5)), rng.uniform(0.1, 3, (1, 5))
    out = run(explain(model, r, "--target=all"), x)
    gap = out["x_shap"].sum(-1) - (out["z"] - out["base_value"])
    assert out["x_shap"].dtype == np.float64
    terms = np.abs(out["x_shap"]).sum(-1) + np.abs(out["z"]) + np.abs(out["base_value"])
    assert (np.abs(gap) <= 40 * np.finfo(np.float64).eps * terms).all()


@pytest.mark.parametrize("op, end", [("Acosh", 1), ("Asin", 1), ("Asin", -1), ("Acos", 1), ("Acos", -1)])
def test_infinite_slope(explain, run, op, end):
    """Both sides where the slope is infinite: steep as between neighbours, so that what rounding took
    from the difference does not count for more than the function can have made of it."""
    nodes = [helper.make_node("Sub", ["a", "b"], ["d"]), helper.make_node(op, ["d"], ["y"])]
    model = make(nodes, [], [("a", ("N", 1)), ("b", ("N", 1))], [("y", ("N", 1))])
    sample, reference = ({"a": np.array([[a]], np.float32), "b": np.array([[a - end]], np.float32)}
                         for a in (3, 2.5))
    out = run(explain(model, reference), sample)
    slope = {"Acosh": 1 + 2 / EPS**0.5, "Asin": 2 / EPS**0.5, "Acos": -2 / EPS**0.5}[op]
    assert np.allclose(out["a_shap"], 0.5 * slope, rtol=1e-6, atol=0)
    assert (out["a_shap"] == -out["b_shap"]).all()


def test_gradient_in_the_limit(explain, run):
    """Where sample and reference meet, attributions per distance are the gradient."""
    for case in CASES:
        op, attributes, constants, f, domain, how = case
        if how == JUMPS:
            continue
        model, weights = linear_after(op, attributes, constants, (1,), 7)
        point = 0.7311 if domain[0] < 0.7311 else 1.7311
        x = np.full((1, 1), point, np.float32)
        r = x + np.float32(2e-4)
        out = run(explain(model, r, "--target=0"), x)
        m = out["x_shap"][0, 0].astype(float) / (x - r)[0, 0] / weights[0, 0]
        slope = (f(np.float64(point) + 1e-4 + 1e-5) - f(np.float64(point) + 1e-4 - 1e-5)) / 2e-5
        assert abs(m - slope) <= 5e-4 * max(1, abs(slope)), (op, m, slope)
