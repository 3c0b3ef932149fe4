"""Methods that only run the model, where what happens is decided as it runs: branches of different
shapes, steps that data count, sizes that are of data. Against sums over all coalitions."""

import re

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import library
from test_methods import run, shapley

RNG = np.random.default_rng(11)
X, R = (RNG.normal(size=(n, 3)).astype(np.float32) for n in (3, 4))
W = RNG.normal(size=(3, 2))

# Clips what is negative, row by row that has such numbers, and doubles the largest of these: the
# shapes within are of the data, as in an imputer of missing values.
BRANCHES = """
    low = Less(x, zero) some = Cast<to=1>(low) most = ReduceMax<keepdims=0>(some, last)
    rows = Cast<to=9>(most) any = ReduceMax<keepdims=0>(most) is = Greater(any, zero)
    z = If(is) <then_branch = t () => (zt) {
        found = NonZero(rows) at = Transpose(found) taken = GatherND(x, at) kept = Relu(taken)
        count = Shape<end=1>(at) width = Shape<start=1>(x) size = Concat<axis=0>(count, width)
        ones = ConstantOfShape<value=float[1]{2}>(size) more = Mul(kept, ones)
        zt = ScatterND(x, at, more) },
      else_branch = e () => (ze) { ze = Identity(x) }>
    y = MatMul(z, w)
"""


def branches(x):
    negative = (x < 0).any(1, keepdims=True)
    return np.where(negative, 2 * np.maximum(x, 0), x) @ W


# Half of what is left until it is below 1: as many steps as it takes, and another If in each.
STEPS = """
    size = ReduceSum<keepdims=0>(x) a = Abs(size) start = Greater(a, one)
    z = Loop(most_steps, start, x) <body = b (int64 i, bool on, float[N,3] h) => (bool go, float[N,3] hn) {
        first = Equal(i, first_step)
        hn = If(first) <then_branch = t () => (ht) { ht = Mul(h, half) },
                        else_branch = e () => (he) { hw = Mul(h, v) he = Mul(hw, half) }>
        s = ReduceSum<keepdims=0>(hn) sa = Abs(s) go = Greater(sa, one) }>
    y = MatMul(z, w)
"""
V = np.array([1.2, 0.7, -0.9])


def steps(x):
    made = []
    for row in x:
        i = 0
        while abs(row.sum()) > 1:
            row = row / 2 * (1 if i == 0 else V)
            i += 1
        made.append(row)
    return np.array(made) @ W


def model(text, batch, **weights):
    found = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 18]> g (float[{batch},3] x) => (float[{batch},2] y) '
        f"{{ {text.replace('N,3', f'{batch},3')} }}")
    found.graph.initializer.extend(numpy_helper.from_array(np.asarray(a), name)
                                   for name, a in weights.items())
    return found


WEIGHTS = {"w": W.astype(np.float32), "v": V.astype(np.float32), "zero": np.float32(0),
           "one": np.float32(1), "half": np.float32(0.5), "last": np.array([1]),
           "first_step": np.int64(0), "most_steps": np.int64(50)}


@pytest.mark.parametrize("method", ["exact", "kernel"])
@pytest.mark.parametrize("text, f, x, batch", [
    (BRANCHES, branches, X, "N"), (BRANCHES, branches, X, 3), (STEPS, steps, 3 * X[:1], 1)],
    ids=["rows of a batch", "a batch of three", "steps"])
def test_decided_as_it_runs(method, text, f, x, batch):
    words = set(re.findall(r"\w+", text))
    plain = model(text, batch, **{k: v for k, v in WEIGHTS.items() if k in words})
    np.testing.assert_allclose(run(plain, x=x)["y"], f(x), rtol=1e-5, atol=1e-6)
    made = run(library.explain(plain, {"x": R}, method=method, target="1", gap=True), x=x)
    want = np.array([shapley(f, row, R)[:, 1] for row in x])
    np.testing.assert_allclose(made["x_shap"], want, rtol=2e-5, atol=2e-6)
    assert np.abs(made["completeness_gap"]).max() < 1e-5
