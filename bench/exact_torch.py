"""The nets of tests/exact_nets.py as PyTorch modules, written as their authors ask for: every
nonlinearity a module of its own, used once."""
import torch
from torch import nn

ACTIVATIONS = {"Relu": nn.ReLU, "Gelu": nn.GELU, "Sigmoid": nn.Sigmoid, "Tanh": nn.Tanh,
               "Softmax": lambda: nn.Softmax(dim=-1)}


def attributes(node):
    return {a.name: list(a.ints) or a.i for a in node.attribute}


def net_of_pictures(nodes):
    return any(len(attributes(n).get("pads", [])) == 4 for n in nodes if n.op_type == "Conv")


class LSTM(nn.Module):
    """Unrolled over [time, batch, features]; gates in the order of ONNX: i, o, f, c."""

    def __init__(self, w, r, b):
        super().__init__()
        self.w, self.r, self.b = w[0].T, r[0].T, b[0].reshape(2, -1).sum(0)
        self.gates = nn.ModuleList()

    def forward(self, x):
        first = len(self.gates) == 0
        if first:
            for _ in range(len(x)):
                self.gates.extend([nn.Sigmoid(), nn.Sigmoid(), nn.Sigmoid(), nn.Tanh(), nn.Tanh()])
        h = c = torch.zeros(x.shape[1], self.r.shape[0])
        for t, step in enumerate(x):
            act = self.gates[5 * t:5 * t + 5]
            i, o, f, g = (step @ self.w + h @ self.r + self.b).chunk(4, dim=-1)
            c = act[2](f) * c + act[0](i) * act[3](g)
            h = act[1](o) * act[4](c)
        return h[None]


class Module(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.weights = {k: torch.as_tensor(v) for k, v in net.weights.items()}
        self.nodes = net.nodes
        self.layers = nn.ModuleDict({node.output[-1]: layer for node in net.nodes
                                     if (layer := self.layer(node)) is not None})

    def layer(self, node):
        w = [self.weights.get(name) for name in node.input]
        if node.op_type in ACTIVATIONS:
            return ACTIVATIONS[node.op_type]()
        if node.op_type in ("MatMul", "Gemm") and w[1] is not None and w[1].dim() == 2:
            layer = nn.Linear(*w[1].shape, bias=len(w) > 2)
            layer.weight.data = w[1].T.clone()
            if len(w) > 2:
                layer.bias.data = w[2].clone()
            return layer
        if node.op_type == "LayerNormalization":
            return nn.LayerNorm(w[1].shape)
        if node.op_type == "MaxPool":
            options = attributes(node)
            return nn.MaxPool1d(options["kernel_shape"][0], options["strides"][0])
        if node.op_type == "Conv":
            of = nn.Conv1d if w[1].dim() == 3 else nn.Conv2d
            layer = of(w[1].shape[1], len(w[1]), w[1].shape[-1],
                       padding=attributes(node).get("pads", [0])[0], bias=len(w) > 2)
            layer.weight.data = w[1].clone()
            if len(w) > 2:
                layer.bias.data = w[2].clone()
            return layer
        if node.op_type == "BatchNormalization":
            layer = nn.BatchNorm1d(len(w[1]))
            layer.weight.data, layer.bias.data = w[1].clone(), w[2].clone()
            layer.running_mean.data, layer.running_var.data = w[3].clone(), w[4].clone()
            return layer
        if node.op_type == "AveragePool":
            options = attributes(node)
            return nn.AvgPool1d(options["kernel_shape"][0], options["strides"][0])
        if node.op_type == "GlobalAveragePool":
            return (nn.AdaptiveAvgPool2d if net_of_pictures(self.nodes) else
                    nn.AdaptiveAvgPool1d)(1)
        return LSTM(*w[1:]) if node.op_type == "LSTM" else None

    def forward(self, x):
        values = {**self.weights, "x": x}
        for node in self.nodes:
            at = [values[name] for name in node.input]
            name = node.output[-1]
            values[name] = self.layers[name](at[0]) if name in self.layers else plain(node, at)
        return values["out"]


def plain(node, at):
    """What is linear in each of its operands."""
    if node.op_type == "MatMul":
        return at[0] @ at[1]
    if node.op_type == "Add":
        return at[0] + at[1]
    if node.op_type == "Mul":
        return at[0] * at[1]
    if node.op_type == "Transpose":
        return at[0].permute(attributes(node)["perm"])
    if node.op_type == "Unsqueeze":
        return at[0].unsqueeze(int(at[1][0]))
    if node.op_type == "Squeeze":
        return at[0].squeeze(int(at[1][0]))
    if node.op_type == "Flatten":
        return at[0].flatten(1)
    assert node.op_type == "Reshape", node.op_type
    return at[0].reshape([n if n else at[0].shape[i] for i, n in enumerate(at[1].tolist())])


def module_of(net):
    return Module(net).eval()
