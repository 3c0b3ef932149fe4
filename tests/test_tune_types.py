"""Integers, truth and doubles among the blocks of a plan: they are left as they are, or come out the
same. The plan gives what the explained model gives."""

import subprocess

import numpy as np
import onnx
import pytest
from onnx import parser

RNG = np.random.default_rng(4)
X = RNG.normal(size=(3, 3, 8, 8)).astype("f4")
R = RNG.normal(size=(4, 3, 8, 8)).astype("f4")
FORMS = {
    "int32 sum": "f = Floor(h) i = Cast<to = 6>(f) j = Add(i, i) k = Cast<to = 1>(j) p = Add(k, h)",
    "int64 product": "g = Mul(h, four) i = Cast<to = 7>(g) j = Mul(i, i) k = Cast<to = 1>(j) "
                     "p = Add(k, h)",
    "int32 concat": "i = Cast<to = 6>(h) j = Concat<axis = 1>(i, i) k = Cast<to = 1>(j) "
                    "s = Slice(k, zero, sixteen, one) p = Add(s, h)",
    "int8 pool": "g = Mul(h, four) i = Cast<to = 3>(g) "
                 "m = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(i) k = Cast<to = 1>(m) "
                 "p = Add(k, h)",
    "truth": "t = Greater(h, zeros) u = Not(t) v = Where(u, h, zeros) p = Add(v, h)",
    "truth as number": "t = Less(h, zeros) k = Cast<to = 1>(t) p = Mul(k, h)",
    "double": "d = Cast<to = 11>(h) e = Tanh(d) k = Cast<to = 1>(e) p = Add(k, h)",
    "half": "d = Cast<to = 10>(h) e = Relu(d) k = Cast<to = 1>(e) p = Add(k, h)",
    "nearest of integers": "i = Cast<to = 6>(h) j = Resize<mode = \"nearest\">(i, , twice) "
                           "k = Cast<to = 1>(j) "
                           "p = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(k)",
    "mean of integers": "i = Cast<to = 6>(h) j = ReduceSum<keepdims = 1>(i, places) "
                        "k = Cast<to = 1>(j) p = Add(k, h)",
    "shuffled integers": "i = Cast<to = 6>(h) a, b = Split<axis = 1, num_outputs = 2>(i) "
                         "j = Concat<axis = 1>(b, a) k = Cast<to = 1>(j) p = Add(k, h)",
}


def network(form):
    model = parser.parse_model(f"""<ir_version: 8, opset_import: ["": 18]>
        g (float[N, 3, 8, 8] x) => (float[N, 5] y)
        <float four = {{4}}, float zeros = {{0}}, int64[1] zero = {{0}}, int64[1] one = {{1}},
         int64[1] sixteen = {{16}}, float[4] twice = {{1, 1, 2, 2}}, int64[2] places = {{2, 3}}>
        {{ c = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, w1) h = Relu(c)
           {form}
           q = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(p, w2) r = Relu(q)
           g0 = GlobalAveragePool(r) f0 = Flatten(g0) y = MatMul(f0, w3) }}""")
    for name, shape in ("w1", (16, 3, 3, 3)), ("w2", (16, 16, 3, 3)), ("w3", (16, 5)):
        w = np.random.default_rng(len(shape)).normal(size=shape) / 4
        model.graph.initializer.append(onnx.numpy_helper.from_array(w.astype("f4"), name))
    onnx.checker.check_model(model)
    return model


@pytest.mark.parametrize("name", FORMS)
def test_types(name, cli, explain, run, tmp_path):
    path = explain(network(FORMS[name]), R, "--target=0,3", "--gap")
    np.save(tmp_path / "x.npy", X)
    tuned, out = tmp_path / "tuned.onnx", tmp_path / "out.npz"
    done = subprocess.run([cli, "tune", path, "-o", tuned], capture_output=True, text=True)
    if "this onnxruntime has no blocked layout" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([cli, "run", tuned, "--input", tmp_path / "x.npy", "-o", out, "--strict"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found, want = np.load(out), run(path, X)
    for key in "y", "x_shap", "base_value":
        scale = np.abs(want[key]).max()
        np.testing.assert_allclose(found[key], want[key], rtol=0, atol=1e-5 * scale)
