"""Inputs that are settings (--fix), tensors inside that are held (--hold), and random draws: what
is explained is the model with these as they are."""

import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

EPS = float(np.finfo(np.float32).eps)
rng = np.random.default_rng(0)
W = rng.normal(size=(4, 4)).astype("f")
X, R = rng.normal(size=(3, 4)).astype("f"), rng.normal(size=(5, 4)).astype("f")
node, value = helper.make_node, helper.make_tensor_value_info


def model(nodes, inputs, constants, shape=("N", 4), outputs=()):
    graph = helper.make_graph(nodes, "g", inputs, [value("y", TensorProto.FLOAT, shape), *outputs],
                              [numpy_helper.from_array(np.asarray(v), k)
                               for k, v in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def session(proto_or_path):
    data = (proto_or_path.SerializeToString() if isinstance(proto_or_path, onnx.ModelProto)
            else str(proto_or_path))
    return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])


def check(explained, samples, f, references=R, held=lambda x: {}):
    """Sums of SHAP values are f(x) - mean f(r), sample by sample; f takes rows of x and what is
    held of a sample. Returns the SHAP values."""
    found = dict(zip((o.name for o in session(explained).get_outputs()),
                     session(explained).run(None, samples)))
    x = samples["x"]
    for i in range(len(x)):
        kept = held(x[i:i + 1])
        k = found["shap_target"][i]
        y = f(x[i:i + 1], kept).reshape(-1)[k]
        ys = f(references, kept).reshape(len(references), -1)[:, k]
        phi = found["x_shap"][i]
        scale = np.abs(phi).sum() + abs(y) + np.abs(ys).max()
        assert abs(found["base_value"][i] - ys.mean()) <= 64 * EPS * scale
        assert abs(phi.sum() - (y - ys.mean())) <= 64 * EPS * scale
        assert np.abs(phi).sum() <= 100 * scale
    return found["x_shap"]


# ---- settings --------------------------------------------------------------------------------


def branches():
    """A sampling rate decides an If, as in voice activity detectors."""
    def branch(name, nodes, constants=()):
        return helper.make_graph(nodes, name, [], [value("z" + name, TensorProto.FLOAT, None)],
                                 list(constants))

    fast = branch("a", [node("Tanh", ["h"], ["za"])])
    slow = branch("b", [node("Concat", ["h", "h"], ["hh"], axis=1), node("MatMul", ["hh", "v"], ["zb"])],
                  [numpy_helper.from_array(np.concatenate([W, 2 * W]), "v")])
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Equal", ["sr", "rate"], ["c"]),
             node("If", ["c"], ["u"], then_branch=fast, else_branch=slow),
             node("Sigmoid", ["u"], ["y"])]
    inputs = [value("x", TensorProto.FLOAT, ["N", 4]), value("sr", TensorProto.INT64, [])]
    return model(nodes, inputs, {"w": W, "rate": np.int64(16000)})


def lengths():
    """A length that a Reshape and a Slice take."""
    nodes = [node("Slice", ["x", "zero", "n", "one"], ["h"]), node("Exp", ["h"], ["e"]),
             node("Mul", ["e", "h"], ["m"]), node("ReduceSum", ["m", "one"], ["y"], keepdims=1)]
    inputs = [value("x", TensorProto.FLOAT, ["N", 4]), value("n", TensorProto.INT64, [1])]
    return model(nodes, inputs, {"zero": np.int64([0]), "one": np.int64([1])}, ("N", 1))


def training():
    """A flag between two forms, and a scale given as a list of numbers."""
    nodes = [node("Mul", ["x", "scale"], ["s"]), node("Tanh", ["s"], ["t"]),
             node("Where", ["train", "s", "t"], ["y"])]
    inputs = [value("scale", TensorProto.FLOAT, ["k"]), value("x", TensorProto.FLOAT, ["N", 4]),
              value("train", TensorProto.BOOL, [])]
    return model(nodes, inputs, {})


FIXED = {
    "branch": (branches, {"sr": "16000"}, {"sr": np.array(16000)}),
    "other branch": (branches, {"sr": "8000"}, {"sr": np.array(8000)}),
    "length": (lengths, {"n": "3"}, {"n": np.int64([3])}),
    "flag": (training, {"train": "false", "scale": "1,-2,.5,3"},
             {"train": np.array(False), "scale": np.float32([1, -2, .5, 3])}),
    "flag as a number": (training, {"train": "1", "scale": "2"},
                         {"train": np.array(True), "scale": np.float32([2])}),
}


@pytest.mark.parametrize("cache", ("auto", "load", "file", "none"))
@pytest.mark.parametrize("case", FIXED)
def test_fix(explain, case, cache):
    build, texts, values = FIXED[case]
    path = explain(build(), R, *(f"--fix={k}={v}" for k, v in texts.items()), f"--cache={cache}")
    assert [i.name for i in session(path).get_inputs()] == ["x"]
    original = session(build())
    check(path, {"x": X}, lambda x, _: original.run(None, {"x": x, **values})[0])


def test_fix_by_file(explain, tmp_path):
    scale = rng.normal(size=4).astype("f")
    np.save(tmp_path / "s.npy", scale)
    path = explain(training(), R, f"--fix=scale={tmp_path / 's.npy'}", "--fix=train=0")
    original = session(training())
    check(path, {"x": X},
          lambda x, _: original.run(None, {"x": x, "scale": scale, "train": np.array(False)})[0])


@pytest.mark.parametrize("options, message", (
    (["--fix=rate=1"], "--fix=rate=1: not of the form NAME=VALUE with the name of an "
                       "input: \"x\", \"sr\""),
    (["--fix=sr"], "--fix=sr: not of the form NAME=VALUE with the name of an "
                       "input: \"x\", \"sr\""),
    (["--fix=sr=1,2"], '--fix=sr=1,2: 2 values for input "sr" of shape []'),
    (["--fix=sr=1.5"], '--fix=sr=1.5: not whole numbers, as input "sr" takes int64'),
    (["--fix=sr=1", "--fix=sr=2"], 'fixed input "sr": given twice'),
    (["--fix=sr="], '--fix=sr=: not whole numbers, as input "sr" takes int64'),
))
def test_fix_refuses(cli, tmp_path, options, message):
    onnx.save(branches(), tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", R)
    for command in ("explain", "show"):
        found = subprocess.run([cli, command, tmp_path / "m.onnx", "-r", tmp_path / "r.npy",
                                *options], capture_output=True, text=True)
        assert found.returncode == 1
        assert found.stderr.strip() == f"onnxexplainer: {message}"


def test_says_that_it_is_a_setting(cli, tmp_path):
    """A number of steps that comes in: neither refusal leaves out that --fix makes it a constant."""
    body = helper.make_graph(
        [node("MatMul", ["s", "w"], ["t"]), node("Tanh", ["t"], ["u"]), node("Identity", ["c"], ["d"])],
        "body", [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []),
                 value("s", TensorProto.FLOAT, None)],
        [value("d", TensorProto.BOOL, []), value("u", TensorProto.FLOAT, None)])
    onnx.save(model([node("Loop", ["n", "", "x"], ["y"], body=body)],
                    [value("x", TensorProto.FLOAT, ["N", 4]), value("n", TensorProto.INT64, [])],
                    {"w": W}), tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", R)
    command = [cli, "explain", "m.onnx", "--references=x=r.npy", "-o", "e.onnx"]
    for more, said in (([], "fix=n=VALUE makes it a constant"), (["--hold=n"], "--fix=NAME=VALUE"),
                       (["--fix=n=3"], "wrote e.onnx")):
        done = subprocess.run([*command, *more], capture_output=True, text=True, cwd=tmp_path)
        assert said in done.stderr and (done.returncode == 0) == ("wrote" in said)


def test_show_fix(cli, tmp_path):
    onnx.save(branches(), tmp_path / "m.onnx")
    shown = subprocess.run([cli, "show", tmp_path / "m.onnx", "--fix=sr=8000"],
                           capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr


# ---- held tensors ----------------------------------------------------------------------------


def inner(f, name, **others):
    """What a model gives for a tensor inside, of one row of x."""
    proto = onnx.ModelProto.FromString(f.SerializeToString())
    proto.graph.output.append(helper.make_empty_tensor_value_info(name))
    run = session(proto)
    return lambda x: {name: run.run([name], {"x": x, **others})[0]}


def behind(f, name):
    """f from the held tensor on: rows of x with one value of the tensor for all of them."""
    proto = onnx.ModelProto.FromString(f.SerializeToString())
    graph = proto.graph
    for n in graph.node:
        for i, output in enumerate(n.output):
            if output == name:
                n.output[i] = name + "_before"
    probe = onnx.ModelProto.FromString(f.SerializeToString())
    probe.graph.output.append(helper.make_empty_tensor_value_info(name))
    arg = session(probe).get_outputs()[-1]
    types = {"tensor(float)": TensorProto.FLOAT, "tensor(int64)": TensorProto.INT64,
             "tensor(bool)": TensorProto.BOOL}
    graph.input.append(value(name, types[arg.type], None))
    run = session(proto)
    needs = {i.name for i in run.get_inputs()}

    def call(x, kept):
        one = kept[name]
        many = np.concatenate([one] * len(x)) if one.ndim and one.shape[0] == 1 else one
        return run.run(["y"], {k: v for k, v in {"x": x, name: many}.items() if k in needs})[0]

    return call


def segmented():
    """A mask made by ArgMax over scores, and the sum of the scores under it."""
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Tanh", ["h"], ["s"]),
             node("ArgMax", ["s"], ["top"], axis=1, keepdims=1),
             node("OneHot", ["flat", "four", "values"], ["mask"], axis=-1),
             node("Mul", ["s", "mask"], ["m"]), node("Mul", ["m", "x"], ["y"])]
    nodes.insert(3, node("Squeeze", ["top", "one"], ["flat"]))
    return model(nodes, [value("x", TensorProto.FLOAT, ["N", 4])],
                 {"w": W, "one": np.int64([1]), "four": np.array(4),
                  "values": np.float32([0, 1])})


def gated():
    """A gate that is also computed from the data, several results of one node."""
    nodes = [node("Split", ["x"], ["a", "b"], axis=1), node("Sigmoid", ["a"], ["g"]),
             node("Mul", ["g", "b"], ["p"]), node("MatMul", ["p", "v"], ["q"]),
             node("Add", ["q", "x"], ["y"])]
    return model(nodes, [value("x", TensorProto.FLOAT, ["N", 4])], {"v": W[:2]})


def looped():
    """What a Loop gives."""
    body = helper.make_graph(
        [node("Tanh", ["s"], ["t"]), node("Identity", ["c"], ["go"])], "b",
        [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []),
         value("s", TensorProto.FLOAT, ["N", 4])],
        [value("go", TensorProto.BOOL, []), value("t", TensorProto.FLOAT, ["N", 4])])
    nodes = [node("Loop", ["three", "", "x"], ["l"], body=body), node("Mul", ["l", "x"], ["y"])]
    return model(nodes, [value("x", TensorProto.FLOAT, ["N", 4])], {"three": np.array(3)})


HELD = [(segmented, "top"), (segmented, "mask"), (segmented, "s"), (gated, "g"), (gated, "a"),
        (gated, "q"), (looped, "l")]


@pytest.mark.parametrize("chunk", (1, 2))
@pytest.mark.parametrize("target", ("top", "2"))
@pytest.mark.parametrize("build, name", HELD, ids=lambda v: getattr(v, "__name__", v))
def test_hold_a_tensor(explain, build, name, target, chunk):
    path = explain(build(), R, f"--hold={name}", f"--target={target}", f"--chunk={chunk}")
    check(path, {"x": X}, behind(build(), name), held=inner(build(), name))


def test_hold_takes_nothing_else(explain):
    """What passes beside the held tensor is explained as ever: here the gradient, as f is linear
    in what is left."""
    path = explain(gated(), R, "--hold=g", "--target=1")
    found = session(path).run(["x_shap"], {"x": X})[0]
    gate = 1 / (1 + np.exp(-X[:, :2]))
    gradient = np.zeros_like(X)
    gradient[:, 1] = 1
    gradient[:, 2:] += gate * W[:2, 1]
    assert np.allclose(found, gradient * (X - R.mean(0)), rtol=1e-4, atol=1e-5)


def test_hold_a_mask_of_ids(explain):
    """An attention mask made from ids; these are explained by their embeddings."""
    table = rng.normal(size=(6, 4)).astype("f")
    nodes = [node("Gather", ["table", "x"], ["e"]), node("Equal", ["x", "pad"], ["is_pad"]),
             node("Where", ["is_pad", "low", "zero"], ["mask"]),
             node("ReduceSum", ["e", "last"], ["s"], keepdims=0), node("Add", ["s", "mask"], ["a"]),
             node("Softmax", ["a"], ["p"], axis=-1), node("Unsqueeze", ["p", "one"], ["pu"]),
             node("MatMul", ["pu", "e"], ["o"]), node("Squeeze", ["o", "one"], ["y"])]
    f = model(nodes, [value("x", TensorProto.INT64, ["N", 5])],
              {"table": table, "pad": np.int64(0).reshape(()), "low": np.float32(-1e9).reshape(()),
               "zero": np.float32(0).reshape(()), "last": np.int64([2]), "one": np.int64([1])})
    ids = np.array([[1, 2, 3, 0, 0], [5, 4, 3, 2, 1]])
    path = explain(f, np.array([[1, 1, 2, 0, 0], [3, 3, 0, 0, 0], [1, 2, 3, 4, 5]]),
                   "--hold=mask")
    check(path, {"x": ids}, behind(f, "mask"), held=inner(f, "mask"),
          references=np.array([[1, 1, 2, 0, 0], [3, 3, 0, 0, 0], [1, 2, 3, 4, 5]]))


def test_hold_refuses(cli, tmp_path):
    onnx.save(segmented(), tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", R)
    for name, message in (("z", 'the model has no input or tensor "z" to hold, its inputs are "x"'),
                          ("y", 'no input to explain reaches output "y"')):
        found = subprocess.run([cli, "explain", tmp_path / "m.onnx", "-r", tmp_path / "r.npy",
                                f"--hold={name}"], capture_output=True, text=True)
        assert found.returncode == 1
        assert found.stderr.strip() == f"onnxexplainer: {message}"


# ---- random draws ----------------------------------------------------------------------------


def sampler(op, **attrs):
    """The decoder of a variational autoencoder on mu + sigma e; e is an output, too, to be seen."""
    nodes = [node("MatMul", ["x", "w"], ["mu"]), node("Exp", ["x"], ["sigma"]),
             node(op, ["mu"] if op.endswith("Like") else [], ["e"], **attrs),
             node("Mul", ["sigma", "e"], ["se"]), node("Add", ["mu", "se"], ["z"]),
             node("Tanh", ["z"], ["y"])]
    return model(nodes, [value("x", TensorProto.FLOAT, ["N", 4])], {"w": W},
                 outputs=[value("e", TensorProto.FLOAT, None)])


DRAWS = [("RandomNormalLike", {}), ("RandomUniformLike", {"low": -1.0}),
         ("RandomNormal", {"shape": [1, 4]}), ("RandomUniform", {"shape": [4]})]


@pytest.mark.parametrize("chunk", (1, 3))
@pytest.mark.parametrize("op, attrs", DRAWS)
def test_draws(explain, op, attrs, chunk):
    run = session(explain(sampler(op, **attrs), R, f"--chunk={chunk}", "--target=1"))
    names = [o.name for o in run.get_outputs()]
    first, second = (dict(zip(names, run.run(None, {"x": X}))) for _ in range(2))
    assert not np.array_equal(first["e"], second["e"])
    for found in (first, second):
        e = np.broadcast_to(found["e"], X.shape)
        assert np.allclose(found["y"], np.tanh(X @ W + np.exp(X) * e), atol=1e-5)
        for i in range(len(X)):
            base = np.tanh(R @ W + np.exp(R) * e[i])[:, 1].mean()
            phi = found["x_shap"][i]
            assert abs(found["base_value"][i] - base) <= 1e-5
            assert abs(phi.sum() - (found["y"][i, 1] - base)) <= 1e-5 * (1 + np.abs(phi).sum())


def drawing_loop():
    body = helper.make_graph(
        [node("RandomNormalLike", ["s"], ["e"]), node("Add", ["s", "e"], ["t"]),
         node("Identity", ["c"], ["go"])], "b",
        [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []),
         value("s", TensorProto.FLOAT, ["N", 4])],
        [value("go", TensorProto.BOOL, []), value("t", TensorProto.FLOAT, ["N", 4])])
    nodes = [node("Loop", ["three", "", "x"], ["l"], body=body), node("Mul", ["l", "x"], ["y"])]
    return model(nodes, [value("x", TensorProto.FLOAT, ["N", 4])], {"three": np.array(3)},
                 outputs=[value("l", TensorProto.FLOAT, None)])


def test_draws_in_a_body(cli, explain, tmp_path):
    """They cannot be had outside of it, but what the body gives can be held."""
    onnx.save(drawing_loop(), tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", R)
    found = subprocess.run([cli, "explain", tmp_path / "m.onnx", "-r", tmp_path / "r.npy"],
                           capture_output=True, text=True)
    assert found.returncode == 1 and "hold=TENSOR holds what the body gives" in found.stderr
    run = session(explain(drawing_loop(), R, "--hold=l", "--target=2"))
    found = dict(zip((o.name for o in run.get_outputs()), run.run(None, {"x": X})))
    expected = found["l"][:, 2] * (X - R.mean(0))[:, 2]
    assert np.allclose(found["x_shap"].sum(1), expected, atol=1e-5)
