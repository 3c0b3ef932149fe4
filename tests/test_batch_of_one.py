"""Models of a batch of 1: references enter together where the nodes let them, and the model that is
written takes and gives what it did."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

RNG = np.random.default_rng(0)
WEIGHTS = {"w": (4, 6), "v": (6, 3), "k": (3, 2, 3, 3), "d": (48, 3)}
NETS = {  # nodes, shape of x, whether references can enter together
    "dense": ("h = MatMul(x, w) r = Relu(h) y = MatMul(r, v)", (1, 4), True),
    "convolution": ("""c = Conv<pads = [1, 1, 1, 1]>(x, k) r = Relu(c) f = Flatten(r)
        y = MatMul(f, d)""", (1, 2, 4, 4), True),
    "sizes": ("""c = Conv<pads = [1, 1, 1, 1]>(x, k) r = Relu(c) s = Shape<end = 1>(r)
        e = Concat<axis = 0>(s, minus) f = Reshape(r, e) y = MatMul(f, d)""", (1, 2, 4, 4), True),
    "a batch of one inside": ("""c = Conv<pads = [1, 1, 1, 1]>(x, k) r = Relu(c)
        f = Reshape(r, fixed) y = MatMul(f, d)""", (1, 2, 4, 4), False),
    "without a batch": ("h = MatMul(x, w) r = Relu(h) q = Squeeze(r, zero) y = MatMul(q, v)",
                        (1, 4), False),
    "across the batch": ("""h = MatMul(x, w) s = ReduceSum<keepdims = 1>(h, zero) r = Relu(s)
        y = MatMul(r, v)""", (1, 4), False),
    "samples beside each other": ("""t = Transpose<perm = [1, 0]>(x) f = Reshape(t, rows)
        r = Tanh(f) h = MatMul(r, w) y = MatMul(h, v)""", (1, 4), False),
    "a column": ("""t = Reshape(x, column) r = Tanh(t) q = Transpose<perm = [1, 0]>(r)
        h = MatMul(q, w) y = MatMul(h, v)""", (1, 4), False),
    "rows of two": ("""h = MatMul(x, w) c = Concat<axis = 0>(h, h) e = Exp(c) f = Reshape(e, twelve)
        a, b = Split<axis = 1, num_outputs = 2>(f) m = Mul(a, h) y = MatMul(m, v)""", (1, 4), False),
    "all axes of length 1": ("""h = MatMul(x, w) r = Tanh(h) q = Squeeze(r) u = Unsqueeze(q, zero)
        y = MatMul(u, v)""", (1, 4), False),
    "written into the one row": ("""h = MatMul(x, w) r = ScatterElements<axis = 1>(h, places, new)
        t = Tanh(r) y = MatMul(t, v)""", (1, 4), False),
    "a triangle from row 0 on": ("""h = MatMul(x, w) e = Trilu<upper = 1>(h, one) r = Tanh(e)
        y = MatMul(r, v)""", (1, 4), False),
    "lengths of one": ("""h = MatMul(x, w) g = ReverseSequence<batch_axis = 0, time_axis = 1>(h, three)
        r = Tanh(g) y = MatMul(r, v)""", (1, 4), False),
    "more than one sample": ("""h = MatMul(x, w) s = Shape<end = 1>(h) q = Greater(s, one_of)
        t = Tanh(h) r = Where(q, h, t) y = MatMul(r, v)""", (1, 4), False),
    "along the batch": ("h = MatMul(x, w) s = Softmax<axis = 0>(h) y = MatMul(s, v)", (1, 4), False),
}


def build(name):
    nodes, shape, _ = NETS[name]
    model = parser.parse_model(f"""<ir_version: 8, opset_import: ["": 18]>
        net (float[{", ".join(map(str, shape))}] x) => (float[{"1, " * (name != "without a batch")}3] y)
        {{ {nodes} }}""")
    values = {key: np.random.default_rng(len(key)).normal(size=s).astype(np.float32) * 0.5
              for key, s in WEIGHTS.items()}
    values |= {"minus": np.array([-1]), "fixed": np.array([1, 48]), "zero": np.array([0]),
               "rows": np.array([-1, 4]), "column": np.array([4, -1]), "twelve": np.array([-1, 12]),
               "places": np.array([[2, 3]]), "new": np.array([[0.5, -1]], np.float32),
               "one": np.array(1), "three": np.array([3]), "one_of": np.array([1])}
    model.graph.initializer.extend(numpy_helper.from_array(v, key) for key, v in values.items())
    return model


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("options", [(), ("--target=all",), ("--cache=none",), ("--order=2",)], ids=str)
def test_batch_of_one(name, options, explain, run):
    _, shape, together = NETS[name]
    model = build(name)
    x, r = RNG.normal(size=shape).astype(np.float32), RNG.normal(size=(3, *shape[1:])).astype(np.float32)
    path = explain(model, r, *options)
    explained = onnx.load(path)
    assert any(n.op_type == "Scan" for n in explained.graph.node) != together

    def dims(value):
        return [d.dim_value for d in value.type.tensor_type.shape.dim]

    assert dims(explained.graph.input[0]) == list(shape)
    declared = {o.name: dims(o) for o in explained.graph.output}
    assert declared["y"] == dims(model.graph.output[0])
    out = run(path, x)
    for key, value in out.items():
        assert list(value.shape) == declared[key]
    apart = [run(explain(model, one[None], *options), x) for one in r]
    for key in ("x_shap", "base_value"):
        want = np.mean([a[key] for a in apart], axis=0)
        np.testing.assert_allclose(out[key], want, rtol=0, atol=2e-6 * np.abs(want).max() + 1e-7)
    free = onnx.ModelProto()
    free.CopyFrom(model)
    if together:
        for value in (free.graph.input[0], free.graph.output[0]):
            value.type.tensor_type.shape.dim[0].dim_param = "N"
        again = run(explain(free, r, *options), x)
        np.testing.assert_array_equal(again["x_shap"], out["x_shap"])


@pytest.mark.parametrize("name", ["samples beside each other", "a column"])
def test_references_apart_where_the_batch_is_free(name, explain, run):
    """A reshape that keeps N alone in an axis may still take it to another place in memory."""
    model = build(name)
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    x, r = RNG.normal(size=(1, 4)).astype(np.float32), RNG.normal(size=(3, 4)).astype(np.float32)
    out = run(explain(model, r), x)
    apart = [run(explain(model, one[None]), x) for one in r]
    for key in ("x_shap", "base_value"):
        np.testing.assert_allclose(out[key], np.mean([a[key] for a in apart], axis=0), rtol=0, atol=1e-6)
