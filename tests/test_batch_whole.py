"""Samples that depend on the others of their batch: results depend on how rows are cut into
batches, so that all go in one, or the cut is refused."""

import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import parser

RNG = np.random.default_rng(3)
X = RNG.normal(size=(7, 3)).astype("f4")
R = RNG.normal(size=(2, 3)).astype("f4")

# A constant factor for each number of samples: y = x factor.
COUNTED = {
    "Shape": ("s = Shape<end = 1>(x) f = Cast<to = 1>(s)", lambda n: np.full((n, 1), n)),
    "Size": ("s = Size(x) c = Cast<to = 1>(s) f = Reciprocal(c)",
             lambda n: np.full((n, 1), 1 / 3 / n)),
    "compared": ("s = Shape<end = 1>(x) q = Squeeze(s) g = Greater(q, two) f = Cast<to = 1>(g)",
                 lambda n: np.full((n, 1), n > 2)),
    "place": ("s = Shape<end = 1>(x) q = Squeeze(s) r = Range(zero, q, one) "
              "u = Unsqueeze(r, ones) f = Cast<to = 1>(u)", lambda n: np.arange(n)[:, None]),
}
MIXED = {
    "mean": "m = ReduceMean(x, zeros) y = Sub(x, m)",
    "mean, then bent": "m = ReduceMean(x, zeros) d = Sub(x, m) y = Tanh(d)",
    "largest": "m = ReduceMax(x) y = Sub(x, m)",
    "norm": "m = ReduceL2(x) y = Div(x, m)",
    "Softmax": "y = Softmax<axis = 0>(x)",
    "LogSoftmax": "y = LogSoftmax<axis = -2>(x)",
    "CumSum": "y = CumSum(x, zero)",
    "Gram": "t = Transpose(x) g = MatMul(x, t) y = MatMul(g, x)",
    "first": "f = Gather(x, zeros) y = Sub(x, f)",
}
APART = {
    "Softmax": "y = Softmax<axis = 1>(x)",
    "CumSum": "y = CumSum(x, one)",
    "Shape": "s = Shape(x) r = Reshape(x, s) y = Tanh(r)",
    "convolution": "u = Unsqueeze(x, ones) c = Conv<kernel_shape = [3], pads = [1, 1]>(u, k) "
                   "y = Squeeze(c, ones)",
    "own mean": "m = ReduceMean(x, ones) y = Sub(x, m)",
}


def model(nodes, batch="N"):
    return parser.parse_model(f"""<ir_version: 8, opset_import: ["": 18]>
        g (float[{batch}, 3] x) => (float[{batch}, 3] y)
        <int64 zero = {{0}}, int64 one = {{1}}, int64 two = {{2}}, int64[1] zeros = {{0}},
         int64[1] ones = {{1}}, float[1, 1, 3] k = {{0.5, 1.0, -0.25}},
         float[3, 3, 3] w = {{{", ".join(str(i % 5 - 2.5) for i in range(27))}}}>
        {{ {nodes} }}""")


def command(cli, path, folder, *options):
    """Return code, messages, results."""
    np.save(folder / "x.npy", X)
    out = folder / "out.npz"
    done = subprocess.run([cli, "run", path, "--input", folder / "x.npy", "-o", out, *options],
                          capture_output=True, text=True)
    return done.returncode, done.stderr, dict(np.load(out)) if done.returncode == 0 else None


def predict(nodes, rows):
    plain = onnxruntime.InferenceSession(model(nodes).SerializeToString())
    return plain.run(None, {"x": rows})[0]


def is_whole(path):
    return {p.key: p.value for p in onnx.load(path).metadata_props}.get("onnxexplainer.batch")


@pytest.mark.parametrize("name", COUNTED)
def test_counted(name, cli, explain, tmp_path):
    """Linear in x once the number of samples is known."""
    nodes, factor = COUNTED[name]
    path = explain(model(nodes + " y = Mul(x, f)"), R, "--target=0,1,2", "--gap")
    assert is_whole(path) == "whole"
    code, said, found = command(cli, path, tmp_path, "--strict")
    assert code == 0, said
    want = factor(7)[:, :, None] * np.eye(3) * (X - R.mean(axis=0, dtype="f8"))[:, None]
    np.testing.assert_allclose(found["y"], X * factor(7), rtol=1e-6)
    np.testing.assert_allclose(found["x_shap"], want, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found["completeness_gap"], 0, atol=1e-5)


@pytest.mark.parametrize("name", MIXED)
def test_mixed(name, cli, explain, tmp_path):
    """The prediction is that of all rows at once; values are those of the sum over the batch, of
    which each sample tells that it is none of its own."""
    path = explain(model(MIXED[name]), R, "--target=0,1,2", "--gap")
    assert is_whole(path) == "whole"
    code, said, found = command(cli, path, tmp_path)
    assert code == 0 and "do not add up" in said
    np.testing.assert_allclose(found["y"], predict(MIXED[name], X), rtol=1e-6, atol=1e-7)
    base = np.mean([predict(MIXED[name], np.repeat(r[None], 7, axis=0)) for r in R], axis=0)
    want = (found["y"].astype("f8") - base).sum(axis=0)
    got = found["x_shap"].sum(axis=(0, 2), dtype="f8")
    np.testing.assert_allclose(got, want, rtol=0, atol=5e-4)


@pytest.mark.parametrize("name", [*MIXED, *COUNTED])
def test_cut_is_refused(name, cli, explain, tmp_path):
    nodes = MIXED.get(name) or COUNTED[name][0] + " y = Mul(x, f)"
    path = explain(model(nodes), R, "--target=0")
    code, said, _ = command(cli, path, tmp_path, "--batch=3")
    assert code == 1 and said.count("\n") == 1
    assert "batches of 3 would change the results: use --batch=all" in said
    for enough in "--batch=7", "--batch=all":
        code, said, found = command(cli, path, tmp_path, enough)
        assert code == 0, said
        np.testing.assert_allclose(found["y"], predict(nodes, X), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", APART)
def test_apart(name, cli, explain, tmp_path):
    """Samples of their own: nothing is said, and any batch gives the same."""
    path = explain(model(APART[name]), R, "--target=0")
    assert is_whole(path) is None
    code, said, found = command(cli, path, tmp_path, "--batch=3", "--strict")
    assert code == 0, said
    np.testing.assert_allclose(found["y"], predict(APART[name], X), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("batch", ["N", 7])
def test_one_sample(batch, explain, run):
    """With --no-batch a batch is one sample: y = x - mean(x) has values of a linear function."""
    rows = RNG.normal(size=(2, 7, 3)).astype("f4")
    path = explain(model(MIXED["mean"], batch), rows, "--no-batch", "--target=2:1", "--gap")
    found = run(path, {"x": X})
    factor = np.zeros((7, 3))
    factor[:, 1] -= 1 / 7
    factor[2, 1] += 1
    want = factor * (X - rows.mean(axis=0, dtype="f8"))
    np.testing.assert_allclose(found["x_shap"], want, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found["completeness_gap"], 0, atol=1e-6)


@pytest.mark.parametrize("nodes", [
    "f = Slice(x, zeros, ones, zeros) y = Sub(x, f)",
    "t = Transpose(x) u = Unsqueeze(t, zeros) q = Conv<kernel_shape = [3], pads = [1, 1]>(u, w) "
    "s = Squeeze(q, zeros) y = Transpose(s)",
], ids=["Slice", "Conv"])
def test_axis_of_samples(nodes, cli, tmp_path):
    """Rules that need to know how long it is."""
    onnx.save(model(nodes), tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", R)
    done = subprocess.run([cli, "explain", tmp_path / "m.onnx", "-r", tmp_path / "r.npy", "-q"],
                          capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith("samples lie along it; --no-batch explains a whole batch as one "
                                "sample\n")
