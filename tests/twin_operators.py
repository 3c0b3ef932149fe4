"""The operators of twin.py that are no more than a formula each: drawn, and what docs/rules.md makes
of them. Those of integers, text, sequences and states, and what converters fuse, have tests of their
own, which test_twin.py lists."""

import numpy as np

import twin
from twin import WIDE, Unclear, corners, linear, product, relu, sigmoid, slope, unary, unbroadcast

MICROSOFT, ML = "com.microsoft", "ai.onnx.ml"


def chain(*kinds):
    """One after the other, each by its rule: what an operator is made of."""
    def forward(x):
        for f, _ in kinds:
            x = f(x)
        return x

    def backward(xs, rs, m):
        a, b = [xs[0]], [rs[0]]
        for f, _ in kinds:
            a.append(f(a[-1]))
            b.append(f(b[-1]))
        for k in range(len(kinds), 0, -1):
            m, = kinds[k - 1][1]([a[k - 1]], [b[k - 1]], m)
        return [m]
    return forward, backward


# ---- functions of one number ------------------------------------------------------------------------

def erf(x):
    """Its series, of which all terms have one sign."""
    x = np.clip(x, -7, 7)
    term = total = x
    for n in range(1, 200):
        term = term * 2 * x * x / (2 * n + 1)
        total = total + term
    return np.exp(-x * x) * total * 2 / np.sqrt(4 * np.arctan(WIDE(1)))


def gelu(x):
    return x * (1 + erf(x / np.sqrt(WIDE(2)))) / 2


def tanh_gelu(x):
    factor = np.sqrt(WIDE(2) / (4 * np.arctan(WIDE(1))))
    return x * (1 + np.tanh(factor * (x + WIDE(0.044715) * x ** 3))) / 2


SMOOTH = [  # and what has kinks
    ("Erf", "", erf, {}), ("Gelu", MICROSOFT, gelu, {}), ("FastGelu", MICROSOFT, tanh_gelu, {}),
    ("QuickGelu", MICROSOFT, lambda x: x * sigmoid(WIDE(np.float32(1.25)) * x), {"alpha": 1.25}),
    ("Sinh", "", np.sinh, {}), ("Cosh", "", np.cosh, {}), ("Exp", "", np.exp, {}),
]
# Of numbers in a range of theirs, and a function that goes there.
PARTIAL = {
    "Asin": (np.arcsin, "Sin"), "Acos": (np.arccos, "Sin"), "Atanh": (np.arctanh, "Sin"),
    "Tan": (np.tan, "Atan"),
}


def step_of(f, margin):
    """m dy/d, and 0 where d = 0; unclear where rounding decides."""
    def backward(xs, rs, m):
        x, r = xs[0], rs[0]
        if (margin(x) < 1e-4).any() or (margin(r) < 1e-4).any():
            raise Unclear
        with np.errstate(invalid="ignore", divide="ignore"):
            return [m * np.where(x == r, 0, (f(x) - f(r)) / (x - r))]
    return f, backward


def whole(x):
    return np.abs(x - np.rint(x))


STEPS = {
    "Floor": (np.floor, whole), "Ceil": (np.ceil, whole),
    "Round": (np.rint, lambda x: whole(x + 0.5)), "Sign": (np.sign, np.abs),
}


def same(x):
    return x


# ---- operands by corners ---------------------------------------------------------------------------

COMPARED = {"Greater": np.greater, "Less": np.less, "GreaterOrEqual": np.greater_equal,
            "LessOrEqual": np.less_equal}
JOINED = {"And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor}


def compared(f):
    def apart(a, b):
        return f(a, b).astype(WIDE)

    def backward(xs, rs, m):
        if any((np.abs(a - b) < 1e-4).any() for a in (xs[0], rs[0]) for b in (xs[1], rs[1])):
            raise Unclear
        return corners(apart)[1](xs, rs, m)
    return apart, backward


def joined(f):
    """Of truths: parts over the differences, 0 where there is none."""
    def both(a, b):
        return f(a != 0, b != 0).astype(WIDE)

    def backward(xs, rs, m):
        (a, b), (a0, b0) = xs, rs
        with np.errstate(invalid="ignore", divide="ignore"):
            first = (both(a, b) - both(a0, b) + both(a, b0) - both(a0, b0)) / (2 * (a - a0))
            second = (both(a, b) - both(a, b0) + both(a0, b) - both(a0, b0)) / (2 * (b - b0))
            return [unbroadcast(m * np.where(a == a0, 0, first), a.shape),
                    unbroadcast(m * np.where(b == b0, 0, second), b.shape)]
    return both, backward


def negated():
    return (lambda a: 1 - a), lambda xs, rs, m: [np.where(xs[0] == rs[0], 0, -m)]


def where():
    def forward(c, a, b):
        return np.where(c != 0, a, b)

    def backward(xs, rs, m):
        c, a, b = ((x + r) / 2 for x, r in zip(xs, rs))
        changes = xs[0] != rs[0]
        return [unbroadcast(np.where(changes, m * (a - b), 0), xs[0].shape),
                unbroadcast(m * c, xs[1].shape), unbroadcast(m * (1 - c), xs[2].shape)]
    return forward, backward


def quotient():
    def backward(xs, rs, m):
        (a, b), (a0, b0) = xs, rs
        return [unbroadcast(m * (1 / b + 1 / b0) / 2, a.shape),
                unbroadcast(-m * (a + a0) / 2 / (b * b0), b.shape)]
    return np.divide, backward


def prelu():
    def backward(xs, rs, m):
        (x, s), (x0, s0) = xs, rs
        mean = (s + s0) / 2
        top, low = relu(x) + relu(x0), relu(-x) + relu(-x0)
        if (top + low == 0).any():
            raise Unclear
        return [m * (top + mean * low) / (top + low),
                unbroadcast(m * (np.minimum(x, 0) + np.minimum(x0, 0)) / 2, s.shape)]
    return (lambda x, s: np.where(x < 0, s * x, x)), backward


def matrices():
    def backward(xs, rs, m):
        a, b = ((x + r) / 2 for x, r in zip(xs, rs))
        return [m @ np.swapaxes(b, -1, -2), np.swapaxes(a, -1, -2) @ m]
    return np.matmul, backward


# ---- winners, softmaxes ------------------------------------------------------------------------------

def windows(places, sign=1):
    """The largest of each list of places, or the smallest: shares of windows are added."""
    def forward(x):
        flat = sign * x.reshape(x.shape[0], x.shape[1], -1)
        return sign * np.stack([flat[..., p].max(axis=-1) for p in places], -1)

    def backward(xs, rs, m):
        x, r = (sign * v.reshape(v.shape[0], v.shape[1], -1) for v in (xs[0], rs[0]))
        out = np.zeros_like(x)
        for k, place in enumerate(places):
            for n, c in np.ndindex(x.shape[:2]):
                a, b = x[n, c, place], r[n, c, place]
                if any((np.abs(v - v.max()) < 1e-6).sum() > 1 for v in (a, b)):
                    raise Unclear
                if abs(a.max() - b.max()) < 1e-6:
                    raise Unclear
                at = a.argmax() if a.max() > b.max() else b.argmax()
                share = (a.max() - b.max()) / (a[at] - b[at])
                out[n, c, place[at]] += m[n, c, k] * share
        return [out.reshape(xs[0].shape)]
    return forward, backward


def logarithmic(xs, rs, axis):
    y, y0 = twin.softmax(xs[0], axis), twin.softmax(rs[0], axis)
    if (y == 0).any() or (y0 == 0).any():
        raise Unclear
    gap = np.log(y) - np.log(y0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(np.abs(gap) < 1e-8, (y + y0) / 2, (y - y0) / gap)
    return mean / mean.sum(axis=axis, keepdims=True)


def log_softmax(axis):
    def backward(xs, rs, m):
        return [m - logarithmic(xs, rs, axis) * m.sum(axis=axis, keepdims=True)]
    return (lambda x: np.log(twin.softmax(x, axis))), backward


def log_sum(axis):
    def forward(x):
        top = x.max(axis=axis, keepdims=True)
        return top + np.log(np.exp(x - top).sum(axis=axis, keepdims=True))
    return forward, lambda xs, rs, m: [logarithmic(xs, rs, axis) * m]


def clear_order(v):
    if v.shape[-1] > 1 and (np.diff(np.sort(v, -1), axis=-1) < 1e-6).any():
        raise Unclear


def hardmax():
    def forward(x):
        return (np.arange(x.shape[-1]) == x.argmax(-1)[..., None]).astype(WIDE)

    def backward(xs, rs, m):
        out = np.zeros(m.shape, WIDE)
        for at in np.ndindex(m.shape[:-1]):
            x, r = xs[0][at], rs[0][at]
            clear_order(x), clear_order(r)
            i, j = x.argmax(), r.argmax()
            if i != j:
                gap = (x[i] - r[i]) - (x[j] - r[j])
                out[at][i] = (m[at][i] - m[at][j]) / gap
                out[at][j] = -out[at][i]
        return [out]
    return forward, backward


def top(k, sign):
    """Values of the k largest along the last axis: sums of the first of them, and their differences."""
    def order(v):
        return np.argsort(-sign * v, -1)[..., :k]

    def backward(xs, rs, m):
        out = np.zeros(xs[0].shape, WIDE)
        for at in np.ndindex(m.shape[:-1]):
            x, r = xs[0][at], rs[0][at]
            clear_order(x), clear_order(r)
            a, b, d = order(x), order(r), x - r
            for j in range(1, k + 1):
                sent = m[at][j - 1] - (m[at][j] if j < k else 0)
                mine, others = d[a[:j]].sum(), d[b[:j]].sum()
                moved = x[a[:j]].sum() - r[b[:j]].sum()
                share = WIDE(1)
                if set(a[:j]) != set(b[:j]):
                    if abs(mine - others) < 1e-6:
                        raise Unclear
                    share = (moved - others) / (mine - others)
                out[at][a[:j]] += sent * share
                out[at][b[:j]] += sent * (1 - share)
        return [out]
    return (lambda x: np.take_along_axis(x, order(x), -1)), backward


# ---- normalisations ------------------------------------------------------------------------------------

def normal(axes, epsilon, centred):
    """The centred value times the power -1/2 of its mean square: a product of two that vary."""
    def parts(x):
        c = x - x.mean(axis=axes, keepdims=True) if centred else x
        return c, (c * c).mean(axis=axes, keepdims=True) + epsilon

    def backward(xs, rs, m):
        (c, v), (c0, v0) = parts(xs[0]), parts(rs[0])
        s, s0 = 1 / np.sqrt(v), 1 / np.sqrt(v0)
        to_c = m * (s + s0) / 2
        to_s = (m * (c + c0) / 2).sum(axis=axes, keepdims=True)
        slope_of_v = -1 / (np.sqrt(v) * np.sqrt(v0) * (np.sqrt(v) + np.sqrt(v0)))
        count = c.size / v.size
        to_c = to_c + to_s * slope_of_v / count * (c + c0)
        return [to_c - to_c.mean(axis=axes, keepdims=True) if centred else to_c]

    def forward(x):
        c, v = parts(x)
        return c / np.sqrt(v)
    return forward, backward


def over_norm(axis, p):
    """x over its norm, which follows the rules of its parts."""
    total = linear(lambda v: v.sum(axis=axis, keepdims=True))
    norm = chain(unary(np.abs), total) if p == 1 else chain(unary(np.square), total, unary(np.sqrt))

    def backward(xs, rs, m):
        b, b0 = norm[0](xs[0]), norm[0](rs[0])
        if (np.minimum(b, b0) < 1e-3).any():
            raise Unclear
        to_x, to_b = quotient()[1]([xs[0], b], [rs[0], b0], m)
        return [to_x + norm[1](xs, rs, to_b)[0]]
    return (lambda x: x / norm[0](x)), backward


class Draw(twin.Draw):
    """Graphs of all operators."""

    def step(self):
        if self.rng.random() < 0.5:
            super().step()
        else:
            self.choose([self.smooth, self.partial, self.staircase, self.clip, self.shrink,
                         self.comparison, self.comparison, self.division, self.power, self.slopes,
                         self.product_of_two, self.gemm, self.pool, self.extreme, self.rows,
                         self.order, self.normalise, self.norm, self.pieces, self.places,
                         self.picked, self.channels, self.transposed, self.several, self.einsum, self.ml,
                         self.casts])()

    def range_of(self, i):
        return len(self.shapes[i])

    # -- one operand

    def smooth(self):
        i = self.value()
        if self.rng.random() < 0.5:
            i = self.add("Tanh", [i], unary(np.tanh))
        op, domain, f, attributes = self.choose(SMOOTH)
        if op == "FastGelu" and self.kind == np.float64:
            return  # ONNX Runtime's constants are float32's
        self.add(op, [i], unary(f), domain=domain, **attributes)

    def partial(self):
        op = self.choose(sorted(PARTIAL))
        f, before = PARTIAL[op]
        bounded = {"Sin": np.sin, "Atan": np.arctan}[before]
        i = self.add(before, [self.value()], unary(bounded))
        factor = np.array(0.75, self.kind)
        i = self.add("Mul", [i, self.constant(factor)], linear(lambda v: v * WIDE(0.75)))
        self.add(op, [i], unary(f))

    def staircase(self):
        op = self.choose(sorted(STEPS))
        self.add(op, [self.value()], step_of(*STEPS[op]))

    def clip(self):
        low, high = np.sort(self.rng.normal(size=2)).astype(self.kind)
        names = [self.constant(np.array(v, self.kind)) for v in (low, high)]
        self.add("Clip", [self.value(), *names], unary(lambda v: np.clip(v, WIDE(low), WIDE(high))))

    def shrink(self):
        if self.kind == np.float64:
            return  # which ONNX Runtime computes in float32
        bias, bound = (float(np.float32(v)) for v in self.rng.uniform(0.1, 1, 2))
        self.add("Shrink", [self.value()], unary(lambda v: np.where(
            v > bound, v - WIDE(bias), np.where(v < -bound, v + WIDE(bias), 0))),
            bias=bias, lambd=bound)

    def casts(self):
        """To a wider type and back, and the like: the same numbers."""
        i, op = self.value(), self.choose(["Identity", "Dropout", "CastLike", "Cast"])
        kind = 11 if self.kind == np.float64 else 1
        like = [self.constant(np.zeros(1, self.kind))] if op == "CastLike" else []
        self.add(op, [i, *like], linear(same), **({"to": kind} if op == "Cast" else {}))

    # -- truths

    def truth(self):
        """A hidden value: 1 where two values, or a value and a constant, compare so."""
        i, op = self.value(), self.choose(sorted(COMPARED))
        j = self.value()
        if i != j and self.meet(i, j) and self.rng.random() < 0.5:
            made = self.add(op, [i, j], compared(COMPARED[op]))
        else:
            bound = self.rng.normal(size=()).astype(self.kind)
            name, f = self.constant(bound), COMPARED[op]
            made = self.add(op, [i, name], step_of(
                lambda v: f(v, WIDE(bound)).astype(WIDE), lambda v: np.abs(v - WIDE(bound))))
        return self.hide(made)

    def hide(self, made):
        if made is not None:
            self.hidden.add(made)
        return made

    def comparison(self):
        c = self.truth()
        if c is None:
            return
        kind = self.rng.integers(4)
        if kind == 1:
            c = self.hide(self.add("Not", [c], negated()))
        elif kind == 2:
            other, op = self.truth(), self.choose(sorted(JOINED))
            if other is not None and self.meet(c, other):
                c = self.hide(self.add(op, [c, other], joined(JOINED[op])))
        elif kind == 3:
            i, j = self.value(), self.value()
            if i != j and self.meet(i, j) and self.meet(c, i) and self.meet(c, j):
                self.add("Where", [c, i, j], where())
                return
        if c is not None:
            self.add("Cast", [c], linear(same), to=11 if self.kind == np.float64 else 1)

    # -- two operands

    def above(self, i):
        """1 + |x|."""
        i = self.add("Abs", [i], unary(np.abs))
        one = self.constant(np.ones((), self.kind))
        return self.add("Add", [i, one], linear(lambda v: v + 1))

    def division(self):
        i, j = self.value(), self.value()
        if i == j or not self.meet(i, j):
            return
        below = self.above(j)
        if below is not None:
            self.add("Div", [i, below], quotient())

    def power(self):
        i, j = self.value(), self.value()
        if i == j or not self.meet(i, j):
            return
        base, small = self.above(i), self.add("Tanh", [j], unary(np.tanh))
        if base is not None:
            self.add("Pow", [base, small], corners(np.power))

    def slopes(self):
        i, j = self.value(), self.value()
        if i != j and self.shapes[i] == self.shapes[j]:
            self.add("PRelu", [i, j], prelu())

    def several(self):
        i, j, k = self.value(), self.value(), self.value()
        if self.meet(i, j) and self.meet(i, k) and self.meet(j, k) and len({i, j, k}) == 3:
            op = self.choose(["Sum", "Mean"])
            self.add(op, [i, j, k], linear(lambda a, b, c: (a + b + c) / (3 if op == "Mean" else 1)))

    def product_of_two(self):
        """No softmax in it: that of attention has a rule of its own."""
        i, j = self.value(), self.value()
        if i == j or self.range_of(i) != 3 or self.range_of(j) != 3 or any(
                step.op == "Softmax" for step in self.steps):
            return
        flip = [0, 2, 1]
        if self.shapes[j][1] != self.shapes[i][2]:
            j = self.add("Transpose", [j], linear(lambda v: v.transpose(flip)), perm=flip)
        if self.shapes[j][1] == self.shapes[i][2] and i != j:
            self.softmaxes = False
            self.add("MatMul", [i, j], matrices())

    def softmax(self):
        if self.softmaxes:
            super().softmax()

    def gemm(self):
        i = self.value()
        if self.range_of(i) != 2:
            return
        width, columns = self.shapes[i][1], int(self.rng.integers(1, 4))
        flip = int(self.rng.integers(2))
        name, w = self.weights(*((columns, width) if flip else (width, columns)))
        bias, b = self.weights(columns)
        alpha, beta = 0.5, 2.0
        w = w.T if flip else w
        self.add("Gemm", [i, name, bias], linear(lambda v: v @ w * WIDE(alpha) + b * WIDE(beta)),
                 transB=flip, alpha=alpha, beta=beta)

    # -- windows and channels

    def pool(self):
        i = self.value()
        shape = self.shapes[i]
        if len(shape) != 3:
            return
        if self.rng.random() < 0.3:
            op = self.choose(["GlobalAveragePool", "GlobalMaxPool"])
            kinds = (linear(lambda v: v.mean(axis=2, keepdims=True)) if op == "GlobalAveragePool"
                     else windows([np.arange(shape[2])]))
            self.add(op, [i], kinds)
            return
        taps, stride = (int(n) for n in self.rng.integers(1, 4, 2))
        before, after = (int(n) for n in self.rng.integers(0, max(taps, 1), 2))
        if shape[2] + before + after < taps or shape[2] < taps:
            return
        starts = range(0, shape[2] + before + after - taps + 1, stride)
        places = [np.array([p for p in range(s - before, s - before + taps) if 0 <= p < shape[2]])
                  for s in starts]
        if any(len(p) == 0 for p in places):
            return
        attributes = {"kernel_shape": [taps], "strides": [stride], "pads": [before, after]}
        if self.rng.random() < 0.5:
            self.add("MaxPool", [i], windows(places), **attributes)
            return
        padded = int(self.rng.integers(2))
        self.add("AveragePool", [i], linear(lambda v: np.stack(
            [v[..., p].sum(-1) / (taps if padded else len(p)) for p in places], -1)),
            count_include_pad=padded, **attributes)

    def extreme(self):
        i = self.value()
        if self.range_of(i) == 3:
            length = self.shapes[i][2]
            self.add("ReduceMin", [i, self.constant(np.array([2]))],
                     windows([np.arange(length)], -1), keepdims=1)

    def channels(self):
        i = self.value()
        shape = self.shapes[i]
        if len(shape) < 2:
            return
        wide = (1, shape[1], *[1] * (len(shape) - 2))
        scale, bias, mean, spread = (self.rng.normal(size=shape[1]).astype(self.kind)
                                     for _ in range(4))
        spread = np.abs(spread) + self.kind(0.5)
        names = [self.constant(v) for v in (scale, bias, mean, spread)]
        s, b, c, v = (a.astype(WIDE).reshape(wide) for a in (scale, bias, mean, spread))
        epsilon = WIDE(np.float32(1e-3))
        self.add("BatchNormalization", [i, *names],
                 linear(lambda x: (x - c) / np.sqrt(v + epsilon) * s + b), epsilon=1e-3)

    def transposed(self):
        i = self.value()
        shape = self.shapes[i]
        if len(shape) != 3 or self.kind == np.float64:
            return
        channels, taps, stride = (int(n) for n in self.rng.integers(1, 3, 3))
        name, w = self.weights(shape[1], channels, taps)

        def f(v):
            out = np.zeros((1, channels, (shape[2] - 1) * stride + taps), WIDE)
            for p in range(shape[2]):
                out[:, :, p * stride:p * stride + taps] += np.einsum("nc,cot->not", v[:, :, p], w)
            return out
        self.add("ConvTranspose", [i, name], linear(f), strides=[stride], kernel_shape=[taps])

    # -- along an axis

    def rows(self):
        i = self.value()
        axis = self.range_of(i) - 1
        if axis < 1:
            return
        op = self.choose(["LogSoftmax", "ReduceLogSumExp", "Hardmax"])
        if op == "ReduceLogSumExp":
            self.add(op, [i, self.constant(np.array([axis]))], log_sum(axis), keepdims=1)
        else:
            self.add(op, [i], log_softmax(axis) if op == "LogSoftmax" else hardmax(), axis=axis)

    def order(self):
        i = self.value()
        axis = self.range_of(i) - 1
        if axis > 0:
            largest = int(self.rng.integers(2))
            k = int(self.rng.integers(1, self.shapes[i][axis] + 1))
            self.add("TopK", [i, self.constant(np.array([k]))], top(k, 1 if largest else -1),
                     outputs=2, axis=axis, largest=largest)

    def normalise(self):
        i = self.value()
        shape = self.shapes[i]
        if len(shape) < 2:
            return
        op = self.choose(["LayerNormalization", "InstanceNormalization", "LpNormalization"])
        epsilon, kind = np.float32(1e-2), self.kind
        if op == "LayerNormalization":
            name = self.constant(np.ones(shape[-1], kind))
            self.add(op, [i, name], normal((len(shape) - 1,), WIDE(epsilon), True), axis=-1,
                     epsilon=float(epsilon))
        elif op == "InstanceNormalization" and len(shape) > 2:
            names = [self.constant(v) for v in (np.ones(shape[1], kind), np.zeros(shape[1], kind))]
            self.add(op, [i, *names], normal(tuple(range(2, len(shape))), WIDE(epsilon), True),
                     epsilon=float(epsilon))
        elif op == "LpNormalization":
            p = int(self.rng.integers(1, 3))
            self.add(op, [i], over_norm(len(shape) - 1, p), axis=-1, p=p)

    def norm(self):
        i = self.value()
        axis = self.range_of(i) - 1
        if axis < 1:
            return
        op = self.choose(["ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum"])
        total = linear(lambda v: v.sum(axis=axis, keepdims=True))
        square, root = unary(np.square), unary(np.sqrt)
        kinds = {"ReduceL1": chain(unary(np.abs), total), "ReduceL2": chain(square, total, root),
                 "ReduceSumSquare": chain(square, total), "ReduceLogSum": chain(total, unary(np.log))}
        if op == "ReduceLogSum":
            i = self.above(i)
        if i is not None:
            self.add(op, [i, self.constant(np.array([axis]))], kinds[op], keepdims=1)

    # -- values that move

    def pieces(self):
        i = self.value()
        shape = self.shapes[i]
        axis = len(shape) - 1
        if axis < 1:
            return
        op = self.choose(["Split", "Squeeze", "Unsqueeze", "Flatten", "Expand", "Trilu"])
        if op == "Split" and shape[axis] > 1:
            cut = int(self.rng.integers(1, shape[axis]))
            sizes = self.constant(np.array([cut, shape[axis] - cut]))
            which = int(self.rng.integers(2))
            self.add(op, [i, sizes], linear(lambda v: np.split(v, [cut], axis)[which]),
                     outputs=2, which=which, axis=axis)
        elif op == "Squeeze" and shape[axis] == 1 and axis > 1:
            self.add(op, [i, self.constant(np.array([axis]))], linear(lambda v: v[..., 0]))
        elif op == "Unsqueeze":
            self.add(op, [i, self.constant(np.array([axis]))], linear(lambda v: np.expand_dims(v, axis)))
        elif op == "Flatten":
            self.add(op, [i], linear(lambda v: v.reshape(1, -1)), axis=1)
        elif op == "Expand":
            target = [1] * len(shape)
            if shape[axis] == 1:
                target[axis] = 3
            wide = np.broadcast_shapes(shape, target)
            self.add(op, [i, self.constant(np.array(target))],
                     linear(lambda v: np.broadcast_to(v, wide).copy()))
        elif op == "Trilu" and axis > 1:
            shift, upper = int(self.rng.integers(-1, 2)), int(self.rng.integers(2))
            f = np.triu if upper else np.tril
            self.add(op, [i, self.constant(np.array(shift))], linear(lambda v: f(v, shift)),
                     upper=upper)

    def places(self):
        i = self.value()
        shape = self.shapes[i]
        axis = len(shape) - 1
        op = self.choose(["DepthToSpace", "SpaceToDepth", "ReverseSequence", "Resize"])
        if op == "DepthToSpace" and len(shape) == 4 and shape[1] % 4 == 0:
            def apart(v):
                n, c, h, w = v.shape
                v = v.reshape(n, 2, 2, c // 4, h, w).transpose(0, 3, 4, 1, 5, 2)
                return v.reshape(n, c // 4, 2 * h, 2 * w)
            self.add(op, [i], linear(apart), blocksize=2)
        elif op == "SpaceToDepth" and len(shape) == 4 and not (shape[2] % 2 or shape[3] % 2):
            def together(v):
                n, c, h, w = v.shape
                v = v.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 3, 5, 1, 2, 4)
                return v.reshape(n, 4 * c, h // 2, w // 2)
            self.add(op, [i], linear(together), blocksize=2)
        elif op == "ReverseSequence" and len(shape) == 3:
            lengths = self.rng.integers(1, shape[2] + 1, shape[1])

            def reverse(v):
                v = v.copy()
                for row, n in enumerate(lengths):
                    v[:, row, :n] = v[:, row, :n][:, ::-1]
                return v
            # rows and their places in front, as the operator wants them
            i = self.hide(self.add("Transpose", [i], linear(lambda v: v.transpose(1, 2, 0)),
                                   perm=[1, 2, 0]))
            i = self.hide(self.add(op, [i, self.constant(lengths)], linear(
                lambda v: reverse(v.transpose(2, 0, 1)).transpose(1, 2, 0)),
                batch_axis=0, time_axis=1))
            self.add("Transpose", [i], linear(lambda v: v.transpose(2, 0, 1)), perm=[2, 0, 1])
        elif op == "Resize" and axis == 2 and self.kind == np.float32:
            scales = np.ones(3, np.float32)
            scales[2] = 2
            names = ["", self.constant(scales)]
            self.add(op, [i, *names], linear(lambda v: np.repeat(v, 2, axis=2)), mode="nearest",
                     coordinate_transformation_mode="asymmetric", nearest_mode="floor")

    def picked(self):
        """Rows by number, the sample's axis moved out of the way."""
        i = self.value()
        shape = self.shapes[i]
        if len(shape) != 3:
            return
        index = self.rng.integers(0, shape[1], (int(self.rng.integers(1, 4)), 1))

        def flip(v):
            return v.transpose(1, 0, 2)
        i = self.hide(self.add("Transpose", [i], linear(flip), perm=[1, 0, 2]))
        i = self.hide(self.add("GatherND", [i, self.constant(index)],
                               linear(lambda v: v[index[:, 0]])))
        self.add("Transpose", [i], linear(flip), perm=[1, 0, 2])

    def einsum(self):
        i = self.value()
        if self.range_of(i) < 2:
            return
        letters = "nabcd"[:self.range_of(i)]
        name, w = self.weights(self.shapes[i][-1], int(self.rng.integers(1, 4)))
        equation = f"{letters},{letters[-1]}z->{letters[:-1]}z"
        self.add("Einsum", [i, name], linear(lambda v: np.einsum(equation, v, w)), equation=equation)

    def ml(self):
        i = self.value()
        if self.range_of(i) != 2 or self.kind == np.float64:
            return
        width = self.shapes[i][1]
        offset, scale = (self.rng.normal(size=width).astype(np.float32) for _ in range(2))
        if self.rng.random() < 0.5:
            o, s = offset.astype(WIDE), scale.astype(WIDE)
            self.add("Scaler", [i], linear(lambda v: (v - o) * s), domain=ML, offset=offset.tolist(),
                     scale=scale.tolist())
        else:
            w = np.stack([offset, scale])
            wide = w.astype(WIDE)
            self.add("LinearRegressor", [i], linear(lambda v: v @ wide.T + 1), domain=ML, targets=2,
                     coefficients=w.reshape(-1).tolist(), intercepts=[1.0, 1.0])
