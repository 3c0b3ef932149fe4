"""Held values that decide how long others are: a past that is concatenated, rows that ids pick, shapes. What
is explained adds up to the model's results with the held values on both sides."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rulecheck import floats, ints, node

T, C, R = 6, 4, 3
WEIGHTS = {"w": floats(C, 3), "rows": ints(0), "steps": ints(1), "all": ints(-1), "four": ints(C),
           "own": ints(1, 3), "second": np.array(1), "two": ints(2), "end": ints(2**63 - 1), "but": ints(-1)}
X, REFERENCES = floats(1, T, C, seed=1), floats(R, T, C, seed=2)
IDS = ints([1, 1, 0, 0, 1, 1])
MEAN = [node("MatMul", "p w", "q"), node("Tanh", "q", "t"), node("ReduceSum", "t steps", "y", keepdims=0)]
# Nodes up to y, and what is held.
MODELS = {
    "past": ([node("Concat", "h x", "p", axis=1), *MEAN], floats(1, 2, C)),
    "slice": ([node("Concat", "h x", "c", axis=1), node("Relu", "c", "d"),
               node("Slice", "d two end steps", "p"), *MEAN], floats(1, 3, C)),
    "slice of both ends": ([node("Concat", "x h", "c", axis=1), node("Relu", "c", "d"),
                            node("Slice", "d steps but steps", "p"), *MEAN], floats(1, 3, C)),
    "empty past": ([node("Concat", "h x", "p", axis=1), *MEAN], floats(1, 0, C)),
    "past of a shape": ([node("Shape", "h", "n"), node("Reshape", "h n", "r", allowzero=1),
                         node("Concat", "r x", "p", axis=1), *MEAN], floats(1, 0, C)),
    "rows": ([node("NonZero", "h", "z"), node("Transpose", "z", "i", perm=[1, 0]),
              node("GatherND", "x i", "p"), node("MatMul", "p w", "q"), node("Tanh", "q", "t"),
              node("ReduceMean", "t rows", "m", keepdims=0), node("Reshape", "m own", "y")], IDS),
    "places": ([node("NonZero", "h", "z"), node("Gather", "z second", "i", axis=0),
                node("Gather", "x i", "p", axis=1), *MEAN], IDS),
    "condition": ([node("Reshape", "h all", "k"), node("Compress", "x k", "p", axis=1), *MEAN],
                  IDS.astype(bool)),
}


def model(nodes, held):
    kind = helper.np_dtype_to_tensor_dtype(held.dtype)
    shape = [1, T] if held.ndim == 2 else [1, "P", C]
    graph = helper.make_graph(
        nodes, "held", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, T, C]),
                        helper.make_tensor_value_info("h", kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(v, k) for k, v in WEIGHTS.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(made)
    return made


@pytest.mark.parametrize("options", [[], ["--chunk=1"], ["--cache=none"]], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_adds_up(explain, run, name, options):
    nodes, held = MODELS[name]
    made = model(nodes, held)
    y = run(made, {"x": X, "h": held})["y"][0]
    base = np.mean([run(made, {"x": r[None], "h": held})["y"][0] for r in REFERENCES], axis=0)
    out = run(explain(made, {"x": REFERENCES}, "--hold=h", "--target=all", *options),
              {"x": X, "h": held})
    np.testing.assert_allclose(out["base_value"].reshape(-1), base, rtol=1e-5, atol=1e-6)
    total = out["x_shap"].reshape(3, -1).sum(axis=1)
    np.testing.assert_allclose(total, y - base, rtol=1e-5, atol=2e-6)
