"""Operators that carry a state, with a free batch. ONNX Runtime has no kernels for most of them, so
the reference evaluator runs them."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import backend
import library
from rulecheck import floats, ints, node

HEADS = {"q_num_heads": 4, "kv_num_heads": 2}
QKV = {"q": (5, 12), "k": (5, 6), "v": (5, 4)}
CASES = {
    "conv": (node("CausalConvWithState", "x w", "y s"), {"x": (3, 7)}, {"w": floats(3, 1, 4)}),
    "conv_state": (node("CausalConvWithState", "x w b p", "y s", activation="silu"),
                   {"x": (3, 7), "p": (3, 3)}, {"w": floats(3, 1, 4), "b": floats(3)}),
    "linear": (node("LinearAttention", "q k v", "y s", update_rule="linear", **HEADS), QKV, {}),
    "gated": (node("LinearAttention", "q k v _ g", "y s", update_rule="gated", **HEADS),
              {**QKV, "g": (5, 6)}, {}),
    "delta": (node("LinearAttention", "q k v p _ b", "y s", update_rule="delta", scale=0.5,
                   **HEADS), {**QKV, "p": (2, 3, 2), "b": (5, 1)}, {}),
    "gated_delta": (node("LinearAttention", "q k v _ g b", "y s", **HEADS),
                    {**QKV, "g": (5, 2), "b": (5, 2)}, {}),
    "scatter": (node("TensorScatter", "p u i", "y"), {"p": (4, 5), "u": (2, 5)}, {"i": ints(1, 1)}),
    "scatter_circular": (node("TensorScatter", "p u i", "y", mode="circular"),
                         {"p": (4, 5), "u": (2, 5)}, {"i": ints(3, 3)}),
}
SAMPLES = 2


def model_of(operator, inputs, constants):
    names = [name if name in inputs or name in constants else "" for name in operator.input]
    del operator.input[:]
    operator.input.extend(names)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
              for name, shape in inputs.items()]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
               for name in operator.output]
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph([operator], "state", values, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 27)], ir_version=11)


@pytest.mark.parametrize("name", CASES)
def test_complete(name):
    operator, inputs, constants = CASES[name]
    model = model_of(operator, inputs, constants)
    rng = np.random.default_rng(0)
    x, r = ({name: rng.uniform(-1, 1, (rows, *shape)).astype(np.float32)
             for name, shape in inputs.items()} for rows in (SAMPLES, SAMPLES))
    plain = backend.Runner(model, reference=True)
    y, y0 = plain(x), plain(r)
    for output in operator.output:
        many = library.explain(model, r, output_name=output, target="all")
        outputs = backend.Runner(many, reference=True)(x)
        phi = sum(outputs[f"{name}_shap"].reshape(SAMPLES, y[output][0].size, -1).sum(axis=2)
                  for name in inputs if f"{name}_shap" in outputs)
        want = y[output] - y0[output].mean(axis=0, keepdims=True)
        np.testing.assert_allclose(phi, want.reshape(SAMPLES, -1), atol=2e-5)
