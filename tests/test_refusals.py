"""What models and options are refused for, in the words that a user reads; beside those of rules
(test_messages.py) and of the command line's own (test_cli_refusals.py)."""

import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

X = (np.arange(20, dtype=np.float32).reshape(5, 4) - 6) / 4
W = np.float32([[1, 0.5], [-2, 1], [0.25, 3], [4, -1]])
OPSETS = '["" : 18, "com.microsoft" : 1, "ai.onnx.ml" : 3, "local" : 1]'


def model(text, opsets=OPSETS, **constants):
    """Nodes of x [N, 4] in ONNX text, or a graph, with constants."""
    graph = text if text.startswith("(") else f"(float[N, 4] x) => (float y) {{ {text} }}"
    made = onnx.parser.parse_model(f"<ir_version: 9, opset_import: {opsets}> graph {graph}")
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name)
                                  for name, value in constants.items())
    return made


def bare(op, inputs, outputs="y", **attributes):
    """A model of one node that ONNX text has no spelling for."""
    made = model("y = Neg (x)")
    del made.graph.node[:]
    made.graph.node.append(helper.make_node(op, inputs, outputs.split(), name="odd", **attributes))
    return made


def referring(inside):
    """Attributes that refer to those of a function, where there is none."""
    made = model("y = If (c) <then_branch = a () => (float t) { t = Softmax <axis = 1> (x) },"
                 " else_branch = b () => (float e) { e = Neg (x) }>"
                 if inside else "y = Softmax <axis = 1> (x)", **({"c": np.bool_(1)} if inside else {}))
    node = made.graph.node[0].attribute[0].g.node[0] if inside else made.graph.node[0]
    node.attribute[0].ref_attr_name, node.attribute[0].i = "axis", 0
    return made


def outside(length):
    made = model("y = MatMul (x, w)", w=W)
    weight = made.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in ("location", "w.bin"), ("length", str(length)):
        weight.external_data.add(key=key, value=value)
    return made


def strings():
    made = model("y = Neg (x)")
    made.graph.initializer.add(name="s", data_type=TensorProto.STRING, dims=[3], string_data=[b"a", b"b"])
    return made


def forest():
    """Its second tree has nodes before and behind another's."""
    return bare("TreeEnsembleRegressor", ["x"], domain="ai.onnx.ml", n_targets=1, nodes_treeids=[0, 1, 0],
                nodes_nodeids=[0, 0, 1], nodes_featureids=[0, 0, 0], nodes_modes=["LEAF"] * 3,
                nodes_values=[0.0] * 3, nodes_truenodeids=[0] * 3, nodes_falsenodeids=[0] * 3,
                target_treeids=[0, 1], target_nodeids=[0, 0], target_ids=[0, 0], target_weights=[1.0, 1.0])


F = '<opset_import: ["" : 18], domain: "local"> '


def calling(call, function):
    made = model(call)
    made.functions.append(onnx.parser.parse_function(F + function))
    return made


MODELS = [
    ("the function has 1 outputs, the call 2", calling("y, z = local.f (x)", "f (a) => (b) { b = Neg (a) }")),
    ("the function has 1 inputs, the call 2", calling("y = local.f (x, x)", "f (a) => (b) { b = Neg (a) }")),
    ("output 0 is an input that is left out", calling("y = local.f (x)", "f (a, b) => (b) { c = Neg (a) }")),
    ('its subgraph uses "zzz", which is not defined before',
     model("y = If (c) <then_branch = a () => (float t) { t = Neg (zzz) },"
           " else_branch = b () => (float e) { e = Neg (x) }>", c=np.bool_(1))),
    ('uses "zzz", which is not defined before', calling("y = local.f (x)", "f (a) => (b) { b = Neg (zzz) }")),
    ('attribute "axis" in its subgraph refers to that of a function', referring(True)),
    ('attribute "axis" refers to that of a function, outside of any', referring(False)),
    ("has 12 bytes of external data where its shape needs 32", outside(12)),
    ("has 2 strings where its shape needs 3", strings()),
    ("the nodes of tree 0 are not in a row", forest()),
    ("the range has no end", model("r = Range (a, b, d) f = Cast <to = 1> (r) y = Add (x, f)", a=np.int64(0),
                                   b=np.int64(4), d=np.int64(0))),
    ("axis 2 copies no axis of rank 2", model("y = Reshape (x, s)", s=np.int64([0, 2, 0]))),
    ("to is 300, not an element type", model("y = Cast <to = 300> (x)")),
    ("its indices vary, but no multiplier passes: completeness would be lost",
     model("(float[N, 4] x) => (float[N, 1, 2] y) { u = Unsqueeze (x, a)"
           " p, i = MaxPool <kernel_shape = [3]> (u) y = Cast <to = 1> (i) }", a=np.int64([1]))),
    ('inputs "x" and "z" have batches of 1 and 4; hold=z keeps one out, no-batch takes references that have one more '
     "axis in front", model("(float[1, 4] x, float[4] z) => (float[1] y) { m = Mul (x, z)"
                            " y = ReduceSum <keepdims = 0> (m, a) }", a=np.int64([1]))),
    ('input "x" has no shape in the model', model("(float[] x) => (float y) { y = Neg (x) }")),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refusals")
    for name, array in {"x": X, "r": X[:2], "wide": np.zeros((2, 5000), np.float32),
                        "pixels": np.zeros((2, 3, 2, 2), np.float32),
                        "words": np.array([["a", "b", "c", "d"]]),
                        "mask": np.ones((2, 2), np.float32), "rows": np.float32([1, 2]),
                        "labels": np.int64([0, 0, 1, 1])}.items():
        np.save(folder / f"{name}.npy", array)
    np.save(folder / "ab.npy", X[:, :2])
    np.save(folder / "one.npy", X[:, :1])
    (folder / "names.txt").write_text("p\nq\ns\n")
    (folder / "groups.txt").write_text("first: p,s\nsecond: q\n")
    (folder / "w.bin").write_bytes(W.tobytes())
    for name, made in OPTION_MODELS.items():
        onnx.save(made, folder / f"{name}.onnx")
    return folder


def explain(cli, data, path, tmp_path, *options):
    command = [cli, "explain", path, *options, "-o", tmp_path / "e.onnx"]
    return subprocess.run(command, cwd=data, capture_output=True, text=True)


@pytest.mark.parametrize("said, made", MODELS, ids=[said for said, _ in MODELS])
def test_models(said, made, cli, data, tmp_path):
    onnx.save(made, data / "m.onnx")
    done = explain(cli, data, "m.onnx", tmp_path, "-rr.npy", "--target=all")
    assert done.returncode == 1 and said in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


OPTION_MODELS = {
    "net": model("h = MatMul (x, w) t = Relu (h) k = Identity (w) y = MatMul (t, v)", w=W, v=W.T.copy()),
    "around": model("h = MatMul (x, w) t = Relu (h) s = ReduceSum (x, a) y = Add (t, s)", w=W, a=np.int64([1])),
    "two": model("(float[N, 4] x, float[N, 4] z) => (float[N, 4] y) { y = Mul (x, z) }"),
    "open": model("(float[N, M] x) => (float[N, 1] y) { y = ReduceSum (x, a) }", a=np.int64([1])),
    "long": model("(float[N, 5000] x) => (float[N, 1] y) { y = ReduceSum (x, a) }", a=np.int64([1])),
    "norm": model("s = ReduceMean <keepdims = 0> (x, a) y = LayerNormalization (x, s)", a=np.int64([0])),
    "draws": model("u = RandomNormalLike (x) y = Mul (x, u)"),
    "hole": model("i = ArgMax <axis = 1> (x) f = Cast <to = 1> (i) y = Add (x, f)"),
    "pair": model("(float[N, 2] a, float[N, 1] b) => (float[N, 2] y) { y = Add (a, b) }"),
    "codes": model("(float[2, 4] x) => (float[2, 2] y) { s = DequantizeLinear (c, k) h = QuantizeLinear (x, k)"
                   " d = DequantizeLinear (h, k) y = MatMul (d, s) }", c=np.int8([[1, 2], [3, 4], [5, 6], [7, 8]]),
                   k=np.float32(0.1)),
    "coded": model("(float[2, 4] x) => (float[2, 2] y) { h = QuantizeLinear (x, k) t = Gather <axis = 1> (h, i)"
                   " y = DequantizeLinear (t, k) }", k=np.float32(0.1), i=np.int64([0, 2])),
    "sized": model("(float[4] x, int64[1] g) => (float[G, 4] y) { s = Concat <axis = 0> (g, four) y = Expand (x, s) }",
                   four=np.int64([4])),
    "images": model("(float[N, 3, 2, 2] x) => (float[N, 3, 4, 4] y) { y = Resize <mode = \"linear\"> (x, , , z) }",
                    z=np.int64([2, 3, 4, 4])),
    "taken": model("shap_target = Neg (x) y = Relu (shap_target)"),
}
OPTIONS = [
    ('tensor "k" does not depend on the inputs, or its shape is not known', "net", "-rr.npy --at=k"),
    ('input "x" reaches the output without passing through the tensors to explain at; force explains them all the '
     "same", "around", "-rr.npy --at=t"),
    ("at: tensors inside can be explained by the methods deepshap and gradient", "net",
     "-rr.npy --at=t --method=integrated-gradients"),
    ("method kernel: 5000 values are more than 4096, whose least squares would take too long", "long",
     "-rwide.npy --method=kernel"),
    ("splits and order 2 have only means over the references", "net", "-rr.npy --splits=2 --multipliers"),
    ("each reference has values of its own, which weights do not change", "net",
     "-rr.npy --weights=rows.npy --keep-references"),
    ("smoothgrad: the shape of input \"x\" is not known", "open", "-rfill:0 --method=smoothgrad --noise=5"),
    ("keep_references: method integrated-gradients takes all references at once", "net",
     "-rinput --method=integrated-gradients --keep-references"),
    ('the shape of input "x" is not known: references that are given say it', "open", "-rfill:0 --method=exact"),
    ('the shape of input "x" is not known: references that are given say it', "open",
     "-rfill:0 --method=exact --groups=labels.npy"),
    ('the shape of output "y" is not known: fix=NAME=FILE makes a constant of the input that decides it ("g"), or a '
     "Reshape to fixed sizes says it", "sized", "-rr.npy --no-batch --hold=g"),
    ('the shape of "y" is not known: fix=NAME=FILE makes a constant of the input that decides it ("g"), or a Reshape '
     "to fixed sizes says it", "sized", "-rr.npy --no-batch --hold=g --target=loss"),
    ("(Resize): its sizes are for a batch of 2: declare that of the inputs as 2, or let the sizes leave it free",
     "images", "-rpixels.npy"),
    ("labels need names: the model has several explained inputs", "two",
     "-rx=r.npy -rz=r.npy --groups=labels.npy"),
    ("its scale or bias depends on the input and cannot be integrated", "norm", "-rr.npy --integrate=4"),
    ("nothing of the references can be kept with references as input: use cache none", "net",
     "-rinput --cache=load"),
    ("nothing of the references can be kept with filled references: use cache none", "net",
     "-rfill:0 --cache=load"),
    ("nothing of the references can be kept with random numbers: use cache none", "draws",
     "-rr.npy --cache=load"),
    ("with references as input the chunk can only be 1", "net", "-rinput --chunk=2"),
    ("the mask has not the shape of one sample's output", "net", "-rr.npy --target=mask:mask.npy"),
    ("the array holds no numbers", "net", "-rr.npy --target=mask:words.npy"),
    ('groups: "first": its features are of different inputs', "pair",
     "-ra=ab.npy -rb=one.npy --feature-names=names.txt --groups=groups.txt"),
    ("quantised models have no splits where their batch is fixed or values are held", "codes", "-rr.npy --splits=2"),
    ("quantised models have no splits where their batch is fixed or values are held", "coded", "-rr.npy --splits=2"),
    ('no references for input "z"', "two", "-rx=r.npy"),
]


@pytest.mark.parametrize("said, name, options", OPTIONS, ids=[f"{said[:40]}-{name}" for said, name, _ in OPTIONS])
def test_options(said, name, options, cli, data, tmp_path):
    done = explain(cli, data, f"{name}.onnx", tmp_path, *options.split())
    assert done.returncode == 1 and said in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


def test_a_shape_that_is_fixed(cli, data, tmp_path):
    """The way out that the message names."""
    done = explain(cli, data, "sized.onnx", tmp_path, "-rr.npy", "--no-batch", "--fix=g=2")
    assert done.returncode == 0, done.stderr


def test_weights_outside_of_a_pipe(cli, data, tmp_path):
    """A model from a pipe has no folder that its weights could be in."""
    done = subprocess.run([cli, "explain", "-", "-rr.npy", "-o", tmp_path / "e.onnx"], cwd=data, capture_output=True,
                          input=outside(32).SerializeToString())
    assert done.returncode == 1
    assert b'"w" has external data, and the model was not read from a folder' in done.stderr


@pytest.mark.parametrize("options, advice", [
    ("--target=0 --chunk=3000", "a smaller chunk takes less"), ("--target=all", "fewer targets take less")])
def test_more_than_the_memory(cli, data, tmp_path, options, advice):
    onnx.save(model("(float[N, 8] x) => (float[N, 4000] y) { h = MatMul (x, w) y = Relu (h) }",
                    w=np.ones((8, 4000), np.float32)), data / "large.onnx")
    np.save(data / "many.npy", np.zeros((3000, 8), np.float32))
    done = explain(cli, data, "large.onnx", tmp_path, "-rmany.npy", "--memory=1M", "--cache=none", *options.split())
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "warning: a run may take " in line]
    assert len(said) == 1 and said[0].endswith(f"more than the memory (1.0 MB): {advice}"), done.stderr


def test_lost_completeness_is_told(cli, data, tmp_path):
    done = explain(cli, data, "hole.onnx", tmp_path, "-rr.npy", "--force")
    assert done.returncode == 0 and "completeness is lost at node 0" in done.stderr, done.stderr


def test_names_of_outputs_that_are_taken(cli, data, tmp_path):
    done = explain(cli, data, "taken.onnx", tmp_path, "-rr.npy")
    assert done.returncode == 1, done.stderr
    assert 'the model has a value called "shap_target" already' in done.stderr
    done = explain(cli, data, "taken.onnx", tmp_path, "-rr.npy", "--prefix=ours_", "-q")
    assert done.returncode == 0, done.stderr


def test_operator_sets_that_differ(cli, data, tmp_path):
    """Models of another operator set's versions are not one."""
    for name, version in ("a", 1), ("b", 2):
        onnx.save(model(f"(float[N, 4] x{name}) => (float[N, 4] y{name}) {{ y{name} = Neg (x{name}) }}",
                        f'["" : 18, "custom" : {version}]'), data / f"{name}.onnx")
    done = explain(cli, data, "a.onnx", tmp_path, "b.onnx", "--connect=ya:xb", "-rr.npy")
    assert done.returncode == 1
    assert ('model 2 is of version 2 of operator set "custom", one before it of 1: export them with the same'
            in done.stderr), done.stderr
