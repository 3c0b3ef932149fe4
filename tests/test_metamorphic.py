"""What must hold between the explanations of related models and inputs."""

import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rulecheck import node

WIDTH = 6
EPS = float(np.finfo(np.float32).eps)


def network(scale=1.0, unused=False, two_inputs=False, copies=False, seed=0):
    """A small net with fan-out, a value that is used three times, a gate and a residual sum. With
    `copies` what is used twice is computed twice."""
    rng = np.random.default_rng(seed)
    constants = {k: rng.normal(size=s).astype(np.float32) / 2 for k, s in {
        "w1": (WIDTH, 8), "b1": (8,), "w2": (8, 8), "w3": (8, 3), "w4": (WIDTH, 8)}.items()}
    constants["scale"] = np.float32(scale)
    other = "z" if two_inputs else "x"
    nodes = [node("Gemm", "x w1 b1", "h"), node("Relu", "h", "a"),
             node("MatMul", f"{other} w4", "v")]
    if copies:
        nodes += [node("Gemm", "x w1 b1", "h2"), node("Relu", "h2", "a2"),
                  node("Gemm", "x w1 b1", "h3"), node("Relu", "h3", "a3")]
    again, third = ("a2", "a3") if copies else ("a", "a")
    nodes += [node("MatMul", "a w2", "b"), node("Tanh", "b", "t"), node("Mul", f"t {again}", "g"),
              node("Sum", f"g {third} v", "s"), node("MatMul", "s w3", "o"),
              node("Mul", "o scale", "out")]
    names = ["x"] + ["z"] * two_inputs + ["u"] * unused
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", WIDTH]) for n in names],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def data(samples=4, references=5, seed=1):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(samples, WIDTH)).astype(np.float32),
            rng.normal(size=(references, WIDTH)).astype(np.float32))


def close(a, b, factor=64):
    """Equal but for rounding."""
    size = max(np.abs(a).max(), np.abs(b).max(), 1)
    return np.abs(a - b).max() <= factor * EPS * size


@pytest.fixture
def phi(explain, run):
    def phi(model, x, r, *options):
        outputs = run(explain(model, r, *(options or ["--target=all"])), x)
        return outputs["x_shap"]
    return phi


def test_complete(explain, run):
    x, r = data()
    model = network()
    outputs = run(explain(model, r, "--target=all"), x)
    base = run(model, r)["out"].mean(axis=0)
    assert close(outputs["base_value"], np.broadcast_to(base, (4, 3)))
    assert close(outputs["x_shap"].sum(axis=-1), outputs["out"] - base)


def test_copies(phi):
    """A value used three times is as good as three equal ones."""
    x, r = data()
    assert close(phi(network(), x, r), phi(network(copies=True), x, r))


def test_two_inputs(explain, run):
    """One input fed twice: the attributions of both add up to those of the net with one."""
    x, r = data()
    two = run(explain(network(two_inputs=True), {"x": r, "z": r}, "--target=all"),
              {"x": x, "z": x})
    one = run(explain(network(), r, "--target=all"), x)
    assert close(two["x_shap"] + two["z_shap"], one["x_shap"])


def test_held_input(explain, run):
    """A held input has the sample's value on both sides and gets nothing."""
    x, r = data()
    z = data(seed=2)[0]
    model = network(two_inputs=True)
    outputs = run(explain(model, {"x": r}, "--hold=z", "--target=all", "--gap"), {"x": x, "z": z})
    assert "z_shap" not in outputs
    for i in range(len(x)):
        held = run(model, {"x": r, "z": np.repeat(z[i:i + 1], len(r), axis=0)})["out"]
        assert close(outputs["x_shap"][i].sum(axis=-1), outputs["out"][i] - held.mean(axis=0))
    assert np.abs(outputs["completeness_gap"]).max() <= 1e-5


def test_unused_input(cli, explain, run, tmp_path):
    """An input that does not reach the output needs no references and gets no attributions."""
    x, r = data()
    outputs = run(explain(network(unused=True), {"x": r}, "--target=all"), {"x": x, "u": x})
    assert "u_shap" not in outputs
    np.testing.assert_array_equal(outputs["x_shap"], run(
        explain(network(), r, "--target=all"), x)["x_shap"])
    onnx.save(network(unused=True), tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", r)
    command = [cli, "explain", tmp_path / "m.onnx", "-o", tmp_path / "e.onnx",
               "--references", f"x={tmp_path}/r.npy", "--references", f"u={tmp_path}/r.npy"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (1, 2) and "\"u\"" in done.stderr
    assert not (tmp_path / "e.onnx").exists()


def test_same(phi):
    x, _ = data()
    assert (phi(network(), x[:1], x[:1]) == 0).all()


def test_equal_feature(phi):
    """A feature that is the same in sample and references gets nothing."""
    x, r = data()
    r[:, 2] = x[0, 2]
    values = phi(network(), x[:1], r)
    assert (values[..., 2] == 0).all()
    assert (values[..., 3] != 0).all()


def test_batch(phi):
    """A sample alone gets what it gets in a batch."""
    x, r = data()
    together = phi(network(), x, r)
    alone = np.concatenate([phi(network(), x[i:i + 1], r) for i in range(len(x))])
    assert close(together, alone)


def test_order_of_references(phi):
    x, r = data()
    assert close(phi(network(), x, r), phi(network(), x, r[::-1].copy()))


def test_scale(phi):
    x, r = data()
    assert close(-3 * phi(network(), x, r), phi(network(scale=-3.0), x, r))


def test_mean_of_references(phi):
    x, r = data()
    alone = [phi(network(), x, r[i:i + 1]) for i in range(len(r))]
    assert close(np.mean(alone, axis=0), phi(network(), x, r))
    assert close(phi(network(), x, r), phi(network(), x, np.concatenate([r, r])))


def test_targets(phi):
    """All at once, one by one, and their differences."""
    x, r = data()
    every = phi(network(), x, r)
    for k in range(3):
        assert close(every[:, k], phi(network(), x, r, f"--target={k}"))
    assert close(every[:, 2] - every[:, 0], phi(network(), x, r, "--target=2-0"))
    assert close(every.sum(axis=1), phi(network(), x, r, "--target=*"))


@pytest.mark.parametrize("options", [
    ["--cache=load"], ["--cache=file"], ["--cache=none"], ["--no-functions"], ["--chunk=2"],
    ["--chunk=5", "--cache=file"]])
def test_options(options, phi):
    """The way in which it is computed does not change what is computed."""
    x, r = data()
    assert close(phi(network(), x, r), phi(network(), x, r, "--target=all", *options))
