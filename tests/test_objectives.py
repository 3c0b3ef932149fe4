"""Targets that are made of the output (logits, losses, cosine), masks, and the best of a slice: for
every method, against the same function written behind the model, and against NumPy."""

import ctypes

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import library
import trees
from test_groups import LABELS, R, V, W, X, grouped
from test_methods import GRADIENTS, RUNS, run, shapley

EVERY = ["deepshap", *GRADIENTS, *RUNS]
BIAS = np.float32([0.3, -0.2])
BIG = np.random.default_rng(5).normal(size=(6, 12)).astype(np.float32)


def made(tail, weights=(), outputs="float[N,2] y", nodes="h = MatMul(x, W) t = Tanh(h) z = MatMul(t, V)"):
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["": 18]> g (float[N,6] x) => ({outputs}) '
        f"{{ {nodes} {tail} }}")
    there = {"W": W, "V": V, "BIG": BIG, "one": np.float32([1]), **dict(weights)}
    used = {name for n in model.graph.node for name in n.input}
    model.graph.initializer.extend(numpy_helper.from_array(there[name], name) for name in there
                                   if name in used)
    return model


def z_of(x):
    return np.tanh(x.astype(np.float64) @ W) @ V


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


SOFTMAX = made("y = Softmax(z)")
BOTH = made("p = Sigmoid(s) q = Sub(one, p) y = Concat<axis = -1>(q, p)", {"S": V[:, :1]},
            nodes="h = MatMul(x, W) t = Tanh(h) s = MatMul(t, S)")
ONE = made("y = Sigmoid(s)", {"S": V[:, :1]}, "float[N,1] y",
           nodes="h = MatMul(x, W) t = Tanh(h) s = MatMul(t, S)")
AUTO = made("y = MatMul(t, B)", {"B": np.random.default_rng(6).normal(size=(5, 6)).astype(np.float32)},
            "float[N,6] y", nodes="h = MatMul(x, W) t = Tanh(h)")
B = numpy_helper.to_array(AUTO.graph.initializer[1])
GRID = made("y = Reshape(z, shape)", {"shape": np.int64([0, 3, 4])}, "float[N,3,4] y",
            nodes="z = MatMul(x, BIG)")


def s_of(x):
    return (np.tanh(x.astype(np.float64) @ W) @ V[:, :1])


VECTOR = np.float32([1, 2, -1, 0.5, 0, 3])


def auto(x):
    return np.tanh(x.astype(np.float64) @ W) @ B


def array_of(array):
    kept = library.tensor("target", array)
    array_of.kept = [*getattr(array_of, "kept", []), kept]
    return ctypes.cast(ctypes.pointer(kept[0]), library.POINTER)


CASES = {
    "logit:1": (SOFTMAX, lambda x: z_of(x)[:, 1], {}),
    "logit:0-1": (SOFTMAX, lambda x: z_of(x)[:, 0] - z_of(x)[:, 1], {}),
    "logit:0": (BOTH, lambda x: -s_of(x)[:, 0], {}),
    "logit": (ONE, lambda x: s_of(x)[:, 0], {}),
    "logit:1 times one": (made("p = Softmax(z) c = Cast<to = 1>(p) y = Mul(c, one)"),
                          lambda x: z_of(x)[:, 1], {}),
    "loss:1": (SOFTMAX, lambda x: -np.log(softmax(z_of(x))[:, 1]), {}),
    "loss:0": (made("y = Identity(z)"), lambda x: -np.log(softmax(z_of(x))[:, 0]), {}),
    "loss:1 of two": (BOTH, lambda x: np.log1p(np.exp(-s_of(x)[:, 0])), {}),
    "loss:0 of one": (ONE, lambda x: np.log1p(np.exp(s_of(x)[:, 0])), {}),
    "loss": (AUTO, lambda x: ((auto(x) - x) ** 2).mean(-1), {}),
    "loss:x": (AUTO, lambda x: ((auto(x) - x) ** 2).mean(-1), {}),
    "cosine": (AUTO, lambda x: auto(x) @ VECTOR / np.linalg.norm(VECTOR)
               / np.linalg.norm(auto(x), axis=-1), {"target_array": VECTOR}),
    "mask": (GRID, lambda x: (x.astype(np.float64) @ BIG)[:, [1, 5, 6]].sum(-1),
             {"target_array": np.eye(12)[[1, 5, 6]].sum(0).reshape(3, 4)}),
    "*:2-0:1": (GRID, lambda x: (x.astype(np.float64) @ BIG)[:, [2, 6, 10]].sum(-1)
                - (x.astype(np.float64) @ BIG)[:, 1], {}),
}


def explained(name, **options):
    model, f, more = CASES[name]
    more = {k: array_of(v) for k, v in more.items()}
    return library.explain(model, {"x": R}, target=name.split()[0], gap=True, **more, **options), f


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("method", ["deepshap", "exact", "kernel"])
def test_values(name, method):
    model, f = explained(name, method=method)
    onnx.checker.check_model(model, full_check=True)
    r = run(model, x=X)
    np.testing.assert_allclose(r["base_value"], np.full(len(X), f(R).mean()), rtol=2e-5, atol=2e-6)
    total = r["x_shap"].sum(-1) + r["base_value"]
    np.testing.assert_allclose(total, f(X), rtol=2e-5, atol=5e-6)
    assert abs(r["completeness_gap"]).max() < 5e-6
    if method != "deepshap":
        want = np.array([shapley(lambda m: f(m)[:, None], x, R)[:, 0] for x in X])
        np.testing.assert_allclose(r["x_shap"], want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["logit:1", "loss:1", "loss", "cosine", "mask", "*:2-0:1"])
@pytest.mark.parametrize("method", EVERY)
def test_every_method(name, method):
    """Takes them; without completeness the sum is that of a target that is written behind."""
    model, f = explained(name, method=method,
                         **({"steps": 256} if method == "integrated-gradients" else {}))
    r = run(model, x=X)
    assert r["x_shap"].shape == X.shape and np.isfinite(r["x_shap"]).all()
    np.testing.assert_allclose(r["base_value"], np.full(len(X), f(R).mean()), rtol=2e-5, atol=2e-6)
    sums = {"integrated-gradients": 2e-4, "expected-gradients": 1, "permutation": 1e-5}
    if method in sums:
        np.testing.assert_allclose(r["x_shap"].sum(-1), f(X) - f(R).mean(), rtol=sums[method],
                                   atol=sums[method])
    if method == "gradient":
        for i in range(6):
            up = X.astype(np.float64) + 1e-5 * np.eye(6)[i]
            down = X.astype(np.float64) - 1e-5 * np.eye(6)[i]

            def g(x):
                return f(x)
            np.testing.assert_allclose(r["x_shap"][:, i], (g64(name, up) - g64(name, down)) / 2e-5,
                                       rtol=1e-3, atol=1e-4)


def g64(name, x):
    return CASES[name][1](x)


def test_a_label_at_run_time():
    model = library.explain(SOFTMAX, {"x": R}, target="loss:input", gap=True)
    labels = np.array([0, 1, 0])
    r = run(model, x=X, shap_target_input=labels)
    f = -np.log(softmax(z_of(X)))[np.arange(3), labels]
    base = -np.log(softmax(z_of(R))).mean(0)[labels]
    np.testing.assert_allclose(r["base_value"], base, rtol=1e-5)
    np.testing.assert_allclose(r["x_shap"].sum(-1), f - base, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["deepshap", "exact", "integrated-gradients"])
def test_best_of_a_slice(method):
    y = (X @ BIG).reshape(-1, 3, 4)
    for target, places in (("1:top", [4 + y[:, 1].argmax(-1)]),
                           ("0:top,top:0", [y[:, 0].argmax(-1), y[:, :, 0].argmax(-1) * 4]),
                           ("top:top", [y.reshape(-1, 12).argmax(-1)]),
                           ("top:2,", [y[:, :, 2].argmax(-1) * 4 + 2]),
                           ("top:2,top:2", [y[:, :, 2].argmax(-1) * 4 + 2] * 2)):
        r = run(library.explain(GRID, {"x": R}, target=target, method=method, gap=True), x=X)
        want = np.stack(places, -1)
        np.testing.assert_array_equal(r["shap_target"].reshape(3, -1), want)
        phi = r["x_shap"].reshape(3, -1, 6)
        for k in range(want.shape[1]):
            exact = (X - R.mean(0)) * BIG.T[want[:, k]]
            np.testing.assert_allclose(phi[:, k], exact, rtol=1e-4, atol=1e-5)
    # alone, it is the two best of all
    assert run(library.explain(GRID, {"x": R}, target="top:2"), x=X)["shap_target"].shape == (3, 2)


@pytest.mark.parametrize("options, message", [
    ({"target": "logit:1"}, "is not what a Softmax or Sigmoid gives at last"),
    ({"target": "loss"}, "differ in size"),
    ({"target": "loss:u"}, "neither a label nor an explained input"),
    ({"target": "mask"}, "the array is missing"),
    ({"target": "mask", "target_array": np.ones(3)}, "the array has 3 values, the output 12"),
    ({"target": "mask", "target_array": np.ones((4, 3))}, "not the shape of one sample's output"),
    ({"target": "cosine", "target_array": np.zeros(12)}, "the array is all 0"),
    ({"target": "mask", "target_array": np.full((3, 4), np.nan)}, "not finite"),
    ({"target": "3:top"}, "an index is out of range"),
    ({"target": "0:top:1"}, "more indices than the output has axes"),
    ({"target": "0:top,x"}, "expected top, INDEX"),
    ({"target": "loss:1"}, "has no classes")])
def test_refusals(options, message):
    options = {k: array_of(v) if k == "target_array" else v for k, v in options.items()}
    with pytest.raises(library.Refused, match=message):
        library.explain(GRID, {"x": R}, **options)


def test_arrays_of_files(explain, run, tmp_path):
    mask = np.eye(12)[[1, 5, 6]].sum(0).reshape(3, 4)
    np.save(tmp_path / "mask.npy", mask)
    np.save(tmp_path / "vector.npy", VECTOR)
    model, f, _ = CASES["mask"]
    for target in (f"{tmp_path}/mask.npy", f"mask:{tmp_path}/mask.npy"):
        r = run(explain(model, R, f"--target={target}"), X)
        np.testing.assert_allclose(r["x_shap"].sum(-1), f(X) - f(R).mean(), rtol=1e-4, atol=1e-5)
    model, f, _ = CASES["cosine"]
    r = run(explain(model, R, f"--target=cosine:{tmp_path}/vector.npy"), X)
    np.testing.assert_allclose(r["x_shap"].sum(-1), f(X) - f(R).mean(), rtol=1e-4, atol=1e-5)


def test_check_knows_them(cli, explain, tmp_path):
    import json
    import subprocess
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "vector.npy", VECTOR)
    for name, more in (("logit:1", []), ("loss:1", []), ("loss", []),
                       ("cosine", [f"--target=cosine:{tmp_path}/vector.npy"])):
        made = more or [f"--target={name}"]
        explained = explain(CASES[name][0], R, *made, "--gap", "--method=exact")
        done = subprocess.run([cli, "check", explained, "-i", str(tmp_path / "x.npy"), "--json",
                               *more], capture_output=True, text=True)
        got = json.loads(done.stdout)
        assert (done.returncode, got["verdict"]) == (0, "good"), got
        assert got["agreement"]["worst"] < 1e-6 and got["prediction"]["relative"] == 0
    # without the vector there is nothing to compare with
    done = subprocess.run([cli, "check", explained, "-i", str(tmp_path / "x.npy")],
                          capture_output=True, text=True)
    assert "its target is of an array, which --target gives" in done.stdout


@pytest.mark.parametrize("classes, transform, weights", [(2, "LOGISTIC", 1), (3, "SOFTMAX", 3),
                                                         (2, "SOFTMAX", 2)])
@pytest.mark.parametrize("method", ["deepshap", "exact"])
def test_trees(explain, run, classes, transform, weights, method):
    """Margins of ensembles behind Sigmoid and Softmax: exact, where probabilities are not."""
    grown = trees.forest(3, features=4, targets=weights)
    made = trees.named(grown, "class", classes, classlabels_int64s=list(range(classes)),
                       post_transform=transform)
    model = trees.model([trees.node("TreeEnsembleClassifier", made, outputs="label y")], 4)
    if weights == 1:  # one score, that of the second class
        ids = [i for i, a in enumerate(model.graph.node[0].attribute) if a.name == "class_ids"][0]
        count = len(model.graph.node[0].attribute[ids].ints)
        model.graph.node[0].attribute[ids].ints[:] = [0] * count

    def margins(x):
        s = np.array([trees.scores(grown, row.astype(float), weights) for row in x])
        return np.hstack([-s, s]) if weights == 1 else s

    x, r = (np.random.default_rng(n).uniform(-1.5, 1.5, (n, 4)).astype(np.float32) for n in (5, 6))
    for k in range(classes):
        got = run(explain(model, r, f"--target=logit:{k}", "--gap", f"--method={method}"), x)
        want = np.array([shapley(lambda m: margins(m)[:, [k]], row, r)[:, 0] for row in x])
        np.testing.assert_allclose(got["x_shap"], want, atol=1e-5)
        np.testing.assert_allclose(got["base_value"], np.full(5, margins(r)[:, k].mean()),
                                   atol=1e-5)
        explained, p = got["base_value"] + got["x_shap"].sum(-1), got["y"].astype(np.float64)
        if weights == 1:  # it is the logit of what is predicted
            np.testing.assert_allclose(explained, np.log(p[:, k] / p[:, 1 - k]), atol=1e-3)
