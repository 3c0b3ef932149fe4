"""Models rewritten for the machine: the same predictions and SHAP values as the portable graph, for
every operator that has a blocked form, and for what stands around it."""

import os
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from conftest import BUILD

KERNELS = str(BUILD / "libonnxexplainer_ops.so")

# name: (nodes of a model x -> y, shape of x without N, shapes of the weights)
NETS = {
    "plain": ("""c = Conv<pads=[1,1,1,1]>(x, W, B)  r = Relu(c)
        d = Conv<pads=[1,1,1,1]>(r, V)  s = Relu(d)  g = GlobalAveragePool(s)  y = Flatten(g)""",
              (3, 9, 7), {"W": (32, 3, 3, 3), "B": (32,), "V": (16, 32, 3, 3)}),
    "uneven channels": ("""c = Conv(x, W)  r = Relu(c)  d = Conv(r, V)  s = Relu(d)
        e = Conv(s, U)  y = Flatten(e)""",
                        (3, 6, 6), {"W": (24, 3, 1, 1), "V": (40, 24, 3, 3), "U": (5, 40, 4, 4)}),
    "residual": ("""c = Conv(x, W)  r = Relu(c)  d = Conv<pads=[1,1,1,1]>(r, V)
        e = Relu(d)  f = Conv<pads=[1,1,1,1]>(e, V)  h = Add(f, r)  s = Relu(h)
        g = GlobalAveragePool(s)  y = Flatten(g)""",
                 (3, 6, 6), {"W": (16, 3, 1, 1), "V": (16, 16, 3, 3)}),
    "strides": ("""c = Conv<strides=[2,2], pads=[3,3,3,3]>(x, W)  r = Relu(c)
        d = Conv<strides=[2,2], pads=[1,1,1,1]>(r, V)  k = Conv<strides=[2,2]>(r, U)
        h = Add(d, k)  s = Relu(h)  g = GlobalAveragePool(s)  y = Flatten(g)""",
                (3, 21, 18), {"W": (16, 3, 7, 7), "V": (32, 16, 3, 3), "U": (32, 16, 1, 1)}),
    "dense": ("""c = Conv(x, W)  b0 = BatchNormalization(c, s0, o0, m0, v0)  r0 = Relu(b0)
        f0 = Conv<pads=[1,1,1,1]>(r0, V0)  c1 = Concat<axis=1>(c, f0)
        b1 = BatchNormalization(c1, s1, o1, m1, v1)  r1 = Relu(b1)
        f1 = Conv<pads=[1,1,1,1]>(r1, V1)  c2 = Concat<axis=1>(c, f0, f1)
        b2 = BatchNormalization(c2, s2, o2, m2, v2)  r2 = Relu(b2)  t = Conv(r2, T)
        p = AveragePool<kernel_shape=[2,2], strides=[2,2]>(t)  r3 = Relu(p)
        g = GlobalAveragePool(r3)  y = Flatten(g)""",
              (3, 9, 8), {"W": (16, 3, 1, 1), "V0": (16, 16, 3, 3), "V1": (16, 32, 3, 3),
                          "T": (24, 48, 1, 1),
                          **{f"{k}{i}": (16 * (i + 1),) for i in range(3) for k in "somv"}}),
    "pools": ("""c = Conv<pads=[1,1,1,1]>(x, W)
        m = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(c)  r = Relu(m)
        d = Conv<pads=[1,1,1,1]>(r, V)  n = MaxPool<kernel_shape=[2,2], strides=[2,2]>(d)
        y = Flatten(n)""",
              (3, 11, 10), {"W": (16, 3, 3, 3), "V": (32, 16, 3, 3)}),
    "gates": ("""c = Conv<pads=[1,1,1,1]>(x, W)  q = Sigmoid(c)  a = Mul(c, q)
        d = Conv<group=32, pads=[1,1,1,1], strides=[2,2]>(a, D)  e = Sigmoid(d)  b = Mul(d, e)
        g = GlobalAveragePool(b)  h = Conv(g, U)  i = Sigmoid(h)  j = Mul(h, i)  k = Conv(j, V)
        l = Sigmoid(k)  o = Mul(b, l)  p = Conv(o, T)  y = Flatten(p)""",
              (3, 8, 8), {"W": (32, 3, 3, 3), "D": (32, 1, 3, 3), "U": (8, 32, 1, 1),
                          "V": (32, 8, 1, 1), "T": (24, 32, 4, 4)}),
    "phases": ("""c = Conv<pads=[1,1,1,1]>(x, W)  r = Relu(c)  e = Conv(r, E)  q = Sigmoid(e)
        a = Mul(e, q)  d = Conv<group=64, pads=[1,1,1,1], strides=[2,2]>(a, D)  s = Relu(d)
        p = Conv(s, P)  f = Conv(p, E)  t = Relu(f)
        h = Conv<group=64, pads=[1,1,1,1], strides=[2,2]>(t, D)  u = Relu(h)  y = Flatten(u)""",
               (3, 8, 12), {"W": (16, 3, 3, 3), "E": (64, 16, 1, 1), "D": (64, 1, 3, 3),
                            "P": (16, 64, 1, 1)}),
    "pads": ("""c = Conv(x, W)  r = Relu(c)  a = Pad(r, around)  d = Conv<group=32>(a, D)
        b = Clip(d, , high)  k = Pad<mode="constant">(b, less)  e = Conv(k, V)  s = Relu(e)
        y = Flatten(s)""",
             (3, 6, 7), {"W": (32, 3, 3, 3), "D": (32, 1, 3, 3), "V": (16, 32, 1, 1),
                         "around": np.array([0, 0, 1, 2, 0, 0, 2, 0]), "high": 0.5,
                         "less": np.array([0, 0, 0, -1, 0, 0, 1, 0])}),
    "cuts": ("""c = Conv(x, W)  r = Relu(c)  a = Slice(r, first, last, axes, steps)  d = Conv(a, V)
        e = Slice(d, even, last, axes, two)  s = Relu(e)  y = Flatten(s)""",
             (3, 8, 13), {"W": (32, 3, 1, 1), "V": (16, 32, 1, 1), "first": np.array([1, 0]),
                          "last": np.array([99, 99]), "axes": np.array([2, -1]), "steps": np.array([2, 3]),
                          "even": np.array([1, 0]), "two": np.array([2, 1])}),
    "gates and a skip": ("""c = Conv<pads=[1,1,1,1]>(x, W)  q = Sigmoid(c)  a = Mul(c, q)
        d = Conv<group=32, pads=[1,1,1,1]>(a, D)  e = Sigmoid(d)  b = Mul(d, e)
        g = GlobalAveragePool(b)  h = Conv(g, U)  i = Sigmoid(h)  j = Mul(h, i)  k = Conv(j, V)
        l = Sigmoid(k)  o = Mul(b, l)  n = Conv(o, S)  z = Add(n, a)  t = Sigmoid(z)
        u = Mul(z, t)  p = Conv(u, T)  y = Flatten(p)""",
                         (3, 6, 6), {"W": (32, 3, 3, 3), "D": (32, 1, 3, 3), "U": (8, 32, 1, 1),
                                     "V": (32, 8, 1, 1), "S": (32, 32, 1, 1), "T": (5, 32, 6, 6)}),
    "other functions": ("""c = Conv(x, W)  a = LeakyRelu(c)  d = Conv(a, V)  b = HardSwish(d)
        e = Conv(b, V)  f = Tanh(e)  h = Clip(f, low, high)  i = Mul(h, scale)  j = Sub(i, c)
        k = Conv(j, V)  l = Sigmoid(k)  n = Mul(l, a)  y = Flatten(n)""",
                        (3, 5, 5), {"W": (16, 3, 1, 1), "V": (16, 16, 1, 1), "scale": (16, 1, 1),
                                    "low": 0.0, "high": 0.4}),
    "upsampled": ("""c = Conv(x, W)  r = Relu(c)
        u = Resize<mode="nearest", coordinate_transformation_mode="asymmetric",
            nearest_mode="floor">(r, , scales)
        d = Conv<pads=[1,1,1,1]>(u, V)  s = Relu(d)  y = Flatten(s)""",
                  (3, 4, 5), {"W": (16, 3, 1, 1), "V": (16, 16, 3, 3),
                              "scales": np.array([1, 1, 2, 2], np.float32)}),
    "skips": ("""c = Conv<pads=[1,1,1,1]>(x, W)  r = Relu(c)
        p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r)  d = Conv<pads=[1,1,1,1]>(p, V)
        e = Relu(d)  u = Resize<mode="nearest", coordinate_transformation_mode="asymmetric",
            nearest_mode="floor">(e, , scales)
        k = Concat<axis=1>(u, r)  f = Conv<pads=[1,1,1,1]>(k, U)  s = Relu(f)  y = Flatten(s)""",
              (3, 6, 8), {"W": (16, 3, 3, 3), "V": (32, 16, 3, 3), "U": (16, 48, 3, 3),
                          "scales": np.array([1, 1, 2, 2], np.float32)}),
    "line": ("""c = Conv<pads=[2,2]>(x, W, B)  r = Relu(c)  d = Conv<pads=[1,1]>(r, V)
        n = BatchNormalization(d, s0, o0, m0, v0)  a = Add(n, r)  s = Relu(a)
        p = MaxPool<kernel_shape=[3], strides=[2], pads=[1,0]>(s)  e = Conv<pads=[1,1]>(p, U)
        q = Sigmoid(e)  t = Mul(e, q)  k = Concat<axis=-2>(t, p)  f = Conv(k, T)  u = Relu(f)
        g = GlobalAveragePool(u)  y = Flatten(g)""",
             (3, 22), {"W": (32, 3, 5), "B": (32,), "V": (32, 32, 3), "U": (64, 32, 3), "T": (20, 96, 1),
                       **{f"{k}0": (32,) for k in "somv"}}),
    "gates on a line": ("""c = Conv<pads=[1,1]>(x, W)  q = Sigmoid(c)  a = Mul(c, q)
        d = Conv<group=32, pads=[1,1], strides=[2]>(a, D)  e = Sigmoid(d)  b = Mul(d, e)
        g = GlobalAveragePool(b)  h = Conv(g, U)  i = Sigmoid(h)  j = Mul(h, i)  k = Conv(j, V)
        l = Sigmoid(k)  o = Mul(b, l)  m = AveragePool<kernel_shape=[2]>(o)  p = Conv(m, T)
        y = Flatten(p)""",
                        (3, 12), {"W": (32, 3, 3), "D": (32, 1, 3), "U": (8, 32, 1), "V": (32, 8, 1),
                                  "T": (24, 32, 4)}),
    "line, then a plane": ("""c = Conv(x, W)  r = Relu(c)  q = Reshape(r, plane)  m = ReduceMean(q, last)
        e = Expand(m, wide)  d = Conv(e, V)  s = Sigmoid(d)  g = GlobalAveragePool(s)
        y = Flatten(g)""",
                           (3, 9), {"W": (64, 3, 1), "V": (16, 8, 3, 3), "plane": np.array([-1, 8, 8, 9]),
                                    "last": np.array([-1]), "wide": np.array([1, 1, 1, 9])}),
    "no convolution": ("g = MatMul(x, W)  r = Relu(g)  y = MatMul(r, V)", (6,),
                       {"W": (6, 20), "V": (20, 4)}),
}
INTEGERS = "around", "less", "first", "last", "axes", "steps", "even", "two", "plane", "wide"


def build(name, batch):
    nodes, shape, weights = NETS[name]
    dims = ", ".join(map(str, (batch, *shape)))
    model = parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": 18]>
        net (float[{dims}] x) => (float[{batch}, K] y) {{ {nodes} }}""")
    rng = np.random.default_rng(len(name))
    for key, value in weights.items():
        if isinstance(value, tuple):
            fan = np.prod(value[1:]) if len(value) > 1 else 1
            value = rng.normal(size=value) / np.sqrt(fan)
            value = np.abs(value) + 0.5 if key[0] in "sv" and len(weights) > 8 else value
        model.graph.initializer.append(
            numpy_helper.from_array(np.asarray(value, np.int64 if key in INTEGERS else np.float32), key))
    return onnx.shape_inference.infer_shapes(model)


def tune(cli, explained, *options):
    out = explained.replace(".onnx", ".tuned.onnx")
    done = subprocess.run([cli, "tune", explained, "-o", out, *options],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


def run_all(path, x, kernels=True):
    options = onnxruntime.SessionOptions()
    if kernels:
        options.register_custom_ops_library(KERNELS)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": x})))


def assert_same(found, wanted):
    assert list(found) == list(wanted)
    for name, want in wanted.items():
        of = [wanted["y"]] if name.endswith("completeness_gap") else [want]  # rounding of y itself
        scale = max(np.abs(w).max(initial=1e-30) for w in of)
        assert np.abs(found[name].astype(float) - want).max(initial=0) <= 1e-5 * scale, name


@pytest.mark.parametrize("options", [(), ("--target=all",), ("--cache=file",), ("--cache=none",),
                                     ("--chunk=2",), ("--gap",),
                                     ("--gap", "--prefix=own/", "--target=0-1")],
                         ids=["top", "all", "file", "none", "chunk", "gap", "prefix"])
@pytest.mark.parametrize("name", sorted(set(NETS) - {"no convolution"}))
def test_tuned_models_agree(cli, explain, name, options):
    rng = np.random.default_rng(1)
    shape = NETS[name][1]
    references = rng.normal(size=(3, *shape)).astype(np.float32)
    explained = explain(build(name, "N"), references, *options)
    tuned = tune(cli, explained)
    for samples in (1, 2, 3):
        x = rng.normal(size=(samples, *shape)).astype(np.float32)
        x[0, ..., 0] = references[0, ..., 0]  # equal in places
        assert_same(run_all(tuned, x), run_all(explained, x, kernels=False))


def test_model_that_amplifies_its_rounding(cli, explain):
    """The last bits of its inputs change all that it says, and those of a plan's sums may."""
    model = parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]>
        net (float[N, 3, 12, 12] x) => (float[N, K] y) <float big = {3000.0}> {
            c = Conv<pads=[1,1,1,1]>(x, W)  r = Relu(c)  f = Conv(r, U)  q = Sigmoid(f)
            a = Mul(f, q)  g = GlobalAveragePool(a)  h = Conv(g, S)  i = Mul(h, big)  j = Sin(i)
            k = Mul(a, j)  l = Conv(k, T)  o = Mul(l, big)  v = Sin(o)  y = Flatten(v) }""")
    rng = np.random.default_rng(3)
    for name, shape in {"W": (40, 3, 3, 3), "U": (24, 40, 1, 1), "S": (24, 24, 1, 1),
                        "T": (40, 24, 1, 1)}.items():
        value = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    r = rng.normal(size=(2, 3, 12, 12)).astype(np.float32)
    explained = explain(onnx.shape_inference.infer_shapes(model), r, "--splits=1")
    x = r[:1] / 2 + 1
    plain, beside = (run_all(explained, value)["x_shap"] for value in (x, np.nextafter(x, np.float32(9))))
    assert np.abs(plain - beside).max() > 0.1 * np.abs(plain).max()
    assert np.isfinite(run_all(tune(cli, explained), x)["x_shap"]).all()  # it is taken


@pytest.mark.parametrize("references", [1, 5])
def test_one_sample_and_other_counts_of_references(cli, explain, references):
    rng = np.random.default_rng(2)
    r = rng.normal(size=(references, 3, 8, 8)).astype(np.float32)
    explained = explain(build("gates", 1), r)
    x = rng.normal(size=(1, 3, 8, 8)).astype(np.float32)
    assert_same(run_all(tune(cli, explained), x), run_all(explained, x, kernels=False))


@pytest.mark.parametrize("references", [2, 3, 4])
@pytest.mark.parametrize("name", ["gates", "gates and a skip"])
def test_gates_of_every_reference_with_several_targets(cli, explain, name, references):
    """A factor of one number a reference and channel meets multipliers of 3 targets, also where
    there are as many references."""
    rng = np.random.default_rng(4)
    r = rng.normal(size=(references, *NETS[name][1])).astype(np.float32)
    explained = explain(build(name, "N"), r, "--target=0,1,2")
    tuned = tune(cli, explained)
    for samples in (1, 3):
        x = rng.normal(size=(samples, *NETS[name][1])).astype(np.float32)
        assert_same(run_all(tuned, x), run_all(explained, x, kernels=False))


def operators(path):
    return [(n.domain, n.op_type) for n in onnx.load(path).graph.node]


@pytest.mark.parametrize("name", ["plain", "residual", "uneven channels", "phases", "pads", "line"])
def test_flows_stay_in_the_blocked_layout(cli, explain, name):
    """Values change their layout where the graph ends only."""
    rng = np.random.default_rng(3)
    references = rng.normal(size=(3, *NETS[name][1])).astype(np.float32)
    found = operators(tune(cli, explain(build(name, "N"), references)))
    assert ("", "Conv") not in found
    assert found.count(("com.microsoft.nchwc", "ReorderInput")) <= 1, found
    assert found.count(("com.microsoft.nchwc", "ReorderOutput")) <= 4, found


def test_phases_of_the_sample(cli, explain):
    """They are gathered, which is sooner than slices with steps."""
    references = np.random.default_rng(3).normal(size=(3, *NETS["phases"][1])).astype(np.float32)
    found = operators(tune(cli, explain(build("phases", "N"), references)))
    assert found.count(("", "Gather")) >= 4 and ("", "Slice") not in found, found


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("join", ["k = Concat<axis=-1>(a, b)",
                                  "g = GlobalAveragePool(a)  e = Expand(g, shape)  k = Mul(b, e)"])
def test_lines_that_are_joined_or_repeated(cli, explain, batch, join):
    """Along the line itself, and behind it, also where the batch is fixed."""
    model = parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": 18]>
        net (float[{batch}, 3, 9] x) => (float[{batch}, K] y) {{
            c = Conv(x, W)  r = Relu(c)  a = Slice(r, zero, five, last)  b = Slice(r, one, six, last)
            {join}  d = Conv(k, V)  s = Relu(d)  y = Flatten(s) }}""")
    rng = np.random.default_rng(5)
    for name, shape in {"W": (32, 3, 1), "V": (16, 32, 3)}.items():
        model.graph.initializer.append(numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name))
    for name, value in {"zero": [0], "one": [1], "five": [5], "six": [6], "last": [-1],
                        "shape": [batch, 32, 5]}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.int64(value), name))
    explained = explain(onnx.shape_inference.infer_shapes(model), rng.normal(size=(3, 3, 9)).astype(np.float32))
    x = rng.normal(size=(batch, 3, 9)).astype(np.float32)
    assert_same(run_all(tune(cli, explained), x), run_all(explained, x, kernels=False))


def test_nothing_to_gain_is_said(cli, explain, tmp_path):
    references = np.ones((2, 6), np.float32)
    out = tmp_path / "t.onnx"
    done = subprocess.run([cli, "tune", explain(build("no convolution", "N"), references), "-o",
                           str(out)], capture_output=True, text=True)
    assert done.returncode != 0 and "blocked form" in done.stderr and not out.exists()


def test_models_that_are_not_explained_are_refused(cli, tmp_path):
    path = tmp_path / "plain.onnx"
    onnx.save(build("plain", "N"), path)
    done = subprocess.run([cli, "tune", str(path), "-o", str(tmp_path / "t.onnx")],
                          capture_output=True, text=True)
    assert done.returncode != 0
    assert "plain.onnx" in done.stderr and not (tmp_path / "t.onnx").exists()


@pytest.mark.parametrize("name", ["gates", "pools"])
def test_run_tunes_on_its_own(cli, explain, name, tmp_path):
    """With many samples, or where asked; the results are the same."""
    rng = np.random.default_rng(4)
    shape = NETS[name][1]
    explained = explain(build(name, "N"), rng.normal(size=(3, *shape)).astype(np.float32))
    np.save(tmp_path / "x.npy", rng.normal(size=(17, *shape)).astype(np.float32))
    results = {}
    for option in ("--no-tune", "--tune", "--quiet"):
        out = tmp_path / f"out{option}.npz"
        done = subprocess.run([cli, "run", explained, "--input", str(tmp_path / "x.npy"),
                               "-o", str(out), option], capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        results[option] = dict(np.load(out))
    for option in ("--tune", "--quiet"):
        assert_same(results[option], results["--no-tune"])


def test_inputs_that_are_looked_up_are_not_drawn(cli, explain, tmp_path):
    """A category that nobody knows stops the model: no plan is measured, and nothing is wrong with that."""
    model = parser.parse_model('''<ir_version: 9, opset_import: ["" : 18, "ai.onnx.ml" : 3]>
        g (float[N, 4] x, int64[N, 1] c) => (float[N, 3] y) {
        o = ai.onnx.ml.OneHotEncoder<cats_int64s=[1001, 1002, 1003, 1004], zeros=0>(c)  z = Reshape(o, s)
        m = Mul(x, z)  t = Tanh(m)  y = MatMul(t, W) }''')
    rng = np.random.default_rng(6)
    model.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in (
        ("s", np.int64([-1, 4])), ("W", rng.normal(size=(4, 3)).astype(np.float32))))
    explained = explain(model, {"x": rng.normal(size=(3, 4)).astype(np.float32)}, "--hold=c", "--target=0")
    np.savez(tmp_path / "x.npz", x=rng.normal(size=(40, 4)).astype(np.float32),
             c=rng.integers(1001, 1005, (40, 1)))
    for option in ("--tune", "--no-tune"):
        done = subprocess.run([cli, "run", explained, "-i", tmp_path / "x.npz", "-o", tmp_path / f"{option}.npz",
                               option], capture_output=True, text=True,
                              env=os.environ | {"ONNXEXPLAINER_CACHE": str(tmp_path / "cache")})
        assert done.returncode == 0 and done.stderr == "", done.stderr
    assert_same(dict(np.load(tmp_path / "--tune.npz")), dict(np.load(tmp_path / "--no-tune.npz")))


def test_a_plan_runs_only_where_it_was_made(cli, explain, tmp_path):
    """Without the kernels it does not load, and is not tuned twice."""
    rng = np.random.default_rng(5)
    references = rng.normal(size=(2, 3, 9, 7)).astype(np.float32)
    tuned = tune(cli, explain(build("plain", "N"), references))
    with pytest.raises(Exception, match="BlockedReluFlow"):
        run_all(tuned, references, kernels=False)
    again = subprocess.run([cli, "tune", tuned, "-o", str(tmp_path / "t.onnx")],
                           capture_output=True, text=True)
    assert again.returncode != 0 and "tuned already" in again.stderr
