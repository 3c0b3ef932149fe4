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
MEAN = [("NonZero", "x", "nz", "find", {}), ("Cast", "nz", "f", "real", {"to": 1}),
        ("ReduceMean", "f", "s", "mean", {"keepdims": 0}), ("Mul", "x s", "y", "by", {})]
SCATTER = [*FOUND, ("ScatterND", "x t v", "y", "put", {})]
R = np.float32([[1, 1, 1, 0], [2, 2, 2, 2]])


def explain(cli, folder, nodes, *options, **form):
    onnx.save(model(nodes, **form), folder / "m.onnx")
    np.save(folder / "r.npy", R)
    command = [cli, "explain", folder / "m.onnx", "-r", folder / "r.npy", "--target=0", "--force",
               "-o", folder / "e.onnx", *options]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("nodes, options, named, said", [
    (SUM, [], True, 'node 3 "add" (ReduceSum): a dimension is needed that is not known'),
    (SUM, [], False, 'node 3 "" (ReduceSum): a dimension is needed that is not known'),
    (MEAN, [], True, 'node 2 "mean" (ReduceMean): a dimension is needed that is not known'),
    (SCATTER, ["--cache=file"], True,
     'for node 2 "pick" (GatherND): the shape of its result is not known, so that it cannot be '
     "kept; use cache none"),
])
def test_explaining(nodes, options, named, said, cli, tmp_path):
    done = explain(cli, tmp_path, nodes, *options, named=named)
    *notes, error = done.stderr.splitlines()
    assert done.returncode == 1 and error.endswith(said), done.stderr
    assert all(line.startswith("onnxexplainer: note: ") for line in notes)


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
