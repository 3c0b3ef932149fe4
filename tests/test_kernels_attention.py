"""AttentionFlow: the kernel agrees with the model-local function, and on every instruction set with the
naive twin; what does not fit is refused."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import kernels
from conftest import BUILD
from test_attention import BETWEEN, REFERENCES, attention
from test_kernels import SETS, logarithms

OUTPUTS = ["to_q", "to_k", "to_v"]
# lead axes of m, the sample, the reference; queries, keys, width, depth
SHAPES = {
    "one": ((1, 1), (1, 1), (1, 1), 1, 2, 1, 1),
    "heads": ((3, 2, 4), (1, 2, 4), (3, 1, 4), 17, 17, 8, 8),
    "targets": ((2, 3, 2, 4), (1, 1, 2, 4), (1, 3, 1, 4), 5, 33, 3, 40),
    "one multiplier": ((1, 2), (1, 2), (3, 1), 50, 19, 17, 5),
    "keys for all heads": ((3, 4), (1, 1), (3, 1), 7, 9, 4, 6),
    "blocks": ((2, 1), (1, 1), (2, 1), 131, 64, 32, 16),
    "long": ((2, 1), (1, 1), (2, 1), 3, 6001, 2, 3),
    "wide": ((2, 1), (1, 1), (2, 1), 49, 21, 65, 50),
    "no queries": ((2, 1), (1, 1), (2, 1), 0, 3, 2, 2),
    "no pairs": ((0, 1), (1, 1), (0, 1), 2, 3, 2, 2),
    "no keys": ((2, 1), (1, 1), (2, 1), 2, 0, 2, 2),
}


def operands(shape, scale=(1, 1)):
    lead, sample, reference, queries, keys, width, depth = SHAPES[shape]
    rng = np.random.default_rng(len(shape))
    made = {"m": rng.normal(size=(*lead, queries, depth))}
    for of, end in ((sample, ""), (reference, "0")):
        made |= {f"q{end}": rng.normal(size=(*of, queries, width)),
                 f"k{end}": rng.normal(size=(*of, width, keys)),
                 f"v{end}": rng.normal(size=(*of, keys, depth)),
                 f"l{end}": logarithms(rng.normal(size=(*of, queries, keys)) * 3)}
    if keys > 4:  # masked on one side, on the other, on both
        made["l"][..., 1:2] = made["l0"][..., 2:3] = -np.inf
        made["l"][..., 3:4] = made["l0"][..., 3:4] = -np.inf
    rows, columns = queries if scale[0] else 1, keys if scale[1] else 1
    made["scale"] = rng.integers(0, 2, (*[1] * len(lead), rows, columns)) * 0.7
    if rows * columns == 1:
        made["scale"][:] = 0.7
    return {name: np.asarray(v, np.float32) for name, v in made.items()}


def compute(op, inputs, isa=None, functions=(), symbolic=False, monkeypatch=None):
    node = helper.make_node(op, list(inputs), OUTPUTS, domain="onnxexplainer")
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [
        f"{name}{i}" if symbolic else n for i, n in enumerate(v.shape)]) for name, v in inputs.items()]
    graph = helper.make_graph([node], "one", infos, [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in OUTPUTS])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("onnxexplainer", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=functions)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if isa is not None:
        monkeypatch.setenv("ONNXEXPLAINER_ISA", isa)
        kernels.register(options, model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def body_of(explain, name, rank, between):
    """The function of a rank, as an explained model has it."""
    options = ["--target=all"] if rank == 6 else []
    path = explain(attention(BETWEEN[between]), REFERENCES, *options)
    [function] = [f for f in onnx.load(path).functions if f.name == f"{name}{rank}"]
    return function


def alike(found, expected, what=1e-5):
    for a, b in zip(found, expected):
        assert a.shape == b.shape and np.isfinite(b).all()
        np.testing.assert_allclose(a, b, rtol=0, atol=what * np.abs(b).max(initial=0))


@pytest.mark.parametrize("isa", [*SETS, "best"])
@pytest.mark.parametrize("scale", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("shape", SHAPES)
def test_instruction_sets_agree_with_the_naive_twin(shape, scale, isa, monkeypatch):
    inputs = operands(shape, scale)
    op = f"AttentionFlowOfShown{inputs['m'].ndim}"
    expected = compute(op, inputs, "naive", monkeypatch=monkeypatch)
    alike(compute(op, inputs, isa, symbolic=isa == "best", monkeypatch=monkeypatch), expected)


@pytest.mark.parametrize("isa", ["naive", "best"])
@pytest.mark.parametrize("shape, rank", [("heads", 5), ("targets", 6)])
@pytest.mark.parametrize("name, between, scale", [("AttentionFlow", "scale", (0, 0)),
                                                  ("AttentionFlowOfShown", "choice", (1, 1)),
                                                  ("AttentionFlowOfShown", "choice", (0, 1))])
def test_kernel_agrees_with_the_function(name, between, scale, shape, rank, isa, explain, monkeypatch):
    inputs, op = operands(shape, scale), f"{name}{rank}"
    expected = compute(op, inputs, functions=[body_of(explain, name, rank, between)])
    alike(compute(op, inputs, isa, monkeypatch=monkeypatch), expected)


def test_sums_are_those_of_the_product_of_three(monkeypatch):
    """m dy = to_q dq + to_k dk + to_v dv, y = softmax(scale q k) v."""
    inputs = {k: v.astype(np.float64) for k, v in operands("heads", (0, 0)).items()}
    ends = [tuple(inputs[name + end] for name in "qkv") for end in ("", "0")]
    y = []
    for end, (q, k, v) in zip(("", "0"), ends):
        inputs[f"l{end}"] = logarithms(0.7 * q @ k)
        y.append(np.exp(inputs[f"l{end}"].astype(np.float64)) @ v)
    found = compute("AttentionFlow5", {k: v.astype(np.float32) for k, v in inputs.items()}, "best",
                    monkeypatch=monkeypatch)
    total = sum((m * (a - b)).sum((-1, -2)) for m, a, b in zip(found, *ends))
    expected = (inputs["m"] * (y[0] - y[1])).sum((-1, -2))
    np.testing.assert_allclose(total, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("isa", ["naive", "best"])
@pytest.mark.parametrize("change, message", [
    (dict(q=(1, 1, 5, 4)), "input 1 is .1,1,5,4., which is no matrix of these"),
    (dict(v0=(2, 1, 5, 6)), "input 7 is"), (dict(l=(1, 1, 7, 8)), "input 4 is"),
    (dict(k0=(5, 1, 4, 9)), "input 6 is .5,1,4,9., which does not broadcast"),
    (dict(scale=(1, 1, 2, 9)), "scale is"), (dict(m=(6,)), "input 0 is .6., which is no matrix")])
def test_what_does_not_fit_is_refused(change, message, isa, monkeypatch):
    inputs = operands("keys for all heads")
    inputs |= {name: np.ones(dims, np.float32) for name, dims in change.items()}
    for symbolic in (False, True):
        with pytest.raises(Exception, match=f"AttentionFlow4: shapes do not fit: {message}"):
            compute("AttentionFlow4", inputs, isa, symbolic=symbolic, monkeypatch=monkeypatch)
