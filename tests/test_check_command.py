"""The command check: its numbers against the same computed here in float64, what it refuses, and
the parts of the library behind it."""

import ctypes
import json
import subprocess

import numpy as np
import onnx
import pytest

import library
from test_groups import LABELS, PLAYERS, R, X, by_enumeration, f, table
from test_methods import run as run_model

SINGLE = [[i] for i in range(6)]


@pytest.fixture
def check(cli, explain, tmp_path):
    """check(options of explain, options of check): what it prints as JSON, and the exit code."""
    def check(made=(), asked=(), model=None, inputs=None, references=R):
        explained = explain(table() if model is None else model, references, *made)
        np.save(tmp_path / "x.npy", X)
        inputs = [f"--input={tmp_path / 'x.npy'}"] if inputs is None else inputs
        done = subprocess.run([cli, "check", explained, "--json", *inputs, *asked],
                              capture_output=True, text=True)
        return (json.loads(done.stdout) if done.stdout else done.stderr), done.returncode
    return check


def moves(order, whole, x, players, column):
    """What leaves first: the curve of f without the first 0, 1, .. players of the order."""
    values = []
    for gone in range(len(players) + 1):
        left = np.zeros(6, bool)
        for p in order[:gone]:
            left[players[p]] = True
        values.append(f(np.where(left, R, x)).mean(0)[column])
    values = np.array(values)
    return (values - values[-1]) / (values[0] - values[-1])


def area(curve):
    return np.trapezoid(curve) / (len(curve) - 1)


@pytest.mark.parametrize("players, how", [(SINGLE, ()), (PLAYERS, ("--groups=LABELS",))])
@pytest.mark.parametrize("method", ["deepshap", "exact", "input-x-gradient"])
def test_numbers(check, explain, run, tmp_path, players, how, method):
    np.save(tmp_path / "labels.npy", LABELS)
    how = [h.replace("LABELS", str(tmp_path / "labels.npy")) for h in how]
    made = [f"--method={method}", "--target=1", *how]
    got, code = check(made, how)
    assert (code, got["verdict"], got["values"]) == (0, got["verdict"], len(players))
    phi = run(explain(table(), R, *made), X)["x_shap"].astype(np.float64)
    exact = np.array([by_enumeration(x, players, f, R)[:, 1] for x in X])
    away = np.linalg.norm(phi - exact, axis=1) / np.linalg.norm(exact, axis=1)
    np.testing.assert_allclose(got["agreement"]["each"], away, atol=1e-5)
    moved = f(X)[:, 1] - f(R).mean(0)[1]
    for n, x in enumerate(X):
        order = np.argsort(-phi[n] * np.sign(moved[n]), kind="stable")
        deletion = moves(order, f(x[None]), x, players, 1)
        insertion = moves(order[::-1], f(x[None]), x, players, 1)[::-1]
        assert got["deletion"]["areas"][n] == pytest.approx(area(deletion), abs=1e-4)
        assert got["insertion"]["areas"][n] == pytest.approx(area(insertion), abs=1e-4)
    weighted = np.average(got["deletion"]["areas"], weights=np.abs(moved))
    assert got["deletion"]["area"] == pytest.approx(weighted, abs=1e-4)
    if method != "input-x-gradient":
        np.testing.assert_allclose(got["completeness"]["gaps"], 0, atol=2e-6)
        assert got["deletion"]["area"] < got["drawn"]["area"] and got["verdict"] == "good"
    assert got["completeness"]["meant"] == (method != "input-x-gradient")
    assert got["prediction"] == {"output": "y", "taken_out": True, "difference": 0, "relative": 0}


@pytest.mark.parametrize("made", [("--target=all",), ("--target=0-1",), ("--cache=file",),
                                  ("--cache=file", "--chunk=3"), ("--cache=none", "--chunk=3"),
                                  ("--prefix=our_", "--target=bottom:2"), ("--chunk=1",)])
def test_ways_of_explaining(check, made):
    got, code = check(made)
    assert (code, got["verdict"], got["reasons"]) == (0, "good", [])
    assert got["agreement"]["method"] == "exact" and got["agreement"]["worst"] < 0.5
    assert len(got["agreement"]["each"]) == got["samples"] * got["targets"]


def test_references_that_come_in_or_are_filled(check, tmp_path):
    for name, array in (("x", X), ("r", R), ("t", np.array([0, 1, 1]))):
        np.save(tmp_path / f"{name}.npy", array)
    inputs = [f"--input={name}={tmp_path / file}.npy" for name, file in
              (("x", "x"), ("x_references", "r"), ("shap_target_input", "t"))]
    got, code = check(["--references=input", "--target=input"], inputs=inputs, references=None)
    assert (code, got["verdict"]) == (0, "good")
    exact = [by_enumeration(x, SINGLE, f, R)[:, t] for x, t in zip(X, (0, 1, 1))]
    got, code = check(["--references=input", "--target=input", "--method=exact"], inputs=inputs,
                      references=None)
    assert got["agreement"]["worst"] < 1e-6 and np.isfinite(exact).all()
    got, code = check(["--references=fill:0.5"], references=None)
    assert (code, got["verdict"]) == (0, "good")


def test_many_values_are_sampled(check, tmp_path):
    r = np.random.default_rng(3)
    w = r.normal(size=(20, 1)).astype(np.float32)
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]> g (float[N,20] x) => (float[N,1] y) '
        "{ y = MatMul(x, W) }")
    model.graph.initializer.append(onnx.numpy_helper.from_array(w, "W"))
    np.save(tmp_path / "many.npy", r.normal(size=(5, 20)).astype(np.float32))
    got, code = check(model=model, references=r.normal(size=(3, 20)).astype(np.float32),
                      inputs=[f"--input={tmp_path / 'many.npy'}"], asked=["--tolerance=1e-5"])
    assert (code, got["agreement"]["method"], got["verdict"]) == (0, "permutation", "good")
    assert got["agreement"]["worst"] < 1e-5  # a linear model: each order gives the same
    assert len(got["deletion"]["curve"]) == 17
    got, code = check(["--method=permutation", "--samples=3"], ["--tolerance=0", "--seed=1"])
    assert code == 0 or got["agreement"]["worst"] > 3 * got["agreement"]["noise"]


def test_exit_codes(check, tmp_path):
    got, code = check((), ["--tolerance=1e-6"])
    assert code == 1 and got["verdict"] == "wrong" and "tolerance" in got["reasons"][0]
    got, code = check(["--method=gradient"])
    assert code == 0 and got["verdict"] == "doubtful" and "far from Shapley" in got["reasons"][0]
    assert check(["--method=gradient"], ["--strict"])[1] == 1
    other = table()
    other.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(
        np.ones((6, 5), np.float32), other.graph.initializer[0].name))
    onnx.save(other, tmp_path / "other.onnx")
    got, code = check((), [f"--model={tmp_path / 'other.onnx'}"])
    assert code == 1 and "predictions differ from the original's" in got["reasons"]
    onnx.save(table(), tmp_path / "same.onnx")
    got, code = check((), [f"--model={tmp_path / 'same.onnx'}"])
    assert code == 0 and not got["prediction"]["taken_out"]


def spoiled(path):
    """The explained model with 1 added to its values."""
    model = onnx.load(path)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32([1]), "one"))
    for n in model.graph.node:
        n.output[:] = ["off" if o == "x_shap" else o for o in n.output]
    model.graph.node.append(onnx.helper.make_node("Add", ["off", "one"], ["x_shap"]))
    onnx.save(model, path)


def test_wrong_sums(cli, explain, tmp_path):
    explained = explain(table(), R)
    spoiled(explained)
    np.save(tmp_path / "x.npy", X)
    done = subprocess.run([cli, "check", explained, "-i", str(tmp_path / "x.npy")],
                          capture_output=True, text=True)
    assert done.returncode == 1
    assert "0 of 3 samples add up" in done.stdout and "verdict       wrong: sums miss" in done.stdout


def test_what_rounding_takes_from_the_model(cli, explain, run, tmp_path):
    """Gaussian processes as sklearn exports them add up large numbers that cancel: in float32 f(x)
    is off by more than the SHAP values are, whose sum is that of float64."""
    rng = np.random.default_rng(1)
    train, y = rng.normal(size=(60, 3)), rng.normal(size=60)
    kernel = lambda a: np.exp(-((a[:, None] - train) ** 2).sum(-1) / 18)
    weights = np.linalg.solve(kernel(train) + 1e-8 * np.eye(60), y)
    nodes = [onnx.helper.make_node(op, i.split(), [o]) for op, i, o in (
        ("Unsqueeze", "x one", "u"), ("Sub", "u train", "d"), ("Mul", "d d", "q"),
        ("ReduceSum", "q two", "s"), ("Squeeze", "s two", "t"), ("Mul", "t factor", "e"),
        ("Exp", "e", "k"), ("MatMul", "k weights", "y"))]
    constants = {"one": np.int64([1]), "two": np.int64([2]), "train": train.astype("f"),
                 "factor": np.float32(-1 / 18), "weights": weights[:, None].astype("f")}
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes, "gp", [value("x", onnx.TensorProto.FLOAT, ["N", 3])],
        [value("y", onnx.TensorProto.FLOAT, ["N", 1])],
        [onnx.numpy_helper.from_array(v, k) for k, v in constants.items()])
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)],
                                   ir_version=8)
    x, r = (rng.normal(size=(n, 3)).astype("f") for n in (5, 20))
    explained = explain(proto, r)
    train, weights = (constants[k].astype("d") for k in ("train", "weights"))
    exact = lambda a: kernel(a.astype("d")) @ weights[:, 0]
    found = run(explained, x)
    wrong = np.abs(found["y"][:, 0] - exact(x)).max()
    off = np.abs(found["x_shap"].sum(1) - (exact(x) - exact(r).mean())).max()
    assert wrong > 1e-2 and off < wrong / 5
    np.save(tmp_path / "x.npy", x)
    done = subprocess.run([cli, "check", explained, "-i", str(tmp_path / "x.npy")],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "where inputs change in their last bit" in done.stdout
    assert "doubtful: sums miss f(x) - base value by what rounding takes from f(x)" in done.stdout


def test_what_cannot_be_compared(check):
    got, code = check(["--at=h"])
    assert code == 0 and got["agreement"]["method"] is None and "deletion" not in got
    assert got["verdict"] == "doubtful"
    got, code = check(["--method=exact", "--cache=file"])
    assert got["agreement"]["method"] is None
    message, code = check(inputs=["--input=missing.npy"])
    assert code == 1 and "missing.npy" in message


def test_captured(check):
    """What a body reads of the graph around it is in the model that is taken out, too."""
    value = onnx.helper.make_tensor_value_info
    body = onnx.helper.make_graph(
        [onnx.helper.make_node("Gather", ["seen", "i"], ["one"], axis=1),
         onnx.helper.make_node("Add", ["state", "one"], ["sum"]),
         onnx.helper.make_node("Tanh", ["sum"], ["next"]),
         onnx.helper.make_node("Identity", ["go"], ["on"])], "body",
        [value("i", 7, []), value("go", 9, []), value("state", 1, ["N"])],
        [value("on", 9, []), value("next", 1, ["N"])])
    model = onnx.helper.make_model(onnx.helper.make_graph(
        [onnx.helper.make_node("Mul", ["x", "x"], ["seen"]),
         onnx.helper.make_node("ReduceMax", ["x", "last"], ["start"], keepdims=0),
         onnx.helper.make_node("Loop", ["six", "", "start"], ["end"], body=body),
         onnx.helper.make_node("Unsqueeze", ["end", "last"], ["y"])], "g",
        [value("x", 1, ["N", 6])], [value("y", 1, ["N", 1])],
        [onnx.numpy_helper.from_array(np.array(6), "six"),
         onnx.numpy_helper.from_array(np.array([1]), "last")]),
        ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 18)])
    got, code = check(model=model)
    assert code == 0 and got["prediction"]["difference"] == 0 and got["agreement"]["method"]


def test_prediction_in_half(explain, cli, tmp_path):
    """ONNX Runtime casts elsewhere once there are other readers: the last bits of float16 differ."""
    nodes = [("Mul", "x w", "a"), ("Sigmoid", "a", "s"), ("Mul", "a s", "b"), ("MatMul", "b v", "y")]
    value, rng = onnx.helper.make_tensor_value_info, np.random.default_rng(3)
    made = {"w": rng.normal(size=6), "v": rng.normal(size=(6, 2))}
    model = onnx.helper.make_model(onnx.helper.make_graph(
        [onnx.helper.make_node(op, i.split(), [o]) for op, i, o in nodes], "g",
        [value("x", 10, ["N", 6])], [value("y", 10, ["N", 2])],
        [onnx.numpy_helper.from_array(v.astype(np.float16), k) for k, v in made.items()]),
        ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 18)])
    explained = onnx.load(explain(model, R.astype(np.float16)))
    outputs = {}
    for off, code in ((2**-9, 0), (2**-7, 1)):  # of y
        other = onnx.ModelProto.FromString(model.SerializeToString())
        other.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(
            (made["v"] * (1 + off)).astype(np.float16), "v"))
        onnx.save(other, tmp_path / "other.onnx")
        onnx.save(explained, tmp_path / "e.onnx")
        np.save(tmp_path / "x.npy", X.astype(np.float16))
        done = subprocess.run([cli, "check", str(tmp_path / "e.onnx"), f"--model={tmp_path / 'other.onnx'}",
                               f"--input={tmp_path / 'x.npy'}"], capture_output=True, text=True)
        outputs[off] = done.stdout + done.stderr
        assert done.returncode == code, outputs[off]
    assert "predictions differ" in outputs[2**-7]


def test_not_explained(cli, tmp_path):
    onnx.save(table(), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", X)
    done = subprocess.run([cli, "check", str(tmp_path / "m.onnx"), "-i", str(tmp_path / "x.npy")],
                          capture_output=True, text=True)
    assert done.returncode == 1 and "not an explained model" in done.stderr


def test_original(explain):
    lib, error = library.library, library.Error()
    lib.ox_original.restype = library.POINTER
    lib.ox_original.argtypes = [library.POINTER] * 2
    for made in ((), ("--target=input", "--references=input"), ("--method=kernel",)):
        explained = explain(table(), None if "--references=input" in made else R, *made)
        parsed = library.read(onnx.load(explained))
        found = lib.ox_original(parsed, ctypes.byref(error))
        lib.ox_free(parsed)
        pieces = []
        sink = library.Sink(lambda _, at, size: pieces.append(ctypes.string_at(at, size)) or True)
        assert lib.ox_serialize(found, sink, None, ctypes.byref(error))
        lib.ox_free(found)
        model = onnx.ModelProto.FromString(b"".join(pieces))
        onnx.checker.check_model(model, full_check=True)
        assert [n.op_type for n in model.graph.node] == ["MatMul", "Tanh", "MatMul"]
        assert [i.name for i in model.graph.input] == ["x"] and not model.functions
        assert [o.name for o in model.graph.output] == ["y"]
        assert {o.domain for o in model.opset_import} == {""} and not model.metadata_props
        np.testing.assert_array_equal(run_model(model, x=X)["y"], run_model(table(), x=X)["y"])
    parsed = library.read(table())
    assert not lib.ox_original(parsed, ctypes.byref(error))
    assert b"not one that explain has made" in error.message
    lib.ox_free(parsed)
