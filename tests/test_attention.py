"""Attention in one rule (rules/attention_flow.c) beside its operators one by one, which are used where
a scale is not one number."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rulecheck import floats, ints, node

N, R, T, H, D = 2, 3, 5, 2, 4
rng = np.random.default_rng(5)
X, REFERENCES = (rng.normal(size=(n, T, H * D)).astype(np.float32) for n in (N, R))
CAUSAL = np.tril(np.ones((T, T), bool))
CONSTANTS = {**{f"w{name}": floats(H * D, H * D, seed=i) for i, name in enumerate("qkv")},
             "head": floats(H * D, 2), "apart": ints(0, T, H, D), "joined": ints(0, T, H * D),
             "one": ints(1), "third": np.float32(1 / 3), "root": np.float32([2]), "mask": CAUSAL,
             "heads": np.full((H, 1, 1), 0.7, np.float32), "scale": np.float32(0.7),
             "bias": floats(1, 1, T), "hidden": np.where(CAUSAL, 0, -np.inf).astype("f"),
             "low": np.float32(-1e9), "ones": np.ones((T, 1), np.float32)}
# From the products s of queries and keys to logits l.
BETWEEN = {
    "nothing": [node("Identity", "s", "l")],
    "scale": [node("Mul", "s third", "l")],
    "quotient and mask": [node("Div", "s root", "a"), node("Add", "a bias", "l")],
    "causal": [node("Mul", "s third", "a"), node("Add", "a hidden", "l")],
    "choice": [node("Mul", "s third", "a"), node("Where", "mask a low", "l")],
    "other choice": [node("Not", "mask", "b"), node("Where", "b low s", "a"),
                     node("Mul", "a third", "l")],
}


def projected(name, *moves):
    return [node("MatMul", f"x w{name}", f"{name}1"), node("Reshape", f"{name}1 apart", f"{name}2"),
            node("Transpose", f"{name}2", name, perm=list(moves))]


def attention(between):
    nodes = [*projected("q", 0, 2, 1, 3), *projected("k", 0, 2, 3, 1), *projected("v", 0, 2, 1, 3),
             node("MatMul", "q k", "s"), *between, node("Softmax", "l", "p", axis=-1),
             node("MatMul", "p v", "c"), node("Transpose", "c", "c1", perm=[0, 2, 1, 3]),
             node("Reshape", "c1 joined", "c2"), node("ReduceSum", "c2 one", "c3", keepdims=0),
             node("Tanh", "c3", "c4"), node("MatMul", "c4 head", "y")]
    graph = helper.make_graph(
        nodes, "attention", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", T, H * D])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in CONSTANTS.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(made)
    return made


def one_by_one(between):
    """The same function, the products times a column of ones."""
    renamed = [node(n.op_type, " ".join("t" if i == "s" else i for i in n.input), n.output[0])
               for n in between]
    return [node("Mul", "s ones", "t"), *renamed]


def in_one(path):
    return any(f.name.startswith("AttentionFlow") for f in onnx.load(path).functions)


@pytest.mark.parametrize("options", [[], ["--target=all"], ["--no-functions"], ["--chunk=2"],
                                     ["--target=all", "--cache=file"]], ids=" ".join)
@pytest.mark.parametrize("between", BETWEEN)
def test_it_is_the_rules_of_its_operators(between, options, explain, run):
    path = explain(attention(BETWEEN[between]), REFERENCES, *options)
    other = explain(attention(one_by_one(BETWEEN[between])), REFERENCES, *options)
    if "--no-functions" not in options:
        assert in_one(path) and not in_one(other)
    found, expected = run(path, X), run(other, X)
    np.testing.assert_allclose(found["x_shap"], expected["x_shap"], rtol=0,
                               atol=1e-5 * np.abs(expected["x_shap"]).max())
    np.testing.assert_allclose(found["base_value"], expected["base_value"], rtol=1e-5)


@pytest.mark.parametrize("tensor", ["l", "p", "s"])
def test_values_inside_are_explained_as_ever(tensor, explain, run):
    """What is explained at probabilities or logits meets the multipliers that stop there."""
    path = explain(attention(BETWEEN["scale"]), REFERENCES, f"--at={tensor}", "--at=v",
                   "--target=all")
    out = run(path, X)
    total = sum(out[f"{name}_shap"].reshape(N, 2, -1).sum(-1) for name in (tensor, "v"))
    np.testing.assert_allclose(total, out["y"] - out["base_value"], atol=1e-5)
    assert not in_one(path)


def test_scales_of_each_head_are_taken_one_by_one(explain, run):
    """The same values as of one number."""
    of_heads = explain(attention([node("Mul", "s heads", "l")]), REFERENCES)
    of_all = explain(attention([node("Mul", "s scale", "l")]), REFERENCES)
    assert not in_one(of_heads) and in_one(of_all)
    np.testing.assert_allclose(run(of_heads, X)["x_shap"], run(of_all, X)["x_shap"], atol=1e-5)


def test_integrals_replace_the_rule_of_softmax(explain, run):
    made = attention(BETWEEN["scale"])
    integrated = explain(made, REFERENCES, "--integrate=8:Softmax")
    assert not in_one(integrated)
    difference = run(integrated, X)["x_shap"] - run(explain(made, REFERENCES), X)["x_shap"]
    assert np.abs(difference).max() > 1e-4
