"""The method of onnxexplainer in another framework: the references' activations are computed once
and kept, a sample takes one forward pass and one backward walk for all references at
once. The rules are those of docs/rules.md; `o` is the framework: cached_torch.py or cached_tf.py.

A rule sees the node `n`, the multiplier `m` of its output, its inputs for the sample and the
references, `x` and `r` (constants are None there and stand in n.w), and what its forward function
left for it, `a` and `b`. It returns a multiplier for every input that is not constant. The first
axis is the batch everywhere: 1 for the sample, R for the references, 1 or R for multipliers."""
from contenders.graph import Graph

NEAR = 1e-2  # below this difference a slope is the derivative half way


def mid(a, b):
    return (a + b) * 0.5


def slope(o, x, r, y, y0, derivative):
    d = x - r
    near = o.abs(d) < NEAR
    return o.where(near, derivative(mid(x, r)), (y - y0) / o.where(near, 1.0, d))


def unbroadcast(o, m, like):
    """Sums m over the axes, but the batch's, along which `like` was repeated."""
    axes = [i for i in range(1, len(like.shape)) if like.shape[i] == 1 and m.shape[i] != 1]
    return o.sum(m, axes) if axes else m


# ---- rules ---------------------------------------------------------------------------------------

def flow_pass(o, n, m, x, r, a, b):
    return [m for _ in x]


def flow_relu(o, n, m, x, r, a, b):
    return [o.relu_flow(m, x[0], r[0])]


def flow_smooth(o, n, m, x, r, a, b):
    derivative = {"Sigmoid": o.sigmoid_slope, "Tanh": o.tanh_slope, "Gelu": o.gelu_slope,
                  "Silu": o.silu_slope}[n.op]
    return [m * slope(o, x[0], r[0], a, b, derivative)]


def flow_mul(o, n, m, x, r, a, b):
    if n.w:
        return [m * next(iter(n.w.values()))] * 2
    return [unbroadcast(o, m * mid(x[1 - i], r[1 - i]), x[i]) for i in (0, 1)]


def flow_matmul(o, n, m, x, r, a, b):
    if 1 in n.w:
        return [o.matmul(m, o.swap(n.w[1]))]
    left, right = (mid(x[i], r[i]) for i in (0, 1))
    return [o.matmul(m, o.swap(right)), o.matmul(o.swap(left), m)]


def flow_gemm(o, n, m, x, r, a, b):
    return [o.matmul(m, n.w[1] if n.attributes.get("transB") else o.swap(n.w[1]))]


def flow_softmax(o, n, m, x, r, a, b):
    d = o.abs(a - b)
    mean = o.exp(o.maximum(a, b)) * o.where(d < 1e-6, 1.0, -o.expm1(-d) / o.maximum(d, 1e-6))
    return [mean * (m - o.sum(m * mean, [-1]) / o.sum(mean, [-1]))]


def flow_norm(o, n, m, x, r, a, b):
    (d, s), (d0, s0) = a, b  # centred, and one over the deviation
    m = m * n.w[1]
    scale = o.sum(m * mid(d, d0), [-1]) * (-(s * s0) ** 2 / (s + s0))
    m = m * mid(s, s0) + scale * (d + d0) / d.shape[-1]
    return [m - o.sum(m, [-1]) / d.shape[-1]]


def flow_lstm(o, n, m, x, r, a, b):
    w, u = n.w[1][0], n.w[2][0]
    state = cell = 0.0
    flows = []
    for t in reversed(range(len(a))):
        (i, f, c, g, h), (i0, f0, c0, g0, h0) = (_lstm_parts(v[t]) for v in (a, b))
        state = state + m[t, 0]
        cell = cell + state * mid(a[t]["o"], b[t]["o"]) * slope(
            o, c, c0, h, h0, o.tanh_slope)
        gates = {"i": cell * mid(g, g0), "o": state * mid(h, h0),
                 "f": cell * mid(a[t]["before"], b[t]["before"]), "c": cell * mid(i, i0)}
        flow = o.concat([gates[k] * slope(o, a[t]["z" + k], b[t]["z" + k], a[t][k], b[t][k],
                                          o.tanh_slope if k == "c" else o.sigmoid_slope)
                         for k in "iofc"], -1)
        state, cell = o.matmul(flow, u), cell * mid(f, f0)
        flows.append(flow)
    return [o.matmul(o.stack(flows[::-1]), w)]


def flow_gru(o, n, m, x, r, a, b):
    """PyTorch's: y = z y' + (1 - z) h, h = tanh(x w + q (y' u + c))."""
    w, u = n.w[1][0], n.w[2][0]
    state, flows = 0.0, []
    for t in reversed(range(len(a))):
        p, p0 = a[t], b[t]
        state = state + m[t, 0]
        gate = state * mid(p["before"] - p["h"], p0["before"] - p0["h"])
        inner = state * (1 - mid(p["z"], p0["z"])) * slope(
            o, p["zh"], p0["zh"], p["h"], p0["h"], o.tanh_slope)
        reset = inner * mid(p["inner"], p0["inner"])
        gates = [flow * slope(o, p["z" + k], p0["z" + k], p[k], p0[k], o.sigmoid_slope)
                 for k, flow in (("z", gate), ("r", reset))]
        through = o.concat([*gates, inner * mid(p["r"], p0["r"])], -1)
        flows.append(o.concat([*gates, inner], -1))
        state = o.matmul(through, u) + state * mid(p["z"], p0["z"])
    return [o.matmul(o.stack(flows[::-1]), w)]


def _lstm_parts(step):
    return step["i"], step["f"], step["cell"], step["c"], step["tanh"]


def flow_conv(o, n, m, x, r, a, b):
    return [o.conv_adjoint(m, n, x[0])]


def flow_maxpool(o, n, m, x, r, a, b):
    return [o.maxpool_flow(m, n, x[0], r[0], a, b)]


def flow_avgpool(o, n, m, x, r, a, b):
    return [o.avgpool_adjoint(m, n, x[0])]


def flow_global(o, n, m, x, r, a, b):
    return [o.spread(m, x[0])]


def flow_norm_batch(o, n, m, x, r, a, b):
    return [m * n.scale]


def flow_concat(o, n, m, x, r, a, b):
    return o.split(m, [o.channels(v) for v in x])


def flow_reshape(o, n, m, x, r, a, b):
    return [o.unflatten(m, x[0])]


def flow_transpose(o, n, m, x, r, a, b):
    permutation = n.attributes["perm"]
    return [o.transpose(m, [permutation.index(i) for i in range(len(permutation))])]


def flow_reduce_mean(o, n, m, x, r, a, b):
    axis = n.ints[1][0]
    m = m if n.attributes.get("keepdims", 1) else o.unsqueeze(m, axis)
    return [m * (1 / x[0].shape[axis])]


def flow_gather(o, n, m, x, r, a, b):
    axis, index = n.attributes.get("axis", 0), n.ints[1]
    return [o.put(m, axis, index % x[0].shape[axis], x[0].shape[axis])]


def flow_squeeze(o, n, m, x, r, a, b):
    return [o.unsqueeze(m, n.ints[1][0])]


# ---- forward: the value, and what the rule needs of it -----------------------------------------

def run_smooth(o, n, x):
    y = {"Sigmoid": o.sigmoid, "Tanh": o.tanh, "Gelu": o.gelu, "Silu": o.silu}[n.op](x[0])
    return y, y


def run_softmax(o, n, x):
    logs = o.log_softmax(x[0])
    return o.exp(logs), logs


def run_norm(o, n, x):
    d = x[0] - o.sum(x[0], [-1]) / x[0].shape[-1]
    s = (o.sum(d * d, [-1]) / d.shape[-1] + n.attributes.get("epsilon", 1e-5)) ** -0.5
    return d * s * n.w[1] + n.w[2], (d, s)


def run_lstm(o, n, x):
    w, u = n.w[1][0], n.w[2][0]
    count = u.shape[-1]
    bias = n.w[3][0, :4 * count] + n.w[3][0, 4 * count:] if 3 in n.w else 0.0
    inputs = o.matmul(x[0], o.swap(w)) + bias
    state = cell = o.zeros_like(inputs[0, :, :count])
    states, steps = [], []
    for t in range(inputs.shape[0]):
        z = inputs[t] + o.matmul(state, o.swap(u))
        step = {"z" + k: z[:, i * count:(i + 1) * count] for i, k in enumerate("iofc")}
        step |= {k: o.sigmoid(step["z" + k]) for k in "iof"}
        step |= {"c": o.tanh(step["zc"]), "before": cell}
        cell = step["f"] * cell + step["i"] * step["c"]
        step |= {"cell": cell, "tanh": o.tanh(cell)}
        state = step["o"] * step["tanh"]
        states.append(state)
        steps.append(step)
    return o.unsqueeze(o.stack(states), 1), steps


def run_gru(o, n, x):
    w, u = n.w[1][0], n.w[2][0]
    count = u.shape[-1]
    bias, of_state = (n.w[3][0, i * 3 * count:(i + 1) * 3 * count] for i in (0, 1))
    inputs = o.matmul(x[0], o.swap(w)) + bias
    state = o.zeros_like(inputs[0, :, :count])
    states, steps = [], []
    for t in range(inputs.shape[0]):
        own = o.matmul(state, o.swap(u)) + of_state
        part = {k: slice(i * count, (i + 1) * count) for i, k in enumerate("zrh")}
        step = {"z" + k: inputs[t][:, part[k]] + own[:, part[k]] for k in "zr"}
        step |= {k: o.sigmoid(step["z" + k]) for k in "zr"} | {"before": state}
        step["inner"] = own[:, part["h"]]
        step["zh"] = inputs[t][:, part["h"]] + step["r"] * step["inner"]
        step["h"] = o.tanh(step["zh"])
        state = step["h"] + step["z"] * (state - step["h"])
        states.append(state)
        steps.append(step)
    return o.unsqueeze(o.stack(states), 1), steps


def operand(n, x, i):
    return n.w[i] if x[i] is None else x[i]


def plain(call):
    return lambda o, n, x: (call(o, n, x), None)


# op: (forward, rule, whether the rule reads the inputs of the references)
TABLE = {
    "Add": (plain(lambda o, n, x: operand(n, x, 0) + operand(n, x, 1)), flow_pass, False),
    "AveragePool": (plain(lambda o, n, x: o.avgpool(x[0], n)), flow_avgpool, False),
    "BatchNormalization": (plain(lambda o, n, x: x[0] * n.scale + n.shift), flow_norm_batch,
                           False),
    "Concat": (plain(lambda o, n, x: o.concat(x, 1)), flow_concat, False),
    "Conv": (plain(lambda o, n, x: o.conv(x[0], n)), flow_conv, False),
    "Flatten": (plain(lambda o, n, x: o.flatten(x[0])), flow_reshape, False),
    "Gather": (plain(lambda o, n, x: o.take(x[0], n.attributes.get("axis", 0),
                                            n.ints[1])), flow_gather, False),
    "Gelu": (run_smooth, flow_smooth, True),
    "GRU": (run_gru, flow_gru, False),
    "Gemm": (plain(lambda o, n, x: o.gemm(x[0], n)), flow_gemm, False),
    "GlobalAveragePool": (plain(lambda o, n, x: o.mean_spatial(x[0])), flow_global, False),
    "LSTM": (run_lstm, flow_lstm, False),
    "LayerNormalization": (run_norm, flow_norm, False),
    "MatMul": (plain(lambda o, n, x: o.matmul(x[0], operand(n, x, 1))), flow_matmul, True),
    "MaxPool": (lambda o, n, x: o.maxpool(x[0], n), flow_maxpool, True),
    "Mul": (plain(lambda o, n, x: operand(n, x, 0) * operand(n, x, 1)), flow_mul, True),
    "ReduceMean": (plain(lambda o, n, x: o.mean(x[0], n.ints[1][0],
                                                n.attributes.get("keepdims", 1))),
                   flow_reduce_mean, False),
    "Relu": (plain(lambda o, n, x: o.relu(x[0])), flow_relu, True),
    "Reshape": (plain(lambda o, n, x: o.reshape(x[0], n.ints[1])), flow_reshape, False),
    "Sigmoid": (run_smooth, flow_smooth, True),
    "Silu": (run_smooth, flow_smooth, True),
    "Softmax": (run_softmax, flow_softmax, False),
    "Squeeze": (plain(lambda o, n, x: o.take(x[0], n.ints[1][0], 0)), flow_squeeze, False),
    "Tanh": (run_smooth, flow_smooth, True),
    "Transpose": (plain(lambda o, n, x: o.transpose(x[0], n.attributes["perm"])), flow_transpose,
                  False),
}


# ---- the walk ------------------------------------------------------------------------------------

class Walk:
    """The network with its references, ready to explain."""

    def __init__(self, path, o, references):
        self.o, self.graph = o, Graph(path)
        for node in self.graph.nodes:
            if node.op not in TABLE:
                raise NotImplementedError(f"no rule for {node.op}")
            o.prepare(node)
        self.references = references
        values, self.traces = self.forward(references)
        read = {name for node in self.graph.nodes if TABLE[node.op][2] and not
                (node.op in ("MatMul", "Mul") and node.w) for name in node.inputs}
        self.at_references = {name: value for name, value in values.items() if name in read}

    def forward(self, x):
        """(values by name, what the rules need by name of the output)."""
        values, traces = {self.graph.input: x}, {}
        for node in self.graph.nodes:
            inputs = [values.get(name) for name in node.inputs]
            values[node.output], traces[node.output] = TABLE[node.op][0](self.o, node, inputs)
        return values, traces

    def explain(self, sample):
        """(SHAP values of the sample, the output explained, the outputs)."""
        values, traces = self.forward(sample)
        outputs = values[self.graph.output]
        target = self.o.argmax(outputs)
        flows = {self.graph.output: self.o.one_hot(target, outputs)}
        for node in reversed(self.graph.nodes):
            x = [values.get(name) for name in node.inputs]
            r = [self.at_references.get(name) for name in node.inputs]
            name = node.output
            m = flows.pop(name)
            sent = TABLE[node.op][1](self.o, node, m, x, r, traces[name], self.traces[name])
            varying = [i for i, v in enumerate(x) if v is not None]
            sent = [sent[i] for i in varying] if len(sent) == len(x) else sent
            for i, flow in zip(varying, sent):
                into = node.inputs[i]
                flows[into] = flows[into] + flow if into in flows else flow
        phi = self.o.average(flows[self.graph.input] * (sample - self.references))
        return phi, target, outputs

    def kept(self):
        """Arrays kept of the references."""
        return [*self.at_references.values(), *leaves(self.traces)]


def leaves(tree):
    if isinstance(tree, (dict, list, tuple)):
        for branch in tree.values() if isinstance(tree, dict) else tree:
            yield from leaves(branch)
    elif tree is not None:
        yield tree
