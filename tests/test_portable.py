"""Explained models in other hands: what --no-functions spells for runtimes that compute or compile
other spellings wrongly, and two explained models in one. docs/runtimes.md says who runs them."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, compose, helper, numpy_helper

from contract import subgraphs

RNG = np.random.default_rng(11)
WIDTH = 8
X, R = (RNG.normal(size=(rows, 3, WIDTH)).astype(np.float32) for rows in (2, 4))


def weights(*shape):
    return (np.random.default_rng(sum(shape)).normal(size=shape) / 2).astype(np.float32)


def model(nodes, constants):
    graph = helper.make_graph(
        [helper.make_node(op, i.split(), o.split(), **a) for op, i, o, a in nodes], "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3, WIDTH])],
        [numpy_helper.from_array(v, name) for name, v in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def layers():
    """Square weights in MatMul and Gemm, a normalisation, and a bound that Clip does not have."""
    return model(
        [("MatMul", "x w", "a", {}), ("LayerNormalization", "a scale", "b", {}),
         ("Clip", "b zero", "c", {}), ("Reshape", "c flat", "d", {}),
         ("Gemm", "d v bias", "e", {"transB": 1}), ("Reshape", "e back", "f", {}),
         ("Softmax", "f", "y", {})],
        {"w": weights(WIDTH, WIDTH), "v": weights(1, WIDTH, WIDTH)[0], "bias": weights(WIDTH),
         "scale": np.ones(WIDTH, np.float32), "zero": np.float32(0),
         "flat": np.int64([-1, WIDTH]), "back": np.int64([-1, 3, WIDTH])})


def gates():
    """Recurrent weights, of which each gate has a square part."""
    return model(
        [("Transpose", "x", "t", {"perm": [1, 0, 2]}),
         ("GRU", "t w r", "h", {"hidden_size": WIDTH, "linear_before_reset": 1}),
         ("Squeeze", "h one", "s", {}), ("Transpose", "s", "y", {"perm": [1, 0, 2]})],
        {"w": weights(1, 3 * WIDTH, WIDTH), "r": weights(1, 3 * WIDTH, WIDTH),
         "one": np.int64([1])})


MODELS = {"layers": layers, "gates": gates}
MOVES = {"Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}


def root(graph, name):
    """Where a value lies: what it is moved from, and whether it is transposed on the way."""
    makers = {o: n for n in graph.node for o in n.output}
    parts, turned = [], False
    while name in makers and makers[name].op_type in MOVES:
        node = makers[name]
        turned ^= node.op_type == "Transpose"
        parts += [str(list(node.input[1:])), str(list(node.output).index(name))] * (
            node.op_type in ("Slice", "Split"))
        name = node.input[0]
    return (name, *parts), turned


def is_square(graph, name):
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
              for v in graph.value_info}
    shapes.update((i.name, list(i.dims)) for i in graph.initializer)
    return name in shapes and shapes[name][-2:] == [WIDTH, WIDTH]


@pytest.mark.parametrize("options", [[], ["--chunk=2"], ["--target=all"]])
@pytest.mark.parametrize("name", MODELS)
def test_spelling(explain, name, options):
    path = explain(MODELS[name](), R, "--no-functions", "--target=3", *options)
    made = onnx.shape_inference.infer_shapes(onnx.load(path), data_prop=True)
    seen = {}
    for graph in (made.graph, *subgraphs(made.graph)):
        constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        for value in constants.values():
            assert value.dtype.kind != "f" or np.isfinite(value).all()
        for node in graph.node:
            if node.op_type.startswith("Reduce") and node.name.startswith("onnxexplainer/"):
                assert (constants[node.input[1]] >= 0).all(), node.name
            if node.op_type in ("MatMul", "Gemm"):
                place, turned = root(graph, node.input[1])
                transposed = turned ^ any(a.name == "transB" and a.i for a in node.attribute)
                if is_square(graph, node.input[1]):
                    seen.setdefault(place, set()).add(transposed)
    assert seen and all(len(ways) == 1 for ways in seen.values()), seen


@pytest.mark.parametrize("name", MODELS)
def test_same_values(explain, run, name):
    """What is spelled otherwise computes the same."""
    portable, own = (run(explain(MODELS[name](), R, "--target=3", *options), X)
                     for options in (["--no-functions"], []))
    assert list(portable) == list(own)
    for key, value in own.items():
        np.testing.assert_allclose(portable[key], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("options", [[], ["--no-functions"]])
def test_two_in_one(explain, options):
    """As docs/runtimes.md says: names get prefixes, and one of them gives up its metadata."""
    models = [onnx.load(explain(made(), R, "--target=3", *options)) for made in MODELS.values()]
    del models[1].metadata_props[:]
    both = compose.merge_models(*models, io_map=[], prefix1="first_", prefix2="second_")
    onnx.checker.check_model(both, full_check=True)

    def values(made, feed):
        session = onnxruntime.InferenceSession(made.SerializeToString(),
                                               providers=["CPUExecutionProvider"])
        return dict(zip([o.name for o in session.get_outputs()], session.run(None, feed)))

    found = values(both, {"first_x": X, "second_x": X})
    for model, prefix in zip(models, ("first_", "second_")):
        for name, value in values(model, {"x": X}).items():
            np.testing.assert_array_equal(found[prefix + name], value)
