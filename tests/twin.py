"""Random graphs of many operators, and a slow twin of what they are explained as: values and
multipliers in double precision, one pair of sample and reference at a time, from the formulas of
docs/rules.md alone. Adjoints of linear operators are taken from what they make of each unit vector;
slopes are quotients of differences of long doubles."""

import dataclasses

import numpy as np
from onnx import TensorProto, helper, numpy_helper

WIDE = np.longdouble
MOST = 64  # numbers of a value


@dataclasses.dataclass
class Step:
    """A node: its operands among the values, and what it is to the twin."""
    op: str
    inputs: list  # indices of values, or names of constants
    attributes: dict
    forward: object  # of the operands that are values
    backward: object  # of these on both sides and m: multipliers of each
    domain: str = ""
    outputs: int = 1
    which: int = 0  # the output that is the value; others have no reader

    def names(self, value):
        return [value if i == self.which else f"{value}_{i}" for i in range(self.outputs)]


@dataclasses.dataclass
class Graph:
    shape: tuple  # of a sample
    kind: type
    opset: int
    steps: list
    constants: dict

    def model(self):
        one = helper.np_dtype_to_tensor_dtype(np.dtype(self.kind))
        nodes = [helper.make_node(s.op, [name_of(i) for i in s.inputs], s.names(name_of(k + 1)),
                                  domain=s.domain, **s.attributes)
                 for k, s in enumerate(self.steps)]
        opsets = [("", self.opset), ("com.microsoft", 1), ("ai.onnx.ml", 3)]
        last = name_of(len(self.steps))
        graph = helper.make_graph(
            nodes, "random", [helper.make_tensor_value_info("x", one, ["N", *self.shape])],
            [helper.make_tensor_value_info(last, one, None)],
            [numpy_helper.from_array(v, k) for k, v in self.constants.items()])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid(*o) for o in opsets],
                                 ir_version=8)

    def __str__(self):
        return f"{self.kind.__name__} x{list(self.shape)}, opset {self.opset}\n" + "\n".join(
            f"  {name_of(k + 1)} = {s.op}({', '.join(map(name_of, s.inputs))}) {s.attributes}"
            for k, s in enumerate(self.steps))


def name_of(operand):
    return operand if isinstance(operand, str) else "x" if operand == 0 else f"v{operand}"


class Unclear(Exception):
    """The formulas leave a choice: ties, kinks where both sides are the same."""


# ---- the twin ----------------------------------------------------------------------------------

def values(graph, x):
    """All values of one sample [1, ...]."""
    known = [x.astype(WIDE)]
    for step in graph.steps:
        known.append(step.forward(*(known[i] for i in step.inputs if not isinstance(i, str))))
    return known


def explain(graph, x, r, target):
    """phi of one pair, f(x), f(r), and the largest product of a multiplier and a value."""
    a, b = values(graph, x), values(graph, r)
    m = [np.zeros(v.shape, WIDE) for v in a]
    m[-1].reshape(-1)[target] = 1
    largest = np.abs(a[-1]).max()
    for k in range(len(graph.steps), 0, -1):
        step = graph.steps[k - 1]
        used = [i for i in step.inputs if not isinstance(i, str)]
        sent = step.backward([a[i] for i in used], [b[i] for i in used], m[k])
        for i, flow in zip(used, sent):
            m[i] = m[i] + flow
    for value, other, flow in zip(a, b, m):
        size = max(np.abs(value).max(initial=0), np.abs(other).max(initial=0))
        largest = max(largest, size * max(np.abs(flow).max(initial=0), 1))
    return m[0] * (a[0] - b[0]), a[-1].reshape(-1)[target], b[-1].reshape(-1)[target], largest


def unbroadcast(m, shape):
    extra = m.ndim - len(shape)
    m = m.sum(axis=tuple(range(extra)))
    return m.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1 and m.shape[i] != 1),
                 keepdims=True)


# ---- kinds of operators --------------------------------------------------------------------------

def linear(forward):
    """The adjoint, from unit vectors of each operand."""
    def backward(xs, rs, m):
        out = []
        for i, x in enumerate(xs):
            still = [np.zeros(v.shape, WIDE) for v in xs]
            origin = forward(*still)
            flow = np.zeros(x.size, WIDE)
            for k in range(x.size):
                unit = [v.copy() for v in still]
                unit[i].reshape(-1)[k] = 1
                flow[k] = (m * (forward(*unit) - origin)).sum()
            out.append(flow.reshape(x.shape))
        return out
    return forward, backward


def slope(f, x, r):
    """(f(x) - f(r))/(x - r), and f' between them where they are nearly the same, by differences of fourth
    order: to 1e-15."""
    d = x - r
    near = np.abs(d) <= 1e-8 * (1 + np.abs(x))
    step = WIDE(1e-5)
    left, right = (f(x) - f(x - step)) / step, (f(x + step) - f(x)) / step
    if (near & (np.abs(left - right) > 1e-3)).any():
        raise Unclear
    middle, step = x - d / 2, WIDE(1e-4)
    around, wider = (f(middle + h) - f(middle - h) for h in (step, 2 * step))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(near, (8 * around - wider) / (12 * step), (f(x) - f(r)) / d)


def unary(f):
    return f, lambda xs, rs, m: [m * slope(f, xs[0], rs[0])]


def product(forward, multiply):
    """Bilinear in two operands: each by the mean of the other."""
    def backward(xs, rs, m):
        (a, b), (a0, b0) = xs, rs
        return multiply(m, (a + a0) / 2, (b + b0) / 2)
    return forward, backward


def corners(f):
    """Two operands, elementwise: the mean of the differences, over the difference."""
    def backward(xs, rs, m):
        (a, b), (a0, b0) = xs, rs
        da, db = np.broadcast_arrays(a - a0, b - b0)
        if (np.abs(da) < 1e-7).any() or (np.abs(db) < 1e-7).any():
            raise Unclear
        first = (f(a, b) - f(a0, b) + f(a, b0) - f(a0, b0)) / (2 * da)
        second = (f(a, b) - f(a, b0) + f(a0, b) - f(a0, b0)) / (2 * db)
        return [unbroadcast(m * first, a.shape), unbroadcast(m * second, b.shape)]
    return f, backward


def softmax(x, axis):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def softmax_rule(axis):
    def backward(xs, rs, m):
        y, y0 = softmax(xs[0], axis), softmax(rs[0], axis)
        if (y == 0).any() or (y0 == 0).any():
            raise Unclear
        gap = np.log(y) - np.log(y0)
        near = np.abs(gap) < 1e-8
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(near, (y + y0) / 2, (y - y0) / gap)
        return [mean * (m - (m * mean).sum(axis=axis, keepdims=True)
                        / mean.sum(axis=axis, keepdims=True))]
    return (lambda x: softmax(x, axis)), backward


def winner_rule(axis):
    """Maxima along an axis, kept: to the position of the larger maximum."""
    def forward(x):
        return x.max(axis=axis, keepdims=True)

    def backward(xs, rs, m):
        x, r = xs[0], rs[0]
        top, top0 = forward(x), forward(r)
        for side, best in ((x, top), (r, top0)):
            if ((np.abs(side - best) < 1e-6).sum(axis=axis) > 1).any():
                raise Unclear
        if (np.abs(top - top0) < 1e-6).any():
            raise Unclear
        at = np.where(top > top0, x == top, r == top0)
        d = np.where(at, x - r, 1)
        return [np.where(at, m * (top - top0) / d, 0)]
    return forward, backward


# ---- drawing a graph -----------------------------------------------------------------------------

def relu(x):
    return np.maximum(x, 0)


def softplus(x):
    return np.log1p(np.exp(-np.abs(x))) + relu(x)


def elu(x, alpha):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


UNARY = {
    "Relu": (relu, {}),
    "LeakyRelu": (lambda x: np.where(x < 0, WIDE(np.float32(0.3)) * x, x), {"alpha": 0.3}),
    "Tanh": (np.tanh, {}), "Sigmoid": (sigmoid, {}), "Abs": (np.abs, {}), "Neg": (np.negative, {}),
    "Elu": (lambda x: elu(x, WIDE(np.float32(0.7))), {"alpha": 0.7}),
    "Celu": (lambda x: relu(x) + np.minimum(0, 2 * np.expm1(np.minimum(x, 0) / 2)), {"alpha": 2.0}),
    "Softplus": (softplus, {}), "Softsign": (lambda x: x / (1 + np.abs(x)), {}),
    "HardSigmoid": (lambda x: np.clip(x * WIDE(np.float32(0.2)) + WIDE(0.5), 0, 1), {}),
    "Selu": (lambda x: WIDE(np.float32(1.0507009873554805))
             * elu(x, WIDE(np.float32(1.6732632423543772))), {}),
    "ThresholdedRelu": (lambda x: np.where(x > WIDE(np.float32(0.1)), x, 0), {"alpha": 0.1}),
    "HardSwish": (lambda x: x * np.clip(x * WIDE(np.float32(1 / 6)) + WIDE(0.5), 0, 1), {}),
    "Sin": (np.sin, {}), "Cos": (np.cos, {}), "Atan": (np.arctan, {}), "Asinh": (np.arcsinh, {}),
    "Mish": (lambda x: x * np.tanh(softplus(x)), {}),
}
# These need an operand in their domain, which another node gives before.
DOMAIN = {
    "Sqrt": np.sqrt, "Log": np.log, "Reciprocal": lambda x: 1 / x, "Acosh": np.arccosh,
}
MERGED = {"Mul": (np.multiply, lambda m, a, b: [unbroadcast(m * b, a.shape),
                                                  unbroadcast(m * a, b.shape)])}


class Draw:
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.kind = np.float32 if self.rng.random() < 0.6 else np.float64
        self.opset = int(self.rng.integers(18, 22))
        rank = int(self.rng.integers(1, 4))
        self.shape = tuple(int(n) for n in self.rng.integers(1, 5, rank))
        self.shapes = [(1, *self.shape)]
        self.steps, self.constants = [], {}
        self.hidden = set()  # values that only the step which made them uses
        self.softmaxes = True

    def graph(self):
        for _ in range(int(self.rng.integers(2, 10))):
            self.step()
        self.finish()
        return Graph(self.shape, self.kind, self.opset, self.steps, self.constants)

    def choose(self, items):
        return items[int(self.rng.integers(len(items)))]

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def weights(self, *shape):
        scale = np.sqrt(shape[-2]) if len(shape) > 1 else 1
        drawn = (self.rng.normal(size=shape) / scale).astype(self.kind)
        return self.constant(drawn), drawn.astype(WIDE)

    def value(self):
        """The newest value half of the time."""
        seen = [i for i in range(len(self.shapes)) if i not in self.hidden]
        return seen[-1] if self.rng.random() < 0.5 else self.choose(seen)

    def add(self, op, inputs, kinds, domain="", outputs=1, which=0, **attributes):
        """A step; None where the value is too large, or an operand was."""
        if None in inputs:
            return None
        forward, backward = kinds
        shapes = [self.shapes[i] for i in inputs if not isinstance(i, str)]
        shape = forward(*(np.zeros(s, WIDE) + 1 for s in shapes)).shape
        if int(np.prod(shape)) > MOST or len(shape) > 5:
            return None
        self.steps.append(Step(op, inputs, attributes, forward, backward, domain, outputs, which))
        self.shapes.append(shape)
        return len(self.shapes) - 1

    def step(self):
        self.choose([self.unary, self.unary, self.unary, self.domain, self.matmul, self.pair,
                     self.pair, self.maximum, self.move, self.move, self.reduce, self.softmax,
                     self.winner, self.constant_pair, self.conv, self.powers, self.gate])()

    def unary(self):
        op = self.choose(sorted(UNARY))
        f, attributes = UNARY[op]
        self.add(op, [self.value()], unary(f), **attributes)

    def domain(self):
        """Of 1 + |x|, or of 1 + x^2."""
        op, x = self.choose(sorted(DOMAIN)), self.value()
        one = self.constant(np.ones((), self.kind))
        if self.rng.random() < 0.5:
            x = self.add("Abs", [x], unary(np.abs))
        else:
            x = self.add("Mul", [x, x], product(*MERGED["Mul"]))
        x = x and self.add("Add", [x, one], linear(lambda v: v + 1))
        if x is not None:
            self.add(op, [x], unary(DOMAIN[op]))

    def matmul(self):
        i = self.value()
        width, columns = self.shapes[i][-1], int(self.rng.integers(1, 5))
        if len(self.shapes[i]) < 2:
            return
        name, w = self.weights(width, columns)
        self.add("MatMul", [i, name], linear(lambda v: v @ w))

    def pair(self):
        i, j = self.value(), self.value()
        if not self.meet(i, j):
            return
        op = self.choose(["Add", "Sub", "Mul", "Mul"])
        kinds = {"Add": linear(np.add), "Sub": linear(np.subtract),
                 "Mul": product(*MERGED["Mul"])}[op]
        self.add(op, [i, j], kinds)

    def meet(self, i, j):
        try:
            np.broadcast_shapes(self.shapes[i], self.shapes[j])
        except ValueError:
            return False
        return len(self.shapes[i]) == len(self.shapes[j])

    def maximum(self):
        i, j = self.value(), self.value()
        if i != j and self.meet(i, j):
            op = self.choose(["Max", "Min"])
            self.add(op, [i, j], corners(np.maximum if op == "Max" else np.minimum))

    def constant_pair(self):
        i = self.value()
        shape = tuple(n if self.rng.random() < 0.5 else 1 for n in self.shapes[i][1:])
        name, w = self.weights(*shape)
        op = self.choose(["Add", "Sub", "Mul", "Div"])
        if op == "Div":
            self.constants[name] = (np.abs(self.constants[name]) + 0.5).astype(self.kind)
            w = self.constants[name].astype(WIDE)
        f = {"Add": lambda v: v + w, "Sub": lambda v: v - w, "Mul": lambda v: v * w,
             "Div": lambda v: v / w}[op]
        self.add(op, [i, name], linear(f))

    def powers(self):
        exponent = self.choose([2, 3])
        name = self.constant(np.array(exponent, self.kind))
        self.add("Pow", [self.value(), name], unary(lambda v: v ** exponent))

    def gate(self):
        i = self.value()
        s = self.add("Sigmoid", [i], unary(sigmoid))
        if s is None:
            return
        j = self.value()
        if j != i and self.meet(j, s): # x sigmoid(x) is one function of x
            self.add("Mul", [j, s], product(*MERGED["Mul"]))

    def move(self):
        i = self.value()
        shape = self.shapes[i]
        self.choose([self.transpose, self.reshape, self.slice, self.pad, self.concat, self.gather,
                     self.tile, self.cumsum])(i, shape)

    def transpose(self, i, shape):
        order = [0, *(int(a) + 1 for a in self.rng.permutation(len(shape) - 1))]
        self.add("Transpose", [i], linear(lambda v: v.transpose(order)), perm=order)

    def reshape(self, i, shape):
        size = int(np.prod(shape))
        rows = self.choose([n for n in range(1, size + 1) if size % n == 0])
        name = self.constant(np.array([-1, rows, size // rows]))
        self.add("Reshape", [i, name], linear(lambda v: v.reshape(1, rows, size // rows)))

    def slice(self, i, shape):
        axis = int(self.rng.integers(1, len(shape))) if len(shape) > 1 else None
        if axis is None:
            return
        start, step = int(self.rng.integers(shape[axis])), self.choose([1, 2, -1])
        cut = [slice(None)] * len(shape)
        cut[axis] = slice(start, None, step)
        end = -2**31 if step < 0 else 2**31 - 1
        names = [self.constant(np.array([n])) for n in (start, end, axis, step)]
        self.add("Slice", [i, *names], linear(lambda v: v[tuple(cut)]))

    def pad(self, i, shape):
        mode = self.choose(["constant", "reflect", "edge", "wrap"])
        if mode == "wrap" and self.opset < 19:
            return
        widths = [(0, 0)] + [tuple(int(n) for n in self.rng.integers(0, min(n, 3), 2)) for n in shape[1:]]
        pads = self.constant(np.array([w[0] for w in widths] + [w[1] for w in widths]))
        self.add("Pad", [i, pads], linear(lambda v: np.pad(v, widths, mode=mode)), mode=mode)

    def concat(self, i, shape):
        axis = len(shape) - 1
        others = [k for k, s in enumerate(self.shapes)
                  if s[:-1] == shape[:-1] and k not in self.hidden]
        j = self.choose(others)
        if axis > 0:
            self.add("Concat", [i, j], linear(lambda a, b: np.concatenate([a, b], axis))
                     if i != j else linear_twice(axis), axis=axis)

    def gather(self, i, shape):
        axis = len(shape) - 1
        if axis > 0:
            index = self.rng.integers(-shape[axis], shape[axis], int(self.rng.integers(1, 4)))
            self.add("Gather", [i, self.constant(index)],
                     linear(lambda v: np.take(v, index % shape[axis], axis)), axis=axis)

    def tile(self, i, shape):
        counts = [1] + [int(n) for n in self.rng.integers(1, 3, len(shape) - 1)]
        self.add("Tile", [i, self.constant(np.array(counts))], linear(lambda v: np.tile(v, counts)))

    def cumsum(self, i, shape):
        axis = len(shape) - 1
        if axis > 0:
            self.add("CumSum", [i, self.constant(np.array(axis))],
                     linear(lambda v: np.cumsum(v, axis)))

    def reduce(self):
        i = self.value()
        if len(self.shapes[i]) < 2:
            return
        axis, keep = int(self.rng.integers(1, len(self.shapes[i]))), int(self.rng.integers(2))
        op = self.choose(["ReduceSum", "ReduceMean"])
        f = np.sum if op == "ReduceSum" else np.mean
        self.add(op, [i, self.constant(np.array([axis]))],
                 linear(lambda v: f(v, axis=axis, keepdims=bool(keep))), keepdims=keep)

    def softmax(self):
        i = self.value()
        axis = len(self.shapes[i]) - 1
        if axis > 0:
            self.add("Softmax", [i], softmax_rule(axis), axis=self.choose([axis, -1]))

    def winner(self):
        i = self.value()
        if len(self.shapes[i]) > 1:
            axis = int(self.rng.integers(1, len(self.shapes[i])))
            self.add("ReduceMax", [i, self.constant(np.array([axis]))], winner_rule(axis), keepdims=1)

    def conv(self):
        i = self.value()
        shape = self.shapes[i]
        if len(shape) != 3 or self.kind == np.float64:
            return
        taps = int(self.rng.integers(1, 3))
        before, after = (int(n) for n in self.rng.integers(0, 2, 2))
        stride = int(self.rng.integers(1, 3))
        if shape[2] + before + after < taps:
            return
        channels = int(self.rng.integers(1, 4))
        name, w = self.weights(channels, shape[1], taps)

        def f(v):
            v = np.pad(v, [(0, 0), (0, 0), (before, after)])
            places = range(0, v.shape[2] - taps + 1, stride)
            return np.stack([np.einsum("nct,oct->no", v[:, :, p:p + taps], w) for p in places], 2)
        self.add("Conv", [i, name], linear(f), pads=[before, after], strides=[stride],
                 kernel_shape=[taps])

    def finish(self):
        """Two numbers a sample, of the last value and of the input."""
        last = max(i for i in range(len(self.shapes)) if i not in self.hidden)
        size = int(np.prod(self.shapes[last]))
        i = self.add("Reshape", [last, self.constant(np.array([-1, size]))],
                     linear(lambda v: v.reshape(1, size)))
        name, w = self.weights(size, 2)
        self.add("MatMul", [i, name], linear(lambda v: v @ w))


def linear_twice(axis):
    """A value beside itself."""
    def backward(xs, rs, m):
        first, second = np.split(m, 2, axis)
        return [first, second]
    return (lambda a, b: np.concatenate([a, b], axis)), backward
