"""What `show` says of a model is what `explain` does with it."""

import subprocess

import numpy as np
import onnx
import pytest
from contract import value
from onnx import TensorProto, helper, numpy_helper
from test_models import MODELS, rows

rng = np.random.default_rng(0)


def model(nodes, inputs, outputs, constants):
    graph = helper.make_graph(nodes, "g", inputs, outputs,
                              [numpy_helper.from_array(v, k) for k, v in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def attention():
    """Heads folded into the batch, and the batch out of front: one reference at a time."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["qkv"]),
        helper.make_node("Reshape", ["qkv", "s5"], ["q5"]),
        helper.make_node("Transpose", ["q5"], ["p"], perm=[2, 0, 3, 1, 4]),
        *(helper.make_node("Gather", ["p", f"i{i}"], [k], axis=0) for i, k in enumerate("qkv")),
        helper.make_node("Reshape", ["k", "fold"], ["kf"]),
        helper.make_node("Transpose", ["kf"], ["kt"], perm=[0, 2, 1]),
        helper.make_node("Reshape", ["kt", "unfold"], ["k4"]),
        helper.make_node("MatMul", ["q", "k4"], ["s"]),
        helper.make_node("Softmax", ["s"], ["a"], axis=-1),
        helper.make_node("MatMul", ["a", "v"], ["o"]),
        helper.make_node("Reshape", ["o", "out"], ["y"]),
    ]
    ints = {"s5": [0, 4, 3, 2, 3], "i0": 0, "i1": 1, "i2": 2, "fold": [-1, 4, 3],
            "unfold": [-1, 2, 3, 4], "out": [0, 24]}
    constants = {"w": rng.normal(size=(6, 18)).astype("f")} | {
        k: np.array(v, np.int64) for k, v in ints.items()}
    return (model(nodes, [value("x", ["N", 4, 6])], [value("y", ["N", 24])], constants),
            {"x": rng.normal(size=(3, 4, 6)).astype("f")})


def rounded():
    """A node without a rule behind one that lets nothing pass."""
    nodes = [helper.make_node("ArgMax", ["x"], ["i"], axis=1, keepdims=1),
             helper.make_node("Cast", ["i"], ["c"], to=TensorProto.FLOAT),
             helper.make_node("Add", ["c", "x"], ["y"])]
    return (model(nodes, [value("x", ["N", 3])], [value("y", ["N", 3])], {}),
            {"x": rng.normal(size=(3, 3)).astype("f")})


def shapes():
    """A reshape that no batch survives."""
    nodes = [helper.make_node("Reshape", ["x", "s"], ["r"]), helper.make_node("Tanh", ["r"], ["y"])]
    return (model(nodes, [value("x", ["N", 4])], [value("y", [2, 2])],
                  {"s": np.array([2, 2], np.int64)}), {"x": rng.normal(size=(3, 4)).astype("f")})


def told(cli, command, path, references, *options):
    files = [f"--references={name}={file}" for name, file in references.items()]
    return subprocess.run([cli, command, path, *files, *options], capture_output=True, text=True)


def compare(cli, tmp_path, path, references, *options):
    """Both succeed, or both fail for the same reason; show also without references."""
    files = {}
    for i, (name, array) in enumerate(references.items()):
        files[name] = tmp_path / f"r{i}.npy"
        np.save(files[name], array)
    shown = told(cli, "show", path, files, *options)
    made = told(cli, "explain", path, files, "-q", "-o", tmp_path / "e.onnx", *options)
    bare = told(cli, "show", path, {}, *options)
    assert shown.returncode == bare.returncode == made.returncode, (shown, bare, made)
    reason = made.stderr.strip().removeprefix("onnxexplainer: ").split(": ", 1)[-1]
    reason, _, way_out = reason.partition("; --method")
    assert way_out in shown.stderr
    assert made.returncode == 0 or reason in shown.stderr, (shown.stderr, made.stderr)
    return shown


@pytest.mark.parametrize("build", (attention, rounded, shapes))
@pytest.mark.parametrize("options", ((), ("--no-batch",)))
def test_agrees(cli, tmp_path, build, options):
    proto, references = build()
    onnx.save(proto, tmp_path / "m.onnx")
    if "--no-batch" in options:
        for dim in (proto.graph.input[0].type.tensor_type.shape.dim[0],
                    proto.graph.output[0].type.tensor_type.shape.dim[0]):
            dim.dim_value = 1 if dim.dim_param else dim.dim_value
        onnx.save(proto, tmp_path / "m.onnx")
        references = {k: v[:, None] for k, v in references.items()}
    compare(cli, tmp_path, tmp_path / "m.onnx", references, *options)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_agrees_on_real_models(cli, shared, tmp_path, name):
    folder = shared / "models" / name
    proto = onnx.load(folder / "model.onnx", load_external_data=False)
    constants = {i.name for i in proto.graph.initializer}
    inputs = [i.name for i in proto.graph.input if i.name not in constants]
    compare(cli, tmp_path, folder / "model.onnx", rows(folder, inputs, "background", 2))


def test_names_every_node_in_the_way(cli, tmp_path):
    nodes = [helper.make_node("ArgMax", ["x"], ["i"], axis=1, keepdims=1, name="which"),
             helper.make_node("Cast", ["i"], ["c"], to=TensorProto.FLOAT),
             helper.make_node("Bernoulli", ["p"], ["b"], name="toss"),
             helper.make_node("Sigmoid", ["x"], ["p"]),
             helper.make_node("Sum", ["c", "b"], ["y"])]
    nodes = [nodes[i] for i in (0, 1, 3, 2, 4)]
    onnx.save(model(nodes, [value("x", ["N", 3])], [value("y", ["N", 3])], {}),
              tmp_path / "m.onnx")
    shown = told(cli, "show", tmp_path / "m.onnx", {})
    assert shown.returncode == 1
    assert '"which" (ArgMax)' in shown.stderr and '"toss" (Bernoulli)' in shown.stderr


def test_without_a_floating_output(cli, tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["scores"]),
             helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0)]
    onnx.save(model(nodes, [value("x", ["N", 3])], [value("label", ["N"], TensorProto.INT64)],
                    {"w": rng.normal(size=(3, 2)).astype("f")}), tmp_path / "m.onnx")
    shown = told(cli, "show", tmp_path / "m.onnx", {})
    assert shown.returncode == 1
    assert "tensors\n  scores: float32 [?,2]\n" in shown.stdout
    assert "ArgMax" in shown.stdout and "MatMul" in shown.stdout
    assert "output-name=scores explains what it is chosen by" in shown.stderr
    np.save(tmp_path / "r.npy", np.zeros((2, 3), "f"))
    shown = told(cli, "show", tmp_path / "m.onnx", {"x": tmp_path / "r.npy"},
                 "--output-name=scores")
    assert shown.returncode == 0


def test_no_rule_is_told_alone(cli, tmp_path):
    """Behind an operator that nobody knows samples are not found either: that is not told."""
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["": 18, "com.example": 1]>
        g (float[N, 4] x) => (float[N, 3] z) <float[3, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9}>
        { y = com.example.Foo(x) q = Relu(y) z = MatMul(q, w) }""")
    onnx.save(model, tmp_path / "foo.onnx")
    done = subprocess.run([cli, "show", tmp_path / "foo.onnx"], capture_output=True, text=True)
    assert "no rule for this operator" in done.stderr and "batch" not in done.stderr
