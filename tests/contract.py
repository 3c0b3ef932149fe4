"""For the tests of what an explained model promises: a small ReLU network with its SHAP values,
which are a few lines of NumPy in double precision, and what holds of every explained model."""

import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

FEATURES, HIDDEN, REFERENCES = 4, 6, 6
RNG = np.random.default_rng(3)
W1, B1 = RNG.normal(size=(FEATURES, HIDDEN)), RNG.normal(size=HIDDEN)
W2, B2 = RNG.normal(size=(HIDDEN, 6)), RNG.normal(size=6)
X, R = RNG.normal(size=(3, FEATURES)), RNG.normal(size=(REFERENCES, FEATURES))
X[0, 1] = R[2, 1]


def network(x):
    """The output [N, 6] of the network of mlp()."""
    return np.maximum(x @ W1 + B1, 0) @ W2 + B2


def deeplift(x=X, r=R):
    """SHAP values [N, 6, FEATURES] of network(), by the rescale rule."""
    h, h0 = (x @ W1 + B1)[:, None], (r @ W1 + B1)[None]
    dh = h - h0
    change = np.maximum(h, 0) - np.maximum(h0, 0)
    slope = np.divide(change, dh, out=(h > 0) * np.ones_like(dh), where=dh != 0)
    return np.einsum("nrh,dh,hk,nrd->nkd", slope, W1, W2, x[:, None] - r) / len(r)


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, constants, opset=17, ir=8, dtype=np.float32, **fields):
    """A checked model; `nodes` are (op, inputs, outputs, attributes), named by their outputs."""
    made = [helper.make_node(op, i.split(), o.split(), name=f"make_{o.split()[0]}", **a)
            for op, i, o, a in nodes]
    weights = [numpy_helper.from_array(np.asarray(v, dtype if np.asarray(v).dtype.kind == "f" else
                                                  None), name) for name, v in constants.items()]
    graph = helper.make_graph(made, "test", inputs, outputs, weights, **fields)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    onnx.checker.check_model(made, full_check=True)
    return made


LAYERS = [("Gemm", "x w1 b1", "h", {}), ("Relu", "h", "a", {}), ("Gemm", "a w2 b2", "flat", {})]
WEIGHTS = {"w1": W1, "b1": B1, "w2": W2, "b2": B2}


def mlp(batch="N", kind=TensorProto.FLOAT, **options):
    """x [batch, 4] to y [batch, 2, 3]."""
    nodes = [*LAYERS, ("Reshape", "flat shape", "y", {})]
    if batch == 1:  # as exporters write it when they trace one sample
        nodes.insert(1, ("Reshape", "h row", "h2", {}))
        nodes[2] = ("Relu", "h2", "a", {})
    return model(nodes, [value("x", [batch, FEATURES], kind)], [value("y", [batch, 2, 3], kind)],
                 {**WEIGHTS, "shape": np.array([0, 2, 3]), "row": np.array([1, -1])},
                 dtype=helper.tensor_dtype_to_np_dtype(kind), **options)


def close(found, expected, dtype=np.float32):
    """Equal to rounding: epsilon times the terms of the sums."""
    assert found.shape == np.shape(expected) and found.dtype == dtype
    scale = np.abs(expected).max() + np.abs(W1).max() * np.abs(W2).max() * HIDDEN
    assert np.abs(found - expected).max() <= 8 * HIDDEN * np.finfo(dtype).eps * scale


def subgraphs(graph):
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield attribute.g
                yield from subgraphs(attribute.g)


def check_standard(path, original):
    """What holds of every explained model, as compared to `original`."""
    onnx.checker.check_model(path, full_check=True)
    made = onnx.load(path)
    onnx.shape_inference.infer_shapes(made, check_type=True, strict_mode=True, data_prop=True)
    old, new = original.graph, made.graph
    assert made.ir_version == (8 if made.functions else 4)
    assert made.opset_import[0].version == max(original.opset_import[0].version, 18)
    names = [node.name for node in old.node]
    assert [n.name for n in new.node if not n.name.startswith("onnxexplainer/")] == names
    kept = {node.name: node for node in new.node}
    for node in old.node:
        assert kept[node.name].op_type == node.op_type
        assert list(kept[node.name].output) == list(node.output)
    weights = {i.name: i for i in new.initializer}
    for weight in old.initializer:
        assert np.array_equal(numpy_helper.to_array(weights[weight.name]),
                              numpy_helper.to_array(weight))
    fixed = {i.name for i in old.initializer}
    inputs = [i for i in old.input if i.name not in fixed]
    assert list(new.input)[:len(inputs)] == inputs
    assert list(new.output)[:len(old.output)] == list(old.output)
    properties = {p.key: p.value for p in made.metadata_props}
    for key in ("version", "method", "target", "references", "cache"):
        assert properties[f"onnxexplainer.{key}"]
    for body in subgraphs(new):  # nothing is captured from outside
        known = {i.name for i in body.input} | {i.name for i in body.initializer} | {""}
        for node in body.node:
            assert set(node.input) <= known, f"{node.name} captures"
            known |= set(node.output)
    return made


@pytest.fixture
def explained(explain, run):
    """explained(model, references, x, *options): the outputs of the explained model, which keeps
    the standard and predicts as before. `x` is an array or a dict of them."""

    def explained(original, references, x, *options, extra=None):
        path = explain(original, references, *options)
        check_standard(path, original)
        before = run(original, x)
        feed = x if isinstance(x, dict) else {original.graph.input[0].name: x}
        after = run(path, {**feed, **(extra or {})})
        assert list(after)[:len(before)] == list(before)
        for name, prediction in before.items():
            np.testing.assert_array_equal(after[name], prediction)
        return {name: v for name, v in after.items() if name not in before}

    return explained


@pytest.fixture
def refused(cli, tmp_path):
    """refused(model, references, *options): the message of an explanation that must fail."""

    def refused(original, references, *options):
        onnx.save(original, tmp_path / "refused.onnx")
        if not isinstance(references, dict):
            references = {original.graph.input[0].name: references}
        np.savez(tmp_path / "refused.npz", **references)
        done = subprocess.run([cli, "explain", "refused.onnx", "-r", "refused.npz", "-o", "no.onnx",
                               *options], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 1 and not (tmp_path / "no.onnx").exists()
        assert done.stderr.count("\n") == 1
        return done.stderr

    return refused


def single(x):
    return x.astype(np.float32)
