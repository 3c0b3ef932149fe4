"""What a rule cannot take is refused by the node's name and a reason: operators that are valid ONNX, or
nearly, each with what there is no rule for."""

import re
import subprocess

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from library import Refused, explain

HINT = "; --method=kernel explains any model by its outputs"
OPSETS = '"" : 24, "com.microsoft" : 1, "ai.onnx.ml" : 4'


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
LINEAR, LINES = "LinearAttention <q_num_heads = 2, kv_num_heads = ", "update_rule = \"linear\">"
GROUPED = "GroupQueryAttention <num_heads = 2, kv_num_heads = "
PLACES = {"s": np.int32([2]), "t": np.int32(3)}
BITS = "MatMulNBits <N = 2, K = 8, block_size = 16, "
CODES = np.zeros((2, 1, 8), np.uint8)
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
    ("an index is out of range", (4,), "y = Gather <axis = 1> (x, j)", {"j": i(7)}),
    ("starts, ends, axes and steps differ in length", (4,), "y = Slice (x, a, a, b)", {"a": i(0), "b": i(1, 1)}),
    ("3 sizes for 2 outputs", (4,), "y, z = Split <axis = 1> (x, p)", {"p": i(1, 1, 2)}),
    ("the parts exceed 4", (4,), "y, z = Split <axis = 1> (x, p)", {"p": i(3, 3)}),
    ("3 repeats for rank 2", (4,), "y = Tile (x, p)", {"p": i(1, 1, 2)}),
    ("3 pads for 2 axes", (4,), "y = Pad (x, p)", {"p": i(1, 1, 2)}),
    ("axis 1 of [N,4,1] is not 1", (4, 1), "y = Squeeze (x, p)", {"p": i(1)}),
    ("axis 1 is given twice", (4, 1), "y = ReduceSum (x, p)", {"p": i(1, 1)}),
    ("a scale is -2", (4,), "y = Resize (x, , s)", {"s": np.float32([1, -2])}),
    ("3 scales for 2 axes", (4,), "y = Resize (x, , s)", {"s": np.float32([1, 1, 2])}),
    ("axis 5 with rank 2", (4,), "y = Resize <axes = [5]> (x, , s)", {"s": np.float32([2])}),
    ("pads leave nothing of the output", (2, 4), "y = ConvTranspose <pads = [9, 9]> (x, w)", {"w": f(2, 2, 2)}),
    ("6 sizes", (2, 3), "y = AffineGrid (x, s)", {"s": i(2, 3, 2, 2, 2, 2)}),
    ("frames of 8, each 2, of 4 values", (4, 1), "y = STFT (x, s, , l)", {"s": i(2)[0], "l": i(8)[0]}),
    ("6 values for 4 heads", (4, 6), "y = Attention <q_num_heads = 4, kv_num_heads = 4> (x, x, x)", {}),
    *(("the equation does not fit the inputs", (4,), f"y = Einsum <equation = \"{equation}\"> (x)", {})
      for equation in ("n1->n", "na-n", "n..a->n", "na->nb", "na,nb->n")),
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
    ("no rule for its number of axes", (4, 2), "y = Col2Im (x, a, b)", {"a": i(2, 2), "b": i(1)}),
    ("its shapes are not known or do not fit", (5, 3), "y = GroupNormalization <num_groups = 2> (x, s, s)", {"s": f(5)}),
    ("an axis from 30000 to 20000 is too large", (1, 1, 30000), "y = Resize <mode = \"cubic\"> (x, , , s)",
     {"s": i(1, 1, 1, 20000)}),
    ("group does not divide the channels", (3, 4),
     "w = ReduceSum (x, a)  u = Expand (w, e)  y = Conv <group = 2> (q, u)",
     {"a": i(0, 1, 2), "e": i(3, 1, 1), "q": f(1, 2, 3)}),
    ("no rule for filters that vary with this padding", (2, 4),
     "w = ReduceSum (x, a)  y = ConvTranspose <auto_pad = \"SAME_UPPER\"> (q, w)", {"a": i(), "q": f(1, 1, 3)}),
    ("no rule for its number of axes", (3, 4), "y = DeformConv (x, w, o)", {"w": f(2, 3, 2), "o": f(1, 4, 3)}),
    ("its shapes do not fit", (3, 4, 4), "y = DeformConv <offset_group = 2> (x, w, o)",
     {"w": f(2, 3, 2, 2), "o": f(1, 16, 3, 3)}),
    ("a region of it is too large", (1, 4, 4), "y = RoiAlign (x, r, b)",
     {"r": np.float32([[0, 0, 1e9, 1e9]]), "b": i(0)}),
    ("it has too many samples", (1, 4, 4), "y = RoiAlign <sampling_ratio = 1000000000> (x, r, b)",
     {"r": f(1, 4), "b": i(0)}),
    ("no rule for mode max where regions take unequal numbers of samples", (1, 4, 4),
     "y = RoiAlign <mode = \"max\", output_height = 1, output_width = 1> (x, r, b)",
     {"r": np.float32([[0, 0, 1, 1], [0, 0, 3, 3]]), "b": i(0, 0)}),
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
    ("no rule for reduction mean", (4,), "y = ScatterElements <axis = 1, reduction = \"mean\"> (x, p, u)",
     {"p": i(0, 1)[None], "u": f(1, 2)}),
]
FOURIER = [
    ("its values are neither real nor complex", (4, 3), "y = DFT (x)", {}),
    ("axis 5 with rank 3", (4, 1), "y = DFT (x, , a)", {"a": i(5)[0]}),
    ("its window is not as long as its frames", (8, 1),
     "y = STFT (x, s, w, l)", {"s": i(2)[0], "w": f(3), "l": i(4)[0]}),
    ("its length cannot be used: up to some thousand values", (4, 1), "y = DFT (x, l)", {"l": i(0)[0]}),
    ("its length is not constant", (4, 1), "s = Shape (x)  l = ReduceMin <keepdims = 0> (s)  y = DFT (x, l)", {}),
    ("its axis is out of range", (4, 1), "y = DFT (x, , a)", {"a": i(-1)[0]}),
]
RECURRENT = [
    ("its weights do not fit", (3, 2), "h = Transpose <perm = [1, 0, 2]> (x)  y = RNN <hidden_size = 2> (h, w, r)",
     {"w": f(1, 3, 2), "r": f(1, 2, 2)}),
    ("its activations are too few or too many", (3, 2),
     "h = Transpose <perm = [1, 0, 2]> (x)  y = RNN <hidden_size = 2, activations = [\"Tanh\", \"Relu\"]> (h, w, r)",
     {"w": f(1, 2, 2), "r": f(1, 2, 2)}),
    ("the shape of an input is not known", (3, 2),
     "h = Transpose <perm = [1, 0, 2]> (x)  n = NonZero (x)  y = RNN <hidden_size = 2> (h, w, r, , , n)",
     {"w": f(1, 2, 2), "r": f(1, 2, 2)}),
]
LEARNED = [
    ("it has no coefficients", (3,), "y = ai.onnx.ml.LinearRegressor (x)", {}),
    ("it has no support vectors", (3,), "y = ai.onnx.ml.SVMRegressor <n_supports = 0> (x)", {}),
    ("its probabilities jump by thousandths, with the steps that ONNX Runtime takes to find them; "
     "SVC(probability=False) has a rule", (3,),
     "l, y = ai.onnx.ml.SVMClassifier <vectors_per_class = [1, 1], coefficients = [1.0, -1.0], "
     "support_vectors = [1.0, 2.0, 3.0, 0.0, 1.0, 2.0], rho = [0.5], prob_a = [1.0], prob_b = [0.0], "
     "classlabels_ints = [0, 1]> (x)", {}),
    ("its support vectors, classes and coefficients are of different numbers", (3,),
     "l, y = ai.onnx.ml.SVMClassifier <vectors_per_class = [1, 1], coefficients = [1.0, -1.0], "
     "support_vectors = [1.0, 2.0, 3.0], rho = [0.5], classlabels_ints = [0, 1]> (x)", {}),
    ("its result is a sign", (3,),
     "y = ai.onnx.ml.SVMRegressor <n_supports = 1, one_class = 1, coefficients = [1.0], "
     "support_vectors = [1.0, 2.0, 3.0], rho = [0.5], kernel_type = \"LINEAR\"> (x)", {}),
    ("no rule for post_transform PROBIT", (3,),
     "y = ai.onnx.ml.LinearRegressor <coefficients = [1.0, 2.0, 3.0], post_transform = \"PROBIT\"> (x)", {}),
    ("no rule for post_transform PROBIT", (3,), "l, y = ai.onnx.ml.LinearClassifier <coefficients = [1.0, 2.0, 3.0], "
     "classlabels_ints = [0, 1], post_transform = \"PROBIT\"> (x)", {}),
    ("coefficients has 2 numbers", (3,), "y = ai.onnx.ml.LinearRegressor <coefficients = [1.0, 2.0]> (x)", {}),
    ("its labels do not fit", (4,), "y = SoftmaxCrossEntropyLoss (x, l)", {"l": i(1)[0]}),
    ("its labels do not fit", (4,), "y = NegativeLogLikelihoodLoss (x, l)", {"l": i(1)[None]}),
    ("it leaves out words, so that others take their place", (4,),
     "s = Cast <to = 8> (x)  y = StringNormalizer <stopwords = [\"a\"]> (s)", {}),
]

ATTENTION = [
    ("its heads do not fit", (4, 12), "y = Attention <q_num_heads = 3, kv_num_heads = 2> (x, k, k)", {"k": f(1, 4, 8)}),
    ("its mask does not fit", (4, 6), "y = Attention <q_num_heads = 2, kv_num_heads = 2> (x, x, x, m)", {"m": f(4, 5)}),
    ("its nonpad_kv_seqlen does not fit", (4, 6),
     "y = Attention <q_num_heads = 2, kv_num_heads = 2> (x, x, x, , , , n)", {"n": i(4)[None]}),
    ("its rotary_embedding_dim does not fit", (2, 4, 6),
     "y = RotaryEmbedding <rotary_embedding_dim = 3> (x, c, c)", {"c": f(1, 4, 2)}),
    ("no rule for the shape of its mask", (3, 4), "y = " + MS + "Attention <num_heads = 2> (x, w, b, m)",
     {"w": f(4, 12), "b": f(12), "m": np.ones(5, np.int32)}),
    ("its packed inputs do not fit", (3, 4), "y = " + MS + "MultiHeadAttention <num_heads = 2> (x)", {}),
    ("no rule for a past in a shared buffer", (3, 4),
     "y = " + MS + "MultiHeadAttention <num_heads = 2> (x, x, x, , , , , , s)", {"s": np.int32([1])}),
]
DECODERS = [
    (said, shape, f"{outputs} = {MS}{node}", constants) for said, shape, outputs, node, constants in (
        ("no rule for its dilation", (4, 3), "y, s", "CausalConvWithState <dilation = 2> (x, w)", {"w": f(4, 1, 2)}),
        ("its activation is not known", (4, 3), "y, s", "CausalConvWithState <activation = \"tanh\"> (x, w)",
         {"w": f(4, 1, 2)}),
        ("no rule for its update_rule with these inputs", (3, 4), "y, s", f"{LINEAR}2, {LINES} (x, x, x, , x)", {}),
        ("its numbers of heads do not fit", (3, 4), "y, s", f"{LINEAR}4, {LINES} (x, x, x)", {}),
        ("its shapes do not fit", (3, 4), "y, s", f"{LINEAR}1, {LINES} (x, x, x)", {}),
        ("its shapes do not fit", (3, 4), "y, s", f"{LINEAR}2, update_rule = \"gated\"> (x, x, x, , d)",
         {"d": f(1, 3, 2, 2)}),
        ("its sequence is empty or too long to be unrolled", (5000, 2), "y, s", f"{LINEAR}2, {LINES} (x, x, x)", {}),
        ("its heads do not fit", (3, 6), "y, k, v", f"{GROUPED}1> (x, , , , , s, t)", PLACES),
        ("no rule for more or fewer keys than queries", (3, 8), "y, k, v", f"{GROUPED}2> (x, a, a, , , s, t)",
         PLACES | {"a": f(1, 2, 8)}),
        ("its lengths of sequences do not fit", (3, 8), "y, k, v", f"{GROUPED}2> (x, x, x, , , t, t)", PLACES),
        ("keys without values", (3, 8), "y, k, v", f"{GROUPED}2> (x, x, , , , s, t)", PLACES),
        ("no rule for a quantised cache", (3, 8), "y, k, v", f"{GROUPED}2> (x, x, x, p, p, s, t)",
         PLACES | {"p": np.zeros((1, 2, 2, 4), np.int8)}),
        ("its window does not fit", (3, 8), "y, k, v", f"{GROUPED}2, sliding_window_cache = 1> (x, x, x, p, p, s, t)",
         PLACES | {"p": f(1, 2, 2, 4)}),
        ("its positions do not fit", (3, 8), "y, k, v", f"{GROUPED}2, do_rotary = 1> (x, x, x, , , s, t, c, c, q)",
         PLACES | {"c": f(8, 2), "q": i(0, 1, 2)}),
        ("its positions do not fit", (3, 8), "y", "RotaryEmbedding (x, p, c, c)", {"p": i(0)[0], "c": f(8, 4)}),
        ("no rule for packed batches", (3, 8), "y", "RotaryEmbedding <is_packed_batching = 1> (x, p, c, c)",
         {"p": i(0), "c": f(8, 4)}),
        ("no rule for a scale, or without mrope_section", (2, 3, 8), "y",
         "MRotaryEmbedding <mrope_section = [2, 1, 1], scale = 2.0> (x, p, c, c)",
         {"p": np.zeros((3, 1, 3), np.int64), "c": f(8, 4)}),
        ("its shapes do not fit", (4,), "y", "GatedRMSNorm (x, s, x)", {"s": f(3)}),
        ("its branches do not fit", (5,), "y", "BranchwiseRMSNorm <num_branches = 2> (x)", {}),
        ("no rule for its activation tanh", (4,), "y", "MoE <k = 1, activation_type = \"tanh\"> (x, r, w, , w)",
         {"r": f(1, 2), "w": f(2, 4, 4)}),
        ("no rule for how it chooses experts", (4,), "a, y", "MoEGroupRouter <top_k = 2, n_group = 3> (x, b)", {"b": f(4)}))
]
PACKED = [
    (said, (8,), f"y = {MS}{node}", constants) for said, node, constants in (
        ("no rule for its kind of weights", f"{BITS}bits = 3> (x, w, s)", {"w": CODES, "s": f(2)}),
        ("no rule for its kind of weights", f"{BITS}weight_prepacked = 1> (x, w, s)", {"w": CODES, "s": f(2)}),
        ("its shapes do not fit", f"{BITS}bits = 4> (x, w, s)", {"w": CODES[:1], "s": f(2)}),
        ("no rule for packed zero points of columns in groups", f"{BITS}bits = 4> (x, w, s, z, g)",
         {"w": CODES, "s": f(2), "z": np.uint8([0, 0]), "g": np.zeros(8, np.int32)}),
        ("no rule for its kind of weights", "MatMulBnb4 <N = 2, K = 8, block_size = 16, quant_type = 2> (x, w, s)",
         {"w": CODES.ravel()[:8], "s": f(1)}),
        ("no rule for its kind of weights", "QMoE <k = 1, quant_type = \"fp4\"> (x, r, w, s, , w, s)",
         {"r": f(1, 2), "w": np.zeros((2, 8, 8), np.uint8), "s": f(2, 8)}))
]

SEQUENCES = [
    (said, (4,), f"{nodes} y = SequenceAt (s, z)", constants | {"z": i(0)[0]}) for said, nodes, constants in (
        ("its position is beyond its sequence", "r = SequenceConstruct (x) s = SequenceInsert (r, x, p)", {"p": i(7)[0]}),
        ("its parts have no length", "s = SplitToSequence <axis = 1> (x, p)", {"p": i(0)[0]}),
        ("its parts do not fit", "s = SplitToSequence <axis = 1> (x, p)", {"p": i(5, -1)}),
        ("its parts do not fit", "s = SplitToSequence <axis = 1> (x, p)", {"p": i(1, 1)}),
        ("its parts do not fit", "s = SplitToSequence <axis = 1> (x, p)", {"p": i(3)}),
        ("its sequences differ in length", "a = SequenceConstruct (x, x) b = SequenceConstruct (x) "
         "s = SequenceMap <body = b (float[N,4] e, float[N,4] u) => (float[N,4] o) { o = Add (e, u) }> (a, b)", {}))
]
STEPS = "q = Transpose <perm = [1, 0, 2]> (x) "
BOTH = "body = b (float[N,3] e, float[3] u) => (float[N,3] o) { o = Add (e, u) }"
SUBGRAPHS = [
    ("If", "its subgraph has too few outputs", "y, z = If <then_branch = t () => (float[N,4,3] a) { a = Tanh (x) }, "
     "else_branch = e () => (float[N,4,3] b) { b = Neg (x) }> (c)", {"c": np.bool_(True)}),
    ("Scan", "num_scan_inputs is 5", STEPS + "y = Scan <num_scan_inputs = 5, body = b (float[N,3] e) => (float[N,3] o) "
     "{ o = Tanh (e) }> (q)", {}),
    ("Scan", "its subgraph has too few outputs", STEPS + "y, z = Scan <num_scan_inputs = 1, body = b (float[N,3] e) => "
     "(float[N,3] o) { o = Tanh (e) }> (q)", {}),
    ("Scan", "its subgraph takes 2 inputs, not 1", STEPS + "y = Scan <num_scan_inputs = 1, " + BOTH + "> (q)", {}),
    ("Scan", "what it scans differs in length", STEPS + "y = Scan <num_scan_inputs = 2, " + BOTH + "> (q, w)", {"w": f(3, 3)}),
    ("Scan", "it takes no step", STEPS + "y = Scan <num_scan_inputs = 2, " + BOTH + "> (q, w)", {"w": f(0, 3)}),
    ("Loop", "its subgraph has too few outputs", "y, z = Loop <body = b (int64 k, bool g, float[N,4,3] h) => (bool o, "
     "float[N,4,3] p) { o = Identity (g) p = Tanh (h) }> (t, c, x)", {"t": i(2)[0], "c": np.bool_(True)}),
    ("Loop", "its subgraph takes 2 inputs, not 3", "y = Loop <body = b (int64 k, bool g) => (bool o) { o = Identity (g) }> "
     "(t, c, x)", {"t": i(2)[0], "c": np.bool_(True)}),
]


@pytest.mark.parametrize("said, shape, node, constants", [
    *MOVES, *SPATIAL, *CONTRIB, *CHOICES, *FOURIER, *RECURRENT, *LEARNED, *ATTENTION, *DECODERS,
    *PACKED])
def test_a_rule_says_what_it_cannot_take(said, shape, node, constants):
    operators = re.findall(r"= ([\w.]+)", re.sub(r"<.*?>", "", node))
    line = f'node {len(operators) - 1} "" ({operators[-1]}): {said}'
    assert message(shape, node, **constants) in (line, line + HINT)


@pytest.mark.parametrize("said, shape, nodes, constants", SEQUENCES)
def test_sequences_that_do_not_fit(said, shape, nodes, constants):
    """The node that takes a tensor out of them names the one that is wrong."""
    text = message(shape, nodes, **constants).removesuffix(HINT)
    assert re.fullmatch(rf'node \d "" \(SequenceAt\): node \d "" \(\w+\): {re.escape(said)}', text)


@pytest.mark.parametrize("op, said, nodes, constants", SUBGRAPHS)
def test_subgraphs_that_do_not_fit(op, said, nodes, constants):
    at = int(nodes.startswith(STEPS))
    assert message((4, 3), nodes, **constants).removesuffix(HINT) == f'node {at} "" ({op}): {said}'


def test_training_mode_that_is_an_input(cli, tmp_path):
    """What is refused says the way out, which is one."""
    onnx.save(onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 22]> graph (float[N, 4] x, bool t) => (float[N, 4] y) '
        "{ y = Dropout (x, , t) }"), tmp_path / "m.onnx")
    np.save(tmp_path / "r.npy", f(2, 4))
    command = [cli, "explain", "m.onnx", "-qr", "x=r.npy", "-o", "e.onnx", "--target=0"]
    done = subprocess.run([*command, "--hold=t"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == ('onnxexplainer: node 0 "" (Dropout): whether it is in training mode is not known; '
                           "--fix=NAME=0 says that an input is false\n")
    subprocess.run([*command, "--fix=t=0"], cwd=tmp_path, check=True)



EXPECTED = ("expected top, INDEX, i:j:k, i:top, a-b, input, all, top:K, bottom:K, absolute:K, logit:.., loss, "
            "loss:LABEL, mask, cosine or a list 3,7,11")


@pytest.mark.parametrize("target, said", [
    (":".join("0" * 41), "too many indices"),
    ("0]", "unexpected characters after an index"),
    ("1,2,3:4:5", "3 indices for an output of 1 axes after the batch"),
    ("0:1:2:3:4", "5 indices for an output of 1 axes after the batch"),
    ("x", EXPECTED),
    ("top:", EXPECTED),
    ("top:2x", "unexpected characters after the number"),
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
    (60, {"method": "kernel", "samples": 2**60}, "1152921504606846976 coalitions of 60 players are too many"),
    (4, {"method": "smoothgrad", "samples": 2**40}, "1099511627776 points are too many, 1048576 can be taken at most"),
    (4, {"method": "expected-gradients", "samples": 2**40},
     "1099511627776 points are too many, 1048576 can be taken at most"),
])
def test_methods_that_cannot(width, options, said):
    with pytest.raises(Refused) as refused:
        explain(model((width,), "y = Tanh (x)"), {"x": np.zeros((2, width), np.float32)},
                target="all", **options)
    assert str(refused.value) == said
