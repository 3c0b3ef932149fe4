"""The nets of tests/exact_nets.py as PyTorch modules, written as their authors ask for: every
nonlinearity a module of its own, used once."""
import torch
from torch import nn

ACTIVATIONS = {"Relu": nn.ReLU, "Gelu": nn.GELU, "Sigmoid": nn.Sigmoid, "Tanh": nn.Tanh,
               "Softmax": lambda: nn.Softmax(dim=-1)}


def attributes(node):
    return {a.name: list(a.ints) or a.i for a in node.attribute}


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
            layer = nn.Conv1d(1, len(w[1]), w[1].shape[-1], padding=1, bias=False)
            layer.weight.data = w[1].clone()
            return layer
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
    assert node.op_type == "Reshape", node.op_type
    return at[0].flatten(1)


def module_of(net):
    return Module(net).eval()
