"""What the rules write, as ONNX text: for each model of one operator the nodes through which the
multiplier flows, in tests/rules/NAME.txt. OX_UPDATE=1 rewrites these files; their diff is what a
change of a rule does to the graph. Values of large constants are left out, and so is what is the
same for all models."""

import os
import re

import numpy as np
import onnx
import onnx.printer
import pytest
from onnx import TensorProto, helper, numpy_helper

import library
import trees
from conftest import ROOT
from rulecheck import floats, ints, node

FOLDER = ROOT / "tests" / "rules"
SMALL = 8  # values of constants that are printed
OURS = re.compile(r"onnxexplainer/(?!target/|result/|reference/)[^/]+/")


def one(operator, *shapes, domain="", opset=18, **constants):
    """A model of one node: `operator` is the node, `shapes` those of its explained inputs after the
    batch axis, in the order of its inputs, and the others are constants by name."""
    names = [name for name in operator.input if name and name not in constants]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
              for name, shape in zip(names, shapes, strict=True)]
    outputs = [helper.make_tensor_value_info(operator.output[0], TensorProto.FLOAT, None)]
    weights = [numpy_helper.from_array(np.asarray(value), name)
               for name, value in constants.items()]
    operator.name, operator.domain = "op", domain
    graph = helper.make_graph([operator], "golden", inputs, outputs, weights)
    opsets = [helper.make_opsetid("", opset)]
    opsets += [helper.make_opsetid(domain, 1)] if domain else []
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


X, IMAGE = (4,), (2, 6, 6)
MODELS = {
    "add": one(node("Add", "a b", "y"), X, X),
    "average_pool": one(node("AveragePool", "x", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1],
                             strides=[2, 2]), IMAGE),
    "batch_normalization": one(node("BatchNormalization", "x s b m v", "y"), IMAGE, s=floats(2),
                               b=floats(2), m=floats(2), v=floats(2, low=1)),
    "clip": one(node("Clip", "x low high", "y"), X, low=np.float32(-1), high=np.float32(1)),
    "concat": one(node("Concat", "a b", "y", axis=1), X, X),
    "conv": one(node("Conv", "x w b", "y", pads=[1, 1, 1, 1]), IMAGE, w=floats(3, 2, 3, 3),
                b=floats(3)),
    "conv_strided": one(node("Conv", "x w", "y", strides=[2, 2]), IMAGE, w=floats(3, 2, 3, 3)),
    "conv_transpose": one(node("ConvTranspose", "x w", "y", strides=[2, 2]), IMAGE,
                          w=floats(2, 3, 3, 3)),
    "cum_sum": one(node("CumSum", "x axis", "y"), X, axis=np.int64(1)),
    "div": one(node("Div", "a b", "y"), X, X),
    "erf": one(node("Erf", "x", "y"), X),
    "exp": one(node("Exp", "x", "y"), X),
    "gather": one(node("Gather", "x i", "y", axis=1), X, i=ints(2, 0, 2)),
    "gemm": one(node("Gemm", "x w b", "y", alpha=0.5), X, w=floats(4, 3), b=floats(3)),
    "global_average_pool": one(node("GlobalAveragePool", "x", "y"), IMAGE),
    "inverse": one(node("Inverse", "x", "y"), (3, 3), domain="com.microsoft"),
    "layer_normalization": one(node("LayerNormalization", "x s", "y"), X, s=floats(4)),
    "leaky_relu": one(node("LeakyRelu", "x", "y", alpha=0.1), X),
    "log": one(node("Log", "x", "y"), X),
    "lrn": one(node("LRN", "x", "y", size=3), IMAGE),
    "mat_mul": one(node("MatMul", "x w", "y"), X, w=floats(4, 3)),
    "mat_mul_both": one(node("MatMul", "a b", "y"), (3, 4), (4, 2)),
    "max": one(node("Max", "a b", "y"), X, X),
    "max_pool": one(node("MaxPool", "x", "y", kernel_shape=[2, 2], strides=[2, 2]), IMAGE),
    "mul": one(node("Mul", "a b", "y"), X, X),
    "pad": one(node("Pad", "x p", "y"), X, p=ints(0, 1, 0, 2)),
    "pow": one(node("Pow", "x p", "y"), X, p=np.float32(2)),
    "reduce_max": one(node("ReduceMax", "x a", "y", keepdims=0), (3, 4), a=ints(2)),
    "reduce_mean": one(node("ReduceMean", "x a", "y", keepdims=0), (3, 4), a=ints(1)),
    "relu": one(node("Relu", "x", "y"), X),
    "reshape": one(node("Reshape", "x s", "y"), (3, 4), s=ints(0, 4, 3)),
    "resize": one(node("Resize", "x  s", "y", mode="linear"), IMAGE,
                  s=np.array([1, 1, 2, 2], np.float32)),
    "scaler": one(node("Scaler", "x", "y", offset=[0.5] * 4, scale=[2.0] * 4), X,
                  domain="ai.onnx.ml"),
    "sigmoid": one(node("Sigmoid", "x", "y"), X),
    "slice": one(node("Slice", "x s e a", "y"), X, s=ints(1), e=ints(3), a=ints(1)),
    "softmax": one(node("Softmax", "x", "y"), X),
    "split": one(node("Split", "x s", "y z", axis=1), X, s=ints(1, 3)),
    "sqrt": one(node("Sqrt", "x", "y"), X),
    "sub": one(node("Sub", "a b", "y"), X, X),
    "swish": one(node("Swish", "x", "y", alpha=1.5), X, opset=24),
    "tanh": one(node("Tanh", "x", "y"), X),
    "tile": one(node("Tile", "x r", "y"), X, r=ints(1, 2)),
    "transpose": one(node("Transpose", "x", "y", perm=[0, 2, 1]), (3, 4)),
    "tree_ensemble": one(node("TreeEnsembleRegressor", "x", "y", **trees.named(
        [trees.Split(1, "BRANCH_LEQ", 0.5, trees.Leaf({0: 1.0}), trees.Leaf({0: 3.0}))],
        "target", 1)), X, domain="ai.onnx.ml"),
    "where": one(node("Where", "c a b", "y"), X, X, c=np.array([[True, False, True, True]])),
}
UPDATE = bool(os.environ.get("OX_UPDATE"))


def short(text):
    """Names without the prefixes that all of them have."""
    return re.sub(r'"(?:onnxexplainer|body)/([^"]*)"', r'"\1"', text)


def line(operator):
    """A node without its name, which is that of its output."""
    bare = onnx.NodeProto.FromString(operator.SerializeToString())
    bare.ClearField("name")
    return short(re.sub(r'^\s*(?:\[""\]\s*)?', "", onnx.printer.to_text(bare)).rstrip())


def weight(tensor):
    array = numpy_helper.to_array(tensor)
    values = "{...}"
    if array.size <= SMALL:
        values = "{" + ", ".join(f"{v:.6g}" for v in array.reshape(-1).tolist()) + "}"
    dims = "[" + ",".join(map(str, array.shape)) + "]" if array.ndim else ""
    return short(f'{TensorProto.DataType.Name(tensor.data_type).lower()}{dims} "{tensor.name}"'
                 f" = {values}")


def text(model):
    """What the rule wrote: constants, nodes, functions."""
    graph = model.graph
    nodes = [n for n in graph.node if OURS.match(n.output[0])]
    used = {name for n in nodes for name in n.input}
    lines = [weight(t) for t in graph.initializer if t.name in used]
    lines += [line(n) for n in nodes]
    called = {n.op_type for n in nodes}
    for function in model.functions:
        if function.name in called:
            lines += ["", f"{function.name} ({', '.join(function.input)}) =>"
                          f" ({', '.join(function.output)})", "{"]
            lines += [*("    " + line(n) for n in function.node), "}"]
    return "\n".join(lines) + "\n"


def explained(model):
    """Against two references, at output 0."""
    references = {i.name: floats(2, *(d.dim_value for d in i.type.tensor_type.shape.dim[1:]))
                  for i in model.graph.input}
    return library.explain(model, references, target="0")


@pytest.mark.parametrize("name", MODELS)
def test_golden(name):
    got = text(explained(MODELS[name]))
    path = FOLDER / f"{name}.txt"
    if UPDATE:
        path.write_text(got)
    assert got == path.read_text()


def test_no_others():
    """Every file belongs to a model."""
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(MODELS)
