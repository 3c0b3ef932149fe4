"""Ensembles of decision trees for the tests: random ones, the three spellings of ai.onnx.ml, what
they say of a sample, and Shapley values by enumeration, in double precision and apart from the
library."""

import itertools
import math
import operator

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import kernels

MODES = {"BRANCH_LEQ": operator.le, "BRANCH_LT": operator.lt, "BRANCH_GTE": operator.ge,
         "BRANCH_GT": operator.gt, "BRANCH_EQ": operator.eq, "BRANCH_NEQ": operator.ne}
VALUES = np.array([-1.0, -0.5, 0.0, 0.25, 0.5, 1.0])  # thresholds, and often what is compared
WHOLE = np.array([0.0, 1.0, 2.0])  # members: of others ONNX Runtime (1.32) has none, or errs


def session(model, fast=False):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if fast:
        kernels.register(options, model)
    return onnxruntime.InferenceSession(model.SerializeToString(), options,
                                        providers=["CPUExecutionProvider"])


def run(s, feeds):
    return dict(zip([o.name for o in s.get_outputs()], s.run(None, feeds)))


class Leaf:
    def __init__(self, weights):
        self.weights = weights  # target: weight


class Split:
    def __init__(self, feature, mode, value, yes, no, missing=False):
        self.feature, self.mode, self.value, self.missing = feature, mode, value, missing
        self.yes, self.no = yes, no

    def passes(self, x):
        v = x[self.feature]
        if np.isnan(v) and self.missing:
            return True
        if self.mode == "BRANCH_MEMBER":
            return v in self.value
        return bool(MODES[self.mode](v, self.value))


def random_tree(rng, depth, features, modes, targets, missing):
    if depth == 0 or (depth < 3 and rng.random() < 0.15):
        chosen = range(targets) if targets <= 2 else [rng.integers(targets)]
        return Leaf({int(t): float(np.float32(rng.normal())) for t in chosen})
    mode = modes[rng.integers(len(modes))]
    value = (frozenset(map(float, rng.choice(WHOLE, 2, replace=False)))
             if mode == "BRANCH_MEMBER" else float(rng.choice(VALUES)))
    make = [random_tree(rng, depth - 1, features, modes, targets, missing) for _ in range(2)]
    return Split(int(rng.integers(features)), mode, value, *make,
                 bool(missing and rng.random() < 0.5))


def forest(seed=0, count=4, depth=4, features=4, modes=("BRANCH_LEQ",), targets=1, missing=False):
    rng = np.random.default_rng(seed)
    return [random_tree(rng, depth, features, list(modes), targets, missing) for _ in range(count)]


def rows(seed, count, features, nan=False):
    """Values beside thresholds, on them, and missing ones."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1.5, 1.5, (count, features))
    chosen = rng.choice(np.concatenate([VALUES, WHOLE]), x.shape)
    x = np.where(rng.random(x.shape) < 0.5, chosen, x)
    return np.where(rng.random(x.shape) < 0.2, np.nan, x) if nan else x


# ---- what they say ------------------------------------------------------------------------------


def scores(trees, x, targets, average=False):
    total = np.zeros(targets)
    for node in trees:
        while isinstance(node, Split):
            node = node.yes if node.passes(x) else node.no
        for target, weight in node.weights.items():
            total[target] += weight
    return total / len(trees) if average else total


def shapley(f, x, r):
    """[features, targets]: the values of the game in which f sees x where a player takes part, else
    r."""
    n = len(x)
    worth = [f(np.where([mask >> i & 1 for i in range(n)], x, r)) for mask in range(1 << n)]
    phi = np.zeros((n, *worth[0].shape))
    for i, mask in itertools.product(range(n), range(1 << n)):
        if not mask >> i & 1:
            size = bin(mask).count("1")
            share = 1 / (n * math.comb(n - 1, size))
            phi[i] += share * (worth[mask | 1 << i] - worth[mask])
    return phi


# ---- how they are spelled -----------------------------------------------------------------------


def numbered(tree):
    """Nodes of a tree, each before its children, with the numbers of these."""
    nodes = []

    def visit(node):
        own = len(nodes)
        nodes.append([node, 0, 0])
        if isinstance(node, Split):
            nodes[own][1] = visit(node.yes)
            nodes[own][2] = visit(node.no)
        return own

    visit(tree)
    return nodes


def named(trees, kind, targets, **attributes):
    """Attributes of a TreeEnsembleRegressor (kind "target") or -Classifier ("class")."""
    out = {f"nodes_{k}": [] for k in ("treeids", "nodeids", "featureids", "modes", "values",
                                      "truenodeids", "falsenodeids",
                                      "missing_value_tracks_true")}
    out.update({f"{kind}_{k}": [] for k in ("treeids", "nodeids", "ids", "weights")})
    for t, tree in enumerate(trees):
        for i, (node, yes, no) in enumerate(numbered(tree)):
            leaf = isinstance(node, Leaf)
            row = (t, i, 0, "LEAF", 0.0, 0, 0, 0) if leaf else (
                t, i, node.feature, node.mode, node.value, yes, no, int(node.missing))
            for values, value in zip(out.values(), row):
                values.append(value)
            for target, weight in (node.weights.items() if leaf else ()):
                for key, value in (("treeids", t), ("nodeids", i), ("ids", target),
                                   ("weights", weight)):
                    out[f"{kind}_{key}"].append(value)
    if kind == "target":
        out["n_targets"] = targets
    return out | attributes


def as_tensors(attributes, kind, dtype):
    """Thresholds, weights and base values as tensors, which may be doubles."""
    out = dict(attributes)
    for name in ("nodes_values", f"{kind}_weights", "base_values"):
        if name in out:
            values = np.array(out.pop(name), dtype)
            out[f"{name}_as_tensor"] = numpy_helper.from_array(values, name)
    return out


def placed(trees, targets, dtype, **attributes):
    """Attributes of a TreeEnsemble."""
    inner, leaves, roots = [], [], []
    for tree in trees:
        places = []
        nodes = numbered(tree)
        if isinstance(tree, Leaf):  # a node both branches of which are the leaf
            nodes = [[Split(0, "BRANCH_LEQ", 0.0, tree, tree), 1, 1], [tree, 0, 0]]
        for node, _, _ in nodes:
            leaf = isinstance(node, Leaf)
            places.append((leaf, len(leaves) + sum(p[0] for p in places) if leaf else
                           len(inner) + sum(not p[0] for p in places)))
        roots.append(places[0][1])
        for node, yes, no in nodes:
            if isinstance(node, Leaf):
                [(target, weight)] = node.weights.items()
                leaves.append((target, weight))
            else:
                inner.append((node, places[yes], places[no]))
    modes = [*MODES, "BRANCH_MEMBER"]
    members = [v for n, _, _ in inner if n.mode == "BRANCH_MEMBER" for v in (*sorted(n.value),
                                                                             np.nan)]

    def tensor(values, kind=dtype):
        return numpy_helper.from_array(np.array(values, kind), "")

    out = dict(
        n_targets=targets, tree_roots=roots, nodes_featureids=[n.feature for n, _, _ in inner],
        nodes_modes=tensor([modes.index(n.mode) for n, _, _ in inner], np.uint8),
        nodes_splits=tensor([0 if n.mode == "BRANCH_MEMBER" else n.value for n, _, _ in inner]),
        nodes_truenodeids=[y[1] for _, y, _ in inner],
        nodes_trueleafs=[int(y[0]) for _, y, _ in inner],
        nodes_falsenodeids=[n[1] for _, _, n in inner],
        nodes_falseleafs=[int(n[0]) for _, _, n in inner],
        nodes_missing_value_tracks_true=[int(n.missing) for n, _, _ in inner],
        leaf_targetids=[t for t, _ in leaves], leaf_weights=tensor([w for _, w in leaves]))
    if members:
        out["membership_values"] = tensor(members)
    return out | attributes


def node_of(op, inputs, outputs, **attributes):
    return node(op, attributes, inputs, outputs)


def node(op, attributes, inputs="x", outputs="y"):
    return helper.make_node(op, inputs.split(), outputs.split(), domain="ai.onnx.ml", **attributes)


def model(nodes, features, dtype=np.float32, version=3, outputs=("y",), batch="N", inputs=("x",)):
    """A model of these nodes; y is the last of `outputs`."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        nodes, "trees", [helper.make_tensor_value_info(name, kind, [batch, features])
                         for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) if name != "y" else
         helper.make_tensor_value_info("y", TensorProto.FLOAT if version < 5 else kind, None)
         for name in outputs])
    return helper.make_model(graph, ir_version=9, opset_imports=[
        helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", version)])
