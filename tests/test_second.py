"""The invariant of the higher orders for a node of each family: sum(m_x dx + Q_x V_x) == m_y dy + Q_y V_y."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

import rulecheck
from rulecheck import floats, node

NORM = {"scale": floats(5, seed=1), "bias": floats(5, seed=2)}
CASES = {
    "add": ([node("Add", "a b", "y")], {"a": (3, 4), "b": (1, 4)}, {}),
    "sub": ([node("Sub", "a b", "c"), node("Neg", "c", "y")], {"a": (3, 4), "b": (3, 1)}, {}),
    "product": ([node("Mul", "a b", "y")], {"a": (3, 4), "b": (1, 4)}, {}),
    "quotient": ([node("Exp", "b", "e"), node("Div", "a e", "y")], {"a": (3, 4), "b": (1, 4)}, {}),
    "matrices": ([node("MatMul", "a b", "y")], {"a": (3, 4), "b": (4, 2)}, {}),
    "large matrix": ([node("MatMul", "x w", "y")], {"x": (3, 80)}, {"w": floats(80, 70)}),
    "gemm": ([node("Gemm", "x w b", "y", alpha=0.5, beta=2.0, transB=1)], {"x": (6,)},
             {"w": floats(5, 6), "b": floats(5)}),
    "conv": ([node("Conv", "x k", "y", pads=[1, 0, 1, 1], strides=[2, 1])], {"x": (2, 6, 5)},
             {"k": floats(3, 2, 3, 2)}),
    "large conv": ([node("Conv", "x k", "y", pads=[1] * 4)], {"x": (8, 4, 4)},
                   {"k": floats(16, 8, 3, 3)}),
    "depthwise": ([node("Conv", "x k", "y", group=4)], {"x": (4, 5, 5)}, {"k": floats(4, 1, 3, 3)}),
    "transposed": ([node("ConvTranspose", "x k", "y", strides=[2, 2])], {"x": (2, 3, 3)},
                   {"k": floats(2, 3, 2, 2)}),
    "average": ([node("AveragePool", "x", "y", kernel_shape=[3, 2], strides=[2, 1],
                      pads=[1, 0, 1, 0])], {"x": (2, 6, 5)}, {}),
    "maxima": ([node("MaxPool", "x", "y", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 0])],
               {"x": (2, 6, 5)}, {}),
    "least": ([node("ReduceMin", "x axes", "y")], {"x": (4, 5)}, {"axes": np.array([2])}),
    "norm": ([node("LayerNormalization", "x scale bias", "y", axis=-1)], {"x": (3, 5)}, NORM),
    "softmax": ([node("Softmax", "x", "y")], {"x": (3, 5)}, {}),
    "moved": ([node("Transpose", "x", "t", perm=[0, 2, 1]), node("Concat", "t t", "c", axis=1),
               node("Pad", "c pads", "p"), node("Slice", "p start end axes", "y")], {"x": (3, 4)},
              {"pads": np.array([0, 1, 0, 0, 0, 2]), "start": np.array([1]), "end": np.array([7]),
               "axes": np.array([1])}),
}
UNITS = ["Relu", "Tanh", "Sigmoid", "Elu", "Softplus", "Erf", "Abs", "HardSwish", "Mish",
         "LeakyRelu", "HardSigmoid", "Softsign"]


@pytest.mark.parametrize("name", CASES)
def test_node(name, explain, run):
    rulecheck.check_second(rulecheck.Rule(*CASES[name]), explain, run)


@pytest.mark.parametrize("op", UNITS)
def test_unit(op, explain, run):
    rule = rulecheck.Rule([node(op, "x", "y")], {"x": (3, 5)})
    rulecheck.check_second(rule, explain, run)


@pytest.mark.parametrize("order", [2, 3])
def test_many_probabilities(explain, run, order):
    """More than have a link each with each other."""
    model = onnx.parser.parse_model("""<ir_version: 9, opset_import: ["" : 18]>
        graph (float[N, 5] x) => (float[N, 70] y) { s = MatMul (x, w)  y = Softmax <axis = 1> (s) }""")
    model.graph.initializer.append(numpy_helper.from_array(floats(5, 70), "w"))
    x, picked = floats(4, 5, seed=1), [0, 1, 69]
    for reference in floats(3, 5, seed=2):
        path = explain(model, reference[None], "--target=0,1,69", f"--order={order}")
        out = run(path, x)
        gap = out["y"][:, picked] - out["base_value"] - out["x_shap"].sum(axis=2)
        assert np.abs(gap).max() <= 1e-5


@pytest.mark.parametrize("scale", [1, 30])
@pytest.mark.parametrize("order", [2, 3])
def test_probabilities(explain, run, order, scale):
    """A Softmax of which the results are explained: complete where they are close to 0 and 1, too."""
    rng = np.random.default_rng(scale)
    weights = rng.normal(size=(6, 5)).astype(np.float32) * scale
    nodes = [node("Gemm", "x w", "l"), node("Relu", "l", "r"), node("Gemm", "r v", "s"),
             node("Softmax", "s", "p", axis=1), node("Reshape", "p row", "y")]
    constants = {"w": weights, "v": floats(5, 4, seed=3), "row": np.array([0, 2, 2])}
    graph = onnx.helper.make_graph(
        nodes, "probabilities", [onnx.helper.make_tensor_value_info("x", 1, ["N", 6])],
        [onnx.helper.make_tensor_value_info("y", 1, ["N", 2, 2])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)],
                                   ir_version=9)
    x, r = floats(4, 6, seed=1), floats(3, 6, seed=2)
    x[3] = r[0]
    for reference in r:
        path = explain(model, reference[None], "--target=all", f"--order={order}")
        out = run(path, {"x": x})
        gap = out["y"].reshape(4, 4) - out["base_value"] - out["x_shap"].sum(axis=2)
        assert np.abs(gap).max() <= 1e-5
    assert (run(explain(model, r[:1], "--target=all", f"--order={order}"), {"x": x})["x_shap"][3]
            == 0).all()


# ---- rounding ------------------------------------------------------------------------------------

def in_doubles(graph):
    """The graph with doubles for all floats."""
    def widen(tensor):
        if tensor.data_type == TensorProto.FLOAT:
            wide = numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))

    for tensor in graph.initializer:
        widen(tensor)
    for value in [*graph.input, *graph.output, *graph.value_info]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for attribute in (a for n in graph.node for a in n.attribute):
        if attribute.type == onnx.AttributeProto.TENSOR:
            widen(attribute.t)
        elif attribute.type == onnx.AttributeProto.GRAPH:
            in_doubles(attribute.g)
        elif attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.DOUBLE


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("name", ["cnn_avgpool_mnist", "lstm_digits", "mlp_regress_diabetes",
                                  "mlp_tanh_softmax_wine", "mobile_se_silu_mnist", "resnet_mnist",
                                  "rnn_tanh_digits", "sklearn_mlp_breast", "vit_digits"])
def test_floats_are_near_doubles(shared, explain, run, name, order):
    folder = shared / "models" / name
    path = explain(folder / "model.onnx", np.load(folder / "background.npy")[:2], f"--order={order}",
                   "--target=0", "--no-functions", "--cache=load")
    wide = onnx.load(path)
    [value], x = wide.graph.input, np.load(folder / "input.npy")[:1]
    in_doubles(wide.graph)
    names = [o.name for o in wide.graph.output]
    exact = dict(zip(names, ReferenceEvaluator(wide).run(None, {value.name: x.astype(np.float64)})))
    shap = f"{value.name}_shap"
    off = np.linalg.norm(run(path, {value.name: x})[shap] - exact[shap])
    assert off <= 1e-5 * np.linalg.norm(exact[shap])
