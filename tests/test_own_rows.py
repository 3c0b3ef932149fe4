"""Rows that a node picks along the batch: each sample its own by its number, or those of others, as
a batch that is sorted by held lengths and sorted back. References are others than the samples whose
numbers held values are, so that base values and sums tell where they were mixed up."""

import numpy as np
import onnx
import onnxruntime
import pytest
from contract import model, value
from onnx import TensorProto

N, R, T, F = 3, 4, 4, 3
rng = np.random.default_rng(0)
L = np.array([2, 0, 1])
WEIGHTS = {"w": rng.normal(size=(F, 2)).astype(np.float32), "w1": rng.normal(size=(1, 2)).astype(np.float32),
           "zero": np.int64(0), "one": np.int64(1), "ones": np.int64([1]), "steps": np.int64(T),
           "rows": np.int64([-1, F]), "none": np.int64([0])}
NUMBERS = [("Shape", "x", "s", {"end": 1}), ("Squeeze", "s", "n", {}),
           ("Range", "zero n one", "r", {})]
TUPLES = [*NUMBERS, ("Unsqueeze", "r ones", "ru", {}), ("Unsqueeze", "l ones", "lu", {}),
          ("Concat", "ru lu", "at", {"axis": 1})]
FLAT = [*NUMBERS, ("Reshape", "x rows", "xf", {}), ("Mul", "r steps", "rt", {}), ("Add", "rt l", "i", {})]
SORT = [("Shape", "l", "k", {"end": 1}), ("TopK", "l k", "sorted i", {"axis": 0}),
        ("TopK", "i k", "back j", {"axis": 0, "largest": 0})]
LAYER = [("Tanh", "g", "h", {}), ("MatMul", "h w", "y", {})]
# What is made of x [N, ..] and l [N].
APART = {
    "a feature by tuples": ([*TUPLES, ("GatherND", "x at", "p", {}), ("Unsqueeze", "p ones", "g", {}),
                             ("Tanh", "g", "h", {}), ("MatMul", "h w1", "y", {})], [F]),
    "a token by tuples": ([*TUPLES, ("Tanh", "x", "t", {}), ("GatherND", "t at", "g", {}), *LAYER],
                          [T, F]),
    "a token of all": ([*FLAT, ("Gather", "xf i", "g", {}), *LAYER], [T, F]),
    "a token of all, tuples of one": ([*FLAT, ("Unsqueeze", "i ones", "iu", {}),
                                       ("GatherND", "xf iu", "g", {}), *LAYER], [T, F]),
    "a token of all, at least the first": ([*NUMBERS, ("Reshape", "x rows", "xf", {}), ("Mul", "r steps", "rt", {}),
                                            ("Sub", "l one", "b", {}), ("Max", "b zero", "p", {}),
                                            ("Add", "rt p", "i", {}), ("Gather", "xf i", "g", {}), *LAYER],
                                           [T, F]),
    "written by tuples": ([*TUPLES, ("Tanh", "x", "t", {}),
                           ("ReduceSum", "t ones", "u", {"keepdims": 0}),
                           ("ScatterND", "t at u", "g", {}), *LAYER], [F]),
    "its own row, and held factors": ([*NUMBERS, ("Gather", "x r", "p", {}),
                                       ("Cast", "l", "c", {"to": TensorProto.FLOAT}),
                                       ("Unsqueeze", "c ones", "f", {}), ("Mul", "p f", "g", {}),
                                       *LAYER], [F]),
}
SORTED = {
    "Gather": [*SORT, ("Gather", "x i", "p", {}), ("Tanh", "p", "t", {}), ("Gather", "t j", "g", {}),
               *LAYER],
    "GatherND": [*SORT, ("Unsqueeze", "i ones", "iu", {}), ("GatherND", "x iu", "p", {}),
                 ("Tanh", "p", "t", {}), ("Unsqueeze", "j ones", "ju", {}), ("GatherND", "t ju", "g", {}),
                 *LAYER],
    "GatherElements": [*SORT, ("Unsqueeze", "i ones", "iu", {}), ("Expand", "iu shape", "ie", {}),
                       ("GatherElements", "x ie", "p", {}), ("Tanh", "p", "t", {}),
                       ("Gather", "t j", "g", {}), *LAYER],
    "ScatterND": [*SORT, ("Gather", "x i", "p", {}), ("Tanh", "p", "t", {}),
                  ("Unsqueeze", "i ones", "iu", {}), ("ScatterND", "x iu t", "g", {}), *LAYER],
    "ScatterElements": [*SORT, ("Gather", "x i", "p", {}), ("Tanh", "p", "t", {}),
                        ("Unsqueeze", "i ones", "iu", {}), ("Expand", "iu shape", "ie", {}),
                        ("ScatterElements", "x ie t", "g", {}), *LAYER],
}
OPTIONS = [[], ["--cache=none"], ["--chunk=3"], ["--chunk=1", "--cache=none"], ["--order=2"],
           ["--method=exact"], ["--method=permutation"]]


def made(nodes, own):
    constants = WEIGHTS | {"shape": np.int64([1, F])}
    used = {name for _, inputs, _, _ in nodes for name in inputs.split()}
    return model(nodes, [value("x", ["N", *own]), value("l", ["N"], TensorProto.INT64)],
                 [value("y", ["N", 2])], {k: v for k, v in constants.items() if k in used}, opset=18)


def is_right(path, one, own, run, count):
    """Base value and sum of each sample are those of the model on its own, with its l."""
    x, r = (np.random.default_rng(k).normal(size=(k, *own)).astype(np.float32) for k in (N, R))
    session = onnxruntime.InferenceSession(one.SerializeToString(), providers=["CPUExecutionProvider"])
    of = lambda v, k: session.run(None, {"x": v[None], "l": L[k:k + 1]})[0][0, 0]
    f, base = (np.array(v) for v in ([of(x[k], k) for k in range(count)],
                                     [np.mean([of(v, k) for v in r]) for k in range(count)]))
    got = run(path, {"x": x[:count], "l": L[:count]})
    np.testing.assert_allclose(got["base_value"].ravel(), base, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got["x_shap"].reshape(count, -1).sum(1), f - base, rtol=1e-4, atol=1e-5)


def references(own):
    return {"x": np.random.default_rng(R).normal(size=(R, *own)).astype(np.float32)}


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
@pytest.mark.parametrize("kind", APART)
def test_each_picks_from_its_own(kind, options, explain, run):
    nodes, own = APART[kind]
    one = made(nodes, own)
    path = explain(one, references(own), "--hold=l", "--target=0", *options)
    for count in (N, 1):
        is_right(path, one, own, run, count)


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
@pytest.mark.parametrize("kind", SORTED)
def test_sorted_and_sorted_back(kind, options, explain, run):
    one = made(SORTED[kind], [F])
    path = explain(one, references([F]), "--hold=l", "--target=0", *options)
    for count in (N, 1):
        is_right(path, one, [F], run, count)


def test_picked_for_all_pairs_at_once(explain):
    """No Scan over the references where each sample picks from its own."""
    for nodes, own in APART.values():
        explained = onnx.load(explain(made(nodes, own), references(own), "--hold=l"))
        assert not [n for n in explained.graph.node if n.op_type == "Scan"]
        assert "onnxexplainer.batch" not in {p.key for p in explained.metadata_props}


@pytest.mark.parametrize("spelling", [
    [("Less", "r zero", "c", {}), ("Add", "r n", "e", {}), ("Where", "c e r", "q", {})],
    [("GreaterOrEqual", "r zero", "c", {}), ("Add", "r n", "e", {}), ("Where", "c r e", "q", {})],
    [("Max", "r zero", "q", {})],
    [("Unsqueeze", "n none", "e", {}), ("Slice", "r none e", "q", {})]],
    ids=["negative, from the end", "not negative, as it is", "at least 0", "a slice from the start"])
def test_numbers_in_other_words(spelling, explain, run):
    nodes = [*NUMBERS, *spelling, ("Unsqueeze", "q ones", "qu", {}), ("Unsqueeze", "l ones", "lu", {}),
             ("Concat", "qu lu", "at", {"axis": 1}), ("Tanh", "x", "t", {}),
             ("GatherND", "t at", "g", {}), *LAYER]
    one = made(nodes, [T, F])
    path = explain(one, references([T, F]), "--hold=l", "--target=0")
    assert "onnxexplainer.batch" not in {p.key for p in onnx.load(path).metadata_props}
    for count in (N, 1):
        is_right(path, one, [T, F], run, count)


def test_counted_from_the_end_of_all(explain, run):
    """x[T n + l - T N]: within a sample that is no position."""
    nodes = [*FLAT, ("Mul", "n steps", "all", {}), ("Sub", "i all", "at", {}), ("Gather", "xf at", "g", {}),
             *LAYER]
    one = made(nodes, [T, F])
    path = explain(one, references([T, F]), "--hold=l", "--target=0")
    for count in (N, 1):
        is_right(path, one, [T, F], run, count)


# What mixes samples without a held value: along the axis that they lie in.
MIXING = {
    "Trilu": [("Trilu", "x", "g", {}), *LAYER],
    "TopK": [("Shape", "x", "k", {"end": 1}), ("TopK", "x k", "g i", {"axis": 0}), *LAYER],
    "LSTM": [("Unsqueeze", "x ones", "u", {}), ("LSTM", "u gates states", "s", {"hidden_size": F}),
             ("Reshape", "s rows", "g", {}), *LAYER],
    "GRU": [("Unsqueeze", "x ones", "u", {}), ("GRU", "u gates3 states3", "s", {"hidden_size": F}),
            ("Reshape", "s rows", "g", {}), *LAYER],
}


@pytest.mark.parametrize("kind", MIXING)
def test_what_mixes_samples_is_seen(kind, explain, run):
    """The references enter one at a time then, and a sample on its own is explained."""
    constants = WEIGHTS | {"gates": rng.normal(size=(1, 4 * F, F)), "states": rng.normal(size=(1, 4 * F, F)),
                           "gates3": rng.normal(size=(1, 3 * F, F)),
                           "states3": rng.normal(size=(1, 3 * F, F))}
    used = {name for _, inputs, _, _ in MIXING[kind] for name in inputs.split()}
    constants = {k: v.astype(np.float32) if v.dtype == np.float64 else v
                 for k, v in constants.items() if k in used}
    one = model(MIXING[kind], [value("x", ["N", F])], [value("y", ["N", 2])], constants, opset=18)
    x, r = (np.random.default_rng(k).normal(size=(k, F)).astype(np.float32) for k in (1, R))
    path = explain(one, r, "--target=0")
    assert {p.key: p.value for p in onnx.load(path).metadata_props}["onnxexplainer.batch"] == "whole"
    session = onnxruntime.InferenceSession(one.SerializeToString(), providers=["CPUExecutionProvider"])
    f, base = (np.mean([session.run(None, {"x": v[None]})[0][0, 0] for v in side]) for side in (x, r))
    got = run(path, x)
    np.testing.assert_allclose(got["base_value"].ravel(), [base], rtol=1e-5)
    np.testing.assert_allclose(got["x_shap"].sum(), f - base, rtol=1e-4, atol=1e-6)
