"""What an explained model promises: its inputs and outputs, the target grammar, batches, cache and
chunk modes, the standard. The models are small ReLU networks and linear ones, for which DeepLIFT is
a few lines of NumPy in double precision."""

import os
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

FEATURES, HIDDEN, REFERENCES = 4, 6, 6
RNG = np.random.default_rng(3)
W1, B1 = RNG.normal(size=(FEATURES, HIDDEN)), RNG.normal(size=HIDDEN)
W2, B2 = RNG.normal(size=(HIDDEN, 6)), RNG.normal(size=6)
X, R = RNG.normal(size=(3, FEATURES)), RNG.normal(size=(REFERENCES, FEATURES))
X[0, 1] = R[2, 1]


def network(x):
    """The output [N, 6] of the network of mlp()."""
    return np.maximum(x @ W1 + B1, 0) @ W2 + B2


def deeplift(x=X, r=R):
    """SHAP values [N, 6, FEATURES] of network(), by the rescale rule."""
    h, h0 = (x @ W1 + B1)[:, None], (r @ W1 + B1)[None]
    dh = h - h0
    change = np.maximum(h, 0) - np.maximum(h0, 0)
    slope = np.divide(change, dh, out=(h > 0) * np.ones_like(dh), where=dh != 0)
    return np.einsum("nrh,dh,hk,nrd->nkd", slope, W1, W2, x[:, None] - r) / len(r)


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, constants, opset=17, ir=8, dtype=np.float32, **fields):
    """A checked model; `nodes` are (op, inputs, outputs, attributes), named by their outputs."""
    made = [helper.make_node(op, i.split(), o.split(), name=f"make_{o.split()[0]}", **a)
            for op, i, o, a in nodes]
    weights = [numpy_helper.from_array(np.asarray(v, dtype if np.asarray(v).dtype.kind == "f" else
                                                  None), name) for name, v in constants.items()]
    graph = helper.make_graph(made, "test", inputs, outputs, weights, **fields)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    onnx.checker.check_model(made, full_check=True)
    return made


LAYERS = [("Gemm", "x w1 b1", "h", {}), ("Relu", "h", "a", {}), ("Gemm", "a w2 b2", "flat", {})]
WEIGHTS = {"w1": W1, "b1": B1, "w2": W2, "b2": B2}


def mlp(batch="N", kind=TensorProto.FLOAT, **options):
    """x [batch, 4] to y [batch, 2, 3]."""
    nodes = [*LAYERS, ("Reshape", "flat shape", "y", {})]
    if batch == 1:  # as exporters write it when they trace one sample
        nodes.insert(1, ("Reshape", "h row", "h2", {}))
        nodes[2] = ("Relu", "h2", "a", {})
    return model(nodes, [value("x", [batch, FEATURES], kind)], [value("y", [batch, 2, 3], kind)],
                 {**WEIGHTS, "shape": np.array([0, 2, 3]), **({"row": [1, -1]} if batch == 1 else {})},
                 dtype=helper.tensor_dtype_to_np_dtype(kind), **options)


def close(found, expected, dtype=np.float32):
    """Equal to rounding: epsilon times the terms of the sums."""
    assert found.shape == np.shape(expected) and found.dtype == dtype
    scale = np.abs(expected).max() + np.abs(W1).max() * np.abs(W2).max() * HIDDEN
    assert np.abs(found - expected).max() <= 8 * HIDDEN * np.finfo(dtype).eps * scale


def subgraphs(graph):
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield attribute.g
                yield from subgraphs(attribute.g)


def check_standard(path, original):
    """What holds of every explained model, as compared to `original`."""
    onnx.checker.check_model(path, full_check=True)
    made = onnx.load(path)
    onnx.shape_inference.infer_shapes(made, check_type=True, strict_mode=True, data_prop=True)
    old, new = original.graph, made.graph
    assert made.ir_version == max(original.ir_version, 8)
    assert made.opset_import[0].version == max(original.opset_import[0].version, 18)
    names = [node.name for node in old.node]
    assert [n.name for n in new.node if not n.name.startswith("onnxexplainer/")] == names
    kept = {node.name: node for node in new.node}
    for node in old.node:
        assert kept[node.name].op_type == node.op_type
        assert list(kept[node.name].output) == list(node.output)
    weights = {i.name: i for i in new.initializer}
    for weight in old.initializer:
        assert np.array_equal(numpy_helper.to_array(weights[weight.name]),
                              numpy_helper.to_array(weight))
    fixed = {i.name for i in old.initializer}
    inputs = [i for i in old.input if i.name not in fixed]
    assert list(new.input)[:len(inputs)] == inputs
    assert list(new.output)[:len(old.output)] == list(old.output)
    properties = {p.key: p.value for p in made.metadata_props}
    for key in ("version", "method", "target", "references", "cache"):
        assert properties[f"onnxexplainer.{key}"]
    for body in subgraphs(new):  # nothing is captured from outside
        known = {i.name for i in body.input} | {i.name for i in body.initializer} | {""}
        for node in body.node:
            assert set(node.input) <= known, f"{node.name} captures"
            known |= set(node.output)
    return made


@pytest.fixture
def explained(explain, run):
    """explained(model, references, x, *options): the outputs of the explained model, which keeps
    the standard and predicts as before. `x` is an array or a dict of them."""

    def explained(original, references, x, *options, extra=None):
        path = explain(original, references, *options)
        check_standard(path, original)
        before = run(original, x)
        feed = x if isinstance(x, dict) else {original.graph.input[0].name: x}
        after = run(path, {**feed, **(extra or {})})
        assert list(after)[:len(before)] == list(before)
        for name, prediction in before.items():
            np.testing.assert_array_equal(after[name], prediction)
        return {name: v for name, v in after.items() if name not in before}

    return explained


@pytest.fixture
def refused(cli, tmp_path):
    """refused(model, references, *options): the message of an explanation that must fail."""

    def refused(original, references, *options):
        onnx.save(original, tmp_path / "refused.onnx")
        np.save(tmp_path / "refused.npy", references)
        done = subprocess.run([cli, "explain", "refused.onnx", "-r", "refused.npy", "-o", "no.onnx",
                               *options], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 1 and not (tmp_path / "no.onnx").exists()
        assert done.stderr.count("\n") == 1
        return done.stderr

    return refused


def single(x):
    return x.astype(np.float32)


# ---- targets -------------------------------------------------------------------------------------

def places(*flat):
    """K targets of one place each, the same for every sample."""
    return lambda y: np.tile(np.array(flat), (len(y), 1))


def best(key, count):
    return lambda y: np.argsort(key(y), axis=1, kind="stable")[:, :count]


def row(**coefficients):
    """A sum over flat places: p3=1, p1=-1."""
    line = np.zeros(6)
    for place, factor in coefficients.items():
        line[int(place[1:])] += factor
    return line


SINGLE = {
    "top": best(np.negative, 1), "0": places(0), "5": places(5), "1:2": places(5),
    "0:1": places(1),
    "0:*": row(p0=1, p1=1, p2=1), "*:1": row(p1=1, p4=1), "*:*": np.ones(6),
    "3-1": row(p3=1, p1=-1), "1:2-0:0": row(p5=1, p0=-1), "4-4": np.zeros(6),
    "0:*-1:*": row(p0=1, p1=1, p2=1, p3=-1, p4=-1, p5=-1),
}
SEVERAL = {
    "all": places(*range(6)), "top:1": best(np.negative, 1), "top:3": best(np.negative, 3),
    "top:6": best(np.negative, 6), "bottom:2": best(np.positive, 2),
    "absolute:2": best(lambda y: -np.abs(y), 2), "3,0,5": places(3, 0, 5),
    "1:1,0:2": places(4, 2), "2,2": places(2, 2),
    "2,3-1,*:0": [row(p2=1), row(p3=1, p1=-1), row(p0=1, p3=1)],
}


def expected_targets(spec, y):
    """Flat indices [N, K] and coefficients [N, K, 6]."""
    if callable(spec):
        indices = spec(y)
        return indices, np.eye(6)[indices]
    rows = np.atleast_2d(spec)
    one = [r.argmax() if (r != 0).sum() == 1 and r.max() == 1 else -1 for r in rows]
    return np.tile(one, (len(y), 1)), np.tile(rows, (len(y), 1, 1))


@pytest.mark.parametrize("batch", ["N", 1, 3])
@pytest.mark.parametrize("target", [*SINGLE, *SEVERAL])
def test_target(explained, target, batch):
    x = X[:1] if batch == 1 else X
    spec = SINGLE.get(target, SEVERAL.get(target))
    indices, coefficients = expected_targets(spec, network(x))
    outputs = explained(mlp(batch), single(R), single(x), f"--target={target}")
    assert list(outputs) == ["x_shap", "shap_target", "base_value"]
    phi = np.einsum("nkt,ntd->nkd", coefficients, deeplift(x))
    base = np.einsum("nkt,t->nk", coefficients, network(R).mean(axis=0))
    if target in SINGLE:
        phi, base, indices = phi[:, 0], base[:, 0], indices[:, 0]
    close(outputs["x_shap"], phi)
    close(outputs["base_value"], base)
    assert outputs["shap_target"].dtype == np.int64
    np.testing.assert_array_equal(outputs["shap_target"], indices)


@pytest.mark.parametrize("batch", ["N", 1])
def test_target_input(explained, batch):
    x, wanted = (X[:1], [4]) if batch == 1 else (X, [4, 0, 2])
    extra = {"shap_target_input": np.array(wanted)}
    outputs = explained(mlp(batch), single(R), single(x), "--target=input", extra=extra)
    np.testing.assert_array_equal(outputs["shap_target"], wanted)
    close(outputs["x_shap"], deeplift(x)[np.arange(len(x)), wanted])
    close(outputs["base_value"], network(R).mean(axis=0)[wanted])


@pytest.mark.parametrize("target", ["", "6", "-1", "2:0", "0:3", "0:1:2", "*", "top:0", "top:7",
                                    "top:", "all,1", "1,", "1-", "1-2-3", "0x1", "tops", "1.5",
                                    "99999999999999999999", "bottom"])
def test_bad_target(refused, target):
    assert f'target "{target}": ' in refused(mlp(), single(R), f"--target={target}")


@pytest.mark.parametrize("name, expected", [("h", lambda x: x @ W1 + B1), ("flat", network)])
def test_output_name(explained, name, expected):
    outputs = explained(mlp(), single(R), single(X), f"--output-name={name}", "--target=all")
    total = outputs["x_shap"].sum(axis=2, dtype=np.float64)
    close(single(total + outputs["base_value"]), expected(X))


def test_unknown_output_name(refused):
    assert '"nowhere"' in refused(mlp(), single(R), "--output-name=nowhere")


# ---- batches -------------------------------------------------------------------------------------

def test_free_batch(explain, run):
    path = explain(mlp(), single(R), "--target=all")
    rows = {o.name: o.type.tensor_type.shape.dim[0].dim_param for o in onnx.load(path).graph.output}
    assert set(rows.values()) == {"N"}
    everything = run(path, single(X))
    for i in range(len(X)):
        for name, part in run(path, single(X[i:i + 1])).items():
            np.testing.assert_allclose(part[0], everything[name][i], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("output_axis", [0, 1])
@pytest.mark.parametrize("target", ["top", "all"])
def test_batch_axis(explained, output_axis, target):
    """The batch on axis 1 of the input, and of the output."""
    nodes = [("Transpose", "z", "x", {"perm": [1, 0]}), *LAYERS[:2], ("Gemm", "a w2 b2", "y", {})]
    shape = ["N", 6]
    if output_axis == 1:
        nodes += [("Transpose", "y", "t", {"perm": [1, 0]})]
        shape = [6, "N"]
    made = model(nodes, [value("z", [FEATURES, "N"])], [value("ty"[1 - output_axis], shape)],
                 WEIGHTS)
    outputs = explained(made, single(R.T), single(X.T), f"--target={target}")
    phi, base = deeplift(), np.tile(network(R).mean(axis=0), (3, 1))
    if target == "top":
        top = network(X).argmax(axis=1)
        close(outputs["z_shap"], phi[np.arange(3), top].T)
        close(outputs["base_value"], base[np.arange(3), top])
    else:
        close(outputs["z_shap"], phi.transpose(2, 0, 1))
        close(outputs["base_value"], base)


def test_batch_declared_free_but_fixed(explained):
    nodes = [("Reshape", "x row", "x2", {}), ("Gemm", "x2 w1 b1", "h", {}), LAYERS[1],
             ("Gemm", "a w2 b2", "y", {})]
    made = model(nodes, [value("x", ["N", FEATURES])], [value("y", ["N", 6])],
                 {**WEIGHTS, "row": np.array([1, FEATURES])})
    outputs = explained(made, single(R), single(X[:1]), "--target=all")
    close(outputs["x_shap"], deeplift(X[:1]))


@pytest.mark.parametrize("target, k", [("2", slice(2, 3)), ("all", slice(None))])
def test_no_batch(explained, target, k):
    nodes = [("MatMul", "x w1", "m", {}), ("Add", "m b1", "h", {}), LAYERS[1],
             ("MatMul", "a w2", "n", {}), ("Add", "n b2", "y", {})]
    made = model(nodes, [value("x", [FEATURES])], [value("y", [6])], WEIGHTS)
    outputs = explained(made, single(R), single(X[0]), "--no-batch", "--gap", f"--target={target}")
    phi, base, index = deeplift(X[:1])[0, k], network(R).mean(axis=0)[k], np.arange(6)[k]
    if target == "2":
        phi, base, index = phi[0], base[0], index[0]
    close(outputs["x_shap"], phi)
    close(outputs["base_value"], base)
    close(outputs["completeness_gap"], 0 * base)
    np.testing.assert_array_equal(outputs["shap_target"], index)


# ---- inputs --------------------------------------------------------------------------------------

def two_inputs():
    nodes = [("Concat", "left right", "x", {"axis": 1}), *LAYERS[:2], ("Gemm", "a w2 b2", "y", {})]
    return model(nodes, [value("left", ["N", 1]), value("right", ["N", 3])],
                 [value("y", ["N", 6])], WEIGHTS)


def halves(x):
    return {"left": single(x[:, :1]), "right": single(x[:, 1:])}


def test_several_inputs(explain, explained, tmp_path):
    outputs = explained(two_inputs(), halves(R), halves(X), "--target=all")
    assert list(outputs)[:2] == ["left_shap", "right_shap"]
    close(outputs["left_shap"], deeplift()[:, :, :1])
    close(outputs["right_shap"], deeplift()[:, :, 1:])
    np.savez(tmp_path / "both.npz", **halves(R))
    paths = explain(two_inputs(), halves(R)), explain(two_inputs(), str(tmp_path / "both.npz"))
    assert open(paths[0], "rb").read() == open(paths[1], "rb").read()


def test_input_that_does_not_matter(explained):
    """An input that does not reach the output is no explained input."""
    made = model([*LAYERS, ("Relu", "other", "second", {})],
                 [value("x", ["N", FEATURES]), value("other", ["N", 2])],
                 [value("flat", ["N", 6]), value("second", ["N", 2])], WEIGHTS)
    x = {"x": single(X), "other": np.ones((3, 2), np.float32)}
    outputs = explained(made, single(R), x, "--target=all")
    assert list(outputs) == ["x_shap", "shap_target", "base_value"]
    close(outputs["x_shap"], deeplift())


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.INT64])
@pytest.mark.parametrize("options", [[], ["--chunk=2"], ["--target=all", "--no-functions"]])
def test_hold(explained, kind, options):
    nodes = [("Cast", "mask", "factor", {"to": 1}), ("Mul", "z factor", "x", {}), *LAYERS]
    made = model(nodes, [value("z", ["N", FEATURES]), value("mask", ["N", FEATURES], kind)],
                 [value("flat", ["N", 6])], WEIGHTS)
    mask = np.array([[1, 0, 1, 1], [1, 1, 1, 1], [0, 1, 1, 0]])
    x = {"z": single(X), "mask": mask.astype(helper.tensor_dtype_to_np_dtype(kind))}
    outputs = explained(made, single(R), x, "--hold=mask", *options)
    assert list(outputs) == ["z_shap", "shap_target", "base_value"]
    phi = np.stack([deeplift(X[i:i + 1] * mask[i], R * mask[i])[0] for i in range(3)])
    base = np.stack([network(R * mask[i]).mean(axis=0) for i in range(3)])
    if "--target=all" not in options:
        top = network(X * mask).argmax(axis=1)
        phi, base = phi[np.arange(3), top], base[np.arange(3), top]
    close(outputs["z_shap"], phi)
    close(outputs["base_value"], base)


@pytest.mark.parametrize("batch", ["N", 1])
@pytest.mark.parametrize("options", [[], ["--chunk=1"]])
def test_references_as_input(explain, run, batch, options):
    x = X[:1] if batch == 1 else X
    path = explain(mlp(batch), None, "--references=input", "--target=all", *options)
    onnx.checker.check_model(path, full_check=True)
    for r in (R, R[:1], R[1:4]):
        outputs = run(path, {"x": single(x), "x_references": single(r)})
        close(outputs["x_shap"], deeplift(x, r))
        close(outputs["base_value"], np.tile(network(r).mean(axis=0), (len(x), 1)))


def test_initializers_as_inputs(explain, explained):
    made = mlp()
    made.graph.input.extend(value(n, np.shape(w)) for n, w in WEIGHTS.items())
    onnx.checker.check_model(made)
    outputs = explained(made, single(R), single(X), "--target=all")
    close(outputs["x_shap"], deeplift())
    assert [i.name for i in onnx.load(explain(made, single(R))).graph.input] == ["x"]


# ---- names ---------------------------------------------------------------------------------------

def taken(name):
    """A network in which an inner value is called like one of our outputs."""
    nodes = [("Gemm", "x w1 b1", name, {}), ("Relu", name, "a", {}), ("Gemm", "a w2 b2", "y", {})]
    return model(nodes, [value("x", ["N", FEATURES])], [value("y", ["N", 6])], WEIGHTS)


@pytest.mark.parametrize("name, options", [
    ("x_shap", []), ("shap_target", []), ("base_value", []), ("completeness_gap", ["--gap"]),
    ("shap_target_input", ["--target=input"])])
def test_taken_name(refused, explain, name, options):
    assert f'"{name}"' in refused(taken(name), single(R), *options)
    path = explain(taken(name), single(R), "--prefix=our_", *options)
    made = check_standard(path, taken(name))
    assert [o.name for o in made.graph.output][1:4] == ["our_x_shap", "our_shap_target",
                                                        "our_base_value"]


def test_explained_once_more(explain, explained):
    """An explained model is a model: another target, under other names."""
    once = onnx.load(explain(mlp(), single(R), "--target=1"))
    outputs = explained(once, single(R), single(X), "--target=0", "--prefix=more_")
    close(outputs["more_x_shap"], deeplift()[:, 0])


# ---- forms of the graph --------------------------------------------------------------------------

FORMS = [[], ["--cache=load"], ["--cache=none"], ["--cache=file"],
         *([f"--chunk={c}", *cache] for c in (1, 2, 3, 4, 6, 7)
           for cache in ([], ["--cache=none"], ["--cache=file"])),
         ["--memory=1"], ["--no-functions"], ["--no-functions", "--chunk=4"]]


@pytest.mark.parametrize("target", ["top", "all"])
@pytest.mark.parametrize("options", FORMS, ids="".join)
def test_forms(explained, options, target):
    outputs = explained(mlp(), single(R), single(X), f"--target={target}", "--gap", *options)
    phi, base = deeplift(), np.tile(network(R).mean(axis=0), (3, 1))
    if target == "top":
        top = network(X).argmax(axis=1)
        phi, base = phi[np.arange(3), top], base[np.arange(3), top]
    close(outputs["x_shap"], phi)
    close(outputs["base_value"], base)
    close(outputs["completeness_gap"], 0 * base)


@pytest.mark.parametrize("batch, options", [(1, []), (3, []), (1, ["--cache=none"]),
                                            (3, ["--cache=file", "--no-functions"])])
def test_forms_of_fixed_batch(explained, batch, options):
    outputs = explained(mlp(batch), single(R), single(X[:batch]), "--target=all", "--gap", *options)
    close(outputs["x_shap"], deeplift(X[:batch]))
    close(outputs["completeness_gap"], np.zeros((batch, 6)))


@pytest.mark.parametrize("options", [[], ["--chunk=2"]])
def test_functions(explain, options):
    with_functions = onnx.load(explain(mlp(), single(R), *options))
    assert {f.domain for f in with_functions.functions} == {"onnxexplainer"}
    without = onnx.load(explain(mlp(), single(R), "--no-functions", *options))
    assert not without.functions
    for graph in (without.graph, *subgraphs(without.graph)):
        assert {node.domain for node in graph.node} == {""}


@pytest.mark.parametrize("options", [[], ["--chunk=2"], ["--cache=file"]])
def test_same_bytes(explain, options):
    paths = [explain(mlp(), single(R), *options) for _ in range(2)]
    assert open(paths[0], "rb").read() == open(paths[1], "rb").read()


@pytest.mark.parametrize("options", [[], ["--chunk=2"], ["--no-functions"]])
def test_reference_evaluator(explain, options):
    """The result is ONNX, not only what onnxruntime makes of it."""
    path = explain(mlp(), single(R), "--target=all", *options)
    evaluator = ReferenceEvaluator(onnx.load(path))
    outputs = dict(zip(evaluator.output_names, evaluator.run(None, {"x": single(X)})))
    close(outputs["x_shap"], deeplift())
    np.testing.assert_array_equal(outputs["shap_target"], np.tile(np.arange(6), (3, 1)))


def test_without_optimization(explain):
    """What is right does not depend on what onnxruntime folds."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    path = explain(mlp(), single(R), "--target=all")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    close(session.run(["x_shap"], {"x": single(X)})[0], deeplift())


# ---- types and versions --------------------------------------------------------------------------

@pytest.mark.parametrize("options", [[], ["--chunk=4"], ["--cache=file"], ["--no-functions"]])
def test_double(explained, options):
    outputs = explained(mlp(kind=TensorProto.DOUBLE), R, X, "--target=all", "--gap", *options)
    close(outputs["x_shap"], deeplift(), np.float64)
    close(outputs["base_value"], np.tile(network(R).mean(axis=0), (3, 1)), np.float64)
    close(outputs["completeness_gap"], np.zeros((3, 6)), np.float64)


@pytest.mark.parametrize("options", [[], ["--chunk=4"]])
def test_half(explained, options):
    """Multipliers and SHAP values of float16 models are float32."""
    outputs = explained(mlp(kind=TensorProto.FLOAT16), R.astype(np.float16), X.astype(np.float16),
                        "--target=all", *options)
    assert outputs["x_shap"].dtype == outputs["base_value"].dtype == np.float32
    assert np.abs(outputs["x_shap"] - deeplift()).max() < 0.1


@pytest.mark.parametrize("opset, ir", [(9, 4), (13, 7), (17, 8), (18, 9), (21, 10), (23, 11)])
def test_versions(explained, opset, ir):
    outputs = explained(mlp(opset=opset, ir=ir), single(R), single(X), "--target=all")
    close(outputs["x_shap"], deeplift())


def test_metadata(explain, tmp_path):
    (tmp_path / "names.txt").write_text("age\nsex, or not\nbmi\nbp\n")
    made = mlp()
    helper.set_model_props(made, {"author": "somebody"})
    loaded = onnx.load(explain(made, single(R), "--target=top:2", "--chunk=2",
                               f"--feature-names={tmp_path / 'names.txt'}"))
    properties = {p.key: p.value for p in loaded.metadata_props}
    assert properties["author"] == "somebody"
    assert properties["onnxexplainer.target"] == "top:2"
    assert properties["onnxexplainer.cache"] == "load"
    assert properties["onnxexplainer.references"].startswith(f"{REFERENCES} ")
    assert properties["onnxexplainer.feature_names"] == "age\nsex, or not\nbmi\nbp"
    other = onnx.load(explain(made, single(R + 1)))
    assert properties["onnxexplainer.references"] != {
        p.key: p.value for p in other.metadata_props}["onnxexplainer.references"]


@pytest.mark.parametrize("op, hint", [("Softmax", True), ("Sigmoid", True), ("Tanh", False)])
def test_hint_at_logits(cli, tmp_path, op, hint):
    """Of a probability the user learns the name of the logits."""
    made = model([*LAYERS, (op, "flat", "y", {})], [value("x", ["N", FEATURES])],
                 [value("y", ["N", 6])], WEIGHTS)
    onnx.save(made, tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", single(R))
    done = subprocess.run([cli, "explain", "m.onnx", "-r", "r.npy", "-o", "e.onnx"], cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 0 and ("--output-name=flat" in done.stderr) == hint
