"""Closure: the rounding of a sum of SHAP values goes to the largest of them, and nothing else does."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(5)
W = [rng.normal(size=s).astype(np.float32) for s in ((12, 64), (64, 64), (64, 5))]
X, REFS = (rng.normal(size=(n, 12)).astype(np.float32) for n in (16, 9))


def net(hole=False):
    nodes, last = [], "x"
    for i in range(3):
        nodes.append(helper.make_node("MatMul", [last, f"w{i}"], [f"h{i}"]))
        last = f"r{i}" if i < 2 else "h2"
        if i < 2:
            nodes.append(helper.make_node("Relu", [f"h{i}"], [last]))
    if hole:  # an index of the largest value, added: no multiplier passes
        nodes += [helper.make_node("ArgMax", ["x"], ["i"], axis=1),
                  helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
                  helper.make_node("Add", ["h2", "f"], ["y"])]
    else:
        nodes.append(helper.make_node("Identity", ["h2"], ["y"]))
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(W)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def gap(out):
    return out["y"].astype(float) - out["base_value"] - out["x_shap"].astype(float).sum(-1)


def both(explain, run, model, refs, x, *options):
    options = ("--target=all", "--gap", *options)
    return [run(explain(model, refs, *options, closure=closed), x) for closed in (False, True)]


def test_only_the_largest_value_changes(explain, run):
    plain, closed = both(explain, run, net(), REFS, X)
    changed = plain["x_shap"] != closed["x_shap"]
    assert changed.sum() > 0 and (changed.sum(-1) <= 1).all()
    largest = np.abs(plain["x_shap"]) == np.abs(plain["x_shap"]).max(-1, keepdims=True)
    assert not (changed & ~largest).any()
    assert np.abs(gap(closed)).max() < 0.5 * np.abs(gap(plain)).max()


def test_the_reported_gap_is_the_one_before(explain, run):
    plain, closed = both(explain, run, net(), REFS, X)
    np.testing.assert_array_equal(plain["completeness_gap"], closed["completeness_gap"])
    np.testing.assert_allclose(plain["completeness_gap"], gap(plain), atol=1e-6)


def test_what_did_not_move_gets_nothing(explain, run):
    _, closed = both(explain, run, net(), X[:1], X[:1])
    assert not closed["x_shap"].any()
    _, closed = both(explain, run, net(), np.where(np.arange(12) < 6, X[:1], REFS[:1]), X[:1])
    assert not closed["x_shap"][..., :6].any() and closed["x_shap"][..., 6:].all()


def test_more_than_rounding_stays(explain, run):
    """A lost path shows in full, with closure as without."""
    plain, closed = both(explain, run, net(hole=True), REFS, X, "--force")
    np.testing.assert_array_equal(plain["x_shap"], closed["x_shap"])
    lost = np.argmax(X, 1)[:, None] - np.argmax(REFS, 1).mean()
    np.testing.assert_allclose(gap(closed), np.broadcast_to(lost, (16, 5)), atol=1e-4)
