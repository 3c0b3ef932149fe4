"""Where something that we have added fails, the message names the node of the model that it is
for, by its name or, where it has none, by its output's."""

import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper


def model(nodes, named=True):
    """x [1, 4] to y, of a shape that nobody declares."""
    nodes = [helper.make_node(op, given.split(), made.split(), name=name if named else "", **more)
             for op, given, made, name, more in nodes]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [value("x", TensorProto.FLOAT, [1, 4])],
                              [value("y", TensorProto.FLOAT, None)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


FOUND = [("NonZero", "x", "nz", "find", {}), ("Transpose", "nz", "t", "turn", {}),
         ("GatherND", "x t", "v", "pick", {})]
SUM = [*FOUND, ("ReduceSum", "v", "s", "add", {"keepdims": 0}), ("Mul", "x s", "y", "by", {})]
SCATTER = [*FOUND, ("ScatterND", "x t v", "y", "put", {})]
KEPT = "(GatherND): the shape of its result is not known, so that it cannot be kept; use cache none"
R = np.float32([[1, 1, 1, 0], [2, 2, 2, 2]])


def explain(cli, folder, nodes, *options, **form):
    onnx.save(model(nodes, **form), folder / "m.onnx")
    np.save(folder / "r.npy", R)
    command = [cli, "explain", folder / "m.onnx", "-r", folder / "r.npy", "--target=0", "--force",
               "-o", folder / "e.onnx", *options]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("nodes, options, named, said", [
    (SUM, [], True, f'node 2 "pick" {KEPT}'),
    (SUM, [], False, f'node 2 "" {KEPT}'),
    (SCATTER, ["--cache=file"], True, f'node 2 "pick" {KEPT}'),
])
def test_explaining(nodes, options, named, said, cli, tmp_path):
    done = explain(cli, tmp_path, nodes, *options, named=named)
    *notes, error = done.stderr.splitlines()
    assert done.returncode == 1 and error.endswith(f"for {said}"), done.stderr
    assert all(line.startswith("onnxexplainer: note: ") for line in notes)


def test_what_is_found_may_be_held(cli, tmp_path):
    done = explain(cli, tmp_path, SUM, "--hold=nz")
    assert done.returncode == 0, done.stderr
    subprocess.run([cli, "run", tmp_path / "e.onnx", "--input", tmp_path / "r.npy", "--strict",
                    "-o", tmp_path / "o.npz"], check=True)
    y = R * R.sum(axis=1, keepdims=True)  # all that is not 0
    np.testing.assert_allclose(np.load(tmp_path / "o.npz")["y"], y)


@pytest.mark.parametrize("named, name", [(True, "pick"), (False, "v")])
def test_running(named, name, cli, tmp_path):
    """With force an index is the sample's: one that finds more than the reference has."""
    done = explain(cli, tmp_path, SCATTER, "--cache=none", named=named)
    assert done.returncode == 0, done.stderr
    np.save(tmp_path / "x.npy", np.float32([[1, 2, 0, 0]]))
    done = subprocess.run([cli, "run", tmp_path / "e.onnx", "--input", tmp_path / "x.npy"],
                          capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f'onnxexplainer: a node that explains "{name}" of the model '
                                  "fails: onnxruntime: "), done.stderr


def test_unknown_operator(cli, tmp_path):
    """The operator that nobody knows is named, not the one behind it that lacks a shape."""
    nodes = [("Tanh", "x", "t", "bend", {}), ("Solve", "t t", "s", "solve", {"domain": "com.microsoft"}),
             ("Identity", "s", "i", "same", {}), ("Einsum", "i i", "y", "sum", {"equation": "ij,ij->i"})]
    done = explain(cli, tmp_path, nodes)
    assert done.returncode == 1
    assert done.stderr == ('onnxexplainer: the shape of output "y" is not known, as that of node 1 '
                           '"solve" (com.microsoft.Solve) is not: no such operator is known\n')


MASKS = {  # of a segmentation, as [classes, places] for each sample
    "equal": [("ArgMax", "l", "a", "best", {"axis": 1, "keepdims": 1}),
              ("Equal", "a classes", "e", "is", {}), ("Cast", "e", "k", "mask", {"to": 1})],
    "scatter": [("ArgMax", "l", "a", "best", {"axis": 1, "keepdims": 1}),
                ("Sub", "l l", "zeros", "none", {}), ("Slice", "zeros n0 n1 n1", "row", "first", {}),
                ("Exp", "row", "ones", "one", {}),
                ("ScatterElements", "zeros a ones", "k", "mask", {"axis": 1})],
}


@pytest.mark.parametrize("mask", MASKS)
def test_segmentation_mask(mask, cli, tmp_path):
    """The refusal says what to hold; with that, values add up."""
    rng = np.random.default_rng(0)
    given = [("MatMul", "x w", "l", "logits", {}), *MASKS[mask], ("Mul", "l k", "s", "seen", {}),
             ("ReduceSum", "s n2", "y", "total", {"keepdims": 0})]
    nodes = [helper.make_node(op, i.split(), o.split(), name=n, **m) for op, i, o, n, m in given]
    constants = {"w": rng.normal(size=(5, 5)).astype("f"), "n0": np.int64([0]), "n1": np.int64([1]),
                 "n2": np.int64([2]), "classes": np.arange(3)[None, :, None]}
    used = {i for n in nodes for i in n.input}
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("x", TensorProto.FLOAT, ["N", 3, 5])], [value("y", TensorProto.FLOAT, ["N", 3])],
        [onnx.numpy_helper.from_array(v, k) for k, v in constants.items() if k in used])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8),
              tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", rng.normal(size=(4, 3, 5)).astype("f"))
    np.save(tmp_path / "x.npy", rng.normal(size=(2, 3, 5)).astype("f"))
    command = [cli, "explain", "m.onnx", "-r", "r.npy", "--target=1", "-o", "e.onnx"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and 'node 1 "best" (ArgMax): its result varies' in done.stderr
    hint = next(word for word in done.stderr.split() if word.startswith("--hold="))
    assert hint == "--hold=a"
    subprocess.run([*command, hint, "-q"], cwd=tmp_path, check=True)
    subprocess.run([cli, "run", "e.onnx", "-i", "x.npy", "--strict", "-q"], cwd=tmp_path, check=True)
