"""References, and held values, that come in beside every call: where they stay the same, sessions have
them as constants from the third call on, and give the same values."""

import threading
import time

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from package import ox  # noqa: F401, a fixture

rng = np.random.default_rng(5)
X = rng.normal(size=(6, 8)).astype(np.float32)
FIRST, OTHER = (rng.normal(size=(n, 8)).astype(np.float32) for n in (40, 30))


def network(width=16, layers=1):
    body = "".join(f"h{i + 1} = MatMul(t{i}, W{i}) t{i + 1} = Tanh(h{i + 1}) "
                   for i in range(layers))
    made = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> g (float[N,8] x) => (float[N,2] y) '
        f"{{ h0 = MatMul(x, V) t0 = Tanh(h0) {body} y = MatMul(t{layers}, U) }}")
    weights = {"V": (8, width), "U": (width, 2),
               **{f"W{i}": (width, width) for i in range(layers)}}
    made.graph.initializer.extend(
        numpy_helper.from_array((rng.normal(size=s) / np.sqrt(s[0])).astype(np.float32), name)
        for name, s in weights.items())
    return made


def want(ox, model, references, x=X, **options):
    explained = ox.explain(model, references, **options)
    return ox.Session(explained, tune=False).run({"x": x})["x_shap"]


@pytest.mark.parametrize("method", ["deepshap", "integrated-gradients", "exact", "permutation"])
@pytest.mark.parametrize("prefix", ["", "our_"])
def test_values_stay(method, prefix, ox):
    model = network()
    session = ox.Session(ox.explain(model, "input", method=method, prefix=prefix), tune=True)
    for references in (FIRST, FIRST, FIRST, FIRST, OTHER, FIRST, *[OTHER] * 8, FIRST):
        found = session.run({"x": X, f"{prefix}x_references": references})[f"{prefix}x_shap"]
        np.testing.assert_allclose(found, want(ox, model, references, method=method), atol=1e-5)


def seconds(session, references):
    start = time.perf_counter()
    session.run({"x": X[:1], "x_references": references})
    return time.perf_counter() - start


def test_the_branch_is_not_run_again(ox):
    """Of gradients the references give the base value alone, which then is a constant."""
    model = network(256, 6)
    session = ox.Session(ox.explain(model, "input", method="gradient"), tune=True)
    references = [rng.normal(size=(2000, 8)).astype(np.float32) for _ in range(4)]
    changing = min(seconds(session, r) for r in references)
    for _ in range(100):
        seconds(session, references[0])
    assert min(seconds(session, references[0]) for _ in range(4)) < changing / 4


def held(layers=1, width=16):
    """The same with a mask on what the first layer makes of x."""
    made = network(width, layers)
    [first] = [n for n in made.graph.node if n.output[0] == "h0"]
    first.output[0] = "g"
    made.graph.node.insert(1, onnx.helper.make_node("Mul", ["g", "mask"], ["h0"]))
    made.graph.input.append(onnx.helper.make_tensor_value_info("mask", 1, ["N", width]))
    return made


@pytest.mark.parametrize("batch", [1, 3])
def test_held_values_stay(batch, ox):
    explained = ox.explain(held(), FIRST, hold=["mask"])
    session, plain = (ox.Session(explained, tune=tune) for tune in (True, False))
    masks = [(rng.random((batch, 16)) > 0.3).astype(np.float32) for _ in range(2)]
    for k, which in enumerate([0, 0, 0, 0, 1, 0, *[1] * 8, 0]):
        feeds = {"x": rng.normal(size=(batch, 8)).astype(np.float32), "mask": masks[which]}
        found, wanted = session.run(feeds), plain.run(feeds)
        for name in ("x_shap", "base_value", "y"):
            np.testing.assert_allclose(found[name], wanted[name], atol=1e-5, err_msg=f"call {k}")
        if k == 3:  # another number of samples
            feeds = {"x": X, "mask": np.ones((6, 16), np.float32)}
            np.testing.assert_allclose(session.run(feeds)["x_shap"], plain.run(feeds)["x_shap"], atol=1e-5)


def cpu(session, feeds):
    start = time.process_time()
    session.run(feeds)
    return time.process_time() - start


def test_what_held_values_reach_is_not_run_again(ox):
    """Nor where what is kept of it would not fit into memory."""
    references = rng.normal(size=(400, 8)).astype(np.float32)
    masks = [(rng.random((1, 512)) > 0.3).astype(np.float32) for _ in range(4)]
    least = {}
    for memory in (0, 16 << 20):
        explained = ox.explain(held(8, 512), references, hold=["mask"], memory=memory)
        changing, steady = (ox.Session(explained, tune=True, threads=1) for _ in range(2))
        feeds = [{"x": X[:1], "mask": mask} for mask in masks]
        for _ in range(8):
            steady.run(feeds[0])
        turns = [(cpu(steady, feeds[0]), cpu(changing, feeds[i % 4])) for i in range(12)]
        least[memory] = np.divide(*np.min(turns, 0))
    assert least[0] < 0.75 and least[16 << 20] > 0.8, least


def test_bad_inputs_are_refused_as_before(ox):
    session = ox.Session(ox.explain(network(), "input"), tune=True)
    for _ in range(5):
        session.run({"x": X, "x_references": FIRST})
    for _ in range(5):
        with pytest.raises(ox.ArgumentError, match="expected shape"):
            session.run({"x": X[:, :3], "x_references": FIRST})
        with pytest.raises(ox.Error):
            session.run({"x": X, "x_references": FIRST[:, :3]})
        with pytest.raises(ox.Error):
            session.run({"x": X})


def test_threads_with_references_of_their_own(ox):
    model = network()
    session = ox.Session(ox.explain(model, "input"), tune=True)
    wanted = {id(r): want(ox, model, r) for r in (FIRST, OTHER)}
    wrong = []

    def calls(references):
        for _ in range(60):
            found = session.run({"x": X, "x_references": references})["x_shap"]
            if abs(found - wanted[id(references)]).max() > 1e-5:
                wrong.append(references)

    threads = [threading.Thread(target=calls, args=(r,)) for r in (FIRST, OTHER, FIRST)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
