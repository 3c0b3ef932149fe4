"""LSTM, GRU and RNN, which are explained unrolled over the steps of their sequence, or, where they
are long, as a whole: every combination of attributes and inputs is complete per pair, which
shows that the steps compute what the operator does; both ways agree; and the values are near Shapley
values."""

import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from exact_nets import Net, agreement, exact
from rulecheck import Rule, check, ints, node

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
FUNCTIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
# Activations with their numbers of parameters.
PARAMETERS = {"Relu": 0, "Tanh": 0, "Sigmoid": 0, "Softsign": 0, "Softplus": 0, "Elu": 1,
              "LeakyRelu": 1, "ThresholdedRelu": 1, "Affine": 2, "ScaledTanh": 2, "HardSigmoid": 2}
# Those of which states of many steps are bounded, or grow slowly where there is one gate.
BOUNDED = ["Tanh", "Sigmoid", "Softsign", "ScaledTanh", "HardSigmoid"]
CHANNELS, HIDDEN = 3, 4


def weights(rng, op, directions, channels=CHANNELS, hidden=HIDDEN, size=0.6):
    rows = GATES[op] * hidden
    shapes = {"W": (rows, channels), "R": (rows, hidden), "B": (2 * rows,), "P": (3 * hidden,)}
    return {name: (size * rng.normal(size=(directions, *shape))).astype(np.float32)
            for name, shape in shapes.items() if name != "P" or op == "LSTM"}


def some_activations(rng, op, directions, long):
    some = BOUNDED if long and op != "RNN" else list(PARAMETERS)
    names = [str(rng.choice(some)) for _ in range(directions * len(FUNCTIONS[op]))]
    alphas = [name for name in names if PARAMETERS[name] > 0]
    betas = [name for name in names if PARAMETERS[name] > 1]
    attributes = {"activations": names}
    if alphas:
        attributes["activation_alpha"] = [float(a) for a in rng.uniform(0.2, 0.9, len(alphas))]
    if betas:
        attributes["activation_beta"] = [float(b) for b in rng.uniform(0.2, 0.9, len(betas))]
    return attributes


class Case:
    """A node with random attributes over x [N, T, C] and states [N, D, H], whose outputs `y`
    joins; some are left out. A long one is taken as a whole, unless lengths are counted from x,
    which `counted` has it do without a change."""

    def __init__(self, seed, long=False, counted=False, more=0):
        rng = self.rng = np.random.default_rng(seed)
        self.op = ["LSTM", "GRU", "RNN"][seed % 3]
        self.long, self.counted = long, counted
        self.steps = int(rng.integers(8, 20)) + more if long else int(rng.integers(1, 5))
        direction = str(rng.choice(["forward", "reverse", "bidirectional"]))
        self.directions = 2 if direction == "bidirectional" else 1
        self.attributes = {"hidden_size": HIDDEN, "direction": direction}
        self.constants = weights(rng, self.op, self.directions)
        self.inputs = {"x": (self.steps, CHANNELS)}
        self.nodes = [node("Transpose", "x", "t", perm=[1, 0, 2])]
        names = ["t", "W", "R", self.maybe("B"), "", "", "", ""]
        self.add_attributes()
        names[4] = self.lengths()
        names[5] = self.state("h0")
        if self.op == "LSTM":
            names[6], names[7] = self.state("c0"), self.maybe("P", 0.7 if not long else 0.3)
        while names[-1] == "":
            names.pop()
        self.add_node(names)

    def chance(self, probability=0.5):
        return self.rng.random() < probability

    def maybe(self, name, probability=0.7):
        if self.chance(probability):
            return name
        del self.constants[name]
        return ""

    def add_attributes(self):
        if self.chance(0.3):
            self.attributes["clip"] = float(self.rng.uniform(0.3, 1))
        if self.chance(0.5):
            self.attributes |= some_activations(self.rng, self.op, self.directions, self.long)
        grows = self.long and "activations" in self.attributes
        if self.op == "LSTM" and self.chance(0.3) and not grows:
            self.attributes["input_forget"] = 1
        if self.op == "GRU" and self.chance():
            self.attributes["linear_before_reset"] = 1

    def lengths(self):
        """None, the same for all sequences, or counted from the input."""
        kind = self.rng.integers(3 if self.long else 4)
        if kind < 2 and not self.counted:
            return ""
        if kind < 3:
            length = self.steps if kind < 2 else self.rng.integers(self.steps + 1)
            self.constants |= {"zero": ints(0), "one": ints(1),
                               "length": np.array([length], np.int32)}
            self.nodes += [node("Shape", "x", "all"), node("Slice", "all zero one", "n"),
                           node("Expand", "length n", "known")]
        if kind == 3 or self.counted:
            self.constants |= {"edge": np.float32(99 if kind < 3 else 0.3), "axes": ints(1, 2)}
            self.nodes += [node("Slice", "x first_channel last_channel axis", "c"),
                           node("Greater", "c edge", "above"),
                           node("Cast", "above", "float", to=TensorProto.FLOAT),
                           node("ReduceSum", "float axes", "count", keepdims=0),
                           node("Cast", "count", "counted", to=TensorProto.INT32)]
            self.constants |= {"first_channel": ints(0), "last_channel": ints(1), "axis": ints(2)}
        if kind < 3 and self.counted:
            self.nodes.append(node("Add", "known counted", "lengths"))
            return "lengths"
        return "known" if kind == 2 else "counted"

    def state(self, name):
        """None, an input, a constant for all samples, or zeros as exporters write them."""
        kind = self.rng.integers(4)
        if kind == 0:
            return ""
        if kind == 1:
            self.inputs[name] = (self.directions, HIDDEN)
            self.nodes.append(node("Transpose", name, f"{name}t", perm=[1, 0, 2]))
            return f"{name}t"
        value = np.zeros((1, 1, 1)) if kind == 2 else self.rng.normal(
            size=(self.directions, 1, HIDDEN))
        self.constants |= {name: value.astype(np.float32), "batch_axis": np.array(0),
                           "unsqueezed": ints(0), "directions": ints(self.directions),
                           "hidden": ints(HIDDEN)}
        self.nodes += [node("Shape", "x", f"{name}_shape"),
                       node("Gather", f"{name}_shape batch_axis", f"{name}_batch"),
                       node("Unsqueeze", f"{name}_batch unsqueezed", f"{name}_n"),
                       node("Concat", f"directions {name}_n hidden", f"{name}_dims", axis=0),
                       node("Expand", f"{name} {name}_dims", f"{name}t")]
        return f"{name}t"

    def add_node(self, names):
        count = 3 if self.op == "LSTM" else 2
        used = [i for i in range(count) if self.chance(0.6)] or [int(self.rng.integers(count))]
        outputs = [f"out{i}" if i in used else "" for i in range(max(used) + 1)]
        self.nodes.append(helper.make_node(self.op, names, outputs, **self.attributes))
        self.constants["rows"] = ints(0, -1)
        for i in used:
            perm = [2, 0, 1, 3] if i == 0 else [1, 0, 2]
            self.nodes += [node("Transpose", f"out{i}", f"front{i}", perm=perm),
                           node("Reshape", f"front{i} rows", f"flat{i}")]
        flat = " ".join(f"flat{i}" for i in used)
        self.nodes.append(node("Concat", flat, "y", axis=1))

    def rule(self, seed):
        return Rule(self.nodes, self.inputs, self.constants, seed=seed, low=-1.5, high=1.5)


@pytest.mark.parametrize("seed", range(40))
def test_any_attributes(seed, explain, run):
    check(Case(seed).rule(seed), explain, run)


@pytest.mark.parametrize("activations", [["Sigmoid", "Tanh", "Tanh"], ["Affine", "Tanh", "Affine"]])
def test_peepholes_of_coupled_gates(activations, explain, run):
    rng, size = np.random.default_rng(4), 2
    constants = {"W": rng.normal(size=(1, 4 * size, 3)), "R": rng.normal(size=(1, 4 * size, size)),
                 "P": rng.normal(size=(1, 3 * size))}
    constants = {k: v.astype(np.float32) / 2 for k, v in constants.items()} | {"rows": ints(0, -1)}
    affine = {"activation_alpha": [0.5, 0.7], "activation_beta": [0.1, 0.2]} if "Affine" in activations else {}
    nodes = [node("Transpose", "x", "t", perm=[1, 0, 2]),
             helper.make_node("LSTM", ["t", "W", "R", "", "", "", "", "P"], ["h"], hidden_size=size,
                              input_forget=1, activations=activations, **affine),
             node("Transpose", "h", "f", perm=[2, 0, 1, 3]), node("Reshape", "f rows", "y")]
    check(Rule(nodes, {"x": (4, 3)}, constants), explain, run)


@pytest.mark.parametrize("seed", range(16))
def test_long(seed, explain, run):
    check(Case(seed, long=True).rule(seed), explain, run)


def scans(path):
    return [n for n in onnx.load(path).graph.node if n.op_type == "Scan"]


WAYS = ["--chunk=1", "--cache=none", "--cache=file", "--splits=1", "--method=gradient",
        "--method=integrated-gradients"]


@pytest.mark.parametrize("option", ["--no-functions", *WAYS])
@pytest.mark.parametrize("seed", range(6))
def test_long_as_unrolled(seed, option, explain, run):
    """A layer whose lengths might vary is unrolled: the same values."""
    more = 60 * (option == "--no-functions")  # up to 64 are unrolled there in any case
    case = Case(seed, long=True, more=more)
    rule, other = case.rule(seed), Case(seed, long=True, counted=True, more=more).rule(seed)
    whole = explain(rule.model, rule.r, "--target=all", option)
    unrolled = explain(other.model, rule.r, "--target=all", option)
    if option == "--no-functions":
        assert len(scans(whole)) >= case.directions and not scans(unrolled)
    a, b = run(whole, rule.x), run(unrolled, rule.x)
    for name in rule.inputs:
        phi, other = a[f"{name}_shap"], b[f"{name}_shap"]
        assert np.abs(phi - other).max() <= 4e-6 * np.abs(other).max()


def of_free_length(op, direction, states, steps="T"):
    """x [N, T, C] to out [N, 3], from the last states or the mean of all."""
    rng = np.random.default_rng(3)
    directions = 2 if direction == "bidirectional" else 1
    own = {"GRU": {"linear_before_reset": 1}, "RNN": {"activations": ["Tanh"] * directions}}
    constants = {k: v for k, v in weights(rng, op, directions).items() if k != "P"}
    constants |= {"axis": ints(0), "row": ints(-1, directions * HIDDEN),
                  "head": rng.normal(size=(directions * HIDDEN, 3)).astype(np.float32)}
    nodes = [node("Transpose", "x", "t", perm=[1, 0, 2]),
             helper.make_node(op, ["t", "W", "R", "B"], ["", "h"] if states else ["y"],
                              hidden_size=HIDDEN, direction=direction, **own.get(op, {}))]
    if not states:
        nodes.append(node("ReduceMean", "y axis", "h", keepdims=0))
    nodes += [node("Transpose", "h", "n", perm=[1, 0, 2]), node("Reshape", "n row", "f"),
              node("MatMul", "f head", "out")]
    graph = helper.make_graph(
        nodes, "free", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", steps, CHANNELS])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("states", [True, False])
def test_free_length(op, direction, states, explain, run):
    """Sequences of any length against a filled one of the same: as in a model of that length."""
    path = explain(of_free_length(op, direction, states), None, "--references=fill:0.5",
                   "--target=all", "--gap")
    for steps in (1, 3, 12):
        x = np.random.default_rng(steps).normal(size=(2, steps, CHANNELS)).astype(np.float32)
        out = run(path, {"x": x})
        assert np.abs(out["completeness_gap"]).max() <= 2e-6
        fixed = explain(of_free_length(op, direction, states, steps), None,
                        "--references=fill:0.5", "--target=all")
        other = run(fixed, {"x": x})["x_shap"]
        assert np.abs(out["x_shap"] - other).max() <= 4e-6 * np.abs(other).max()


def test_length_of_the_exporter(explain, run):
    """Exporters note shapes of the example that they have met, beside a dimension that is free."""
    model = of_free_length("LSTM", "forward", False)
    model.graph.value_info.append(
        helper.make_tensor_value_info("t", TensorProto.FLOAT, [11, "N", CHANNELS]))
    path = explain(model, None, "--references=fill:0", "--gap")
    for steps in (5, 11, 20):
        x = np.random.default_rng(0).normal(size=(2, steps, CHANNELS)).astype(np.float32)
        assert np.abs(run(path, {"x": x})["completeness_gap"]).max() <= 1e-6


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("steps", [100, 400])
def test_nodes_do_not_grow_with_steps(op, steps, explain):
    rng = np.random.default_rng(0)
    own = {"linear_before_reset": 1} if op == "GRU" else {}
    rule = Rule([node("Transpose", "x", "t", perm=[1, 0, 2]),
                 helper.make_node(op, ["t", "W", "R", "B"], ["", "h"], hidden_size=HIDDEN, **own),
                 node("Transpose", "h", "y", perm=[1, 0, 2])],
                {"x": (steps, CHANNELS)},
                {k: v for k, v in weights(rng, op, 1).items() if k != "P"})
    assert len(onnx.load(explain(rule.model, rule.r)).graph.node) < 300


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("option", ["--chunk=1", "--cache=none", "--no-functions"])
def test_ways(op, option, explain, run):
    """The ways to walk over references and targets agree."""
    rng = np.random.default_rng(5)
    rule = Rule([node("Transpose", "x", "t", perm=[1, 0, 2]),
                 helper.make_node(op, ["t", "W", "R", "B"], ["", "h"], hidden_size=HIDDEN),
                 node("Transpose", "h", "y", perm=[1, 0, 2])],
                {"x": (3, CHANNELS)},
                {k: v for k, v in weights(rng, op, 1).items() if k != "P"})
    plain = run(explain(rule.model, rule.r, "--target=all"), rule.x)["x_shap"]
    other = run(explain(rule.model, rule.r, "--target=all", option), rule.x)["x_shap"]
    assert np.abs(plain - other).max() <= rule.tolerance(plain)


# ---- lengths ----------------------------------------------------------------------------------

def lengths_model(op, lengths, batch, direction="bidirectional", **attributes):
    """x [batch, 4, C] and lengths, an input or a constant, to out [batch, 3]."""
    rng = np.random.default_rng(11)
    constants = weights(rng, op, 2 if direction == "bidirectional" else 1)
    constants.pop("P", None)
    size = 5 * HIDDEN * len(constants["W"])
    constants |= {"head": rng.normal(size=(size, 3)).astype(np.float32), "row": ints(0, -1)}
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 4, CHANNELS])]
    if lengths is None:
        inputs.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, [batch]))
    else:
        constants["lengths"] = np.array(lengths, np.int32)
    nodes = [node("Transpose", "x", "t", perm=[1, 0, 2]),
             helper.make_node(op, ["t", "W", "R", "B", "lengths"], ["all", "last"],
                              hidden_size=HIDDEN, direction=direction, **attributes),
             node("Transpose", "all", "a", perm=[2, 0, 1, 3]), node("Reshape", "a row", "a2"),
             node("Transpose", "last", "b", perm=[1, 0, 2]), node("Reshape", "b row", "b2"),
             node("Concat", "a2 b2", "f", axis=1), node("MatMul", "f head", "out")]
    graph = helper.make_graph(
        nodes, "lengths", inputs,
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [batch, 3])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def check_lengths(outputs, prediction, base, lengths):
    phi = outputs["x_shap"]  # [N, K, 4, C]
    np.testing.assert_array_equal(outputs["out"], prediction)
    gap = prediction - base - phi.sum(axis=(2, 3), dtype=np.float64)
    assert np.abs(gap).max() <= 1e-5 * np.abs(prediction).max()
    for i, length in enumerate(lengths):
        assert (phi[i, :, length:] == 0).all()
        assert length == 0 or (phi[i, :, :length] != 0).any()


@pytest.mark.parametrize("op", GATES)
def test_constant_lengths(op, explain, run):
    """Of a fixed batch; nothing beyond a sequence's end has a part in it."""
    lengths = [4, 0, 2, 1]
    rng = np.random.default_rng(1)
    x, r = (rng.normal(size=(n, 4, CHANNELS)).astype(np.float32) for n in (4, 3))
    model = lengths_model(op, lengths, 4)
    base = np.mean([run(model, np.repeat(r[i:i + 1], 4, axis=0))["out"] for i in range(3)],
                   axis=0, dtype=np.float64)
    outputs = run(explain(model, r, "--target=all"), x)
    check_lengths(outputs, run(model, x)["out"], base, lengths)


@pytest.mark.parametrize("op", GATES)
def test_lengths_as_input(op, explain, run):
    """Each sample's lengths hold for its references, too."""
    lengths = np.array([1, 4, 0, 3, 2], np.int32)
    rng = np.random.default_rng(2)
    x, r = (rng.normal(size=(n, 4, CHANNELS)).astype(np.float32) for n in (5, 3))
    model = lengths_model(op, None, "N")
    base = np.mean([run(model, {"x": np.repeat(r[i:i + 1], 5, axis=0), "lengths": lengths})
                    ["out"] for i in range(3)], axis=0, dtype=np.float64)
    outputs = run(explain(model, r, "--target=all", "--hold=lengths"),
                  {"x": x, "lengths": lengths})
    check_lengths(outputs, run(model, {"x": x, "lengths": lengths})["out"], base, lengths)


# ---- the batch in front -----------------------------------------------------------------------

def batch_second(model):
    """The same model with layout 0 and a Transpose around every node of layout 1, which ONNX
    Runtime cannot run."""
    nodes = []
    for n in model.graph.node:
        layouts = [a for a in n.attribute if a.name == "layout" and a.i == 1]
        if not layouts:
            nodes.append(n)
            continue
        n.attribute.remove(layouts[0])
        for i in (0, 5, 6):
            if i < len(n.input) and n.input[i]:
                nodes.append(node("Transpose", n.input[i], f"{n.input[i]}/T/{n.output[0]}",
                                  perm=[1, 0, 2]))
                n.input[i] = nodes[-1].output[0]
        nodes.append(n)
        for i, name in enumerate(n.output):
            if name:
                n.output[i] = f"{name}/T"
                nodes.append(node("Transpose", f"{name}/T", name,
                                  perm=[2, 0, 1, 3] if i == 0 else [1, 0, 2]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.value_info[:]
    return model


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_layout(op, direction, explain, run):
    rng = np.random.default_rng(3)
    directions = 2 if direction == "bidirectional" else 1
    constants = weights(rng, op, directions)
    constants.pop("P", None)
    outputs = ["all", "last", "cell"] if op == "LSTM" else ["all", "last"]
    count = len(outputs) + 2  # of states [D, H] in one row
    constants |= {"head": rng.normal(size=(count * directions * HIDDEN, 3)).astype(np.float32),
                  "row": ints(0, -1)}
    inputs = ["x", "W", "R", "B", "", "h0"] + (["c0"] if op == "LSTM" else [])
    shapes = {"x": (3, CHANNELS), "h0": (directions, HIDDEN), "c0": (directions, HIDDEN)}
    shapes = {k: v for k, v in shapes.items() if k in inputs}
    nodes = [helper.make_node(op, inputs, outputs, hidden_size=HIDDEN, direction=direction,
                              layout=1),
             *(node("Reshape", f"{name} row", f"{name}_row") for name in outputs),
             node("Concat", " ".join(f"{name}_row" for name in outputs), "y", axis=1),
             node("MatMul", "y head", "out")]
    graph = helper.make_graph(
        nodes, "layout",
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, ["N", *v]) for k, v in shapes.items()],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    x, r = ({k: rng.normal(size=(rows, *v)).astype(np.float32) for k, v in shapes.items()}
            for rows in (2, 4))
    explained = batch_second(onnx.load(explain(model, r, "--target=all", "--no-functions")))
    plain = batch_second(model)
    out = run(explained, x)
    prediction = run(plain, x)["out"]
    phi = sum(out[f"{name}_shap"].reshape(2, 3, -1).sum(axis=2, dtype=np.float64)
              for name in shapes)
    gap = prediction - run(plain, r)["out"].mean(axis=0, dtype=np.float64) - phi
    assert np.abs(gap).max() <= 1e-5 * np.abs(prediction).max()
    other = run(explain(plain, r, "--target=all"), x)
    for name in shapes:
        assert np.abs(out[f"{name}_shap"] - other[f"{name}_shap"]).max() <= 1e-5


# ---- states as inputs -------------------------------------------------------------------------

@pytest.mark.parametrize("hold", [True, False])
def test_states_of_layers(hold, explain, run):
    """Two layers with their states as model inputs [layers, N, H], explained or held."""
    rng = np.random.default_rng(4)
    constants = {f"{k}{i}": v for i, channels in enumerate([CHANNELS, HIDDEN])
                 for k, v in weights(rng, "LSTM", 1, channels).items() if k != "P"}
    constants |= {"first": ints(0), "one": ints(1), "end": ints(2), "last": np.array(-1),
                  "head": rng.normal(size=(HIDDEN, 3)).astype(np.float32)}
    nodes = []
    for i, (start, end) in enumerate([("first", "one"), ("one", "end")]):
        nodes += [node("Slice", f"{s}0 {start} {end} first", f"{s}{i}s") for s in "hc"]
        nodes += [helper.make_node("LSTM", ["x" if i == 0 else "q0", f"W{i}", f"R{i}", f"B{i}", "",
                                            f"h{i}s", f"c{i}s"], [f"y{i}", f"hn{i}", f"cn{i}"],
                                   hidden_size=HIDDEN),
                  node("Squeeze", f"y{i} one", f"q{i}")]
    nodes += [node("Gather", "q1 last", "g"), node("MatMul", "g head", "out")]
    shapes = {"x": [4, "N", CHANNELS], "h0": [2, "N", HIDDEN], "c0": [2, "N", HIDDEN]}
    graph = helper.make_graph(
        nodes, "layers",
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in shapes.items()],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    x, r = ({k: rng.normal(size=(v[0], rows, v[2])).astype(np.float32) for k, v in shapes.items()}
            for rows in (2, 3))
    prediction = run(model, x)["out"]
    if hold:
        outputs = run(explain(model, {"x": r["x"]}, "--target=all", "--hold=h0", "--hold=c0"), x)
        base = [run(model, x | {"x": np.repeat(r["x"][:, i:i + 1], 2, axis=1)})["out"]
                for i in range(3)]
        names = ["x"]
    else:
        outputs = run(explain(model, r, "--target=all"), x)
        base = run(model, r)["out"]
        names = list(shapes)
    phi = sum(outputs[f"{name}_shap"].sum(axis=(0, 3), dtype=np.float64) for name in names)
    gap = prediction - np.mean(base, axis=0, dtype=np.float64) - phi
    assert np.abs(gap).max() <= 1e-5 * np.abs(prediction).max()


# ---- Shapley values ---------------------------------------------------------------------------

def test_near_shapley(explain, run):
    """Three steps of three features; medians over seeded nets."""
    found = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        constants = {k: (rng.normal(size=(1, *v)) / np.sqrt(8)).astype(np.float32) for k, v in
                     {"W": (32, 3), "R": (32, 8), "B": (64,), "w": (8, 1)}.items()}
        constants["w"] = constants["w"][0]
        net = Net([node("Transpose", "x", "t", perm=[1, 0, 2]),
                   helper.make_node("LSTM", ["t", "W", "R", "B"], ["", "h"], hidden_size=8),
                   node("Squeeze", "h first", "last"), node("MatMul", "last w", "out")],
                  constants | {"first": ints(0)}, (3, 3))
        net.x, net.r = rng.normal(size=(2, 1, 3, 3)).astype(np.float32)
        model = net.model()
        truth, _ = exact(net, lambda rows: run(model, rows)["out"])
        phi = run(explain(model, net.r, "--target=0"), net.x)["x_shap"]
        found.append(agreement(net.per_player(phi), truth))
    correlation, distance, ratio = np.median(found, axis=0)
    print(f"LSTM: Spearman {correlation:.3f}, relative L2 {distance:.3f}, sum ratio {ratio:.2f}")
    assert correlation >= 0.94 and distance <= 0.35 and ratio <= 5


# ---- what is refused --------------------------------------------------------------------------

@pytest.mark.parametrize("activation, problem", [
    ("ThresholdedRelu", "an activation lacks its alpha or beta"),  # runtimes differ on the default
    ("Sine", 'no rule for the activation "Sine"')])
def test_refused(activation, problem, cli, tmp_path):
    constants = weights(np.random.default_rng(0), "RNN", 1) | {"axis": ints(0)}
    graph = helper.make_graph(
        [helper.make_node("RNN", ["x", "W", "R"], ["", "y"], hidden_size=HIDDEN,
                          activations=[activation]),
         node("Squeeze", "y axis", "out")], "refused",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, "N", CHANNELS])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", HIDDEN])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]),
              tmp_path / "m.onnx")
    done = subprocess.run([cli, "show", tmp_path / "m.onnx"], capture_output=True, text=True)
    assert done.returncode == 1 and problem in done.stdout + done.stderr


def test_float16_behind_a_transpose(explain, run):
    """As PyTorch writes batch_first: ONNX Runtime (1.32) would crash on a Cast behind it."""
    rng = np.random.default_rng(3)
    shapes = {"W": (1, 4 * HIDDEN, CHANNELS), "R": (1, 4 * HIDDEN, HIDDEN)}
    constants = [numpy_helper.from_array(rng.normal(size=s).astype(np.float16), k)
                 for k, s in shapes.items()]
    nodes = [node("Transpose", "x", "t", perm=[1, 0, 2]),
             helper.make_node("LSTM", ["t", "W", "R"], ["", "h"], hidden_size=HIDDEN),
             node("Transpose", "h", "y", perm=[1, 0, 2])]
    graph = helper.make_graph(
        nodes, "half", [helper.make_tensor_value_info("x", TensorProto.FLOAT16, ["N", 3, CHANNELS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, ["N", 1, HIDDEN])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    x, r = (rng.normal(size=(n, 3, CHANNELS)).astype(np.float16) for n in (2, 3))
    path = explain(model, r, "--target=1")
    made = {o: n.op_type for n in onnx.load(path).graph.node for o in n.output}
    casts = [n for n in onnx.load(path).graph.node if n.op_type == "Cast"]
    assert casts and not any(made.get(n.input[0]) == "Transpose" for n in casts)
    out = run(path, {"x": x})
    gap = out["y"][:, 0, 1] - out["base_value"] - out["x_shap"].sum((1, 2), dtype=float)
    assert np.abs(gap).max() < 4 * np.finfo(np.float16).eps
