"""What nodes find in held values, such as the places of an id: as many as there are in all samples of a
batch, so that for pairs of sample and reference it is found once more. Base values and sums of each sample
are those of the model on its own."""

import numpy as np
import onnx
import onnxruntime
import pytest
from contract import model, value
from onnx import TensorProto

N, R, T, F, END = 4, 3, 5, 3, 7
rng = np.random.default_rng(0)
IDS = rng.integers(0, END, (N, T))
IDS[np.arange(N), [2, 4, 0, 3]] = END
X, REFERENCES = (rng.normal(size=(k, T, F)).astype(np.float32) for k in (N, R))
WEIGHTS = {"w": rng.normal(size=(F, 2)).astype(np.float32), "end": np.int64(END), "ones": np.int64([1]),
           "one": np.int64(1), "two": np.int64([2]), "last": np.int64([-1]), "column": np.int64([-1, 1]),
           "places": np.arange(T)[None], "half": np.float32(0.5)}
FOUND = [("Equal", "i end", "e", {}), ("NonZero", "e", "nz", {}), ("Tanh", "x", "t", {})]
LAYER = [("Tanh", "g", "h", {}), ("MatMul", "h w", "y", {})]
BY_MASK = [("Cast", "m", "c", {"to": TensorProto.FLOAT}), ("Unsqueeze", "c two", "u", {}), ("Mul", "t u", "k", {}),
           ("ReduceSum", "k ones", "g", {"keepdims": 0}), *LAYER]
MODELS = {
    "up to a place": [*FOUND, ("Gather", "nz one", "p", {"axis": 0}), ("Reshape", "p column", "q", {}),
                      ("LessOrEqual", "places q", "m", {}), *BY_MASK],
    "up to a place, written at another": [
        *FOUND, ("Transpose", "nz", "at", {"perm": [1, 0]}), ("Shape", "nz", "s", {"start": 1}),
        ("ConstantOfShape", "s", "new", {}), ("Shape", "i", "is", {}), ("ConstantOfShape", "is", "old", {}),
        ("Add", "new half", "some", {}), ("ScatterND", "old at some", "m", {}), *BY_MASK],
    "rows at places": [*FOUND, ("Transpose", "nz", "at", {"perm": [1, 0]}), ("GatherND", "t at", "p", {}),
                       ("Shape", "x", "n", {"end": 1}), ("Shape", "w", "f", {"end": 1}),
                       ("Concat", "n last f", "s", {"axis": 0}), ("Reshape", "p s", "r", {}),
                       ("ReduceSum", "r ones", "g", {"keepdims": 0}), *LAYER],
}
OPTIONS = [[], ["--cache=none"], ["--chunk=2"], ["--chunk=1", "--cache=none"], ["--order=2"], ["--splits=2"],
           ["--method=exact"], ["--method=permutation"]]


def made(nodes):
    used = {name for _, inputs, _, _ in nodes for name in inputs.split()}
    return model(nodes, [value("x", ["N", T, F]), value("i", ["N", T], TensorProto.INT64)],
                 [value("y", ["N", 2])], {k: v for k, v in WEIGHTS.items() if k in used}, opset=18)


def is_right(path, one, run, count):
    session = onnxruntime.InferenceSession(one.SerializeToString(), providers=["CPUExecutionProvider"])
    of = lambda x, k: session.run(None, {"x": x[None], "i": IDS[k:k + 1]})[0][0, 0]
    base = np.array([np.mean([of(r, k) for r in REFERENCES]) for k in range(count)])
    f = np.array([of(X[k], k) for k in range(count)])
    got = run(path, {"x": X[:count], "i": IDS[:count]})
    np.testing.assert_allclose(got["base_value"].ravel(), base, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got["x_shap"].reshape(count, -1).sum(axis=1), f - base, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
@pytest.mark.parametrize("kind", MODELS)
def test_each_sample_has_its_own(kind, options, explain, run):
    one = made(MODELS[kind])
    path = explain(one, REFERENCES, "--hold=i", "--target=0", *options)
    for count in (N, 1):
        is_right(path, one, run, count)


def test_places_are_found_for_all_pairs_at_once(explain):
    path = explain(made(MODELS["up to a place"]), REFERENCES, "--hold=i", "--target=0")
    explained = onnx.load(path)
    assert not [n for n in explained.graph.node if n.op_type == "Scan"]
    assert "onnxexplainer.batch" not in {p.key for p in explained.metadata_props}


def test_a_number_of_what_was_found(explain, run):
    """As a factor it is no shape: the references see the samples', one at a time."""
    nodes = [*FOUND, ("Shape", "nz", "s", {"start": 1}), ("Cast", "s", "c", {"to": TensorProto.FLOAT}),
             ("Mul", "t c", "k", {}), ("ReduceSum", "k ones", "g", {"keepdims": 0}), *LAYER]
    one = made(nodes)
    is_right(explain(one, REFERENCES, "--hold=i", "--target=0"), one, run, 1)
