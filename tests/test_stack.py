"""Stacks of models: one model of several, explained as such. Values are held against enumeration of
the composed function here, and against those of a model that was written as one."""

import subprocess

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import trees
from package import ox  # noqa: F401, a fixture
from test_methods import shapley

rng = np.random.default_rng(13)
MEAN, SCALE = rng.normal(size=5).astype(np.float32), rng.uniform(1, 2, 5).astype(np.float32)
W, B = rng.normal(size=(5, 7)).astype(np.float32), rng.normal(size=7).astype(np.float32)
V = rng.normal(size=(7, 2)).astype(np.float32)
X, R = rng.normal(size=(4, 5)).astype(np.float32), rng.normal(size=(3, 5)).astype(np.float32)


def model(text, opset=18, ir=8, domains="", **constants):
    made = onnx.parser.parse_model(
        f'<ir_version: {ir}, opset_import: ["": {opset}{domains}]> {text}')
    made.graph.initializer.extend(numpy_helper.from_array(array, name)
                                  for name, array in constants.items())
    return made


def scaler(opset=13, **names):
    text = "s (float[rows,5] input) => (float[rows,5] output) { h = Sub(input, W) output = Div(h, B) }"
    return model(text, opset, 7, W=MEAN, B=SCALE)


def network(opset=18):
    """Its names are those of the scaler, its weights others."""
    return model("n (float[N,5] input) => (float[N,2] output) "
                 "{ h = MatMul(input, W) g = Add(h, B) t = Tanh(g) output = MatMul(t, V) }",
                 opset, W=W, B=B, V=V)


def calibrator(opset=11):
    """A temperature and a softmax, of an opset where that flattens."""
    return model("c (float[b,2] input) => (float[b,2] output) "
                 "{ l = Div(input, W) output = Softmax(l) }", opset, 6,
                 W=np.float32([1.5]))


def f(x):
    h = np.tanh((x.astype(np.float64) - MEAN) / SCALE @ W + B) @ V / 1.5
    e = np.exp(h - h.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def composed():
    return model("n (float[N,5] input) => (float[N,2] output) { a = Sub(input, M) b = Div(a, S) "
                 "h = MatMul(b, W) g = Add(h, B) t = Tanh(g) o = MatMul(t, V) l = Div(o, T) "
                 "output = Softmax(l) }", M=MEAN, S=SCALE, W=W, B=B, V=V, T=np.float32([1.5]))


@pytest.fixture
def files(tmp_path):
    """files(models): paths of them."""
    def files(*models):
        for i, m in enumerate(models):
            onnx.save(m, tmp_path / f"part{i}.onnx")
        return [str(tmp_path / f"part{i}.onnx") for i in range(len(models))]

    return files


CHAIN = [scaler(), network(), calibrator()]


def test_equals_enumeration(explain, run, files):
    paths = files(*CHAIN)
    found = run(explain(paths[0], R, *paths[1:], "--method=exact", "--target=all"), X)
    np.testing.assert_allclose(found["output"], f(X), atol=1e-6)
    np.testing.assert_allclose(found["input_shap"].transpose(0, 2, 1),
                               [shapley(f, x, R) for x in X], atol=1e-6)


@pytest.mark.parametrize("method", ["deepshap", "integrated-gradients", "kernel", "permutation"])
def test_equals_the_composed_model(method, explain, run, files):
    paths = files(*CHAIN)
    options = f"--method={method}", "--target=all"
    stacked = run(explain(paths[0], R, *paths[1:], *options), X)
    whole = run(explain(composed(), R, *options), X)
    assert list(stacked) == list(whole)
    for name, array in whole.items():
        np.testing.assert_allclose(stacked[name], array, atol=2e-6)


def test_python_and_the_command_line_make_the_same(explain, files, ox):
    paths = files(*CHAIN)
    with open(explain(paths[0], R, *paths[1:]), "rb") as file:
        assert file.read() == ox.explain(CHAIN, R)
    assert ox.explain(ox.stack(CHAIN), R) == ox.explain(paths, R)


@pytest.mark.parametrize("parts", [CHAIN, CHAIN[:2], CHAIN[1:], CHAIN[:1]])
def test_what_is_stacked_is_a_model(parts, run, ox):
    made = onnx.load_from_string(ox.stack(parts))
    onnx.checker.check_model(made, full_check=True)
    assert [i.name for i in made.graph.input] == ["input"]
    assert [o.name for o in made.graph.output] == ["output"]
    first = want = X[:, :made.graph.input[0].type.tensor_type.shape.dim[1].dim_value]
    for part in parts:
        want = run(part, want)["output"]
    np.testing.assert_allclose(run(made, first)["output"], want, rtol=1e-6)


# ---- trees and what is only run -----------------------------------------------------------------


def forest(features):
    grown = trees.named(trees.forest(3, 5, 4, features), "target", 1)
    return trees.model([trees.node("TreeEnsembleRegressor", grown)], features)


def test_trees_behind_a_network(explain, run, files, ox):
    parts = [scaler(), network(), forest(2)]
    paths, whole = files(*parts), onnx.load_from_string(ox.stack(parts))
    exact = run(explain(paths[0], R, *paths[1:], "--method=exact"), X)["input_shap"]
    np.testing.assert_allclose(
        exact, [shapley(lambda x: run(whole, x)["y"], x, R)[:, 0] for x in X], atol=1e-6)
    found = run(explain(paths[0], R, *paths[1:], "--gap"), X)
    assert abs(found["completeness_gap"]).max() < 1e-6
    np.testing.assert_allclose(found["y"], run(whole, X)["y"], atol=1e-6)


def test_a_network_behind_trees_is_exact_where_it_is_linear(explain, run, files):
    triple = model("d (float[n,1] in) => (float[n,1] out) { out = Mul(in, W) }", W=np.float32([3]))
    paths = files(forest(5), triple)
    found = run(explain(paths[0], R, paths[1]), X)["x_shap"]
    want = [3 * shapley(lambda x: run(forest(5), x)["y"], x, R)[:, 0] for x in X]
    np.testing.assert_allclose(found, want, atol=1e-5)


@pytest.mark.parametrize("method", ["exact", "kernel"])
def test_a_vector_machine_behind_a_network(method, explain, run, files, ox):
    machine = model("m (float[n,2] in) => (float[n,1] margin) { margin = ai.onnx.ml.SVMRegressor "
                    "<coefficients=[1.0,-2.0,0.5], kernel_type=\"RBF\", kernel_params=[0.4,0.0,3.0], "
                    "n_supports=3, rho=[0.3], support_vectors=[0.0,1.0,2.0,-1.0,0.5,0.5]> (in) }",
                    domains=', "ai.onnx.ml": 3')
    paths = files(network(), machine)
    found = run(explain(paths[0], R, paths[1], f"--method={method}"), X)["input_shap"]
    whole = onnx.load_from_string(ox.stack([network(), machine]))
    want = [shapley(lambda x: run(whole, x)["margin"], x, R)[:, 0] for x in X]
    np.testing.assert_allclose(found, want, atol=1e-6)


# ---- names, bodies, functions, symbols, metadata, types -----------------------------------------


def branch(threshold):
    """Bodies that see `h` and `W` of the graph around them, and have an `u` of their own."""
    def body(name, op):
        nodes = [helper.make_node("Mul", ["h", "W"], ["u"]), helper.make_node(op, ["u"], [name])]
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(
            name, onnx.TensorProto.FLOAT, ["N", 2])])
    nodes = [helper.make_node("Neg", ["input"], ["h"]),
             helper.make_node("ReduceMax", ["flag"], ["m"], keepdims=0),
             helper.make_node("Greater", ["m", "limit"], ["c"]),
             helper.make_node("If", ["c"], ["output"], then_branch=body("then", "Exp"),
                              else_branch=body("else", "Tanh"))]
    graph = helper.make_graph(
        nodes, "b", [helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["N", 2]),
                     helper.make_tensor_value_info("flag", onnx.TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(np.float32([0.5, -1]), "W"),
         numpy_helper.from_array(np.float32(threshold), "limit")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("flag", [0, 1])
def test_bodies_keep_what_they_see(flag, run, ox):
    made = ox.stack([network(), branch(0.5)], "output:input")
    onnx.checker.check_model(onnx.load_from_string(made), full_check=True)
    flags = np.float32([flag])
    want = run(branch(0.5), {"input": run(network(), X)["output"], "flag": flags})["output"]
    np.testing.assert_array_equal(
        run(onnx.load_from_string(made), {"input": X, "flag": flags})["output"], want)
    explained = ox.explain(made, {"input": R}, fix={"flag": flags}, method="exact", target="1")
    found = run(onnx.load_from_string(explained), X)["input_shap"]
    whole = onnx.load_from_string(made)
    np.testing.assert_allclose(found, [shapley(
        lambda x: run(whole, {"input": x.astype(np.float32), "flag": flags})["output"], x, R)[:, 1]
        for x in X], atol=1e-6)


def with_function(factor):
    """Its function is called as that of others, and means something else."""
    made = model("n (float[N,2] input) => (float[N,2] output) { output = Tanh(input) }",
                 domains=', "mine": 1', ir=9)
    made.graph.node[0].domain, made.graph.node[0].op_type = "mine", "scaled"
    made.functions.append(helper.make_function(
        "mine", "scaled", ["a"], ["b"],
        [helper.make_node("Constant", [], ["c"], value_float=factor),
         helper.make_node("Mul", ["a", "c"], ["b"])], [helper.make_opsetid("", 18)]))
    return made


def test_functions_of_one_name(run, ox):
    made = onnx.load_from_string(ox.stack([with_function(3.0), with_function(0.5)]))
    np.testing.assert_array_equal(run(made, X[:, :2])["output"], X[:, :2] * 3 * np.float32(0.5))


def test_symbols_and_metadata(ox):
    first = model("a (float[N,T] x) => (float[N,T] h) { h = Tanh(x) }")
    second = model("b (float[batch,k] in, float[batch,T] more) => (float[batch,T] y, float[T] z) "
                   "{ s = ReduceMean(in) y = Add(more, s) z = ReduceMean <keepdims=0> (more, i) }",
                   i=np.int64([0]))
    for part, properties in ((first, {"a": "1", "both": "1"}), (second, {"b": "2", "both": "2"})):
        helper.set_model_props(part, properties)
    made = onnx.load_from_string(ox.stack([first, second], "h:in"))
    dims = {v.name: [d.dim_param for d in v.type.tensor_type.shape.dim]
            for v in (*made.graph.input, *made.graph.output)}
    assert dims == {"x": ["N", "T"], "more": ["N", "T_2"], "y": ["N", "T_2"], "z": ["T_2"]}
    assert {p.key: p.value for p in made.metadata_props} == {"a": "1", "b": "2", "both": "2"}


def test_outputs_that_feed_nothing_stay(run, ox):
    first = model("a (float[N,2] x) => (float[N,2] h, int64[N,1] label) "
                  "{ h = Tanh(x) label = ArgMax <axis=1> (x) }")
    second = model("b (float[N,2] h) => (float[N,2] y, int64[N,1] label) "
                   "{ y = Neg(h) label = ArgMax <axis=1> (h) }")
    made = onnx.load_from_string(ox.stack([first, second]))
    assert [o.name for o in made.graph.output] == ["y", "label", "label_1"]
    found = run(made, X[:, :2])
    np.testing.assert_allclose(found["y"], -np.tanh(X[:, :2]), atol=1e-6)
    np.testing.assert_array_equal(found["label_1"][:, 0], X[:, :2].argmax(1))


def test_one_input_for_two_models(run, ox):
    first = model("a (float[N,2] x) => (float[N,2] h) { h = Tanh(x) }")
    second = model("b (float[M,2] x, float[M,2] h) => (float[M,2] y) { y = Mul(x, h) }")
    made = onnx.load_from_string(ox.stack([first, second]))
    assert [i.name for i in made.graph.input] == ["x"]
    np.testing.assert_allclose(run(made, X[:, :2])["y"], X[:, :2] * np.tanh(X[:, :2]), atol=1e-6)
    explained = ox.explain([first, second], R[:, :2], gap=True)
    assert abs(run(onnx.load_from_string(explained), X[:, :2])["completeness_gap"]).max() < 1e-6


def test_two_models_into_one(run, ox):
    def half(factor):
        return model("h (float[N,2] x) => (float[N,2] y) { y = Mul(x, W) }",
                     W=np.float32([factor]))
    last = model("l (float[N,2] a, float[N,2] b) => (float[N,2] z) { z = Sub(a, b) }")
    made = ox.stack([half(3), half(2), last], ["1/y:a", "2/y:b"])
    np.testing.assert_allclose(run(onnx.load_from_string(made), X[:, :2])["z"], X[:, :2], atol=1e-6)


def test_doubles_become_floats(run, ox):
    first = model("a (double[N,2] x) => (double[N,2] h) { h = Tanh(x) }")
    made = [first, model("b (float[N,2] v) => (float[N,2] y) { y = Exp(v) }")]
    found = run(onnx.load_from_string(ox.explain(made, R[:, :2].astype(float), gap=True)),
                X[:, :2].astype(float))
    np.testing.assert_allclose(found["y"], np.exp(np.tanh(X[:, :2])), atol=1e-6)
    assert abs(found["completeness_gap"]).max() < 1e-6


def test_a_tensor_inside(run, ox):
    made = ox.stack([network(), model("b (float[N,7] v) => (float[N,7] y) { y = Neg(v) }")], "t:v")
    found = run(onnx.load_from_string(made), X)
    assert list(found) == ["y", "output"]
    np.testing.assert_allclose(found["y"], -np.tanh(X @ W + B), atol=1e-6)


def test_names_with_colons(run, ox):
    first, second = network(), calibrator()
    first.graph.output[0].name = first.graph.node[-1].output[0] = "a:b:0"
    second.graph.input[0].name = second.graph.node[0].input[0] = "c:0"
    for connect in ((), "a:b:0:c:0"):
        found = run(onnx.load_from_string(ox.stack([first, second], connect)), X)
        np.testing.assert_allclose(found["output"].sum(1), 1, atol=1e-6)


# ---- what is refused ----------------------------------------------------------------------------


def small(takes, gives, kind="float", out="float", shape="[N,2]", op="Identity"):
    cast = "" if kind == out else "Cast <to=7>"
    return model(f"m ({kind}{shape} {takes}) => ({out}{shape} {gives}) "
                 f"{{ {gives} = {cast or op}({takes}) }}")


TWO = model("t (float[N,2] a, float[N,2] b) => (float[N,2] c) { c = Add(a, b) }")
REFUSED = {
    "nothing feeds": ([small("x", "y"), TWO], (),
                      'no output of model 1 feeds a later one: it gives "y", model 2 takes "a", "b"; '
                      'connect=OUTPUT:INPUT says what feeds what'),
    "types": ([small("x", "y", out="int64"), small("y", "z")], (),
              '"y" of model 1 cannot feed "y" of model 2: it is int64, the input float32'),
    "shapes": ([small("x", "y"), small("y", "z", shape="[N,3]")], (),
               'its shape is [?, 2], the input\'s [?, 3]'),
    "ranks": ([small("x", "y"), small("y", "z", shape="[N]")], (),
              'its shape is [?, 2], the input\'s [?]'),
    "no pair": ([small("x", "y"), small("a", "z")], "y:b",
                'connect "y:b": no output of a model and input of a later one; 1 gives "y"; 2 takes '
                '"a"'),
    "no form": ([small("x", "y"), small("a", "z")], "y", "is not of the form OUTPUT:INPUT"),
    "twice": ([small("x", "y"), TWO], ["y:a", "y:a"], 'input "a" of model 2 is connected twice'),
    "which": ([small("x", "y"), small("x", "y"), small("x", "y")], "y:x",
              "means 3 pairs: numbers of models tell them apart, such as 2/y:3/x"),
    "backwards": ([small("x", "y"), small("a", "z")], "z:x", "no output of a model"),
    "one input, two types": ([model("m (float[N,2] x) => (float[N,2] y) { y = Identity(x) }"),
                              model("t (double[N,2] x, float[N,2] y) => (float[N,2] z) "
                                    "{ z = Identity(y) }")], (),
                             'input "x" is float32 in model 1 and float64 in model 2'),
    "none": ([], (), "a stack is of 1 to 64 models, not of 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, ox):
    parts, connect, message = REFUSED[case]
    with pytest.raises(ox.ArgumentError) as error:
        ox.stack(parts, connect)
    assert message in str(error.value)


def test_meanings_that_change(ox):
    """GroupNormalization has a scale for each group up to opset 20, then for each channel."""
    old = model("m (float[N,4,3] x) => (float[N,4,3] y) "
                "{ y = GroupNormalization <num_groups=2> (x, s, b) }", 18,
                s=np.ones(2, np.float32), b=np.ones(2, np.float32))
    new = model("m (float[N,4,3] a) => (float[N,4,3] z) { z = Exp(a) }", 21, 10)
    with pytest.raises(ox.UnsupportedError) as error:
        ox.stack([old, new])
    assert "model 1: GroupNormalization of opset 18 means something else at opset 21" in str(
        error.value)


def test_explained_models(ox):
    with pytest.raises(ox.ArgumentError) as error:
        ox.stack([ox.explain(scaler(), R), network()])
    assert "model 1 is explained already" in str(error.value)


def test_maps_are_no_tensors(ox):
    """What feeds then is the tensor that the map is made of."""
    first = model("m (float[N,2] x) => (float[N,2] y) { y = Identity(x) }", domains=', "ai.onnx.ml": 3')
    first.graph.node.append(helper.make_node("ZipMap", ["y"], ["maps"], domain="ai.onnx.ml",
                                             classlabels_int64s=[0, 1]))
    entry = helper.make_map_type_proto(onnx.TensorProto.INT64, helper.make_tensor_type_proto(
        onnx.TensorProto.FLOAT, []))
    del first.graph.output[:]
    first.graph.output.append(helper.make_value_info("maps", helper.make_sequence_type_proto(entry)))
    with pytest.raises(ox.UnsupportedError) as error:
        ox.stack([first, small("a", "z")])
    assert '"maps" of model 1 cannot feed "a" of model 2: it is no tensor; connect=TENSOR:a' in str(
        error.value)
    assert ox.stack([first, small("a", "z")], "y:a")


def test_the_command_line(cli, files, tmp_path):
    np.save(tmp_path / "r.npy", R)
    paths = files(network(), TWO)
    command = [cli, "explain", *paths, "-r", str(tmp_path / "r.npy"), "-o", str(tmp_path / "o.onnx")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "no output of model 1 feeds a later one" in done.stderr
    assert not (tmp_path / "o.onnx").exists()
    done = subprocess.run([cli, "show", *files(*CHAIN)], capture_output=True, text=True)
    assert done.returncode == 0 and "input: float32 [rows,5]" in done.stdout
    done = subprocess.run([*command[:-1], paths[1]], capture_output=True, text=True)
    assert done.returncode == 2 and "replace" in done.stderr
