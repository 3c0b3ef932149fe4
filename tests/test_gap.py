"""completeness_gap says what the sum of SHAP values misses, be it rounding or a lost path, and
nothing is moved between the values to close the sum."""

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


def explained(explain, run, model, refs, x, *options):
    return run(explain(model, refs, "--target=all", "--gap", *options), x)


def test_the_gap_is_what_the_sum_misses(explain, run):
    out = explained(explain, run, net(), REFS, X)
    size = np.abs(out["x_shap"]).sum(-1) + np.abs(out["y"]) + np.abs(out["base_value"])
    np.testing.assert_array_less(np.abs(out["completeness_gap"] - gap(out)), 2**-23 * size)
    np.testing.assert_array_less(np.abs(gap(out)), 64 * 2**-24 * size)


def test_values_are_those_computed(explain, run):
    """Asking for the gap, changes no value."""
    out = explained(explain, run, net(), REFS, X)
    plain = run(explain(net(), REFS, "--target=all"), X)
    np.testing.assert_array_equal(plain["x_shap"], out["x_shap"])


def test_what_did_not_move_gets_nothing(explain, run):
    out = explained(explain, run, net(), X[:1], X[:1])
    assert not out["x_shap"].any()
    half = np.where(np.arange(12) < 6, X[:1], REFS[:1])
    out = explained(explain, run, net(), half, X[:1])
    assert not out["x_shap"][..., :6].any() and out["x_shap"][..., 6:].all()


def test_a_lost_path_shows_in_full(explain, run):
    out = explained(explain, run, net(hole=True), REFS, X, "--force")
    lost = np.broadcast_to(np.argmax(X, 1)[:, None] - np.argmax(REFS, 1).mean(), (16, 5))
    np.testing.assert_allclose(gap(out), lost, atol=1e-4)
    np.testing.assert_allclose(out["completeness_gap"], lost, atol=1e-4)
