"""--splits: complete for each pair, exact where each half is one player, the same in steps and one
pair at a time."""

import subprocess

import numpy as np
import onnx
import pytest
from onnx import helper

import exact_nets
import rulecheck
from test_exact_nets import session, truth

EPS = np.finfo(np.float32).eps


def check_complete(rule, explain, run, *options):
    """For each pair, and the mean over the references."""
    def with_splits(model, r, *more):
        return explain(model, r, "--splits=1", *options, *more)
    rulecheck.check_same(rule, with_splits, run)
    for i in range(rulecheck.REFERENCES):
        rulecheck.check_one(rule, with_splits, run, i)


NORM = {"scale": rulecheck.floats(5, seed=1), "bias": rulecheck.floats(5, seed=2)}
RULES = {
    "Gelu": ([rulecheck.node("Tanh", "x", "t"), rulecheck.node("Mul", "t x", "y")], {"x": (4, 5)},
             {}),
    "two": ([rulecheck.node("MatMul", "a b", "c"), rulecheck.node("Softmax", "c", "y")],
            {"a": (3, 4), "b": (4, 3)}, {}),
    "norm": ([rulecheck.node("LayerNormalization", "x scale bias", "y", axis=-1)], {"x": (3, 5)},
             NORM),
    "pool": ([rulecheck.node("MaxPool", "x", "y", kernel_shape=[3, 2], strides=[2, 1],
                             pads=[1, 0, 1, 0])], {"x": (2, 6, 5)}, {}),
    "folded batch": ([rulecheck.node("Reshape", "x rows", "f"), rulecheck.node("MatMul", "f w", "g"),
                      rulecheck.node("Relu", "g", "h"), rulecheck.node("Reshape", "h back", "y")],
                     {"x": (4, 5)}, {"rows": np.array([-1, 5]), "w": rulecheck.floats(5, 3),
                                     "back": np.array([-1, 4, 3])}),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("options", [[], ["--chunk=5"], ["--no-functions", "--cache=none"]],
                         ids=["", "steps", "plain"])
def test_complete(name, options, explain, run):
    check_complete(rulecheck.Rule(*RULES[name]), explain, run, *options)


def two_players(rng):
    weights = exact_nets.random(rng, {"w1": (2, 8), "w2": (8, 8), "w3": (8, 1)}, 3)
    return exact_nets.Net([exact_nets.node("MatMul", "x w1", "a"), exact_nets.node("Relu", "a", "b"),
                           exact_nets.node("MatMul", "b w2", "c"), exact_nets.node("Tanh", "c", "d"),
                           exact_nets.node("MatMul", "d w3", "out")], weights, (2,))


@pytest.mark.parametrize("seed", range(3))
def test_two_players_are_exact(seed, explain, run):
    """A half is one player, so that rules share nothing out."""
    rng = np.random.default_rng(seed)
    net = two_players(rng)
    net.x, net.r = (rng.normal(size=(1, 2)).astype(np.float32) for _ in range(2))
    plain = session(net.model())
    exact, _ = exact_nets.exact(net, lambda v: plain.run(["out"], {"x": v})[0])
    rules = run(explain(net.model(), net.r), net.x)["x_shap"][0]
    phi = run(explain(net.model(), net.r, "--splits=1"), net.x)["x_shap"][0]
    np.testing.assert_allclose(phi, exact, rtol=0, atol=64 * EPS)
    assert np.abs(rules - exact).max() > 1e-3


@pytest.mark.parametrize("kind", ["relu", "attention", "transformer", "lstm", "maxpool32"])
def test_nearer_to_shapley_values(kind, explain, run):
    """Medians over seeds; bench/exact.py prints more."""
    errors, plain = [], []
    for seed in range(12):
        net, exact, target = truth(kind, seed)
        groups = ["--groups=tokens"] if net.grouped else []
        path = explain(net.model(), net.r, f"--target={target}", "--splits=1", *groups)
        phi = run(path, net.x)["x_shap"]
        assert phi.shape == ((1, net.players()) if net.grouped else net.x.shape)
        errors.append(exact_nets.agreement(net.per_player(phi), exact)[1])
        rules = run(explain(net.model(), net.r, f"--target={target}"), net.x)["x_shap"]
        plain.append(exact_nets.agreement(net.per_player(rules), exact)[1])
    assert np.median(errors) <= 0.8 * np.median(plain)


def mlp(seed=0, batch="N"):
    net = exact_nets.make("relu", seed)
    model = net.model()
    for value in (model.graph.input[0], model.graph.output[0]):
        dim = value.type.tensor_type.shape.dim[0]
        dim.Clear()
        if batch == "N":
            dim.dim_param = "N"
        else:
            dim.dim_value = batch
    return net, model


@pytest.mark.parametrize("options", [["--chunk=4"], ["--chunk=9"], ["--cache=none"],
                                     ["--cache=file"], ["--no-functions"]])
def test_the_same_in_steps(options, explain, run):
    net, model = mlp()
    rng = np.random.default_rng(1)
    r, x = (rng.normal(size=(n, 10)).astype(np.float32) for n in (5, 3))
    one, other = (run(explain(model, r, "--splits=3", "--gap", *more), x) for more in ([], options))
    for name in ("x_shap", "x_shap_error", "base_value"):
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=1e-6)
    assert np.abs(one["completeness_gap"]).max() < 1e-5


def test_batch_that_is_fixed(explain, run):
    """The model twice in the body, in place of points that are taken from each other."""
    _, free = mlp()
    _, fixed = mlp(batch=1)
    rng = np.random.default_rng(1)
    r, x = (rng.normal(size=(n, 10)).astype(np.float32) for n in (4, 1))
    one, other = (run(explain(m, r, "--splits=2"), x) for m in (free, fixed))
    for name in ("x_shap", "x_shap_error"):
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=1e-6)


def test_held_input(explain, run):
    """What is held has the sample's value at both ends."""
    nodes = [rulecheck.node("Mul", "a b", "c"), rulecheck.node("Sigmoid", "c", "y")]
    rule = rulecheck.Rule(nodes, {"a": (6,), "b": (6,)})
    r = {"a": rule.r["a"]}
    out = run(explain(rule.model, r, "--hold=b", "--splits=1", "--target=0", "--gap"), rule.x)
    assert "b_shap" not in out and np.abs(out["completeness_gap"]).max() < 1e-4


@pytest.mark.parametrize("batch", ["N", 1])
@pytest.mark.parametrize("names", [["red", "green", "blue"], ["1", "22", "-333"]])
def test_text(names, batch, explain, run):
    """Text has no differences, also where it looks like numbers: a change of it counts as 1."""
    rng = np.random.default_rng(2)
    w = rng.normal(size=(5, 2)).astype(np.float32)
    nodes = [helper.make_node("OneHotEncoder", ["c"], ["o"], domain="ai.onnx.ml", cats_strings=names),
             rulecheck.node("Reshape", "o flat", "f"), rulecheck.node("Concat", "f x", "h", axis=1),
             rulecheck.node("MatMul", "h w", "y")]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("c", onnx.TensorProto.STRING, [batch, 1]),
                     helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [batch, 2])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [batch, 2])],
        [onnx.numpy_helper.from_array(v, k) for k, v in (("flat", np.int64([-1, 3])), ("w", w))])
    model = helper.make_model(graph, ir_version=9, opset_imports=[
        helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)])
    at, of = rng.integers(0, 3, (1, 1)), np.array([[0], [2], [1], [1]])
    x, r = (rng.normal(size=(n, 2)).astype(np.float32) for n in (1, 4))
    made = explain(model, {"c": np.array(names)[of], "x": r}, "--splits=2", "--target=all")
    out = run(made, {"c": np.array(names)[at], "x": x})
    phi = w[at[:, 0]] - w[of[:, 0]].mean(0)
    np.testing.assert_allclose(out["c_shap"][0], phi.T, rtol=0, atol=16 * EPS)
    np.testing.assert_allclose(out["x_shap"][0], w[3:].T * (x - r.mean(0)), rtol=0, atol=16 * EPS)


def test_tensors_inside(explain, run):
    net, model = mlp()
    out = run(explain(model, net.r, "--splits=2", "--at=a1", "--gap"), net.x)
    assert out["a1_shap"].shape == (1, 24) and np.abs(out["completeness_gap"]).max() < 1e-5


def test_several_targets_and_groups(explain, run, tmp_path):
    """Values of groups are sums of those of the players, and halves are made of groups."""
    rule = rulecheck.Rule(*RULES["norm"])
    labels = np.arange(15).reshape(3, 5) // 4
    np.save(tmp_path / "labels.npy", labels)
    out = run(explain(rule.model, rule.r, "--target=all", "--splits=2", "--gap",
                      f"--groups={tmp_path}/labels.npy"), rule.x)
    assert out["x_shap"].shape == out["x_shap_error"].shape == (2, 3, 4)
    assert np.abs(out["completeness_gap"]).max() < 1e-4


def test_references_of_a_run(explain, run):
    net, model = mlp()
    r = np.random.default_rng(1).normal(size=(4, 10)).astype(np.float32)
    path = explain(model, None, "--references=input", "--splits=2", "--gap")
    out = run(path, {"x": net.x, "x_references": r})
    given = run(explain(model, r, "--splits=2"), net.x)
    assert np.abs(out["completeness_gap"]).max() < 1e-5
    np.testing.assert_allclose(out["base_value"], given["base_value"], rtol=0, atol=1e-6)


def test_error_shrinks_with_splits(explain, run):
    """The spread over draws is what the error says."""
    net, model = mlp(3)
    few = [run(explain(model, net.r, "--splits=4", f"--seed={seed}"), net.x) for seed in range(16)]
    spread = np.std([out["x_shap"] for out in few], axis=0, ddof=1)
    said = np.sqrt(np.mean([out["x_shap_error"] ** 2 for out in few], axis=0))
    assert (spread > 0).all() and 0.6 < np.linalg.norm(said) / np.linalg.norm(spread) < 1.6
    again = run(explain(model, net.r, "--splits=4", "--seed=0"), net.x)
    assert (again["x_shap"] == few[0]["x_shap"]).all()


@pytest.mark.parametrize("options, message", [
    (["--splits=65"], "splits: 65 are not between 1 and 64"),
    (["--splits=1", "--method=gradient"], "splits go with method deepshap")])
def test_what_has_no_splits(cli, tmp_path, options, message):
    net, model = mlp()
    onnx.save(model, tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", net.r)
    done = subprocess.run([cli, "explain", tmp_path / "m.onnx", "-r", tmp_path / "r.npy", *options],
                          capture_output=True, text=True)
    assert done.returncode == 1 and message in done.stderr
