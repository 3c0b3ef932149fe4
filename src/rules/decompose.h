/* What decompositions share: the operators that a composite one is made of are written over its
 * inputs' values in the lifted graph. */
#ifndef OX_RULES_MADE_H
#define OX_RULES_MADE_H

#include "rules/rules.h"

_Noreturn void ox_made_fail(const ox_node *n, const char *message);

/* Input i, in float32 where it is narrower; NULL where it is left out. ox_made_ranked gives up
 * where it is left out or its rank is not known, ox_made_of_rank also where that is not in
 * [least, most]. */
ox_val ox_made_input(const ox_node *n, size_t i);
ox_val ox_made_ranked(const ox_node *n, size_t i);
ox_val ox_made_of_rank(const ox_node *n, size_t i, int least, int most);

/* y in the type of output i. */
ox_val ox_made_result(const ox_node *n, size_t i, ox_val y);

/* Whether the node has output i, with a name. */
bool ox_made_has_output(const ox_node *n, size_t i);

/* Static dimension `axis` of v, or the number of elements of v's axes from `first` on; gives up
 * where it is not known. */
int64_t ox_made_size(const ox_node *n, ox_val v, int axis);
int64_t ox_made_count(const ox_node *n, ox_val v, int first);

/* An axis attribute as an index from the front; `axis` counted from the end. Both give up where it
 * is out of range. */
int ox_made_axis(const ox_node *n, const char *name, int64_t otherwise, int rank);
int ox_made_axis_from_end(const ox_node *n, int64_t axis, int rank);

/* v [c] as [c, 1, ..], with `after` axes behind it. */
ox_val ox_made_column(ox_val v, int after);

/* 0, 1, ..., count - 1 in the type of `like`, as [count, 1, ...] with `ones` axes of length 1. */
ox_val ox_made_range(ox_val like, int64_t count, int ones);

/* 0, 1, .. along an axis of v, which may be free: int64. */
ox_val ox_made_counted(ox_val v, int axis);

/* The sum of a and b, each of which may be NULL. */
ox_val ox_made_plus(ox_val a, ox_val b);

/* x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2. rules/contrib.c */
ox_val ox_made_fast_gelu(ox_val x);

/* Stands for output i of n, which is `exact` but for rounding and saturation. rules/quantize.c */
ox_val ox_made_rounded(const ox_node *n, size_t i, ox_val exact);

/* ---- the decompositions ---------------------------------------------------------------------- */

/* rules/norm.c */
void decompose_instance_normalization(const ox_node *n, ox_val *outputs);
void decompose_layer_normalization(const ox_node *n, ox_val *outputs);
void decompose_group_normalization(const ox_node *n, ox_val *outputs);
void decompose_rms_normalization(const ox_node *n, ox_val *outputs);
void decompose_mean_variance_normalization(const ox_node *n, ox_val *outputs);
void decompose_lp_normalization(const ox_node *n, ox_val *outputs);
void decompose_lrn(const ox_node *n, ox_val *outputs);
void decompose_reduce_l1(const ox_node *n, ox_val *outputs);
void decompose_reduce_l2(const ox_node *n, ox_val *outputs);
void decompose_reduce_sum_square(const ox_node *n, ox_val *outputs);
void decompose_reduce_log_sum(const ox_node *n, ox_val *outputs);
void decompose_reduce_prod(const ox_node *n, ox_val *outputs);

/* rules/recurrent.c */
void decompose_lstm(const ox_node *n, ox_val *outputs);
void decompose_gru(const ox_node *n, ox_val *outputs);
void decompose_rnn(const ox_node *n, ox_val *outputs);

/* rules/einsum.c */
void decompose_einsum(const ox_node *n, ox_val *outputs);

/* rules/fourier.c */
void decompose_dft(const ox_node *n, ox_val *outputs);
void decompose_stft(const ox_node *n, ox_val *outputs);

/* rules/math.c */
void decompose_batch_normalization(const ox_node *n, ox_val *outputs);
void decompose_cum_prod(const ox_node *n, ox_val *outputs);
void decompose_det(const ox_node *n, ox_val *outputs);
void decompose_nll_loss(const ox_node *n, ox_val *outputs);
void decompose_softmax_cross_entropy(const ox_node *n, ox_val *outputs);
void decompose_swiglu(const ox_node *n, ox_val *outputs);

/* rules/attention.c */
void decompose_attention(const ox_node *n, ox_val *outputs);
void decompose_rotary_embedding(const ox_node *n, ox_val *outputs);

/* rules/select.c */
void decompose_compress(const ox_node *n, ox_val *outputs);
void decompose_one_hot(const ox_node *n, ox_val *outputs);

/* rules/cut.c */
void decompose_slice(const ox_node *n, ox_val *outputs);

/* rules/pick.c: indices that vary */
void decompose_gather(const ox_node *n, ox_val *outputs);
void decompose_gather_elements(const ox_node *n, ox_val *outputs);
void decompose_gather_nd(const ox_node *n, ox_val *outputs);
void decompose_arg_max(const ox_node *n, ox_val *outputs);

/* rules/decoder.c: decoders with a state */
void decompose_causal_conv(const ox_node *n, ox_val *outputs);
void decompose_linear_attention(const ox_node *n, ox_val *outputs);
void decompose_tensor_scatter(const ox_node *n, ox_val *outputs);

/* rules/grid_sample.c */
void decompose_grid_sample(const ox_node *n, ox_val *outputs);
void decompose_affine_grid(const ox_node *n, ox_val *outputs);
void decompose_roi_align(const ox_node *n, ox_val *outputs);
void decompose_deform_conv(const ox_node *n, ox_val *outputs);

/* rules/image.c */
void flow_max_unpool(ox_ctx *c);
void flow_col2im(ox_ctx *c);
void decompose_center_crop_pad(const ox_node *n, ox_val *outputs);
void decompose_lp_pool(const ox_node *n, ox_val *outputs);
void decompose_global_lp_pool(const ox_node *n, ox_val *outputs);
void decompose_conv(const ox_node *n, ox_val *outputs);
void decompose_conv_transpose(const ox_node *n, ox_val *outputs);

/* rules/roi.c */
void decompose_max_roi_pool(const ox_node *n, ox_val *outputs);

/* rules/quantize.c */
void flow_rounded(ox_ctx *c);
void decompose_quantize(const ox_node *n, ox_val *outputs);
void decompose_resize(const ox_node *n, ox_val *outputs);
void decompose_dequantize(const ox_node *n, ox_val *outputs);
void decompose_dynamic_quantize(const ox_node *n, ox_val *outputs);
void decompose_qlinear_conv(const ox_node *n, ox_val *outputs);
void decompose_qlinear_matmul(const ox_node *n, ox_val *outputs);
void decompose_conv_integer(const ox_node *n, ox_val *outputs);
void decompose_matmul_integer(const ox_node *n, ox_val *outputs);
void decompose_qlinear_binary(const ox_node *n, ox_val *outputs);
void decompose_qlinear_unary(const ox_node *n, ox_val *outputs);
void decompose_qlinear_where(const ox_node *n, ox_val *outputs);
void decompose_nhwc_max_pool(const ox_node *n, ox_val *outputs);
void decompose_qlinear_concat(const ox_node *n, ox_val *outputs);
void decompose_qgemm(const ox_node *n, ox_val *outputs);
void decompose_matmul_integer_to_float(const ox_node *n, ox_val *outputs);
void decompose_dynamic_quantize_matmul(const ox_node *n, ox_val *outputs);
void decompose_dynamic_quantize_lstm(const ox_node *n, ox_val *outputs);

/* rules/contrib.c, rules/contrib_attention.c: com.microsoft */
void decompose_fused_matmul(const ox_node *n, ox_val *outputs);
void decompose_fused_gemm(const ox_node *n, ox_val *outputs);
void decompose_fused_conv(const ox_node *n, ox_val *outputs);
void decompose_nhwc_conv(const ox_node *n, ox_val *outputs);
void decompose_bias_gelu(const ox_node *n, ox_val *outputs);
void decompose_fast_gelu(const ox_node *n, ox_val *outputs);
void decompose_quick_gelu(const ox_node *n, ox_val *outputs);
void decompose_bias_add(const ox_node *n, ox_val *outputs);
void decompose_skip_layer_normalization(const ox_node *n, ox_val *outputs);
void decompose_simplified_layer_normalization(const ox_node *n, ox_val *outputs);
void decompose_embed_layer_normalization(const ox_node *n, ox_val *outputs);
void decompose_qembed_layer_normalization(const ox_node *n, ox_val *outputs);
void decompose_group_norm(const ox_node *n, ox_val *outputs);
void decompose_skip_group_norm(const ox_node *n, ox_val *outputs);
void decompose_contrib_attention(const ox_node *n, ox_val *outputs);
void decompose_qattention(const ox_node *n, ox_val *outputs);
void decompose_multi_head_attention(const ox_node *n, ox_val *outputs);

/* rules/contrib_weights.c */
void decompose_matmul_nbits(const ox_node *n, ox_val *outputs);
void decompose_matmul_bnb4(const ox_node *n, ox_val *outputs);

/* rules/contrib_fused.c */
void flow_inverse(ox_ctx *c);
void decompose_standard(const ox_node *n, ox_val *outputs);
void decompose_expand_dims(const ox_node *n, ox_val *outputs);
void decompose_bias_dropout(const ox_node *n, ox_val *outputs);
void decompose_contrib_causal_conv(const ox_node *n, ox_val *outputs);
void decompose_contrib_linear_attention(const ox_node *n, ox_val *outputs);
void decompose_scaled_silu(const ox_node *n, ox_val *outputs);
void decompose_bias_split_gelu(const ox_node *n, ox_val *outputs);
void decompose_contrib_swiglu(const ox_node *n, ox_val *outputs);
void decompose_gemm_fast_gelu(const ox_node *n, ox_val *outputs);
void decompose_bias_softmax(const ox_node *n, ox_val *outputs);
void decompose_gated_add(const ox_node *n, ox_val *outputs);
void decompose_gated_rms_norm(const ox_node *n, ox_val *outputs);
void decompose_branchwise_rms_norm(const ox_node *n, ox_val *outputs);
void decompose_linear_attention_gate(const ox_node *n, ox_val *outputs);
void decompose_gemma_rotary_embedding(const ox_node *n, ox_val *outputs);
void decompose_cdist(const ox_node *n, ox_val *outputs);
void decompose_matmul_integer16(const ox_node *n, ox_val *outputs);
void decompose_unfold_tensor(const ox_node *n, ox_val *outputs);

/* rules/contrib_moe.c */
void decompose_moe(const ox_node *n, ox_val *outputs);
void decompose_qmoe(const ox_node *n, ox_val *outputs);

/* rules/contrib_gqa.c */
void decompose_group_query_attention(const ox_node *n, ox_val *outputs);
void decompose_contrib_rotary_embedding(const ox_node *n, ox_val *outputs);

/* rules/ml.c: ai.onnx.ml */
void decompose_normalizer(const ox_node *n, ox_val *outputs);
void decompose_imputer(const ox_node *n, ox_val *outputs);
void decompose_binarizer(const ox_node *n, ox_val *outputs);
void decompose_one_hot_encoder(const ox_node *n, ox_val *outputs);
void decompose_feature_vectorizer(const ox_node *n, ox_val *outputs);
void decompose_array_feature_extractor(const ox_node *n, ox_val *outputs);
void decompose_linear_regressor(const ox_node *n, ox_val *outputs);
void decompose_linear_classifier(const ox_node *n, ox_val *outputs);
void decompose_svm_regressor(const ox_node *n, ox_val *outputs);

/* rules/trees_scores.c: ai.onnx.ml, what is made of the sums over trees */
void decompose_trees(const ox_node *n, ox_val *outputs);
void decompose_tree_classifier(const ox_node *n, ox_val *outputs);

#endif
