"""A Loop whose number of steps is known at run time only cannot be written out: what is said of it,
and of the nodes around it."""

import subprocess

import numpy as np
import onnx
from onnx import TensorProto, helper
from rulecheck import FLOAT, Rule, floats, node


def value(name, shape=None, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


SUMMED = [node("ReduceSum", "x", "sum", keepdims=0),
          node("Cast", "sum", "trips", to=TensorProto.INT64)]


def step():
    nodes = [node("Mul", "h w", "l_h"), node("Identity", "on", "l_on")]
    return helper.make_graph(
        nodes, "body", [value("i", [], TensorProto.INT64), value("on", [], TensorProto.BOOL),
                        value("h")], [value("l_on", None, TensorProto.BOOL), value("l_h")])


def test_shown(cli, tmp_path):
    """The node that stands in the way, with the reason, and the others all the same."""
    nodes = [*SUMMED, node("Tanh", "x", "t"),
             node("Loop", "trips go t", "y", body=step(), name="around")]
    rule = Rule(nodes, {"x": [3]}, {"go": np.array(True), "w": floats(3)}, low=1)
    onnx.save(rule.model, tmp_path / "model.onnx")
    done = subprocess.run([cli, "show", "--nodes", str(tmp_path / "model.onnx")],
                          capture_output=True, text=True)
    assert done.returncode == 1
    listed = done.stdout.partition("\nnodes\n")[2].splitlines()
    assert [line.split() for line in listed if "Loop" in line] == [
        ("3 Loop refused around its number of steps is known at run time only; where an input says it, "
         "--fix=NAME=VALUE makes it known").split()]
    for op in ("Tanh", "ReduceSum", "Cast", "Reshape", "MatMul"):
        assert sum(f" {op} " in line for line in listed) == 1, op
    assert ('cannot be explained: node 3 "around" (Loop): its number of steps is known at run time '
            "only; where an input says it, --fix=NAME=VALUE makes it known\n") in done.stderr
    assert done.stderr.endswith("explain --method=kernel explains any model by its outputs\n")
