"""Models with tensors of bfloat16: multipliers are float32, predictions stay what they were. ONNX
Runtime has few kernels of that type for the CPU, the reference evaluator all of them."""

import numpy as np
import onnx
import pytest
from ml_dtypes import bfloat16
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from rulecheck import floats, node

EPS = 2.0 ** -8  # of one rounding
B16, FLOAT = TensorProto.BFLOAT16, TensorProto.FLOAT
X, R = floats(2, 6, seed=1), floats(3, 6, seed=2)
WEIGHTS = {"w1": floats(6, 8, seed=3), "b1": floats(8, seed=4), "g": floats(8, seed=5),
           "w2": floats(8, 3, seed=6)}
LAYERS = [node("MatMul", "a w1", "m"), node("Add", "m b1", "s"), node("Relu", "s", "c"),
          node("LayerNormalization", "c g", "n"), node("Sigmoid", "n", "t"), node("Mul", "n t", "e"),
          node("MatMul", "e w2", "f")]


def mlp(given=B16, result=B16, inside=B16):
    """Of one type inside, with weights of bfloat16, cast where input or output are of another."""
    nodes = [node("Cast", "x", "a", to=inside), *LAYERS, node("Cast", "f", "y", to=result)]
    weights = {k: numpy_helper.from_array(v.astype(bfloat16), k) for k, v in WEIGHTS.items()}
    if inside != B16:
        for name in WEIGHTS:
            weights[name].name += "_stored"
            nodes.insert(0, node("Cast", f"{name}_stored", name, to=inside))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [value("x", given, ["N", 6])],
                              [value("y", result, ["N", 3])], weights.values())
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def evaluate(model, inputs):
    evaluator = ReferenceEvaluator(model)
    return dict(zip(evaluator.output_names, evaluator.run(None, inputs)))


@pytest.mark.parametrize("result", [B16, FLOAT])
@pytest.mark.parametrize("given", [B16, FLOAT])
def test_computed(explain, given, result):
    model = mlp(given, result)
    kind = bfloat16 if given == B16 else np.float32
    x, r = X.astype(kind), R.astype(bfloat16).astype(np.float32)
    made = onnx.load(explain(model, r, "--target=all", "--gap"))
    onnx.checker.check_model(made, full_check=True)
    out = evaluate(made, {"x": x})
    np.testing.assert_array_equal(out["y"], evaluate(model, {"x": x})["y"])
    for name in ("x_shap", "base_value", "completeness_gap"):
        assert out[name].dtype == np.float32
    # What is rounded to bfloat16 on the way is all that the sum may lack.
    gap = np.float32(out["y"]) - out["base_value"] - out["x_shap"].sum(axis=-1)
    size = np.abs(out["x_shap"]).sum(axis=-1) + np.abs(np.float32(out["y"]))
    assert (np.abs(gap) <= len(LAYERS) * EPS * size).all()


def test_multipliers_are_floats(explain):
    """Of all that flows back, nothing is narrower than float32."""
    made = onnx.load(explain(mlp(), R, "--target=all", "--no-functions"))
    inferred = onnx.shape_inference.infer_shapes(made, strict_mode=True).graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in inferred.value_info}
    flow = {o for n in made.graph.node if n.name.startswith("onnxexplainer/flow/")
            for o in n.output if n.op_type not in ("Shape", "Concat", "Gather")}
    assert len(flow) > len(LAYERS)
    assert {kinds[o] for o in flow} == {FLOAT}


def test_stored(explain, run):
    """Weights of bfloat16, computed with as floats: what ONNX Runtime runs is what floats give."""
    own = mlp(FLOAT, FLOAT, inside=FLOAT)
    wide = onnx.ModelProto.FromString(own.SerializeToString())
    for i in wide.graph.initializer:
        i.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(i).astype(np.float32), i.name))
    outputs, expected = (run(explain(m, R, "--target=all"), X) for m in (own, wide))
    for name, value in expected.items():
        np.testing.assert_array_equal(outputs[name], value)
