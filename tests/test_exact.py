"""Against Shapley values by enumeration of all coalitions: equal where the rules are exact, ranked
alike where they are not."""

import numpy as np
import pytest
from onnx import checker, helper, numpy_helper

from rulecheck import node

SEEDS = range(12)


def model_of(nodes, constants, width, outputs, dtype):
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", kind, ["N", width])],
        [helper.make_tensor_value_info("out", kind, ["N", outputs])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    return model


def exact_shapley(model, run, x, r):
    """Shapley values [outputs, n] of the game whose players take their values from x or r."""
    n = len(x)
    coalitions = (np.arange(2 ** n)[:, None] >> np.arange(n)) & 1
    values = run(model, np.where(coalitions == 1, x, r))["out"].astype(np.float64)
    sizes = coalitions.sum(axis=1)
    factorial = np.cumprod([1, *range(1, n + 1)], dtype=np.float64)
    phi = np.empty((values.shape[1], n))
    for i in range(n):
        without = np.flatnonzero(coalitions[:, i] == 0)
        weight = factorial[sizes[without]] * factorial[n - 1 - sizes[without]] / factorial[n]
        phi[:, i] = weight @ (values[without + 2 ** i] - values[without])
    return phi


def points(rng, width, dtype, rows=3):
    return (rng.normal(size=(1, width)).astype(dtype),
            rng.normal(size=(rows, width)).astype(dtype))


def check_exact(model, width, dtype, explain, run, rng, low=None):
    x, r = points(rng, width, dtype)
    if low is not None:
        x, r = np.abs(x) + dtype(low), np.abs(r) + dtype(low)
    r[0, 0] = x[0, 0]
    phi = run(explain(model, r, "--target=all"), x)["x_shap"][0]
    exact = np.mean([exact_shapley(model, run, x[0], row) for row in r], axis=0)
    terms = 32 * 2 ** width  # of the sum over coalitions, in the type of the values
    largest = max(np.abs(exact).max(), np.abs(run(model, x)["out"]).max(), 1)
    assert phi.dtype == dtype
    assert np.abs(phi - exact).max() <= np.finfo(dtype).eps * terms ** 0.5 * largest * 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", SEEDS[:3])
def test_linear(seed, dtype, explain, run):
    rng = np.random.default_rng(seed)
    nodes = [node("MatMul", "x a", "h"), node("Gemm", "h b c", "g", transB=1),
             node("Sub", "c g", "out")]
    constants = {"a": rng.normal(size=(10, 7)), "b": rng.normal(size=(4, 7)),
                 "c": rng.normal(size=4)}
    constants = {k: v.astype(dtype) for k, v in constants.items()}
    check_exact(model_of(nodes, constants, 10, 4, dtype), 10, dtype, explain, run, rng)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("op", ["Mul", "Div", "Max", "Min", "Pow"])
def test_products(op, dtype, explain, run):
    """Operators of two operands made of different inputs."""
    rng = np.random.default_rng(11)
    nodes = [node("Split", "x", "a b", axis=1, num_outputs=2), node(op, "a b", "p"),
             node("MatMul", "p w", "out")]
    constants = {"w": rng.normal(size=(4, 3)).astype(dtype)}
    model = model_of(nodes, constants, 8, 3, dtype)
    check_exact(model, 8, dtype, explain, run, rng, low=0.5 if op in ("Div", "Pow") else None)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bilinear(dtype, explain, run):
    """x_left W x_right: a matrix product of different inputs."""
    rng = np.random.default_rng(12)
    nodes = [node("Split", "x", "a b", axis=1, num_outputs=2), node("MatMul", "a w", "c"),
             node("Mul", "c b", "p"), node("MatMul", "p one", "out")]
    constants = {"w": rng.normal(size=(4, 4)).astype(dtype), "one": np.ones((4, 1), dtype)}
    check_exact(model_of(nodes, constants, 8, 1, dtype), 8, dtype, explain, run, rng)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_where(dtype, explain, run):
    """A condition and one of what it chooses from, made of different inputs: a product."""
    rng = np.random.default_rng(13)
    nodes = [node("Split", "x", "a c", axis=1, num_outputs=2), node("Greater", "c zero", "p"),
             node("Where", "p a low", "y"), node("MatMul", "y w", "out")]
    constants = {"w": rng.normal(size=(4, 3)).astype(dtype), "zero": dtype(0), "low": dtype(-1)}
    check_exact(model_of(nodes, constants, 8, 3, dtype), 8, dtype, explain, run, rng)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("op", ["Relu", "Tanh", "Sigmoid", "Exp", "Abs", "Softplus"])
def test_additive(op, dtype, explain, run):
    """A sum of functions of one input each."""
    rng = np.random.default_rng(14)
    nodes = [node("Mul", "x k", "a"), node(op, "a", "b"), node("Mul", "x x", "c"),
             node("Concat", "b c", "d", axis=1), node("MatMul", "d w", "out")]
    constants = {"k": rng.normal(size=9).astype(dtype), "w": rng.normal(size=(18, 3)).astype(dtype)}
    check_exact(model_of(nodes, constants, 9, 3, dtype), 9, dtype, explain, run, rng)


# ---- where they are not exact ----------------------------------------------------------------

def spearman(a, b):
    ranks = [np.argsort(np.argsort(v)).astype(float) for v in (a, b)]
    return np.corrcoef(*ranks)[0, 1]


def compared(make, explain, run):
    """Median over seeded nets of the rank correlation and of the relative error."""
    ranks, errors = [], []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        model = make(rng)
        x, r = points(rng, 10, np.float64, rows=1)
        phi = run(explain(model, r, "--target=0"), x)["x_shap"][0]
        exact = exact_shapley(model, run, x[0], r[0])[0]
        ranks.append(spearman(phi, exact))
        errors.append(np.linalg.norm(phi - exact) / np.linalg.norm(exact))
    return np.median(ranks), np.median(errors)


def make_mlp(op):
    def make(rng):
        nodes = [node("Gemm", "x w1 b1", "h1"), node(op, "h1", "a1"),
                 node("Gemm", "a1 w2 b2", "h2"), node(op, "h2", "a2"), node("MatMul", "a2 w3", "out")]
        sizes = {"w1": (10, 24), "b1": (24,), "w2": (24, 24), "b2": (24,), "w3": (24, 1)}
        constants = {k: rng.normal(size=s) / np.sqrt(s[0]) for k, s in sizes.items()}
        return model_of(nodes, constants, 10, 1, np.float64)
    return make


def make_gate(rng):
    nodes = [node("MatMul", "x w1", "a"), node("MatMul", "x w2", "b"), node("Sigmoid", "b", "s"),
             node("Mul", "a s", "g"), node("MatMul", "g w3", "out")]
    sizes = {"w1": (10, 24), "w2": (10, 24), "w3": (24, 1)}
    constants = {k: rng.normal(size=s) / np.sqrt(s[0]) for k, s in sizes.items()}
    return model_of(nodes, constants, 10, 1, np.float64)


@pytest.mark.parametrize("make, rank, error", [
    (make_mlp("Relu"), 0.90, 0.35), (make_mlp("Tanh"), 0.90, 0.35),
    (make_mlp("Sigmoid"), 0.98, 0.15), (make_gate, 0.99, 0.05)],
    ids=["relu", "tanh", "sigmoid", "gate"])
def test_ranks(make, rank, error, explain, run):
    found = compared(make, explain, run)
    assert found[0] >= rank and found[1] <= error, found
