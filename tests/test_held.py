"""What held values reach is computed for all pairs of reference and sample at once: the values are
those of explaining each sample alone, with the held values put into the model's references."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rulecheck import floats, ints, node

N, R, T, C = 3, 5, 4, 6
rng = np.random.default_rng(3)
X, H, REFERENCES = (rng.normal(size=(n, T, C)).astype(np.float32) for n in (N, N, R))
WEIGHTS = {"w": floats(C, C), "u": floats(C, 2), "b": floats(C), "rows": ints(-1, C),
           "own": ints(-1, T, C), "image": ints(-1, 1, T, C), "filters": floats(3, 1, 3, 3),
           "flat": ints(0, -1), "pooled": floats(18, 2), "steps": floats(1, 4 * C, C),
           "states": floats(1, 4 * C, C), "one": ints(1)}
# What is made of g, x after the held value h has entered, up to y [N, 2].
MODELS = {
    "layers": [node("MatMul", "g w", "a"), node("Relu", "a", "c"),
               node("ReduceSum", "c one", "d", keepdims=0), node("MatMul", "d u", "y")],
    "folded": [node("Reshape", "g rows", "a"), node("MatMul", "a w", "e"), node("Tanh", "e", "f"),
               node("Reshape", "f own", "c"), node("ReduceSum", "c one", "d", keepdims=0),
               node("MatMul", "d u", "y")],
    "tokens first": [node("Transpose", "g", "a", perm=[1, 0, 2]), node("Reshape", "a rows", "e"),
                     node("MatMul", "e w", "f"), node("Sigmoid", "f", "s"),
                     node("Reshape", "s shape", "c"),
                     node("ReduceMean", "c first", "d", keepdims=0), node("MatMul", "d u", "y")],
    "image": [node("Reshape", "g image", "a"), node("Conv", "a filters", "e"),
              node("MaxPool", "e", "f", kernel_shape=[2, 2], strides=[1, 1]),
              node("Concat", "f f", "k", axis=1), node("Flatten", "k", "c"),
              node("MatMul", "c pooled", "y")],
    "attention": [node("MatMul", "g w", "q"), node("Transpose", "g", "k", perm=[0, 2, 1]),
                  node("MatMul", "q k", "s"), node("Softmax", "s", "p", axis=-1),
                  node("MatMul", "p g", "c"), node("ReduceSum", "c one", "d", keepdims=0),
                  node("MatMul", "d u", "y")],
    "recurrent": [node("Transpose", "g", "a", perm=[1, 0, 2]),
                  node("LSTM", "a steps states", "e last", hidden_size=C),
                  node("Squeeze", "last zero", "d"), node("MatMul", "d u", "y")],
}


def model(nodes, before):
    """`before` says what g is."""
    first = ints(0)
    constants = WEIGHTS | {"first": first, "zero": first, "shape": ints(T, -1, C),
                           "pooled": floats(2 * 3 * (T - 3) * (C - 3), 2)}
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", T, C])
              for name in ("x", "h")]
    graph = helper.make_graph(
        [*before, *nodes], "held", values,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(made)
    return made


def one_by_one(made, explain, run, options):
    """Each sample on its own, h being a reference like the sample's."""
    outs = []
    for i in range(N):
        one = {"x": X[i:i + 1], "h": H[i:i + 1]}
        held = {"x": REFERENCES, "h": np.repeat(H[i:i + 1], R, 0)}
        outs.append(run(explain(made, held, "--target=all", *options), one))
    return {k: np.concatenate([o[k] for o in outs]) for k in ("x_shap", "base_value")}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("options", [[], ["--chunk=2"], ["--cache=file"], ["--cache=none"]],
                         ids=lambda options: options[0] if options else "load")
def test_values_are_those_of_each_sample(kind, options, explain, run):
    made = model(MODELS[kind], [node("Exp", "x", "z"), node("Mul", "z h", "g")])
    path = explain(made, REFERENCES, "--hold=h", "--target=all", *options)
    together = run(path, {"x": X, "h": H})
    for name, value in one_by_one(made, explain, run, []).items():
        np.testing.assert_allclose(together[name], value, rtol=2e-5,
                                   atol=2e-6 * np.abs(value).max())
    scans = [n for n in onnx.load(path).graph.node if n.op_type == "Scan"]
    assert len(scans) == (options == ["--chunk=2"])


def test_references_may_come_with_the_sample(explain, run):
    made = model(MODELS["folded"], [node("Mul", "x h", "g")])
    expected = run(explain(made, REFERENCES, "--hold=h", "--target=all"), {"x": X, "h": H})
    got = run(explain(made, None, "--hold=h", "--target=all", "--references=input"),
              {"x": X, "h": H, "x_references": REFERENCES})
    np.testing.assert_allclose(got["x_shap"], expected["x_shap"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got["base_value"], expected["base_value"], rtol=1e-5)


def test_what_is_not_reached_is_kept(explain):
    """Of references the file has the half of the model that h does not reach."""
    layers = [node("Tanh" if i % 2 else "MatMul", f"v{i} w" if i % 2 == 0 else f"v{i}", f"v{i + 1}")
              for i in range(6)]
    made = model(MODELS["layers"], [node("Identity", "x", "v0"), *layers, node("Mul", "v6 h", "g")])
    explained = onnx.load(explain(made, REFERENCES, "--hold=h", "--cache=file"))
    kept = [i for i in explained.graph.initializer if list(i.dims)[:1] == [R]]
    assert {p.key: p.value for p in explained.metadata_props}["onnxexplainer.cache"] == "file"
    assert len(kept) >= 4  # x, what goes into Tanh, and what meets h
