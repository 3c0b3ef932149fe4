"""Ensembles of trees: equal to enumeration for every pair of sample and reference, in all
spellings, and refused where a file's lists make no trees."""

import itertools

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import library
import trees
from trees import Leaf, Split, forest, named, placed, rows, run, session

FEATURES = 4
NAMED = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]


def pairs(model, x, r, kernels=False, **options):
    """SHAP values of every pair, [references, samples, targets, features], and of all references at
    once; checks that both add up and agree."""
    options = {"target": "all"} | options
    one = session(library.explain(model, None, **options), kernels)
    together = run(session(library.explain(model, {"x": r}, **options), kernels), {"x": x})
    y, y0 = (run(session(model), {"x": v})["y"] for v in (x, r))
    phi = np.stack([run(one, {"x": x, "x_references": r[i:i + 1]})["x_shap"]
                    for i in range(len(r))]).astype(np.float64)
    size = 1 + np.abs(phi).sum(axis=-1, keepdims=True)
    eps = 64 * np.finfo(y.dtype).eps
    gap = y[None].astype(float) - y0[:, None] - phi.sum(axis=-1)
    assert np.abs(gap).max() <= eps * size.max()
    assert np.abs(phi.mean(axis=0) - together["x_shap"]).max() <= eps * size.max()
    np.testing.assert_array_equal(together["y"], y)
    return phi


def check(phi, f, x, r, eps):
    """Equal to enumeration."""
    for i, s in np.ndindex(len(r), len(x)):
        wanted = trees.shapley(f, x[s].astype(float), r[i].astype(float)).T
        assert np.abs(phi[i, s] - wanted).max() <= eps * (1 + np.abs(wanted).sum())


def spelled(spelling, grown, targets, dtype=np.float32, **attributes):
    if spelling == "TreeEnsemble":
        names = ["AVERAGE", "SUM", "MIN", "MAX"]
        if "aggregate_function" in attributes:
            attributes["aggregate_function"] = names.index(attributes["aggregate_function"])
        return trees.model([trees.node("TreeEnsemble",
                                       placed(grown, targets, dtype, **attributes))],
                           FEATURES, dtype, 5)
    if spelling == "TreeEnsembleRegressor":
        made = named(grown, "target", targets, **attributes)
        made = made if dtype == np.float32 else trees.as_tensors(made, "target", dtype)
        return trees.model([trees.node("TreeEnsembleRegressor", made)], FEATURES, dtype)
    made = named(grown, "class", targets, classlabels_int64s=list(range(targets)), **attributes)
    made = made if dtype == np.float32 else trees.as_tensors(made, "class", dtype)
    return trees.model([trees.node("TreeEnsembleClassifier", made, outputs="label y")], FEATURES,
                       dtype)


# ---- equal to enumeration -----------------------------------------------------------------------


@pytest.mark.parametrize("nan", [False, True])
@pytest.mark.parametrize("spelling, mode", [
    *(("TreeEnsembleRegressor", mode) for mode in [*NAMED, "all"]),
    *(("TreeEnsemble", mode) for mode in [*NAMED, "BRANCH_MEMBER", "all"])])
def test_equals_enumeration(spelling, mode, nan):
    known = NAMED if spelling != "TreeEnsemble" else [*NAMED, "BRANCH_MEMBER"]
    modes = known if mode == "all" else [mode]
    grown = forest(len(mode) + nan, modes=modes, targets=3, missing=nan, features=FEATURES)
    x, r = (rows(seed, 4, FEATURES, nan).astype(np.float32) for seed in (1, 2))
    phi = pairs(spelled(spelling, grown, 3), x, r)
    check(phi, lambda v: trees.scores(grown, v, 3), x, r, 3e-6)


@pytest.mark.parametrize("spelling", ["TreeEnsembleRegressor", "TreeEnsembleClassifier",
                                      "TreeEnsemble"])
def test_doubles(spelling):
    """Thresholds beside which float32 has no number."""
    grown = forest(7, modes=NAMED, targets=3, features=FEATURES)
    near = np.nextafter(0.5, 1)
    grown.append(Split(0, "BRANCH_LEQ", 0.5, Leaf({0: 1.0}), Leaf({0: 3.0})))
    x, r = rows(1, 4, FEATURES), rows(2, 3, FEATURES)
    x[0, 0], r[0, 0] = near, 0.5
    phi = pairs(spelled(spelling, grown, 3, np.float64), x, r)
    eps = 1e-14 if spelling == "TreeEnsemble" else 3e-6
    check(phi, lambda v: trees.scores(grown, v, 3), x, r, eps)


@pytest.mark.parametrize("dtype", [np.int64, np.int32])
def test_integers(dtype):
    """Of classifiers: ONNX Runtime has no others for them."""
    grown = forest(3, modes=NAMED, features=FEATURES, targets=3)
    x, r = (np.random.default_rng(s).integers(-2, 3, (4, FEATURES)).astype(dtype) for s in (1, 2))
    for transform in ("NONE", "SOFTMAX"):
        model = spelled("TreeEnsembleClassifier", grown, 3, post_transform=transform)
        model.graph.input[0].type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(
            np.dtype(dtype))
        phi = pairs(model, x, r)
        if transform == "NONE":
            check(phi, lambda v: trees.scores(grown, v, 3), x, r, 3e-6)


@pytest.mark.parametrize("spelling", ["TreeEnsembleRegressor", "TreeEnsemble"])
def test_averages(spelling):
    grown = forest(5, count=6, targets=3, features=FEATURES) + [Leaf({0: 2.0})]
    x, r = (rows(seed, 3, FEATURES).astype(np.float32) for seed in (1, 2))
    phi = pairs(spelled(spelling, grown, 3, aggregate_function="AVERAGE"), x, r)
    check(phi, lambda v: trees.scores(grown, v, 3, average=True), x, r, 3e-6)


def test_shared_subtrees():
    """Converters write a set of categories as tests for equality in a row, which lead to one
    subtree; others may meet as well."""
    shared = Split(1, "BRANCH_LEQ", 0.0, Leaf({0: 1.0}), Leaf({0: 5.0}))
    end = Split(2, "BRANCH_LEQ", 0.25, shared, Leaf({0: -3.0}))
    node = end
    for member in (0.0, 1.0, 2.0):
        node = Split(0, "BRANCH_EQ", member, shared, node)
    made = named([node], "target", 1)
    copies = [i for i, v in enumerate(made["nodes_featureids"]) if v == 1]
    for name in ("nodes_truenodeids", "nodes_falsenodeids"):
        made[name] = [copies[0] if v in copies and v != copies[0] else v for v in made[name]]
    model = trees.model([trees.node("TreeEnsembleRegressor", made)], FEATURES)
    x, r = (rows(seed, 6, FEATURES).astype(np.float32) for seed in (1, 2))
    check(pairs(model, x, r), lambda v: trees.scores([node], v, 1), x, r, 3e-6)


@pytest.mark.parametrize("spelling", ["TreeEnsembleRegressor", "TreeEnsembleClassifier"])
def test_the_first_opset(spelling):
    grown = forest(5, targets=3, features=FEATURES)
    x, r = (rows(seed, 3, FEATURES).astype(np.float32) for seed in (1, 2))
    model = spelled(spelling, grown, 3)
    model.opset_import[1].version = 1
    check(pairs(model, x, r), lambda v: trees.scores(grown, v, 3), x, r, 3e-6)


def test_what_nothing_tests_gets_nothing():
    grown = [Leaf({0: 1.0}), Split(2, "BRANCH_LEQ", 0.0, Leaf({0: 1.0}), Leaf({0: 4.0}))]
    x, r = np.ones((1, FEATURES), np.float32), -np.ones((1, FEATURES), np.float32)
    assert pairs(spelled("TreeEnsembleRegressor", grown, 1), x, r).ravel().tolist() == [0, 0, 3, 0]
    phi = pairs(spelled("TreeEnsembleRegressor", grown[:1], 1), x, r)
    assert not phi.any()


# ---- scores of classes, and what is made of them -------------------------------------------------

STUMP = {"first": lambda w: [Leaf({0: w[0]}), Leaf({0: w[1]})],
         "second": lambda w: [Leaf({1: w[0]}), Leaf({1: w[1]})],
         "both": lambda w: [Leaf({0: w[0], 1: 1 - w[0]}), Leaf({0: w[1], 1: 1 - w[1]})]}


def of_two_classes(transform, weighed, sign, base, number):
    low = 0.2 if sign == "positive" else -0.3
    grown = [Split(f, "BRANCH_LEQ", 0.0, *STUMP[weighed](w))
             for f, w in ((0, (low / 2, 0.3)), (1, (0.15, low)), (2, (0.05, 0.1)))]
    if transform == "PROBIT":
        grown = [Split(0, "BRANCH_LEQ", 0.0, *STUMP[weighed]((0.2, 0.35)))]
    made = named(grown, "class", 2, classlabels_int64s=[0, 1], post_transform=transform)
    made |= {"base_values": base} if base else {}
    return trees.node("TreeEnsembleClassifier", made, outputs=f"label{number} y{number}")


@pytest.mark.parametrize("transform, weighed", [
    *itertools.product(["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"], STUMP),
    ("PROBIT", "both")])
def test_two_classes(transform, weighed):
    """What ONNX Runtime makes of weights of one class or both, of their signs and of base values,
    one model beside the other."""
    bases = [(), (0.1,)] if transform == "PROBIT" else [(), (0.1,), (0.1, 0.05)]
    signs = ["positive"] if transform == "PROBIT" else ["positive", "mixed"]
    nodes = [of_two_classes(transform, weighed, sign, base, i)
             for i, (sign, base) in enumerate(itertools.product(signs, bases))]
    nodes.append(helper.make_node("Concat", [n.output[1] for n in nodes], ["y"], axis=1))
    x, r = (rows(seed, 4, FEATURES).astype(np.float32) for seed in (1, 2))
    pairs(trees.model(nodes, FEATURES), x, r)


@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"])
@pytest.mark.parametrize("classes, labels", [(1, "ints"), (3, "ints"), (3, "strings")])
def test_classes(classes, labels, transform):
    grown = forest(2, targets=classes, features=FEATURES)
    x, r = (rows(seed, 3, FEATURES).astype(np.float32) for seed in (1, 2))
    made = named(grown, "class", classes, post_transform=transform,
                 base_values=[0.3, -0.2, 0.1][:classes])
    made["classlabels_" + ("int64s" if labels == "ints" else "strings")] = [
        k if labels == "ints" else f"k{k}" for k in range(classes)]
    model = trees.model([trees.node("TreeEnsembleClassifier", made, outputs="label y")], FEATURES)
    phi = pairs(model, x, r)
    if transform == "NONE":
        check(phi, lambda v: trees.scores(grown, v, classes), x, r, 3e-6)


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"])
@pytest.mark.parametrize("spelling", ["TreeEnsembleRegressor", "TreeEnsemble"])
def test_transforms(spelling, transform, targets):
    grown = forest(2, targets=targets, features=FEATURES)
    x, r = (rows(seed, 3, FEATURES).astype(np.float32) for seed in (1, 2))
    kinds = ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"]
    how = transform if spelling != "TreeEnsemble" else kinds.index(transform)
    phi = pairs(spelled(spelling, grown, targets, post_transform=how), x, r)
    if targets == 1:  # ONNX Runtime transforms several
        check(phi, lambda v: trees.scores(grown, v, 1), x, r, 3e-6)


@pytest.mark.parametrize("spelling", ["TreeEnsembleRegressor", "TreeEnsemble"])
def test_probit(spelling):
    grown = [Split(0, "BRANCH_LEQ", 0.0, Leaf({0: 0.1}), Leaf({0: 0.3})),
             Split(1, "BRANCH_LEQ", 0.5, Leaf({0: 0.5}), Leaf({0: 0.62}))]
    x, r = (rows(seed, 4, FEATURES).astype(np.float32) for seed in (1, 2))
    how = "PROBIT" if spelling != "TreeEnsemble" else 4
    pairs(spelled(spelling, grown, 1, post_transform=how), x, r)


# ---- behind other operators, and in front of them -----------------------------------------------

OFFSET = [3.3, -1.7, 0.9, 1e3]
SCALE = [0.7, 1.3, 0.11, 3.7]


def scaler(inputs, outputs):
    return trees.node_of("Scaler", inputs, outputs, offset=OFFSET, scale=SCALE)


def constants():
    return [numpy_helper.from_array(np.float32(OFFSET), "offset"),
            numpy_helper.from_array(np.float32(SCALE), "scale")]


CHAINS = {
    "Scaler": lambda: [scaler("x", "s")],
    "Sub Mul": lambda: [helper.make_node("Sub", ["x", "offset"], ["d"]),
                        helper.make_node("Mul", ["d", "scale"], ["s"])],
    "Sub Div": lambda: [helper.make_node("Sub", ["offset", "x"], ["d"]),
                        helper.make_node("Div", ["d", "scale"], ["s"])],
    "Mul Add": lambda: [helper.make_node("Mul", ["scale", "x"], ["d"]),
                        helper.make_node("Add", ["offset", "d"], ["e"]),
                        helper.make_node("Identity", ["e"], ["s"])],
    "Scaler Concat": lambda: [scaler("x", "a"), helper.make_node("Concat", ["a"], ["s"], axis=1)],
}


@pytest.mark.parametrize("chain", CHAINS)
def test_small_differences_of_what_is_computed(chain):
    """Neighbours, of which thresholds lie between what is computed of them: rounding leaves nothing
    of that difference, but all of that of the inputs."""
    before = CHAINS[chain]()
    rng = np.random.default_rng(3)
    x = rng.uniform(5e2, 2e3, (40, FEATURES)).astype(np.float32)
    r = np.nextafter(x, np.float32(np.inf))
    bare = trees.model(before, FEATURES, outputs=("s",))
    bare.graph.output[0].type.tensor_type.elem_type = 1
    bare.graph.initializer.extend(constants())
    s, s0 = (run(session(bare), {"x": v})["s"] for v in (x, r))
    differs = np.flatnonzero((s != s0).all(axis=1))
    assert len(differs) > 0
    row = differs[0]
    low = np.minimum(s, s0)[row]
    grown = [Split(f, "BRANCH_LEQ", float(low[f]), Leaf({0: 1.0 + f}), Leaf({0: 5.0 - f}))
             for f in range(FEATURES)]
    nodes = [*before, trees.node("TreeEnsembleRegressor", named(grown, "target", 1), "s")]
    model = trees.model(nodes, FEATURES)
    model.graph.initializer.extend(constants())
    x, r = x[row:row + 1], r[row:row + 1]
    sign = np.sign(s - s0)[row]
    phi = pairs(model, x, r)[0, 0, 0]
    np.testing.assert_allclose(phi, sign * (2 * np.arange(FEATURES) - 4) * -1, rtol=1e-5,
                               atol=1e-6)


def test_what_is_missing_goes_through_an_imputer_and_a_scaler():
    before = [trees.node_of("Imputer", "x", "i", imputed_value_floats=[0.3, -0.2, 0.7, 1e3 + 0.5],
                            replaced_value_float=float("nan")), scaler("i", "s")]
    grown = forest(6, features=FEATURES)
    x, r = (rows(seed, 4, FEATURES, True).astype(np.float32) for seed in (1, 2))
    x[:, 3] += 1e3
    r[:, 3] += 1e3
    nodes = [*before, trees.node("TreeEnsembleRegressor", named(grown, "target", 1), "s")]

    def f(v):
        v = np.where(np.isnan(v), [0.3, -0.2, 0.7, 1e3 + 0.5], v).astype(np.float32)
        return trees.scores(grown, (v - np.float32(OFFSET)) * np.float32(SCALE), 1)

    check(pairs(trees.model(nodes, FEATURES), x, r), f, x, r, 3e-6)


def test_infinite_values():
    grown = forest(6, features=FEATURES, missing=True, modes=NAMED)
    x, r = (rows(seed, 4, FEATURES, True).astype(np.float32) for seed in (1, 2))
    x[0], x[1, :2], r[1] = [np.inf, -np.inf, 1e30, -3e38], np.inf, [-np.inf, 1e16, np.inf, np.nan]
    phi = pairs(spelled("TreeEnsembleRegressor", grown, 1), x, r)
    check(phi, lambda v: trees.scores(grown, v, 1), x, r, 3e-6)


@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize("kept", [None, [0, 2], [2, 0, 1]], ids=str)
def test_categories(kept, kernels):
    """The columns of one category are one player, as by enumeration over the columns encoded."""
    columns = 3 if kept is None else len(kept)
    grown = forest(8, count=6, features=2 + 2 * columns)
    nodes = [helper.make_node("Split", ["x"], ["c", "n"], axis=1, num_outputs=2),
             trees.node_of("OneHotEncoder", "c", "h3", cats_int64s=[0, 1, 2], zeros=1),
             helper.make_node("Flatten", ["h3"], ["h0"]),
             helper.make_node("Gather", ["h0", "k"], ["h"], axis=1),
             helper.make_node("Concat", ["n", "h"], ["s"], axis=1),
             trees.node("TreeEnsembleRegressor", named(grown, "target", 1), "s")]
    model = trees.model(nodes, FEATURES)
    index = np.arange(3) if kept is None else np.array(kept)
    model.graph.initializer.append(numpy_helper.from_array(np.r_[index, index + 3], "k"))
    rng = np.random.default_rng(5)
    x, r = (np.concatenate([rng.integers(0, 4, (5, 2)), rows(s, 5, 2)], 1).astype(np.float32)
            for s in (1, 2))

    def f(v):
        hot = (v[:2, None] == index).reshape(-1)
        return trees.scores(grown, np.concatenate([v[2:], hot]), 1)

    phi = pairs(model, x, r, kernels)
    assert np.abs(phi[..., :2]).max() > 0
    check(phi, f, x, r, 3e-6)


def test_between_networks():
    """Layers before, a layer and a Softmax behind."""
    grown = forest(8, count=6, targets=3, features=FEATURES)
    rng = np.random.default_rng(5)
    w, v = (numpy_helper.from_array(rng.normal(size=s).astype(np.float32), n)
            for s, n in (((FEATURES, FEATURES), "w"), ((3, 2), "v")))
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Tanh", ["a"], ["s"]),
             trees.node("TreeEnsembleRegressor", named(grown, "target", 3), "s", "t"),
             helper.make_node("MatMul", ["t", "v"], ["u"]),
             helper.make_node("Softmax", ["u"], ["y"], axis=-1)]
    model = trees.model(nodes, FEATURES)
    model.graph.initializer.extend([w, v])
    x, r = (rows(seed, 4, FEATURES).astype(np.float32) for seed in (1, 2))
    for kernels in (False, True):
        assert np.abs(pairs(model, x, r, kernels)).max() > 0


# ---- many leaves, and how they are run ----------------------------------------------------------


@pytest.mark.parametrize("isa", ["functions", "naive", "plain", "avx2", "avx512", "neon"])
def test_kernels_and_functions_agree_with_enumeration(isa, monkeypatch):
    """Enough leaves for several calls, ranges in several parts, and NaN."""
    monkeypatch.setenv("ONNXEXPLAINER_ISA", isa)
    grown = forest(9, count=60, depth=4, modes=NAMED, targets=2, missing=True, features=FEATURES)
    x, r = (rows(seed, 3, FEATURES, True).astype(np.float32) for seed in (1, 2))
    phi = pairs(spelled("TreeEnsembleRegressor", grown, 2), x, r, isa != "functions")
    check(phi, lambda v: trees.scores(grown, v, 2), x, r, 1e-5)


@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize("options", [{"chunk": 2}, {"cache": 3}, {"no_functions": True},
                                     {"target": "1"}, {"target": "0-1"}, {"target": "top"}],
                         ids=str)
def test_however_it_is_run(options, kernels):
    grown = forest(11, count=3, targets=2, features=FEATURES)
    x, r = (rows(seed, 5, FEATURES).astype(np.float32) for seed in (1, 2))
    model = spelled("TreeEnsembleRegressor", grown, 2)
    plain = run(session(library.explain(model, {"x": r}, target="all")), {"x": x})
    other = run(session(library.explain(model, {"x": r}, **({"target": "all"} | options)), kernels),
                {"x": x})
    wanted = plain["x_shap"]
    top = plain["y"].argmax(axis=1)
    wanted = {"1": wanted[:, 1], "0-1": wanted[:, 0] - wanted[:, 1],
              "top": wanted[np.arange(5), top]}.get(options.get("target"), wanted)
    np.testing.assert_allclose(other["x_shap"], wanted, atol=2e-6)


def test_what_trees_compare_is_not_rounded(explain):
    """References kept in float16 take the same ways."""
    grown = forest(11, count=3, features=FEATURES)
    nodes = [scaler("x", "s"), trees.node("TreeEnsembleRegressor", named(grown, "target", 1), "s")]
    rng = np.random.default_rng(2)
    beside = rng.choice(trees.VALUES, (2, 20, FEATURES)) + 1e-4  # as near as 16 bits are not
    x, r = (np.float32(OFFSET) + beside / np.float32(SCALE)).astype(np.float32)
    model = trees.model(nodes, FEATURES)
    wide, narrow = (run(session(onnx.load(explain(model, r, "--cache=file", *more))),
                        {"x": x})["x_shap"]
                    for more in ((), ("--cache-dtype=float16",)))
    np.testing.assert_allclose(narrow, wide, atol=2e-6)


@pytest.mark.parametrize("kernels", [False, True])
def test_a_fixed_batch_meets_one_reference_at_a_time(kernels):
    grown = forest(11, count=3, features=FEATURES)
    x, r = (rows(seed, 3, FEATURES).astype(np.float32) for seed in (1, 2))
    nodes = [trees.node("TreeEnsembleRegressor", named(grown, "target", 1))]
    wanted = pairs(trees.model(nodes, FEATURES), x, r).mean(axis=0)
    fixed = library.explain(trees.model(nodes, FEATURES, batch=3), {"x": r}, target="all")
    found = run(session(fixed, kernels), {"x": x})["x_shap"]
    np.testing.assert_allclose(found, wanted[:, None] if found.ndim > wanted.ndim else wanted,
                               atol=2e-6)


@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize("depth", [20, 40])
def test_paths_of_many_features(depth, kernels):
    """All have to be above 0, and all change at once: each gets the same. Beyond 32 features there
    is no kernel; 300 are more columns than leaves are given together."""
    node = Leaf({0: 3.0})
    for feature in range(depth):
        node = Split(feature * 7, "BRANCH_GT", 0.0, node, Leaf({0: 1.0}))
    others = [Split(f, "BRANCH_LEQ", 0.5, Leaf({0: 0.0}), Leaf({0: 1.0})) for f in range(300)]
    nodes = [trees.node("TreeEnsembleRegressor", named([node, *others], "target", 1))]
    x, r = np.ones((1, 300), np.float32), -np.ones((1, 300), np.float32)
    explained = library.explain(trees.model(nodes, 300), {"x": r})
    phi = run(session(explained, kernels), {"x": x})["x_shap"][0]
    wanted = np.ones(300)
    wanted[:7 * depth:7] += 2 / depth
    np.testing.assert_allclose(phi, wanted, rtol=1e-5)


def test_leaves_of_many_targets():
    targets = 11
    rng = np.random.default_rng(4)
    leaf = [Leaf({t: float(np.float32(w)) for t, w in enumerate(rng.normal(size=targets))})
            for _ in range(4)]
    grown = [Split(0, "BRANCH_LEQ", 0.0, Split(1, "BRANCH_LT", 0.5, leaf[0], leaf[1]),
                   Split(0, "BRANCH_LEQ", 1.0, leaf[2], leaf[3]))]
    x, r = (rows(seed, 3, FEATURES).astype(np.float32) for seed in (1, 2))
    phi = pairs(spelled("TreeEnsembleRegressor", grown, targets), x, r)
    check(phi, lambda v: trees.scores(grown, v, targets), x, r, 3e-6)


# ---- refused -------------------------------------------------------------------------------------

GROWN = [Split(f, "BRANCH_LEQ", 0.0, Split(1, "BRANCH_LEQ", 1.0, Leaf({0: 1.0}), Leaf({0: 2.0})),
               Leaf({0: 4.0})) for f in range(2)]
GOOD = named(GROWN, "target", 1)


def changed(**lists):
    """Attributes with one entry changed: name=(place, value)."""
    out = {k: list(v) if isinstance(v, list) else v for k, v in GOOD.items()}
    for name, (place, value) in lists.items():
        out[name][place] = value
    return out


REFUSED = {
    "a cycle": (changed(nodes_truenodeids=(1, 0)), "leads back to itself in tree 0"),
    "a node of itself": (changed(nodes_falsenodeids=(0, 0)), "leads back to itself in tree 0"),
    "a cycle of members": (changed(nodes_modes=(0, "BRANCH_EQ"), nodes_falsenodeids=(0, 0)),
                           "lead back to themselves"),
    "a dangling node": (changed(nodes_truenodeids=(0, 99)), "node 99 of tree 0 is named"),
    "a node below 0": (changed(nodes_falsenodeids=(0, -1)), "node -1 of tree 0 is named"),
    "a node twice": (changed(nodes_nodeids=(1, 0)), "node 0 of tree 0 is there twice"),
    "a feature beyond": (changed(nodes_featureids=(0, FEATURES)),
                         f"feature {FEATURES} of an input"),
    "a feature below 0": (changed(nodes_featureids=(0, -1)), "feature -1 of an input"),
    "an unknown mode": (changed(nodes_modes=(0, "BRANCH_LIKE")), 'is called "BRANCH_LIKE"'),
    "a target beyond": (changed(target_ids=(0, 1)), "adds to target 1 of 1"),
    "a leaf that is not there": (changed(target_nodeids=(0, 77)), "node 77 of tree 0 is named"),
    "too few thresholds": (GOOD | {"nodes_values": GOOD["nodes_values"][:-1]}, "nodes_values has"),
    "no targets": (GOOD | {"n_targets": 0}, "no targets"),
    "trees in parts": (changed(nodes_treeids=(-1, 0), nodes_nodeids=(-1, 50)),
                       "of tree 0 are not in a row|is named, but not there"),
    "the least": (GOOD | {"aggregate_function": "MIN"}, "MIN is no sum .*--method=kernel"),
    "the most": (GOOD | {"aggregate_function": "MAX"}, "MAX is no sum .*--method=kernel"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    attributes, message = REFUSED[name]
    model = trees.model([trees.node("TreeEnsembleRegressor", attributes)], FEATURES)
    with pytest.raises(library.Refused, match=f"TreeEnsembleRegressor.*({message})"):
        library.explain(model, {"x": np.zeros((1, FEATURES), np.float32)})


PLACES = {
    "a cycle": (dict(nodes_trueleafs=[0] * 4, nodes_truenodeids=[1, 0, 3, 2]),
                "leads back to itself"),
    "a node below 0": (dict(nodes_truenodeids=[-1, 0, 3, 3]), "node -1 is named of 4"),
    "a leaf beyond": (dict(nodes_falsenodeids=[2, 6, 5, 4]), "leaf 6 is named of 6"),
    "fewer leaves": (dict(leaf_targetids=[0]), "leaf_weights has 6 entries, leaf_targetids has 1"),
    "a mode beyond": (dict(nodes_modes=numpy_helper.from_array(np.full(4, 7, np.uint8))),
                      "no node mode has the number 7"),
    "a root beyond": (dict(tree_roots=[100]), "node 100 is named"),
    "the least": (dict(aggregate_function=2), "MIN is no sum"),
    "another aggregate": (dict(aggregate_function=9), "no sum over the trees"),
}


@pytest.mark.parametrize("name", PLACES)
def test_refused_places(name):
    change, message = PLACES[name]
    made = placed(GROWN, 1, np.float32) | change
    model = trees.model([trees.node("TreeEnsemble", made)], FEATURES, np.float32, 5)
    with pytest.raises(library.Refused, match=f"TreeEnsemble.*({message})"):
        library.explain(model, {"x": np.zeros((1, FEATURES), np.float32)})


@pytest.mark.parametrize("weights, message", [
    (({0: 1.0}, {1: 1.0}), "some of its leaves alone have a weight of class 1"),
    (({1: 1.0}, {0: 1.0, 1: 1.0}), "some of its leaves alone have a weight of class 0")])
def test_scores_that_come_and_go_are_refused(weights, message):
    grown = [Split(0, "BRANCH_LEQ", 0.0, *map(Leaf, weights))]
    model = spelled("TreeEnsembleClassifier", grown, 2, base_values=[0.5])
    with pytest.raises(library.Refused, match=message):
        library.explain(model, {"x": np.zeros((1, FEATURES), np.float32)})
