"""What comes beside the values: multipliers, hypothetical contributions, values per reference; and
how references count: weights, one reference for each sample."""

import ctypes
import json
import re
import subprocess

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import library
from conftest import ROOT
from test_groups import BY_MAP, R, X, f, grouped, table
from test_methods import RUNS, run, shapley

DIGITS = ROOT / "examples/digits"
WEIGHTS = np.array([0.5, 0, 2, 1])
CHUNKS = [{}, {"chunk": 1}, {"chunk": 2}, {"chunk": 3}, {"cache": 3}, {"cache": 3, "chunk": 3}]


def doubles(array):
    kept = np.ascontiguousarray(array, np.float64)
    doubles.kept = [*getattr(doubles, "kept", []), kept]
    return {"weights": ctypes.cast(kept.ctypes.data, library.POINTER), "weight_count": len(kept)}


def apart(model, references, x, **options):
    """The values against each reference alone: [N, R, ...], and base values [N, R, ..]."""
    each = [run(library.explain(model, {"x": references[[i]]}, **options), x=x)
            for i in range(len(references))]
    return (np.stack([e["x_shap"] for e in each], -2),
            np.stack([e["base_value"] for e in each], -1))


@pytest.mark.parametrize("how", CHUNKS)
@pytest.mark.parametrize("target", ["1", "all", "0-1"])
def test_values_for_each_reference(target, how):
    made = library.explain(table(), {"x": R}, target=target, keep_references=True, gap=True, **how)
    onnx.checker.check_model(made, full_check=True)
    r = run(made, x=X)
    want, base = apart(table(), R, X, target=target)
    np.testing.assert_allclose(r["x_shap"], want, atol=1e-6)
    np.testing.assert_allclose(r["base_value"], base.mean(-1), atol=1e-6)
    assert abs(r["completeness_gap"]).max() < 1e-6


OTHERS = ("exact", "kernel", "permutation", "occlusion", "integrated-gradients",
          "input-x-gradient")
STEPS = [{}, {"chunk": 1}, {"chunk": 3}, {"cache": 3}]


@pytest.mark.parametrize("how", STEPS)
@pytest.mark.parametrize("target", ["1", "all", "0-1"])
@pytest.mark.parametrize("method", OTHERS)
def test_values_for_each_reference_of_other_methods(method, target, how):
    options = {"target": target, "method": method}
    made = library.explain(table(), {"x": R}, keep_references=True, gap=True, **options, **how)
    onnx.checker.check_model(made, full_check=True)
    r = run(made, x=X)
    want, base = apart(table(), R, X, **options)
    np.testing.assert_allclose(r["x_shap"], want, atol=2e-6)
    np.testing.assert_allclose(r["base_value"], base.mean(-1), atol=1e-6)
    if method == "permutation":
        assert r["x_shap_error"].shape == r["x_shap"].shape
    if method not in ("occlusion", "input-x-gradient"):
        assert abs(r["completeness_gap"]).max() < 1e-5


@pytest.mark.parametrize("batch", [3, 1])
@pytest.mark.parametrize("method", RUNS)
def test_values_for_each_reference_of_a_fixed_batch(method, batch):
    fixed = table()
    for v in (*fixed.graph.input, *fixed.graph.output):
        v.type.tensor_type.shape.dim[0].dim_value = batch
    options = {"target": "1", "method": method}
    x = X[:batch]
    r = run(library.explain(fixed, {"x": R}, keep_references=True, cache=3, **options), x=x)
    np.testing.assert_allclose(r["x_shap"], apart(table(), R, x, **options)[0], atol=2e-6)


@pytest.mark.parametrize("method", RUNS)
def test_references_that_come_in_are_kept(method):
    made = library.explain(table(), None, reference_source=1, keep_references=True, method=method,
                           target="1")
    r = run(made, x=X, x_references=R)
    np.testing.assert_allclose(r["x_shap"], apart(table(), R, X, method=method, target="1")[0],
                               atol=2e-6)


@pytest.mark.parametrize("method", RUNS)
def test_groups_for_each_reference(method):
    """Values of players are of groups already."""
    options = {**grouped(**BY_MAP), "target": "1", "method": method}
    r = run(library.explain(table(), {"x": R}, keep_references=True, **options), x=X)
    np.testing.assert_allclose(r["x_shap"], apart(table(), R, X, **options)[0], atol=2e-6)


@pytest.mark.parametrize("how", STEPS)
@pytest.mark.parametrize("target", ["1", "all"])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("method", ["integrated-gradients", "input-x-gradient"])
def test_multipliers_of_gradients(method, target, keep, how):
    """Gradients: the mean over the way from each reference, or those at the sample."""
    made = library.explain(table(), {"x": R}, target=target, multipliers=True, method=method,
                           keep_references=keep, **how)
    r = run(made, x=X)
    values, _ = apart(table(), R, X, method=method, target=target)
    d = (X[:, None] - R)[:, None] if target == "all" else X[:, None] - R
    want = values / d
    np.testing.assert_allclose(r["x_multipliers"], want if keep else want.mean(-2), rtol=1e-4,
                               atol=1e-5)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("method", ["integrated-gradients", "input-x-gradient"])
def test_hypothetical_of_gradients(method, keep):
    x, references = sequences(3, 1), sequences(4, 2)
    made = library.explain(motif(), {"x": references}, target="0", hypothetical=True,
                           method=method, multipliers=True, keep_references=True)
    m = run(made, x=x)["x_multipliers"]
    want = m - (m * references).sum(2, keepdims=True)
    made = library.explain(motif(), {"x": references}, target="0", hypothetical=True,
                           method=method, keep_references=keep)
    r = run(made, x=x)
    np.testing.assert_allclose(r["x_hypothetical"], want if keep else want.mean(1), atol=1e-5)


@pytest.mark.parametrize("option, method, reason", [
    ("keep_references", "gradient", "gradients at the sample are the same for all references; "
                                    "input-x-gradient differs"),
    ("multipliers", "gradient", "the values of method gradient are multipliers; input-x-gradient "
                                "has both"),
    ("hypothetical", "kernel", "method kernel runs the model, and has no multipliers; deepshap, "
                               "integrated-gradients and input-x-gradient have"),
    ("multipliers", "exact", "method exact runs the model"),
    ("keep_references", "expected-gradients", "method expected-gradients means over what it draws; "
                                              "integrated-gradients has it"),
    ("multipliers", "smoothgrad", "method smoothgrad means over what it draws"),
])
def test_extras_without_a_meaning(option, method, reason):
    with pytest.raises(library.Refused, match=re.escape(f"{option}: {reason}")):
        library.explain(table(), {"x": R}, method=method, **{option: True})


@pytest.mark.parametrize("how", CHUNKS)
@pytest.mark.parametrize("target", ["1", "all"])
@pytest.mark.parametrize("keep", [False, True])
def test_multipliers(target, how, keep):
    made = library.explain(table(), {"x": R}, target=target, multipliers=True,
                           keep_references=keep, **how)
    r = run(made, x=X)
    each = [run(library.explain(table(), {"x": R[[i]]}, target=target), x=X)["x_shap"]
            for i in range(len(R))]
    d = [X - row for row in R]
    each = [phi / (dx[:, None] if target == "all" else dx) for phi, dx in zip(each, d)]
    want = np.stack(each, -2) if keep else np.mean(each, 0)
    np.testing.assert_allclose(r["x_multipliers"], want, rtol=1e-4, atol=1e-5)


def sequences(count, seed, length=5):
    base = np.random.default_rng(seed).integers(0, 4, (count, length))
    return np.eye(4, dtype=np.float32)[base].transpose(0, 2, 1)  # [N, 4, L]


def motif():
    made = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]> g (float[N,4,5] x) => (float[N,1] y) '
        "{ c = Conv<kernel_shape = [2]>(x, K) r = Relu(c) y = ReduceSum<keepdims = 0>(r, axes) "
        "y2 = Identity(y) }")
    made.graph.node.pop()
    kernel = np.random.default_rng(8).normal(size=(1, 4, 2)).astype(np.float32)
    made.graph.initializer.extend([numpy_helper.from_array(kernel, "K"),
                                   numpy_helper.from_array(np.int64([2]), "axes")])
    return made


@pytest.mark.parametrize("how", CHUNKS[:4])
@pytest.mark.parametrize("keep", [False, True])
def test_hypothetical(how, keep):
    """What a place would get with another letter there: sum over the letters of m (e - r)."""
    x, references = sequences(3, 1), sequences(4, 2)
    made = library.explain(motif(), {"x": references}, target="0", hypothetical=True,
                           multipliers=True, keep_references=True, **how)
    m = run(made, x=x)["x_multipliers"]  # [N, R, 4, L]
    want = np.zeros_like(m)
    for letter in range(4):
        e = np.zeros((4, 1), np.float32)
        e[letter] = 1
        want[:, :, letter] = (m * (e - references)).sum(2)
    made = library.explain(motif(), {"x": references}, target="0", hypothetical=True,
                           keep_references=keep, **how)
    r = run(made, x=x)
    np.testing.assert_allclose(r["x_hypothetical"], want if keep else want.mean(1), atol=1e-5)
    if not keep:  # at the letters that are there they are the values, summed over the letters
        np.testing.assert_allclose((r["x_hypothetical"] * x).sum(1), r["x_shap"].sum(1), atol=1e-5)


@pytest.mark.parametrize("how", [*CHUNKS, {"method": "integrated-gradients", "steps": 64},
                                 *({"method": m} for m in ("exact", "kernel", "occlusion")),
                                 {"method": "input-x-gradient"}, {"method": "exact", "chunk": 3}])
@pytest.mark.parametrize("target", ["1", "all"])
def test_weights(how, target):
    """As if each reference stood there as often as it counts."""
    often = np.repeat(R, np.int64(2 * WEIGHTS), axis=0)
    r = run(library.explain(table(), {"x": R}, target=target, gap=True, **doubles(WEIGHTS), **how), x=X)
    want = run(library.explain(table(), {"x": often}, target=target, **how), x=X)
    for name in ("x_shap", "base_value"):
        np.testing.assert_allclose(r[name], want[name], rtol=1e-4, atol=2e-6)


def test_weights_of_draws():
    r = run(library.explain(table(), {"x": R}, target="1", method="expected-gradients",
                            samples=20000, **doubles(WEIGHTS)), x=X)
    want = run(library.explain(table(), {"x": R}, target="1", method="integrated-gradients",
                               steps=200, **doubles(WEIGHTS)), x=X)
    np.testing.assert_allclose(r["x_shap"], want["x_shap"], atol=0.02)
    r = run(library.explain(table(), {"x": R}, target="1", method="permutation", samples=3,
                            **doubles(WEIGHTS)), x=X)
    base = f(R)[:, 1] @ WEIGHTS / WEIGHTS.sum()
    np.testing.assert_allclose(r["x_shap"].sum(-1), f(X)[:, 1] - base, atol=1e-5)


@pytest.mark.parametrize("method", ["deepshap", "integrated-gradients", "gradient", *RUNS])
def test_one_reference_for_each_sample(method):
    made = library.explain(table(), {}, reference_source=3, target="1", gap=True, method=method)
    onnx.checker.check_model(made, full_check=True)
    pairs = R[:3]
    r = run(made, x=X, x_references=pairs)
    np.testing.assert_allclose(r["base_value"], f(pairs)[:, 1], atol=1e-5)
    for n in range(3):
        want = run(library.explain(table(), {"x": pairs[[n]]}, target="1", method=method),
                   x=X[[n]])["x_shap"][0]
        np.testing.assert_allclose(r["x_shap"][n], want, atol=2e-5)


def test_command_line(cli, explain, run, tmp_path):
    for name, array in (("w", WEIGHTS), ("x", X), ("r", R[:3])):
        np.save(tmp_path / f"{name}.npy", array)
    explained = explain(table(), R, f"--weights={tmp_path / 'w.npy'}", "--target=1")
    base = f(R)[:, 1] @ WEIGHTS / WEIGHTS.sum()
    np.testing.assert_allclose(run(explained, X)["base_value"], [base] * 3, rtol=1e-5)
    done = subprocess.run([cli, "check", explained, "-i", str(tmp_path / "x.npy"), "--json"],
                          capture_output=True, text=True)
    got = json.loads(done.stdout)
    assert (done.returncode, got["verdict"], got["agreement"]["method"]) == (0, "good", "exact")
    explained = explain(table(), R, "--keep-references", "--multipliers", "--target=all")
    assert run(explained, X)["x_multipliers"].shape == (3, 2, 4, 6)
    for command in (["check"], ["run", "--strict"]):
        done = subprocess.run([cli, *command, explained, "-i", str(tmp_path / "x.npy")],
                              capture_output=True, text=True)
        assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
    explained = explain(table(), None, "--references=paired")
    done = subprocess.run([cli, "run", explained, "--strict", f"--input=x={tmp_path / 'x.npy'}",
                           f"--input=x_references={tmp_path / 'r.npy'}"], capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("options, message", [
    ({"multipliers": True, "method": "exact"}, "multipliers: method exact runs the model"),
    ({"keep_references": True, **doubles(WEIGHTS)}, "keep_references: each reference has values"),
    ({"hypothetical": True}, "\"x\" is not one-hot along one axis of its references"),
    (doubles(WEIGHTS[:3]), "3 weights for 4 references"),
    (doubles(-WEIGHTS), "weight 0 is -0.5: weights are 0 or above"),
    (doubles(0 * WEIGHTS), "the weights add up to 0")])
def test_refusals(options, message):
    with pytest.raises(library.Refused, match=message):
        library.explain(table(), {"x": R}, **options)


@pytest.mark.parametrize("target", ["top", "top:2"])
def test_sums_that_run_tells(cli, tmp_path, target):
    """Those of the mean over the references."""
    told = []
    for keep in ([], ["--keep-references"]):
        for command in (["explain", DIGITS / "digits.onnx", "--references",
                         DIGITS / "references.npy", "--target", target, "--gap", *keep, "-o",
                         tmp_path / "e.onnx"],
                        ["run", tmp_path / "e.onnx", "-i", DIGITS / "input.npy", "--json"]):
            done = subprocess.run([cli, *command], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        told.append(json.loads(done.stdout)["samples"])
    assert len(told[0]) == 10 * (1 if target == "top" else 2)
    for plain, kept in zip(*told, strict=True):
        assert kept == {**plain, "sum": pytest.approx(plain["sum"], rel=1e-5),
                        "gap": pytest.approx(plain["gap"], abs=1e-5)}
