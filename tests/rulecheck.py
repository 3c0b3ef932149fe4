"""What every rule has to hold, checked on a model of one operator between its inputs and a random
linear layer, which makes the multipliers of the operator's output random."""

import itertools

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SAMPLES = 2
REFERENCES = 3
TARGETS = 3
OPSET = 18


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def by_onnxruntime(model, inputs):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, inputs)))


class Rule:
    """A model of `nodes` over `inputs` (name: shape without the batch) and `constants`, whose
    output `y` goes through a random linear layer to `out` [N, TARGETS]. `x` are samples, `r`
    references, [rows, shape]. `forward` runs a model where ONNX Runtime has no kernel."""

    def __init__(self, nodes, inputs, constants=None, dtype=np.float32, low=-2, high=2, seed=0,
                 size=None, domains=(), forward=None):
        self.rng = np.random.default_rng(seed)
        self.dtype = dtype
        self.inputs = inputs
        self.forward = forward or by_onnxruntime
        self.x = self.draw(SAMPLES, low, high)
        self.r = self.draw(REFERENCES, low, high)
        for name in inputs:  # equal in places
            same = self.rng.random(self.x[name][0].shape) < 0.2
            self.r[name][0][same] = self.x[name][0][same]
        self.made_of = nodes, dict(constants or {}), domains
        self.model = self.build(nodes, dict(constants or {}), domains)

    def draw(self, rows, low, high):
        return {name: self.rng.uniform(low, high, (rows, *shape)).astype(self.dtype)
                for name, shape in self.inputs.items()}

    def bent(self):
        """The model between a layer that mixes the values of each input and one of Tanh: the
        variance of players that arrives at `nodes` is another than the square of what differs, and
        a multiplier of it comes back. Values stay between the least and the greatest."""
        nodes, constants, domains = self.made_of
        before, constants = [], dict(constants)
        for name, shape in self.inputs.items():
            size = int(np.prod(shape))
            mix = self.rng.random((size, size)) * (self.rng.random((size, size)) < 3 / max(size, 3))
            mix += np.eye(size)
            constants |= {f"{name}_mix": (mix / mix.sum(axis=0)).astype(self.dtype),
                          f"{name}_row": np.array([-1, size]), f"{name}_own": np.array([-1, *shape])}
            before += [node("Reshape", f"{name} {name}_row", f"{name}_flat"),
                       node("MatMul", f"{name}_flat {name}_mix", f"{name}_mixed"),
                       node("Reshape", f"{name}_mixed {name}_own", f"{name}_in")]
        renamed = []
        for n in nodes:
            copy = onnx.NodeProto()
            copy.CopyFrom(n)
            copy.input[:] = [f"{i}_in" if i in self.inputs else i for i in n.input]
            copy.output[:] = ["y_bare" if o == "y" else o for o in n.output]
            renamed.append(copy)
        after = [node("Tanh", "y_bare", "y")]
        return self.build([*before, *renamed, *after], constants, domains)

    def build(self, nodes, constants, domains):
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        values = [helper.make_tensor_value_info(name, kind, ["N", *shape])
                  for name, shape in self.inputs.items()]
        opsets = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(*d) for d in domains)]

        def make(extra, output):
            initializers = [numpy_helper.from_array(np.asarray(v), k)
                            for k, v in constants.items()]
            graph = helper.make_graph([*nodes, *extra], "rule", values, [output], initializers)
            return helper.make_model(graph, opset_imports=opsets, ir_version=9)

        bare = make([], helper.make_tensor_value_info("y", kind, None))
        size = self.forward(bare, self.x)["y"].size // SAMPLES
        self.head = self.rng.normal(size=(size, TARGETS)).astype(self.dtype)
        constants["head"] = self.head
        constants["row"] = np.array([-1, size])
        extra = [node("Reshape", "y row", "flat"), node("MatMul", "flat head", "out")]
        model = make(extra, helper.make_tensor_value_info("out", kind, ["N", TARGETS]))
        onnx.checker.check_model(model)
        return model

    def terms(self):
        return self.head.shape[0] + sum(int(np.prod(s)) for s in self.inputs.values())

    def tolerance(self, *values):
        """Rounding: epsilon times the terms of the sums times the largest of them."""
        largest = max(float(np.abs(v).max(initial=0)) for v in values)
        return np.finfo(self.dtype).eps * (8 + self.terms()) * max(largest, 1e-3) * 4


def explained(rule, explain, run, x, r, *options):
    path = explain(rule.model, r, "--target=all", *options)
    return run(path, x)


def sum_of(outputs, inputs):
    """Sum of the SHAP values [N, TARGETS]."""
    total = 0
    for name in inputs:
        phi = outputs[f"{name}_shap"]
        total = total + phi.reshape(*phi.shape[:2], -1).sum(axis=2, dtype=np.float64)
    return total


def check_reference(rule, explain, run, x, one, prediction, base):
    """Completeness for pairs of the samples with one reference; what was computed."""
    outputs = explained(rule, explain, run, x, one)
    np.testing.assert_array_equal(outputs["out"], prediction)
    phis = [outputs[f"{name}_shap"] for name in rule.inputs]
    assert all(np.isfinite(phi).all() for phi in phis)
    gap = prediction - base - sum_of(outputs, rule.inputs)
    # The layer's terms may cancel: what counts is their size.
    size = np.abs(rule.head).max() * max(np.abs(v).max() for v in (prediction, base))
    assert np.abs(gap).max() <= rule.tolerance(prediction, base, size, *phis)
    return outputs


def check_one(rule, explain, run, row=0):
    """The same for one of the rule's references, alone: for the many options of an operator."""
    one = {name: value[row:row + 1] for name, value in rule.r.items()}
    prediction, base = run(rule.model, rule.x)["out"], run(rule.model, one)["out"][0]
    return check_reference(rule, explain, run, rule.x, one, prediction, base)


def check_pairs(rule, explain, run, x=None, r=None):
    """Completeness for each pair of sample and reference, and that all references at once give
    the mean. Returns the SHAP values for each reference."""
    x, r = x or rule.x, r or rule.r
    rows = len(next(iter(r.values())))
    prediction, base = run(rule.model, x)["out"], run(rule.model, r)["out"]
    singles = []
    for i in range(rows):
        one = {name: value[i:i + 1] for name, value in r.items()}
        singles.append(check_reference(rule, explain, run, x, one, prediction, base[i]))
    together = explained(rule, explain, run, x, r)
    for name in rule.inputs:
        mean = np.mean([s[f"{name}_shap"] for s in singles], axis=0, dtype=np.float64)
        worst = max(np.abs(s[f"{name}_shap"]).max() for s in singles)
        assert np.abs(together[f"{name}_shap"] - mean).max() <= rule.tolerance(worst)
        assert together[f"{name}_shap"].dtype == rule.dtype
    return singles


def check_same(rule, explain, run):
    """Nothing is attributed where the sample is the reference."""
    r = {name: value[:1] for name, value in rule.x.items()}
    outputs = explained(rule, explain, run, rule.x, r)
    for name in rule.inputs:
        assert (outputs[f"{name}_shap"][0] == 0).all()


def check_near(rule, explain, run):
    """A reference next to the sample: still complete, still bounded."""
    sign = rule.rng.choice([-1, 1], size=2)
    eps = np.finfo(rule.dtype).eps
    r = {name: np.stack([value[0] * (1 + sign[0] * 16 * eps), value[0] + sign[1] * 1e-3])
         .astype(rule.dtype) for name, value in rule.x.items()}
    x = {name: value[:1] for name, value in rule.x.items()}
    check_pairs(rule, explain, run, x, r)


def check_second(rule, explain, run, *options):
    """The higher orders: sum(m_x dx + Q_x V_x) == m_y dy + Q_y V_y for the rule's nodes, as what is
    around them keeps it. The reference itself gets nothing."""
    one = {name: value[:1] for name, value in rule.r.items()}
    x = {name: np.concatenate([rule.x[name][:1], one[name]]) for name in rule.inputs}
    for order in (2, 3):
        made = explain(rule.bent(), one, "--target=all", f"--order={order}", *options)
        check_order(rule, run(made, x))


def check_order(rule, out):
    phis = [out[f"{name}_shap"] for name in rule.inputs]
    assert all(np.isfinite(phi).all() and (phi[1] == 0).all() for phi in phis)
    gap = out["out"] - out["base_value"] - sum_of(out, rule.inputs)
    size = np.abs(rule.head).max()
    assert np.abs(gap).max() <= 2 * rule.tolerance(out["out"], out["base_value"], size, *phis)


def check(rule, explain, run):
    check_same(rule, explain, run)
    check_near(rule, explain, run)
    check_second(rule, explain, run)
    return check_pairs(rule, explain, run)


def changed_one_by_one(rule, run, sample, reference):
    """What f gains when one value of the input changes from reference to sample: the SHAP values
    of a function that is a sum over its inputs."""
    names = list(rule.inputs)
    rows = []
    for name in names:
        for i in range(reference[name].size):
            row = {k: v.copy() for k, v in reference.items()}
            row[name].reshape(-1)[i] = sample[name].reshape(-1)[i]
            rows.append(row)
    batch = {k: np.stack([row[k] for row in rows]) for k in names}
    base = run(rule.model, {k: v[None] for k, v in reference.items()})["out"]
    gains = run(rule.model, batch)["out"] - base
    out, start = {}, 0
    for name in names:
        size = reference[name].size
        out[name] = gains[start:start + size].T.reshape(TARGETS, *reference[name].shape)
        start += size
    return out, base


def check_additive(rule, explain, run):
    """A rule of a sum over the inputs (linear operators) is exact."""
    singles = check(rule, explain, run)
    for s, i in itertools.product(range(SAMPLES), range(REFERENCES)):
        sample = {k: v[s] for k, v in rule.x.items()}
        reference = {k: v[i] for k, v in rule.r.items()}
        exact, base = changed_one_by_one(rule, run, sample, reference)
        for name in rule.inputs:
            phi = singles[i][f"{name}_shap"][s]
            assert phi.shape == exact[name].shape
            worst = np.abs(phi - exact[name]).max()
            assert worst <= rule.tolerance(phi, base, np.abs(rule.head).max() * 4), name


def ints(*values):
    return np.array(values, np.int64)


def floats(*shape, seed=7, low=-2, high=2):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


FLOAT = TensorProto.FLOAT
