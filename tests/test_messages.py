"""What a rule cannot take is refused by the node's name and a reason: operators that are valid ONNX, or
nearly, each with what there is no rule for."""

import re

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from library import Refused, explain

HINT = "; --method=kernel explains any model by its outputs"
OPSETS = '"" : 22, "com.microsoft" : 1, "ai.onnx.ml" : 4'


def f(*shape):
    return np.ones(shape, np.float32)


def i(*values):
    return np.int64(values)


def model(shape, node, opsets=OPSETS, **constants):
    """`node` of x, of this shape after the batch, and constants."""
    dims = ", ".join(["N", *map(str, shape)])
    made = onnx.parser.parse_model(
        f"<ir_version: 10, opset_import: [{opsets}]> graph (float[{dims}] x) => (float y) {{ {node} }}")
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name)
                                  for name, value in constants.items())
    return made


def message(shape, node, **constants):
    with pytest.raises(Refused) as refused:
        explain(model(shape, node, **constants), {"x": np.zeros((2, *shape), np.float32)},
                target="all")
    return str(refused.value)


MS = "com.microsoft."
MOVES = [
    ("4 is not a multiple of 9", (4, 2, 2), "y = DepthToSpace <blocksize = 3> (x)", {}),
    ("perm does not fit rank 3", (3, 2), "y = Transpose <perm = [0, 1, 1]> (x)", {}),
    ("a step is 0", (3,), "y = Slice (x, a, b, c, d)",
     {"a": i(0), "b": i(2), "c": i(1), "d": i(0)}),
    ("the value it pads with depends on the explained inputs", (3,),
     "v = ReduceSum <keepdims = 0> (x)  y = Pad (x, p, v)", {"p": i(0, 1, 0, 0)}),
    ("the equation does not fit the inputs", (3, 2), "y = Einsum <equation = \"nab,cd->nac\"> (x, w)", {"w": f(2, 2, 2)}),
    ("it has a bias that depends on the input, for more than one sample", (2, 4),
     "b = ReduceSum <keepdims = 0> (x, a)  c = Squeeze (b)  y = Conv (x, w, c)",
     {"w": f(2, 2, 1), "a": i(0, 2)}),
]
SPATIAL = [
    ("dimensions 3 and 2 do not fit", (3, 4), "y = Conv <group = 2> (x, w)", {"w": f(4, 1, 2)}),
    ("its p is less than 1", (2, 4), "y = LpPool <kernel_shape = [2], p = 0> (x)", {}),
    ("its window is empty", (2, 4), "y = LRN <size = 0> (x)", {}),
    ("input 0 has shape [N,2,3,3,3]", (2, 3, 3, 3), "y = " + MS + "NhwcConv (x, w)", {"w": f(2, 2, 2, 2)}),
    ("it has no regions, or too many cells", (2, 4, 4),
     "y = MaxRoiPool <pooled_shape = [2, 2]> (x, r)", {"r": f(0, 5)}),
    ("its regions must be constant, of 5 numbers each", (2, 4, 4),
     "y = MaxRoiPool <pooled_shape = [2, 2]> (x, r)", {"r": f(1, 4)}),
    ("a region is out of range", (2, 4, 4), "y = MaxRoiPool <pooled_shape = [2, 2]> (x, r)",
     {"r": np.float32([[0, 0, 0, 1e10, 1]])}),
    ("its scale fits neither its groups nor its channels", (4, 3),
     "y = GroupNormalization <num_groups = 2> (x, s, b)", {"s": f(3), "b": f(3)}),
]
CONTRIB = [
    ("no rule for transBatchA and transBatchB", (3, 3),
     "y = " + MS + "FusedMatMul <transBatchA = 1> (x, w)", {"w": f(3, 3, 3)}),
    ("no rule for its activation Mish", (2, 4),
     "y = " + MS + "FusedConv <activation = \"Mish\"> (x, w)", {"w": f(2, 2, 2)}),
    ("no rule for its axis and bias", (3, 4),
     "y = " + MS + "BiasSoftmax <axis = 1, is_inner_broadcast = 0> (x, w)", {"w": f(1, 3, 4)}),
    ("its groups do not fit", (3, 2, 3),
     "y = " + MS + "GroupNorm <groups = 2, activation = 0> (x, s, b)", {"s": f(3), "b": f(3)}),
    ("no rule for its metric cosine", (3,),
     "y = " + MS + "CDist <metric = \"cosine\"> (x, w)", {"w": f(2, 3)}),
    ("its slices do not fit", (5,), "y = " + MS + "UnfoldTensor <dim = 1, size = 6> (x)", {}),
    ("no rule for do_rotary and past_present_share_buffer", (3, 4),
     "y = " + MS + "Attention <num_heads = 2, do_rotary = 1> (x, w, b)", {"w": f(4, 12), "b": f(12)}),
    ("no rule for the shape of its mask", (3, 4),
     "y = " + MS + "Attention <num_heads = 2> (x, w, b, m)",
     {"w": f(4, 12), "b": f(12), "m": np.ones((1, 1, 1, 1, 3), np.int32)}),
    ("no rule for the shape of its inputs", (3, 5),
     "y = " + MS + "MultiHeadAttention <num_heads = 2> (x, x, x)", {}),
    ("its heads do not fit", (3, 4),
     "y, k, v = " + MS + "GroupQueryAttention <num_heads = 3, kv_num_heads = 2> (x, x, x, , , s, t)",
     {"s": np.int32([2]), "t": np.int32(3)}),
    ("no rule for how it chooses experts", (4,),
     "y = " + MS + "MoE <k = 1, use_sparse_mixer = 1> (x, r, w, , u)",
     {"r": f(1, 2), "w": f(2, 4, 4), "u": f(2, 4, 4)}),
]
CHOICES = [
    ("the order of its values is not defined without sorted=1", (4,),
     "y, p = TopK <sorted = 0> (x, k)", {"k": i(2)}),
    ("its condition is not constant", (4,),
     "s = ReduceMax <keepdims = 0> (x, a)  c = Cast <to = 9> (s)  y = Compress <axis = 0> (x, c)",
     {"a": i(1)}),
    ("no rule for reduction mul where a place is written to twice", (4,),
     "y = ScatterElements <axis = 1, reduction = \"mul\"> (x, p, u)",
     {"p": np.int64([[1, 1]]), "u": f(1, 2)}),
    ("input 1 must be constant", (4,), "s = Shape (x)  a = ReduceSum <keepdims = 0> (s)  y = CumSum (x, a)", {}),
]
FOURIER = [
    ("its values are neither real nor complex", (4, 3), "y = DFT (x)", {}),
    ("axis 5 with rank 3", (4, 1), "y = DFT (x, , a)", {"a": i(5)[0]}),
    ("its window is not as long as its frames", (8, 1),
     "y = STFT (x, s, w, l)", {"s": i(2)[0], "w": f(3), "l": i(4)[0]}),
]
RECURRENT = [
    ("its weights do not fit", (3, 2), "h = Transpose <perm = [1, 0, 2]> (x)  y = RNN <hidden_size = 2> (h, w, r)",
     {"w": f(1, 3, 2), "r": f(1, 2, 2)}),
    ("its activations are too few or too many", (3, 2),
     "h = Transpose <perm = [1, 0, 2]> (x)  y = RNN <hidden_size = 2, activations = [\"Tanh\", \"Relu\"]> (h, w, r)",
     {"w": f(1, 2, 2), "r": f(1, 2, 2)}),
]
LEARNED = [
    ("it has no coefficients", (3,), "y = ai.onnx.ml.LinearRegressor (x)", {}),
    ("it has no support vectors", (3,), "y = ai.onnx.ml.SVMRegressor <n_supports = 0> (x)", {}),
    ("its result is a sign", (3,),
     "y = ai.onnx.ml.SVMRegressor <n_supports = 1, one_class = 1, coefficients = [1.0], "
     "support_vectors = [1.0, 2.0, 3.0], rho = [0.5], kernel_type = \"LINEAR\"> (x)", {}),
    ("no rule for post_transform PROBIT", (3,),
     "y = ai.onnx.ml.LinearRegressor <coefficients = [1.0, 2.0, 3.0], post_transform = \"PROBIT\"> (x)", {}),
]


@pytest.mark.parametrize("said, shape, node, constants", [
    *MOVES, *SPATIAL, *CONTRIB, *CHOICES, *FOURIER, *RECURRENT, *LEARNED])
def test_a_rule_says_what_it_cannot_take(said, shape, node, constants):
    operators = re.findall(r"= ([\w.]+)", re.sub(r"<.*?>", "", node))
    line = f'node {len(operators) - 1} "" ({operators[-1]}): {said}'
    assert message(shape, node, **constants) in (line, line + HINT)


EXPECTED = ("expected top, INDEX, i:j:k, i:top, a-b, input, all, top:K, bottom:K, absolute:K, logit:.., loss, "
            "loss:LABEL, mask, cosine or a list 3,7,11")


@pytest.mark.parametrize("target, said", [
    (":".join("0" * 41), "too many indices"),
    ("0]", "unexpected characters after an index"),
    ("1,2,3:4:5", "3 indices for an output of 1 axes after the batch"),
    ("0:1:2:3:4", "5 indices for an output of 1 axes after the batch"),
    ("x", EXPECTED),
    ("top:", EXPECTED),
    ("0:z", EXPECTED),
    ("mask", "the array is missing, target_array"),
    ("cosine", "the array is missing, target_array"),
    ("logit:0", 'output "y" is not what a Softmax or Sigmoid gives at last, and is explained as it is '
                "without logit"),
    ("top:0", "the output has 4 values"),
    ("2147483648", 'index 2147483648 is out of range, output "y" has 4 values there'),
])
def test_targets_that_are_none(target, said):
    with pytest.raises(Refused) as refused:
        explain(model((4,), "y = Tanh (x)"), {"x": np.zeros((2, 4), np.float32)}, target=target)
    assert str(refused.value) == f'target "{target}": {said}'


@pytest.mark.parametrize("width, options, said", [
    (4, {"method": "exact", "order": 2}, "order goes with method deepshap"),
    (40, {"method": "exact"}, "method exact: 40 values are more than 16; groups makes fewer of them, "
                              "method kernel or permutation estimates"),
    (4, {"method": "permutation", "samples": 1},
     "method permutation: samples: 2 at least, as there is an error to estimate"),
    (4, {"method": "integrated-gradients", "steps": 2**30}, "steps: 1073741824 are more than 1024"),
    (4, {"method": "kernel", "samples": 2},
     "method kernel: 2 coalitions do not tell 4 players apart: samples takes more"),
])
def test_methods_that_cannot(width, options, said):
    with pytest.raises(Refused) as refused:
        explain(model((width,), "y = Tanh (x)"), {"x": np.zeros((2, width), np.float32)},
                target="all", **options)
    assert str(refused.value) == said
