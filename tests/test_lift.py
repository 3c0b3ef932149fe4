"""Lifting: a model of an older opset and the same model at the working opset give the same bits.

`tests/lift.c` does the lifting; onnxruntime runs both, its optimizations off."""

import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from conftest import BUILD

WORKING_OPSET = 18
FREE = ("N", "C", "H", "W", "D")


@pytest.fixture
def lift(tmp_path):
    """lift(model): the lifted model; its error message where that fails."""

    def lift(model):
        before, after = tmp_path / "before.onnx", tmp_path / "after.onnx"
        onnx.save(model, before)
        done = subprocess.run([BUILD / "tests" / "lift", before, after], capture_output=True,
                              text=True)
        if done.returncode != 0:
            assert done.returncode == 1 and not after.exists()
            return done.stderr.strip()
        return onnx.load(after)

    return lift


def tensor_info(name, array, free):
    dims = [FREE[i] if i in free else size for i, size in enumerate(array.shape)]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), dims)


def output_info(name):
    info = onnx.ValueInfoProto()
    info.name = name
    return info


def make_model(nodes, opset, inputs, outputs=("y",), constants=None, free=(), functions=(),
               domains=()):
    graph = helper.make_graph(
        nodes, "graph", [tensor_info(name, array, free) for name, array in inputs.items()],
        [output_info(name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()])
    imports = [helper.make_opsetid("", opset)] + [helper.make_opsetid(d, 1) for d in domains]
    model = helper.make_model(graph, opset_imports=imports, functions=list(functions))
    model.ir_version = 8 if functions else 4
    return model


def run(model, inputs):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def opset_of(model):
    return next(o.version for o in model.opset_import if o.domain == "")


def assert_same(before, after, inputs):
    """Same outputs in name, order and bits, at the working opset, and valid there."""
    assert opset_of(after) == max(WORKING_OPSET, opset_of(before))
    assert [o.name for o in after.graph.output] == [o.name for o in before.graph.output]
    onnx.checker.check_model(after, full_check=True)
    for want, got in zip(run(before, inputs), run(after, inputs), strict=True):
        assert want.dtype == got.dtype and want.shape == got.shape
        assert want.tobytes() == got.tobytes()


def values(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def ints(*numbers):
    return np.array(numbers, np.int64)


def floats(*numbers):
    return np.array(numbers, np.float32)


# ---- one operator ---------------------------------------------------------------------------

CASES = []


def add(op, opsets, *inputs, outputs=1, free=(), label="", **attrs):
    """A node `op`, whose inputs are arrays (free inputs of the model), ("constant", array) or
    None, at each of `opsets`."""
    for opset in opsets:
        name = f"{op}-{opset}" + (f"-{label}" if label else "")
        CASES.append(pytest.param(op, opset, inputs, outputs, free, attrs, id=name))


def constant(array):
    return ("constant", array)


x4 = values(2, 3, 4, 5)
x2 = values(3, 7)

for axes in ([1], [0, 2], [-1]):
    some = [opset for opset in (7, 10, 11, 12, 13, 17) if min(axes) >= 0 or opset >= 11]
    for op in ("ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
               "ReduceSumSquare", "ReduceLogSumExp"):
        add(op, some, x4, axes=axes, keepdims=len(axes) % 2, label=f"axes{axes}")
    add("ReduceLogSum", some, abs(x4), axes=axes, label=f"axes{axes}")
    add("ReduceSum", [o for o in some if o < 13], x4, axes=axes, label=f"axes{axes}")
for op in ("ReduceMean", "ReduceMax", "ReduceSum"):
    add(op, (7, 11, 13), x4, keepdims=0, label="all")
add("ReduceSum", (13, 17), x4, constant(ints(1, 2)), keepdims=0)

add("Squeeze", (7, 12), values(1, 3, 1, 2), axes=[0, 2])
add("Squeeze", (7, 11), values(1, 3, 1, 2), label="all")
add("Squeeze", (13,), values(1, 3, 1, 2), constant(ints(2)))
add("Unsqueeze", (7, 12), x2, axes=[0, 3])
add("Unsqueeze", (11,), x2, axes=[-1], free=(0,), label="negative")

add("Clip", (7, 10), x4, min=-0.5, max=0.7)
add("Clip", (7, 10), x4, min=0.0, label="min")
add("Clip", (7,), x4, max=0.1, label="max")
add("Clip", (7,), floats(np.inf, -np.inf, np.nan, 3e38), label="none")
add("Clip", (11, 12), x4, constant(np.float32(-0.3)), constant(np.float32(0.3)))

add("Pad", (7, 10), x4, pads=[0, 0, 1, 2, 0, 0, 3, 0], value=1.5)
add("Pad", (7,), x4, pads=[0, 0, 1, -1, 0, 0, 0, -2], label="negative")
add("Pad", (7,), x4.astype(np.float64), pads=[0] * 7 + [1], value=1.1, label="double")
for mode in ("reflect", "edge"):
    add("Pad", (7, 10), x4, pads=[0, 0, 1, 2, 0, 0, 3, 0], mode=mode, label=mode)
add("Pad", (11, 13), x4, constant(ints(0, 1, 0, 0, 0, 0, 1, 1)), constant(np.float32(2)))

add("Slice", (7, 9), x4, starts=[1, -3], ends=[3, 2**31 - 1], axes=[1, 3])
add("Slice", (7,), x4, starts=[1, 0, 1], ends=[2, 2, 3], label="no axes")
add("Slice", (10, 11), x4, constant(ints(3)), constant(ints(0)), constant(ints(2)),
    constant(ints(-1)))

add("TopK", (7, 9), x4, k=3, axis=-1, outputs=2)
add("TopK", (7,), x4, k=2, axis=1, outputs=2, label="axis")
add("TopK", (7,), np.round(x4), k=4, outputs=2, label="ties")

add("Dropout", (7, 10), x4, ratio=0.3)
add("Dropout", (7, 11, 12), x4, label="plain")

for mode in ("nearest", "linear"):
    for scales in ([1, 1, 2, 2], [1, 1, 1.5, 2.7], [1, 1, 3, 1]):
        label = f"{mode}-{scales}"
        add("Upsample", (7, 8), x4, mode=mode, scales=[float(s) for s in scales],
            label=label)
        add("Upsample", (9,), x4, constant(floats(*scales)), mode=mode, label=label)
        add("Upsample", (9,), x4, floats(*scales), mode=mode, label=label + "-free")
    for scales in ([1, 1, 2, 2], [1, 1, 0.6, 0.4], [1, 1, 0.6, 1.7], [1, 1, 2.3, 0.45]):
        label = f"{mode}-{scales}"
        add("Resize", (10,), x4, constant(floats(*scales)), mode=mode, label=label)
        add("Resize", (10,), x4, floats(*scales), mode=mode, label=label + "-free")

empty = constant(np.zeros(0, np.float32))
for mode in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"):
    for scales in ([1, 1, 2.2, 2], [1, 1, 0.6, 1.5]):
        for how in ({"mode": "linear"}, {"mode": "nearest", "nearest_mode": "ceil"},
                    {"mode": "cubic", "cubic_coeff_a": -0.5}):
            add("Resize", (11, 13), x4, empty, constant(floats(*scales)),
                coordinate_transformation_mode=mode, label=f"{mode}-{how['mode']}-{scales}", **how)
add("Resize", (11, 12), x4, empty, empty, constant(ints(2, 3, 7, 3)), mode="linear",
    label="sizes")
add("Resize", (13, 17), x4, None, None, constant(ints(2, 3, 7, 3)), mode="nearest", label="sizes")
for scales in ([1, 1, 2, 2], [1, 1, 3, 1.7], [1, 1, 0.6, 0.3], [1, 1, 7, 6]):
    add("Resize", (11, 12), x4, empty, constant(floats(*scales)), mode="nearest",
        coordinate_transformation_mode="tf_half_pixel_for_nn", nearest_mode="floor",
        label=f"tf-{scales}")
add("Resize", (11,), x4, constant(floats(0, 0, 0.2, 0.3, 1, 1, 0.9, 0.8)), empty,
    constant(ints(2, 3, 5, 6)), mode="linear",
    coordinate_transformation_mode="tf_crop_and_resize", label="crop")

add("Split", (7, 11), x4, split=[1, 2], axis=1, outputs=2)
add("Split", (7, 12, 13, 17), x4, axis=2, outputs=2, label="even")
add("Split", (13, 17), x4, constant(ints(3, 2)), axis=-1, outputs=2)

for op in ("Softmax", "LogSoftmax", "Hardmax"):
    for free in ((), (0,), (0, 2)):
        label = f"free{list(free)}"
        add(op, (7, 12), x4, free=free, label=label)
        add(op, (7, 12), x4, axis=3, free=free, label=label + "-last")
        add(op, (7,), x4, axis=0, free=free, label=label + "-first")
        add(op, (11,), x4, axis=-2, free=free, label=label + "-negative")
        add(op, (7, 11), values(2, 6, 1, 1), free=free, label=label + "-thin")
    add(op, (7, 12), x2, free=(0,))
    add(op, (13, 17), x4, axis=1)

add("Scatter", (9, 10), x2, constant(np.array([[0, 2], [1, 0]], np.int64)), values(2, 2, seed=1))
add("ScatterElements", (11, 13, 16), x2, constant(np.array([[0, 2], [1, 0]], np.int64)),
    values(2, 2, seed=1), axis=1)

per_channel = [constant(values(3, seed=i)) for i in (1, 2, 3)] + [constant(abs(values(3, seed=4)))]
add("BatchNormalization", (7, 9, 13, 14), x4, *per_channel, epsilon=1e-3)
add("BatchNormalization", (7, 8), x4, *per_channel, spatial=1, label="spatial")

boxes = constant(np.array([[0, 0, 3, 3], [1, 0, 4, 2.5]], np.float32))
add("RoiAlign", (10, 15, 16), x4, boxes, constant(ints(0, 1)), output_height=2, output_width=2,
    spatial_scale=0.8)

# Operators whose older spelling still holds.
add("AveragePool", (7, 10, 11), x4, kernel_shape=[2, 2], pads=[1, 0, 1, 0], count_include_pad=1)
add("MaxPool", (8, 10, 12), x4, kernel_shape=[2, 2], strides=[2, 2], outputs=2)
add("DepthToSpace", (7, 11), values(1, 8, 2, 3), blocksize=2)
add("Gemm", (7, 9, 11), x2, constant(values(7, 2)), constant(values(2)))
add("PRelu", (7, 9), x4, constant(values(3, 1, 1)))
add("Flatten", (7, 9, 11), x4, axis=2)
add("OneHot", (9, 11), ints(0, 2, 1), constant(ints(3)), constant(floats(-1, 1)))
add("LpPool", (7, 11, 17), x4, kernel_shape=[2, 2], p=2)
add("ConstantOfShape", (9,), constant(ints(2, 3)))


def one_node(op, opset, arrays, outputs, free, attrs):
    names, inputs, constants = [], {}, {}
    for i, array in enumerate(arrays):
        name = "" if array is None else "xabcde"[i]
        names.append(name)
        if isinstance(array, tuple):
            constants[name] = array[1]
        elif array is not None:
            inputs[name] = array
    results = ["y", "z"][:outputs]
    node = helper.make_node(op, names, results, name="node", **attrs)
    return make_model([node], opset, inputs, results, constants, free), inputs


@pytest.mark.parametrize("op, opset, arrays, outputs, free, attrs", CASES)
def test_same_bits(lift, op, opset, arrays, outputs, free, attrs):
    model, inputs = one_node(op, opset, arrays, outputs, free, attrs)
    lifted = lift(model)
    assert not isinstance(lifted, str), lifted
    assert_same(model, lifted, inputs)


def test_kept_nodes_are_unchanged(lift):
    nodes = [helper.make_node("Relu", ["x"], ["r"], name="first", doc_string="words"),
             helper.make_node("Squeeze", ["r"], ["s"], name="second", axes=[1]),
             helper.make_node("Elu", ["s"], ["y"], name="third", alpha=0.5)]
    inputs = {"x": values(2, 1, 3)}
    model = make_model(nodes, 11, inputs, ["y", "r"])
    lifted = lift(model)
    assert_same(model, lifted, inputs)
    assert [n.name for n in lifted.graph.node] == ["first", "second", "third"]
    assert lifted.graph.node[0] == nodes[0] and lifted.graph.node[2] == nodes[2]


def test_half_precision(lift):
    """onnxruntime has no Clip of opset 6 for it."""
    model, _ = one_node("Clip", 7, (x4.astype(np.float16),), 1, (), {"min": 0.1})
    del model.graph.output[:]
    model.graph.output.append(tensor_info("y", x4.astype(np.float16), ()))
    lifted = lift(model)
    onnx.checker.check_model(lifted, full_check=True)
    assert run(lifted, {"x": x4.astype(np.float16)})[0].min() == np.float16(0.1)


@pytest.mark.parametrize("opset", [7, 13, 17])
def test_softplus_of_float16_stays_finite(lift, opset):
    """At opset 18 ONNX Runtime takes the schema's log(exp(x) + 1), infinite beyond 88."""
    x = np.float16([[-100, -3, 0, 3, 100, 60000]])
    model = make_model([helper.make_node("Softplus", ["x"], ["y"])], opset, {"x": x})
    lifted = lift(model)
    expected = np.logaddexp(0, x.astype(np.float64))
    np.testing.assert_allclose(run(lifted, {"x": x})[0], expected, rtol=2**-10, atol=2**-24)
    np.testing.assert_array_equal(run(lifted, {"x": x})[0], run(model, {"x": x})[0])


def test_scales_in_a_constant_node(lift):
    scales = numpy_helper.from_array(floats(1, 1, 0.6, 0.4))
    model = make_model([helper.make_node("Constant", [], ["s"], value=scales),
                        helper.make_node("Resize", ["x", "s"], ["y"])], 10, {"x": x4})
    lifted = lift(model)
    assert_same(model, lifted, {"x": x4})
    assert len(lifted.graph.node) == 2


def test_unused_outputs_go(lift):
    inputs = {"x": x4}
    model = make_model([helper.make_node("Dropout", ["x"], ["y", "mask"])], 7, inputs)
    lifted = lift(model)
    assert_same(model, lifted, inputs)
    assert lifted.graph.node[0].output == ["y"]


@pytest.mark.parametrize("opset", [18, 19, 20, 21])
def test_newer_opsets_stay(lift, opset):
    inputs = {"x": x2}
    model = make_model([helper.make_node("Softmax", ["x"], ["y"])], opset, inputs)
    assert_same(model, lift(model), inputs)


# ---- what cannot be lifted -------------------------------------------------------------------

def identity_model(opset):
    return make_model([helper.make_node("Identity", ["x"], ["y"])], opset, {"x": x2})


@pytest.mark.parametrize("opset", [1, 6, 29])
def test_opsets_not_understood(lift, opset):
    message = f"the model is of opset {opset}; understood are 7 to 28"
    assert lift(identity_model(opset)) == message


def test_no_opset(lift):
    model = identity_model(7)
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
    assert lift(model) == "the model imports no version of the ONNX opset"


def test_no_opset_of_a_body(lift):
    """The only node of the standard stands in the attribute of another domain's."""
    inside = helper.make_graph([helper.make_node("Identity", ["p"], ["q"])], "body",
                               [helper.make_tensor_value_info("p", TensorProto.FLOAT, None)],
                               [helper.make_tensor_value_info("q", TensorProto.FLOAT, None)])
    node = helper.make_node("FlexAttention", ["x", "x", "x"], ["y"], domain="ai.onnx.preview",
                            prob_mod=inside)
    model = make_model([node], 7, {"x": x4})
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("ai.onnx.preview", 1))
    assert lift(model) == "the model imports no version of the ONNX opset"


@pytest.mark.parametrize("op, opset, outputs, attrs, what", [
    ("BatchNormalization", 7, 1, {"spatial": 0}, "spatial=0 of opset 7 has no later spelling"),
    ("Dropout", 10, 2, {}, "the mask of Dropout of opset 10 has no later spelling"),
])
def test_refused(lift, op, opset, outputs, attrs, what):
    arrays = (x4, *per_channel) if op == "BatchNormalization" else (x4,)
    model, _ = one_node(op, opset, arrays, outputs, (), attrs)
    assert lift(model) == f'node 0 "node" ({op}): {what}'


EVAL = "; export the model for inference, in PyTorch after model.eval()"
FURTHER = ["y", "mean", "var", "saved_mean", "saved_var"]


@pytest.mark.parametrize("opset, outputs, attrs, by", [
    (7, FURTHER, {}, "its further outputs"),
    (9, FURTHER, {}, "its further outputs"),
    (9, ["y", "", "", "", "saved_var"], {}, "its further outputs"),
    (14, FURTHER[:3], {"training_mode": 1}, "training_mode=1"),
    (15, FURTHER[:1], {"training_mode": 1}, "training_mode=1"),
    (9, ["y", "", "", "", ""], {}, None),
    (9, ["y", "", ""], {}, None),
    (9, ["y"], {}, None),
    (14, ["y", "", ""], {}, None),
    (15, ["y", "used", ""], {}, "its further outputs"),
])
def test_batch_normalization_for_training(lift, opset, outputs, attrs, by):
    """Further outputs that have a name train, used or not; ONNX Runtime does the same."""
    arrays = {name: array.shape for name, (_, array) in zip("xsbmv", [(0, x4), *per_channel])}
    nodes = [helper.make_node("BatchNormalization", list(arrays), outputs, "node", **attrs),
             helper.make_node("Relu", ["y"], ["z"])]
    inputs = [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in arrays.items()]
    results = [helper.make_tensor_value_info("z", TensorProto.FLOAT, x4.shape)]
    if "used" in outputs:
        results.append(helper.make_tensor_value_info("used", TensorProto.FLOAT, None))
    model = helper.make_model(helper.make_graph(nodes, "g", inputs, results), ir_version=7,
                              opset_imports=[helper.make_opsetid("", opset)])
    said = lift(model)
    if by is None:
        assert [list(n.output) for n in said.graph.node] == [["y"], ["z"]]
    else:
        assert said == f'node 0 "node" (BatchNormalization): is in training mode, by {by}{EVAL}'


@pytest.mark.parametrize("op, inputs, outputs, what", [
    ("Clip", [], ["y"], "has 0 inputs, Clip of opset 10 has 1"),
    ("Clip", ["x"], [], "has 0 outputs, Clip of opset 10 has 1"),
    ("Softmax", [""], ["y"], "input 0 is missing"),
    ("Resize", ["x"], ["y"], "has 1 inputs, Resize of opset 10 has 2"),
    ("Upsample", ["x"], ["y"], "has 1 inputs, Upsample of opset 10 has 2"),
])
def test_broken_nodes(lift, op, inputs, outputs, what):
    nodes = [helper.make_node(op, inputs, outputs), helper.make_node("Relu", ["x"], ["z"])]
    model = make_model(nodes, 10, {"x": x2}, ["z"])
    assert lift(model).endswith(f': node 0 "" ({op}): {what}')


def test_refused_resize(lift):
    model, _ = one_node("Resize", 11, (x4, empty, constant(floats(1, 1, 2, 2))), 1, (), {
        "coordinate_transformation_mode": "tf_half_pixel_for_nn", "mode": "linear"})
    assert lift(model) == ('node 0 "node" (Resize): tf_half_pixel_for_nn without '
                           "nearest_mode=floor of opset 11 has no later spelling")


# ---- bodies ----------------------------------------------------------------------------------

def if_model(opset, op, **attrs):
    """y = op(x) or x, where the body of If takes x from outside."""
    def branch(node, name):
        info = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, x2.shape)
        return helper.make_graph([node], name, [], [info])
    node = helper.make_node(
        "If", ["c"], ["y"], name="choose",
        then_branch=branch(helper.make_node(op, ["r"], ["t"], **attrs), "then"),
        else_branch=branch(helper.make_node("Identity", ["r"], ["e"]), "else"))
    inputs = {"x": x2, "c": np.array(True)}
    model = make_model([helper.make_node("Relu", ["x"], ["r"]), node], opset, inputs)
    model.graph.output[0].CopyFrom(tensor_info("y", x2, ()))
    return model, inputs


def test_body_that_means_the_same(lift):
    model, inputs = if_model(11, "Elu")
    assert_same(model, lift(model), inputs)
    model, inputs = if_model(13, "Softmax")
    assert_same(model, lift(model), inputs)


def test_body_that_would_mean_something_else(lift):
    model, inputs = if_model(11, "Softmax")
    assert_same(model, lift(model), inputs)
    model, inputs = if_model(10, "Clip", min=-0.5)
    assert_same(model, lift(model), inputs)


def calling(name, functions):
    """y = name(x, c) or x, by an If, and the If."""
    model, inputs = if_model(13, name, domain="own")
    choose = model.graph.node[1]
    for branch in choose.attribute:
        if branch.name == "then_branch":
            branch.g.node[0].input[:] = ["r", "c"]
    model.functions.extend(functions)
    model.opset_import.append(helper.make_opsetid("own", 1))
    return model, choose, inputs


@pytest.mark.parametrize("taken", [True, False])
def test_body_that_calls_a_function(lift, taken):
    """Which has a body that calls another one."""
    twice = function("twice", ["a", "c"], ["r"], [helper.make_node("Add", ["a", "a"], ["r"])])
    inner, choose, inputs = calling("twice", [twice])
    inputs["c"] = np.array(taken)
    assert_same(inner, lift(inner), inputs)
    outer, _, _ = calling("chosen", [twice, function("chosen", ["r", "c"], ["y"], [choose])])
    lifted = lift(outer)
    assert len(lifted.functions) == 0
    assert_same(outer, lifted, inputs)


# ---- functions -------------------------------------------------------------------------------

def function(name, inputs, outputs, nodes, attributes=(), opset=13):
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, inputs, outputs, nodes, imports, attributes)


def call(function_name, inputs, outputs, **attrs):
    return helper.make_node(function_name, inputs, outputs, domain="own", **attrs)


def assert_inlined(lift, nodes, functions, inputs, outputs=("y",), opset=13):
    model = make_model(nodes, opset, inputs, outputs, functions=functions, domains=("own",))
    lifted = lift(model)
    assert not isinstance(lifted, str), lifted
    assert not lifted.functions and all(n.domain == "" for n in lifted.graph.node)
    assert_same(model, lifted, inputs)
    return lifted


def scaled():
    """scaled(a) = factor * split half of a, by names that occur outside, too."""
    constant_node = helper.make_node("Constant", [], ["x"])
    reference = constant_node.attribute.add()
    reference.name, reference.ref_attr_name = "value_float", "factor"
    reference.type = onnx.AttributeProto.FLOAT
    nodes = [constant_node, helper.make_node("Split", ["a"], ["p", "q"], axis=0),
             helper.make_node("Mul", ["p", "x"], ["r"])]
    return function("scaled", ["a"], ["r"], nodes, ["factor"])


def test_function(lift):
    nodes = [call("scaled", ["x"], ["h"], name="one", factor=2.0),
             call("scaled", ["x"], ["k"], factor=3.0),
             helper.make_node("Add", ["h", "k"], ["y"])]
    lifted = assert_inlined(lift, nodes, [scaled()], {"x": values(4, 3)}, ("y", "k"))
    assert [n.op_type for n in lifted.graph.node] == ["Constant", "Split", "Mul"] * 2 + ["Add"]


def test_function_in_function(lift):
    outer = function("outer", ["a", "b"], ["s"], [
        call("scaled", ["a"], ["h"], factor=0.5), call("scaled", ["b"], ["k"], factor=0.25),
        helper.make_node("Sub", ["h", "k"], ["s"])])
    nodes = [call("outer", ["x", "z"], ["y"])]
    assert_inlined(lift, nodes, [scaled(), outer], {"x": values(4, 3), "z": values(4, 3, seed=1)})


@pytest.mark.parametrize("used", [("u", "v", "w"), ("", "v", ""), ("u", "", "w")])
def test_function_hands_on_and_repeats(lift, used):
    """Valid, but more than onnxruntime understands before it is lifted."""
    odd = function("odd", ["a"], ["a", "r", "r"], [helper.make_node("Relu", ["a"], ["r"])])
    outputs = [name for name in used if name]
    model = make_model([call("odd", ["x"], used)], 13, {"x": x2}, outputs, functions=[odd],
                       domains=("own",))
    want = {"u": x2, "v": np.maximum(x2, 0), "w": np.maximum(x2, 0)}
    for name, got in zip(outputs, run(lift(model), {"x": x2}), strict=True):
        assert want[name].tobytes() == got.tobytes()


def test_recursion(lift):
    again = function("again", ["a"], ["r"], [call("again", ["a"], ["r"])])
    model = make_model([call("again", ["x"], ["y"])], 13, {"x": x2}, functions=[again],
                       domains=("own",))
    assert lift(model) == "function again: calls nest deeper than 100"


def test_recursion_through_a_body(lift):
    _, choose, _ = calling("again", [])
    model, _, _ = calling("again", [function("again", ["r", "c"], ["y"], [choose])])
    assert lift(model) == "function again: calls nest deeper than 100"


def test_functions_that_multiply(lift):
    """Thirty functions, each of which calls the next one twice."""
    functions = []
    for i in range(30):
        nodes = [call(f"f{i + 1}", ["a"], ["h"]), call(f"f{i + 1}", ["h"], ["r"])]
        functions.append(function(f"f{i}", ["a"], ["r"], nodes))
    functions.append(function("f30", ["a"], ["r"], [helper.make_node("Relu", ["a"], ["r"])]))
    model = make_model([call("f0", ["x"], ["y"])], 13, {"x": x2}, functions=functions,
                       domains=("own",))
    assert "the model makes more than 262144 nodes" in lift(model)


# ---- real models -----------------------------------------------------------------------------

def real_inputs(folder, model):
    """The first row of the model's inputs, or as many as its batch is fixed to."""
    constants = {c.name for c in model.graph.initializer}
    infos = [i for i in model.graph.input if i.name not in constants]
    inputs = {}
    for info in infos:
        array = np.load(folder / ("input.npy" if len(infos) == 1 else f"input_{info.name}.npy"))
        dims = info.type.tensor_type.shape.dim
        inputs[info.name] = array[:1] if array.ndim and not dims[0].dim_value > 1 else array
    return inputs


def test_real_models(lift, shared):
    for path in sorted(shared.glob("models/*/model.onnx")):
        model = onnx.load(path)
        lifted = lift(model)
        assert not isinstance(lifted, str), f"{path}: {lifted}"
        inputs = real_inputs(path.parent, model)
        for want, got in zip(run(model, inputs), run(lifted, inputs), strict=True):
            assert want.tobytes() == got.tobytes(), path
