"""Methods beside DeepSHAP: what each computes, against sums over all coalitions and integrals that
are taken here in float64; and that all keep the same contract."""

import itertools
import math

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import library

GRADIENTS = ("gradient", "input-x-gradient", "integrated-gradients", "expected-gradients",
             "smoothgrad", *(f"smoothgrad:{of}" for of in (
                 "gradient", "input-x-gradient", "integrated-gradients", "expected-gradients")))
RUNS = ("exact", "kernel", "permutation", "occlusion")
RNG = np.random.default_rng(7)
W, B, V = RNG.normal(size=(4, 6)), RNG.normal(size=6), RNG.normal(size=(6, 3))
R, X = (RNG.normal(size=(n, 4)).astype(np.float32) for n in (5, 3))


def model(text, batch="N", **weights):
    """A model of [batch, 4] to [batch, 3]."""
    found = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["": 18, "ai.onnx.ml": 3, "com.example": 1]> '
        f"g (float[{batch},4] x) => (float[{batch},3] y) {{ {text} }}")
    found.graph.initializer.extend(
        numpy_helper.from_array(a.astype(np.float32), name) for name, a in weights.items())
    return found


def net(batch="N", act="Tanh"):
    return model(f"h = MatMul(x, W) s = Add(h, B) t = {act}(s) y = MatMul(t, V)", batch,
                 W=W, B=B, V=V)


def f(x):
    return np.tanh(x.astype(np.float64) @ W + B) @ V


def run(explained, **feeds):
    session = onnxruntime.InferenceSession(explained.SerializeToString(),
                                           providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds)))


def values(of, method, x=X, references=R, **options):
    explained = library.explain(of, {"x": references}, method=method, gap=True, **options)
    return run(explained, x=x)


def shapley(f, x, references):
    """The Shapley values of f at one sample, [inputs, outputs], over all coalitions."""
    n, worth = len(x), {}
    for members in itertools.product((False, True), repeat=n):
        worth[members] = f(np.where(members, x, references)).mean(0)
    phi = np.zeros((n, *worth[(False,) * n].shape))
    for members, value in worth.items():
        k = sum(members)
        for i in range(n):
            if not members[i]:
                more = tuple(m or j == i for j, m in enumerate(members))
                phi[i] += math.factorial(k) * math.factorial(n - 1 - k) / math.factorial(n) * (
                    worth[more] - value)
    return phi


EXACT = np.array([shapley(f, x, R) for x in X])  # [N, inputs, outputs]


# ---- what they compute ------------------------------------------------------------------------


@pytest.mark.parametrize("batch", ["N", 3, 1])
@pytest.mark.parametrize("method", ["deepshap", *GRADIENTS, *RUNS])
def test_linear_models(method, batch):
    """w (x - mean r); gradients that are not taken times anything are w."""
    linear = model("h = MatMul(x, W) s = Add(h, B) y = MatMul(s, V)", batch, W=W, B=B, V=V)
    x, w = X[:batch] if batch == 1 else X, (W @ V)[:, 1]
    phi = values(linear, method, x, target="1", cache=3 if batch != "N" else 0)["x_shap"]
    plain = method in ("gradient", "smoothgrad", "smoothgrad:gradient")
    want = np.broadcast_to(w, x.shape) if plain else w * (x - R.mean(0, dtype=np.float64))
    np.testing.assert_allclose(phi, want, atol=2e-5)


@pytest.mark.parametrize("method", ["exact", "kernel"])
@pytest.mark.parametrize("batch", ["N", 3])
@pytest.mark.parametrize("chunk", [0, 1, 3, 7])
def test_all_coalitions_are_exact(method, batch, chunk):
    r = values(net(batch), method, target="all", chunk=chunk, cache=3)
    np.testing.assert_allclose(r["x_shap"], EXACT.transpose(0, 2, 1), atol=1e-6)
    np.testing.assert_allclose(r["base_value"], np.tile(f(R).mean(0), (3, 1)), atol=1e-6)
    assert abs(r["completeness_gap"]).max() < 1e-6


def wide(count):
    w = np.random.default_rng(4).normal(size=(count, 1)).astype(np.float32)
    made = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["": 18]> g (float[N,{count}] x) => (float[N,1] y) '
        "{ y = MatMul(x, A) }")
    made.graph.initializer.append(numpy_helper.from_array(w, "A"))
    return made, w[:, 0]


def test_kernel_of_many_players():
    made, w = wide(1200)
    x = np.random.default_rng(5).normal(size=(2, 1200)).astype(np.float32)
    phi = values(made, "kernel", x, np.zeros((1, 1200), np.float32), target="0")["x_shap"]
    np.testing.assert_allclose(phi, x * w, atol=2e-5)


def test_kernel_of_too_many_players():
    with pytest.raises(library.Refused, match="5000 values are more than 4096.*groups.*permutation"):
        values(wide(5000)[0], "kernel", None, np.zeros((1, 5000), np.float32))


def test_kernel_of_all_coalitions_is_exact():
    """With more values: the least squares and the weighted sum are two ways to one number."""
    rng = np.random.default_rng(3)
    w, v, r, x = (rng.normal(size=s).astype(np.float32) for s in ((9, 6), (6, 1), (2, 9), (2, 9)))
    wide = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]> g (float[N,9] x) => (float[N,1] y) '
        "{ h = MatMul(x, A) t = Tanh(h) y = MatMul(t, C) }")
    wide.graph.initializer.extend([numpy_helper.from_array(w, "A"), numpy_helper.from_array(v, "C")])
    exact, kernel = (values(wide, m, x, r, target="0")["x_shap"] for m in ("exact", "kernel"))
    np.testing.assert_allclose(kernel, exact, atol=1e-6)
    assert abs(exact).max() > 0.1


def integrated(points):
    """Integrated gradients of f's output 1, mean over the references, by `points` of Gauss."""
    t, weight = np.polynomial.legendre.leggauss(points)
    phi, x = np.zeros((3, 4)), X.astype(np.float64)
    for r in R.astype(np.float64):
        for at, share in zip((t + 1) / 2, weight / 2):
            z = r + at * (x - r)
            slope = ((1 - np.tanh(z @ W + B) ** 2) * V[:, 1]) @ W.T
            phi += share * slope * (x - r) / len(R)
    return phi


def test_integrated_gradients():
    want = integrated(200)
    gaps = []
    for steps in (2, 4, 8, 16, 32):
        r = values(net(), "integrated-gradients", target="1", steps=steps)
        np.testing.assert_allclose(r["x_shap"], integrated(steps), atol=2e-6)
        gaps.append(abs(r["completeness_gap"]).max())
    assert abs(r["x_shap"] - want).max() < 2e-6 and gaps[-1] < 2e-6
    assert gaps[0] > 30 * gaps[2]  # what the quadrature leaves of it shrinks fast


@pytest.mark.parametrize("options", [{"samples": 4000}, {"steps": 200}], ids=["draws", "pairs"])
def test_expected_gradients_come_near_integrated_ones(options):
    r = values(net(), "expected-gradients", target="1", **options)
    np.testing.assert_allclose(r["x_shap"], integrated(200), atol=0.05)
    other = values(net(), "expected-gradients", target="1", seed=1, **options)
    assert 0 < abs(r["x_shap"] - other["x_shap"]).max() < 0.1


@pytest.mark.parametrize("of, samples, close", [
    ("gradient", 200, 0.01), ("input-x-gradient", 200, 0.01), ("integrated-gradients", 200, 0.01),
    ("expected-gradients", 8000, 0.05)])  # which draws references and places, as well
def test_little_noise_changes_little(of, samples, close):
    plain = (integrated(200) if of == "expected-gradients"
             else values(net(), of, target="1")["x_shap"])
    smooth = values(net(), f"smoothgrad:{of}", target="1", noise=1, samples=samples)["x_shap"]
    np.testing.assert_allclose(smooth, plain, atol=close)
    much = values(net(), f"smoothgrad:{of}", target="1", noise=100, samples=200)["x_shap"]
    assert abs(much - plain).max() > 0.1


def test_smoothgrad_is_the_mean_around_the_sample():
    """Of x^3 the gradient is 3 (x^2 + sigma^2) in the mean."""
    cube = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]> g (float[N,4] x) => (float[N,1] y) '
        "<int64[1] last = {1}> { a = Mul(x, x) b = Mul(a, x) y = ReduceSum(b, last) }")
    got = values(cube, "smoothgrad", target="0", noise=20, samples=4000)["x_shap"]
    sigma = 0.2 * np.ptp(X, axis=1, keepdims=True)
    np.testing.assert_allclose(got, 3 * (X ** 2 + sigma ** 2), rtol=0.05, atol=0.05)


def test_occlusion():
    want = [[f(x[None]) - f(np.where(np.arange(4) == i, R, x)).mean(0) for i in range(4)]
            for x in X]
    got = values(net(), "occlusion", target="all")["x_shap"]
    np.testing.assert_allclose(got, np.array(want)[:, :, 0].transpose(0, 2, 1), atol=1e-6)


# ---- sampling ---------------------------------------------------------------------------------

WIDE = onnx.parser.parse_model(
    '<ir_version: 10, opset_import: ["": 18]> g (float[N,12] x) => (float[N,1] y) '
    "{ h = MatMul(x, A) t = Tanh(h) q = Mul(t, t) y = MatMul(q, C) }")
WIDE.graph.initializer.extend(
    numpy_helper.from_array(np.random.default_rng(i).normal(size=s).astype(np.float32), n)
    for i, n, s in ((5, "A", (12, 16)), (6, "C", (16, 1))))
WIDE_R, WIDE_X = (np.random.default_rng(i).normal(size=(2, 12)).astype(np.float32) for i in (8, 9))


@pytest.fixture(scope="module")
def wide_exact():
    return values(WIDE, "exact", WIDE_X, WIDE_R, target="0")["x_shap"]


@pytest.mark.parametrize("method, few", [("kernel", 100), ("permutation", 4)])
def test_estimates_converge(method, few, wide_exact):
    """16 times the samples, a quarter of the error."""
    def error(samples):
        return np.sqrt(np.mean([
            (values(WIDE, method, WIDE_X, WIDE_R, target="0", samples=samples, seed=seed)["x_shap"]
             - wide_exact) ** 2 for seed in range(6)]))

    assert 2.5 < error(few) / error(16 * few) < 8


def test_standard_errors_are_those_of_the_estimates(wide_exact):
    ratios = []
    for seed in range(6):
        r = values(WIDE, "permutation", WIDE_X, WIDE_R, target="0", samples=30, seed=seed)
        assert r["x_shap_error"].shape == r["x_shap"].shape
        ratios.append(((r["x_shap"] - wide_exact) / r["x_shap_error"]) ** 2)
        assert abs(r["completeness_gap"]).max() < 1e-5
    assert 0.6 < np.mean(ratios) < 1.6


@pytest.mark.parametrize("method", ["kernel", "permutation", "expected-gradients", "smoothgrad"])
def test_a_seed_makes_one_model(method):
    made = [library.explain(WIDE, {"x": WIDE_R}, method=method, samples=40, seed=seed, target="0")
            .SerializeToString() for seed in (0, 0, 1)]
    assert made[0] == made[1] != made[2]


def test_too_few_coalitions():
    with pytest.raises(library.Refused, match="4 coalitions do not tell 12 players apart"):
        library.explain(WIDE, {"x": WIDE_R}, method="kernel", samples=4)


# ---- the contract -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", [*GRADIENTS, *RUNS])
@pytest.mark.parametrize("target, shape", [("top", ()), ("0-2", ()), ("all", (3,)), ("top:2", (2,)),
                                           ("input", ())])
def test_targets(method, target, shape):
    """As DeepSHAP has them, and alone what they are together."""
    explained = library.explain(net(), {"x": R}, method=method, target=target, gap=True)
    feeds = {"shap_target_input": np.array([2, 0, 1])} if target == "input" else {}
    r, all_targets = run(explained, x=X, **feeds), values(net(), method, target="all")
    assert r["x_shap"].shape == (3, *shape, 4) and r["base_value"].shape == (3, *shape)
    flat = r["shap_target"].reshape(3, -1)
    phi = r["x_shap"].reshape(3, -1, 4)
    for n, k in itertools.product(range(3), range(flat.shape[1])):
        want = (all_targets["x_shap"][n, 0] - all_targets["x_shap"][n, 2] if target == "0-2"
                else all_targets["x_shap"][n, flat[n, k]])
        np.testing.assert_allclose(phi[n, k], want, atol=1e-5)
    text = {p.key: p.value for p in explained.metadata_props}
    assert text["onnxexplainer.method"] == method


@pytest.mark.parametrize("method", [*GRADIENTS, *RUNS])
def test_references_as_input(method):
    options = {"method": method, "target": "1", "samples": 800}
    given = values(net(), **options)
    explained = library.explain(net(), None, **options)
    r = run(explained, x=X, x_references=R)
    close = 0.2 if "expected" in method else 1e-5  # R is not known when references are drawn
    np.testing.assert_allclose(r["x_shap"], given["x_shap"], atol=close)
    np.testing.assert_allclose(r["base_value"], given["base_value"], atol=1e-6)


@pytest.mark.parametrize("method", [*GRADIENTS, *RUNS])
def test_filled_references(method):
    want = values(net(), method, references=np.full((1, 4), 0.5, np.float32), target="1")
    explained = library.explain(net(), {}, reference_source=2, fill=0.5, method=method, target="1")
    r = run(explained, x=X)
    np.testing.assert_allclose(r["x_shap"], want["x_shap"], atol=1e-5)
    np.testing.assert_allclose(r["base_value"], want["base_value"], atol=1e-6)


@pytest.mark.parametrize("method", [*GRADIENTS, *RUNS])
@pytest.mark.parametrize("options", [{"chunk": 1}, {"chunk": 4}, {"memory": 1000}])
def test_steps_change_nothing(method, options):
    want, got = (values(net(), method, target="all", **o) for o in ({}, options))
    np.testing.assert_allclose(got["x_shap"], want["x_shap"], atol=2e-5)
    np.testing.assert_allclose(got["base_value"], want["base_value"], atol=1e-6)


@pytest.mark.parametrize("method", [*GRADIENTS, *RUNS])
def test_several_inputs_with_batches_elsewhere(method):
    two = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]> g (float[N,2] a, float[2,N,3] b) => (float[N] y)'
        " { s = ReduceSum<keepdims=0>(a, one) t = Tanh(b) p = ReduceProd<axes=[0], keepdims=0>(t)"
        "   u = ReduceSum<keepdims=0>(p, one) v = Mul(s, u) w = Sin(s) y = Add(v, w) }")
    two.graph.initializer.append(numpy_helper.from_array(np.array([1]), "one"))
    two.opset_import[0].version = 17
    rng = np.random.default_rng(2)
    a, ar, b, br = (rng.normal(size=s).astype(np.float32)
                    for s in ((4, 2), (3, 2), (2, 4, 3), (2, 3, 3)))
    r = run(library.explain(two, {"a": ar, "b": br}, method=method, gap=True), a=a, b=b)

    def g(flat):
        a, b = flat[:, :2].astype(np.float64), flat[:, 2:].reshape(-1, 2, 3).astype(np.float64)
        s = a.sum(1)
        return (s * np.tanh(b).prod(1).sum(1) + np.sin(s))[:, None]

    flat, refs = (np.concatenate([p, q.transpose(1, 0, 2).reshape(-1, 6)], 1)
                  for p, q in ((a, b), (ar, br)))
    assert r["a_shap"].shape == (4, 2) and r["b_shap"].shape == (2, 4, 3)
    np.testing.assert_allclose(r["base_value"], np.full(4, g(refs).mean()), atol=1e-6)
    got = np.concatenate([r["a_shap"], r["b_shap"].transpose(1, 0, 2).reshape(-1, 6)], 1)
    if method in ("exact", "kernel"):
        want = np.array([shapley(g, x, refs)[:, 0] for x in flat])
        np.testing.assert_allclose(got, want, atol=2e-6)
    if method in ("permutation", "exact", "kernel", "integrated-gradients"):
        np.testing.assert_allclose(got.sum(1) + r["base_value"], r["y"], atol=1e-4)
    if method == "gradient":
        step = np.eye(8) * 1e-5
        slope = [[(g(x[None] + d) - g(x[None] - d))[0, 0] / 2e-5 for d in step]
                 for x in flat.astype(np.float64)]
        np.testing.assert_allclose(got, slope, atol=1e-4)


def test_gradients_inside():
    """--at, of the gradient."""
    r = run(library.explain(net(), {"x": R}, method="gradient", target="1", **at("t")), x=X)
    np.testing.assert_allclose(r["t_shap"], np.tile(V[:, 1], (3, 1)), atol=1e-6)


def at(name):
    import ctypes
    names = (ctypes.c_char_p * 1)(name.encode())
    return {"at": ctypes.cast(names, library.POINTER), "at_count": 1}


# ---- models without rules ---------------------------------------------------------------------


def trees():
    """Two stumps, and a tree of depth 2, over 4 columns; three targets."""
    nodes = [  # tree, node, feature, value, true, false; no feature: a leaf
        (0, 0, 0, 0.1, 1, 2), (0, 1, None, 0, 0, 0), (0, 2, None, 0, 0, 0),
        (1, 0, 1, -0.2, 1, 2), (1, 1, None, 0, 0, 0), (1, 2, 2, 0.3, 3, 4),
        (1, 3, None, 0, 0, 0), (1, 4, None, 0, 0, 0)]
    leaves = [(t, n) for t, n, feature, *_ in nodes if feature is None]
    weights = np.random.default_rng(1).normal(size=(len(leaves), 3))
    made = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=3,
        nodes_treeids=[n[0] for n in nodes], nodes_nodeids=[n[1] for n in nodes],
        nodes_featureids=[n[2] or 0 for n in nodes], nodes_values=[float(n[3]) for n in nodes],
        nodes_modes=["LEAF" if n[2] is None else "BRANCH_LEQ" for n in nodes],
        nodes_truenodeids=[n[4] for n in nodes], nodes_falsenodeids=[n[5] for n in nodes],
        target_treeids=[t for t, _ in leaves for _ in range(3)],
        target_nodeids=[n for _, n in leaves for _ in range(3)],
        target_ids=list(range(3)) * len(leaves), target_weights=[float(w) for w in weights.flat])
    found = model("y = Identity(x)")
    del found.graph.node[:]
    found.graph.node.append(made)
    return found


@pytest.mark.parametrize("method", ["exact", "kernel"])
def test_trees(method):
    plain = onnxruntime.InferenceSession(trees().SerializeToString(),
                                         providers=["CPUExecutionProvider"])

    def g(x):
        return plain.run(None, {"x": x.astype(np.float32)})[0].astype(np.float64)

    want = np.array([shapley(g, x, R) for x in X]).transpose(0, 2, 1)
    got = values(trees(), method, target="all")
    np.testing.assert_allclose(got["x_shap"], want, atol=1e-6)
    assert abs(want).max() > 0.1


UNKNOWN = "a = com.example.Foo(x) b = Relu(a) y = com.example.Bar(b)"


@pytest.mark.parametrize("method", RUNS)
def test_operators_that_nobody_knows(method):
    """They are copied as they are."""
    made = library.explain(model(UNKNOWN), {"x": R}, method=method, target="1")
    copies = [n.op_type for g in [made.graph, *(
        a.g for n in made.graph.node for a in n.attribute if a.name == "body")] for n in g.node]
    assert copies.count("Foo") == 3 and copies.count("Bar") == 3  # sample, references, mixtures
    assert [o.name for o in made.graph.output][:2] == ["y", "x_shap"]


def test_refusals_name_the_way_out():
    with pytest.raises(library.Refused, match="no rule for com.example.Foo at opset 1; "
                                              "--method=kernel explains any model by its outputs"):
        library.explain(model("y = com.example.Foo(x)"), {"x": R})
    choice = model("i = ArgMax<axis=1, keepdims=1>(x) c = Cast<to=1>(i) y = MatMul(c, O)",
                   O=np.ones((1, 3)))
    with pytest.raises(library.Refused, match="ArgMax.*--method=kernel"):
        library.explain(choice, {"x": R})


@pytest.mark.parametrize("method, options, why", [
    ("kernal", {}, 'there is no method "kernal", these are there: "deepshap"'),
    ("smoothgrad:kernel", {}, 'there is no method "smoothgrad:kernel"'),
    ("kernel:gradient", {}, 'there is no method "kernel:gradient"'),
    ("kernel", {"integrate": 4}, "integrate goes with method deepshap"),
    ("permutation", {"samples": 1}, "samples: 2 at least"),
    ("kernel", {"force": True}, "force: method kernel looks at inputs and outputs"),
    ("integrated-gradients", at("t"), "methods deepshap and gradient"),
    ("exact", at("t"), "at: method exact looks at inputs and outputs"),
    ("gradient", {"steps": -1}, "steps: -1 is below 0"),
    ("gradient", {"steps": 5000}, "steps: 5000 are more than 1024"),
])
def test_refused_options(method, options, why):
    with pytest.raises(library.Refused, match=why):
        library.explain(net(), {"x": R}, method=method, **options)


def test_exact_has_a_limit():
    many = onnx.parser.parse_model('<ir_version: 10, opset_import: ["": 18]> g (float[N,17] x) => '
                                   "(float[N,17] y) { y = Tanh(x) }")
    with pytest.raises(library.Refused, match="17 values are more than 16; groups"):
        library.explain(many, {"x": np.zeros((1, 17), np.float32)}, method="exact", target="0")


def test_integers_have_no_gradient():
    tokens = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]> g (int64[N,4] x) => (float[N,4] y)'
        " <float[3] table = {1,2,4}> { y = Gather(table, x) }")
    refs, x = {"x": np.zeros((1, 4), np.int64)}, np.array([[0, 1, 2, 1]])
    with pytest.raises(library.Refused, match='input "x" holds int64, between which'):
        library.explain(tokens, refs, method="integrated-gradients", target="2")
    r = run(library.explain(tokens, refs, method="exact", target="2"), x=x)
    np.testing.assert_allclose(r["x_shap"], [[0, 0, 3, 0]])


def test_sums_are_checked_where_they_should_hold(tmp_path):
    """ox_check tells of an integral that misses too much, not of what is no sum."""
    steep = model("s = MatMul(x, W) h = MatMul(s, V) t = Mul(h, c) y = Sigmoid(t)", W=W, V=V,
                  c=np.array(50.0))
    for method, options, lacking in (("integrated-gradients", {"steps": 1}, True),
                                     ("integrated-gradients", {"steps": 1000}, False),
                                     ("gradient", {}, False), ("exact", {}, False)):
        path = tmp_path / "m.onnx"
        onnx.save(library.explain(steep, {"x": R}, method=method, target="1", **options), path)
        found, lines = library.check(path, run(onnx.load(path), x=X))
        assert (found[2] > 0) == lacking, (method, lines)
        assert not lacking or "where integration explains" in lines[0]


def test_double(tmp_path):
    wide = model("h = MatMul(x, W) s = Add(h, B) t = Tanh(s) y = MatMul(t, V)", W=W, B=B, V=V)
    for value in (wide.graph.input[0], wide.graph.output[0]):
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    del wide.graph.initializer[:]
    wide.graph.initializer.extend(numpy_helper.from_array(a, n)
                                  for n, a in (("W", W), ("B", B), ("V", V)))
    for method in ("exact", "kernel", "integrated-gradients"):
        r = values(wide, method, X.astype(np.float64), R.astype(np.float64), target="1")
        want = integrated(32) if method == "integrated-gradients" else EXACT[:, :, 1]
        np.testing.assert_allclose(r["x_shap"], want, atol=1e-11)
