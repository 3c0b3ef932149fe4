"""What an explained model promises: the target grammar, batches, inputs and names."""

import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from contract import (B1, FEATURES, HIDDEN, LAYERS, R, W1, WEIGHTS, X, check_standard, close,
                      deeplift, explained, mlp, model, network, refused, single, value)

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


def test_target_input_from_the_end(explained):
    extra = {"shap_target_input": np.array([-1, -6, -2])}
    outputs = explained(mlp(), single(R), single(X), "--target=input", extra=extra)
    np.testing.assert_array_equal(outputs["shap_target"], [5, 0, 4])
    close(outputs["x_shap"], deeplift(X)[np.arange(3), [5, 0, 4]])


@pytest.mark.parametrize("beyond", [6, -7, 2**40])
def test_target_input_beyond_the_output(explained, beyond):
    """ONNX Runtime names the input and the indices that there are."""
    extra = {"shap_target_input": np.array([0, beyond, 0])}
    with pytest.raises(Exception, match=rf"shap_target_input.* idx={beyond} .*\[-6,5\]"):
        explained(mlp(), single(R), single(X), "--target=input", extra=extra)


@pytest.mark.parametrize("target", ["", "6", "-1", "2:0", "0:3", "0:1:2", "*", "top:0", "top:7",
                                    "top:", "all,1", "1,", "1-", "1-2-3", "0x1", "tops", "1.5",
                                    "99999999999999999999", "bottom"])
def test_bad_target(refused, target):
    assert f'target "{target}": ' in refused(mlp(), single(R), f"--target={target}")


def test_too_many_targets(refused):
    made = model([("MatMul", "x wide", "y", {})], [value("x", ["N", FEATURES])],
                 [value("y", ["N", 70000])], {"wide": np.zeros((FEATURES, 70000), np.float32)})
    assert (f"the output has 70000 values, 65536 can be explained at most; SHAP values of one sample "
            f"would take {70000 * FEATURES * 4 / 1e9:.3g} GB") in refused(
                made, single(R), "--target=all")


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


def test_batch_declared_free_but_fixed(explain, run):
    """What the model can do is said by the result: a batch of 1."""
    nodes = [("Reshape", "x row", "x2", {}), ("Gemm", "x2 w1 b1", "h", {}), LAYERS[1],
             ("Gemm", "a w2 b2", "y", {})]
    made = model(nodes, [value("x", ["N", FEATURES])], [value("y", ["N", 6])],
                 {**WEIGHTS, "row": np.array([1, FEATURES])})
    path = explain(made, single(R), "--target=all")
    onnx.checker.check_model(path, full_check=True)
    assert onnx.load(path).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    close(run(path, single(X[:1]))["x_shap"], deeplift(X[:1]))


@pytest.mark.parametrize("options", [[], ["--cache=none"], ["--cache=file"], ["--chunk=4"]])
def test_folded_batch(explained, options):
    """Samples of several rows, which pass the layers as a longer batch."""
    nodes = [("Reshape", "z rows", "x", {}), *LAYERS, ("Reshape", "flat back", "y", {})]
    made = model(nodes, [value("z", ["N", 3, FEATURES])], [value("y", ["N", 18])],
                 {**WEIGHTS, "rows": np.array([-1, FEATURES]), "back": np.array([-1, 18])})
    x, r = np.stack([X, X + 1]), np.stack([R[:3], R[3:]])
    outputs = explained(made, single(r), single(x), "--target=all", *options)
    phi = np.zeros((2, 18, 3, FEATURES))
    for row in range(3):
        phi[:, 6 * row:6 * row + 6, row] = deeplift(x[:, row], r[:, row])
    close(outputs["z_shap"], phi)


@pytest.mark.parametrize("options", [[], ["--cache=none"], ["--cache=file"], ["--chunk=4"]])
def test_folded_input(explained, options):
    """The input is nothing but folded before its values are asked for: two names for one tensor."""
    made = model([("Reshape", "z rows", "x", {}), ("Relu", "x", "a", {}),
                  ("Reshape", "a back", "y", {})], [value("z", ["N", 2, 2])],
                 [value("y", ["N", 4])], {"rows": np.array([-1, 2]), "back": np.array([-1, 4])})
    outputs = explained(made, single(R.reshape(-1, 2, 2)), single(X.reshape(-1, 2, 2)),
                        "--target=all", *options)
    change = np.maximum(X, 0) - np.maximum(R, 0).mean(axis=0)
    close(outputs["z_shap"], (np.eye(4) * change[:, None]).reshape(-1, 4, 2, 2))


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
    outputs = explained(made, {"x": single(R)}, x, "--target=all")
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


def test_input_without_batch(explain, run, refused):
    """A value that all samples share cannot be explained for each; held, it can stay."""
    made = model([("Mul", "z factor", "x", {}), *LAYERS],
                 [value("z", ["N", FEATURES]), value("factor", [])], [value("flat", ["N", 6])],
                 WEIGHTS)
    assert "hold" in refused(made, {"z": single(R), "factor": single(R[:, 0])})
    path = explain(made, {"z": single(R)}, "--hold=factor", "--target=all")
    outputs = run(path, {"z": single(X), "factor": np.array(0.5, np.float32)})
    close(outputs["z_shap"], deeplift(X / 2, R / 2))


def test_values_through_a_branch(explain, run):
    """What a subgraph takes from outside counts as an input of its node."""
    branches = {name: helper.make_graph([helper.make_node(op, ["h"], [name])], name, [],
                                        [value(name, ["N", HIDDEN])])
                for name, op in (("then", "Neg"), ("else", "Abs"))}
    made = model([LAYERS[0],
                  ("If", "yes", "q", {f"{name}_branch": g for name, g in branches.items()}),
                  ("Add", "h q", "y", {})],
                 [value("x", ["N", FEATURES])], [value("y", ["N", HIDDEN])],
                 {"w1": W1, "b1": B1, "yes": np.array(True)},
                 value_info=[value("q", ["N", HIDDEN])])
    outputs = run(explain(made, single(R), "--target=all"), single(X))
    assert not outputs["x_shap"].any()  # h - h


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


def test_explained_once_more(explain, run):
    """An explained model is a model: another target, under other names."""
    once = explain(mlp(), single(R), "--target=1")
    twice = explain(once, single(R), "--target=0", "--prefix=more_")
    onnx.checker.check_model(twice, full_check=True)
    outputs = run(twice, single(X))
    close(outputs["x_shap"], deeplift()[:, 1])
    close(outputs["more_x_shap"], deeplift()[:, 0])


def test_an_unknown_operator_is_named_and_nothing_else(cli, tmp_path):
    """Its unknown shape does not earn a note on the batch before."""
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18, "com.example": 1]> g (float[N,4] x) =>'
        " (float[N,3] z) <float[4,3] w = {1,2,3,1,2,3,1,2,3,1,2,3}>"
        " { y = com.example.Foo(x) q = Relu(y) z = MatMul(q, w) }")
    onnx.save(model, tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", np.zeros((2, 4), np.float32))
    done = subprocess.run([cli, "explain", tmp_path / "m.onnx", "-r", tmp_path / "r.npy", "-o",
                           tmp_path / "e.onnx"], capture_output=True, text=True)
    assert done.returncode == 1 and not (tmp_path / "e.onnx").exists()
    assert done.stderr == ('onnxexplainer: node 0 "" (com.example.Foo): '
                           "no rule for com.example.Foo at opset 1; "
                           "--method=kernel explains any model by its outputs\n")
