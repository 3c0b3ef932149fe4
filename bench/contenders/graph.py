"""The plain ONNX file as a list of nodes, for contenders that write the method in another
framework: thus all have the same weights, and BatchNormalization folded in the same places."""
from dataclasses import dataclass, field

import onnx
from onnx import numpy_helper


@dataclass
class Node:
    op: str
    inputs: list
    outputs: list
    attributes: dict
    arrays: dict = field(default_factory=dict)  # constants by the place of the input
    ints: dict = field(default_factory=dict)    # those of integers, as lists and numbers

    @property
    def output(self):
        return self.outputs[0]


class Graph:
    """What a node reads is a constant, or depends on `input`, whose `shape` has 0 for the batch."""

    def __init__(self, path):
        graph = onnx.load(path).graph
        self.input, self.output = graph.input[0].name, graph.output[0].name
        self.shape = [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim]
        constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self.nodes = []
        for node in graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                constants[node.output[0]] = numpy_helper.to_array(attributes["value"])
            elif node.op_type == "Identity" and node.input[0] in constants:
                constants[node.output[0]] = constants[node.input[0]]
            else:
                # The initial states of PyTorch's layers are zeros.
                inputs = node.input[:4] if node.op_type in ("LSTM", "GRU") else node.input[:]
                self.nodes.append(Node(node.op_type, inputs, node.output[:], attributes))
        self.fuse_silu()
        self.drop_unused(constants)

    def fuse_silu(self):
        """x * sigmoid(x) as one node."""
        sigmoids = {n.output: n for n in self.nodes if n.op == "Sigmoid"}
        for node in self.nodes:
            x, y = (node.inputs + [None])[:2]
            if node.op == "Mul" and y in sigmoids and sigmoids[y].inputs == [x]:
                node.op, node.inputs = "Silu", [x]

    def drop_unused(self, constants):
        """Keeps what the output needs, and gives nodes their constants."""
        needed, kept = {self.output}, []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                needed.update(node.inputs)
                kept.append(node)
        self.nodes = kept[::-1]
        for node in self.nodes:
            node.arrays = {i: constants[name] for i, name in enumerate(node.inputs)
                           if name in constants}
            node.ints = {i: array.tolist() for i, array in node.arrays.items()
                         if array.dtype.kind == "i"}
