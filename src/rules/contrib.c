/* Operators of com.microsoft that ONNX Runtime's optimisers and exporters leave in files, as the
 * standard ones that they were fused from. */
#include "rules/decompose.h"

#include <math.h>
#include <string.h>

/* ---- activations ----------------------------------------------------------------------------- */

/* x (1 + erf(x / sqrt 2)) / 2 */
static ox_val gelu(ox_val x)
{
    ox_val part = ox_unary("Erf", ox_scale(x, sqrt(0.5)));
    return ox_mul(x, ox_scale(ox_shift(part, 1), 0.5));
}

ox_val ox_made_fast_gelu(ox_val x)
{
    const double root = 0.79788456080286536; /* sqrt(2 / pi) */
    ox_val cube = ox_binary("Pow", x, ox_number(x, 3));
    ox_val inner = ox_add(ox_scale(x, root), ox_scale(cube, root * 0.044715));
    return ox_mul(x, ox_scale(ox_shift(ox_tanh(inner), 1), 0.5));
}

void decompose_bias_gelu(const ox_node *n, ox_val *outputs)
{
    outputs[0] = gelu(ox_made_plus(ox_made_ranked(n, 0), ox_made_input(n, 1)));
}

void decompose_fast_gelu(const ox_node *n, ox_val *outputs)
{
    outputs[0] = ox_made_fast_gelu(ox_made_plus(ox_made_ranked(n, 0), ox_made_input(n, 1)));
}

void decompose_quick_gelu(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0);
    double alpha = ox_node_float(n, "alpha", 1.702);
    outputs[0] = ox_mul(x, ox_unary("Sigmoid", ox_scale(x, alpha)));
}

/* x, bias, skip. */
void decompose_bias_add(const ox_node *n, ox_val *outputs)
{
    ox_val sum = ox_made_plus(ox_made_ranked(n, 0), ox_made_input(n, 1));
    outputs[0] = ox_made_plus(sum, ox_made_input(n, 2));
}

/* The `activation` of a fused operator; its parameters stand in one list, or by name. */
static ox_val activated(const ox_node *n, ox_val x)
{
    static const char *const names[] = {"activation_alpha", "activation_beta"};
    const char *op = ox_node_string(n, "activation", "");
    const ox_attr *list = ox_node_attr(n, "activation_params");
    double given[2] = {0};
    bool known[2];
    for (size_t i = 0; i < 2; i++) {
        bool listed = list != NULL && list->kind == OX_ATTR_FLOATS && i < list->count;
        known[i] = listed || ox_node_attr(n, names[i]) != NULL;
        given[i] = listed ? (double)list->floats[i] : ox_node_float(n, names[i], 0);
    }
    if (op[0] == '\0') {
        return x;
    }
    if (strcmp(op, "Relu") == 0 || strcmp(op, "Tanh") == 0 || strcmp(op, "Sigmoid") == 0 ||
        strcmp(op, "Softplus") == 0 || strcmp(op, "Softsign") == 0) {
        return ox_unary(op, x);
    }
    ox_attr alpha = ox_attr_float("alpha", known[0] ? (float)given[0] : 0.01f);
    if (strcmp(op, "LeakyRelu") == 0) {
        return ox_graph_emit(x->graph, op, 1, &x, 1, &alpha);
    }
    if (strcmp(op, "HardSigmoid") == 0 && known[0] && known[1]) {
        ox_attr both[] = {alpha, ox_attr_float("beta", (float)given[1])};
        return ox_graph_emit(x->graph, op, 1, &x, 2, both);
    }
    if (strcmp(op, "Clip") == 0 && known[0] && known[1]) {
        ox_val in[] = {x, ox_number(x, given[0]), ox_number(x, given[1])};
        return ox_graph_emit(x->graph, op, 3, in, 0, NULL);
    }
    ox_made_fail(n, ox_arena_format(n->graph->arena, "no rule for its activation %s", op));
}

/* ---- products -------------------------------------------------------------------------------- */

/* The attributes that the operator `n` shares with the standard one. */
static ox_attr *plain_attrs(const ox_node *n, size_t *count)
{
    ox_attr *attrs = ox_arena_alloc(n->graph->arena, n->attr_count + 1, sizeof *attrs);
    *count = 0;
    for (size_t i = 0; i < n->attr_count; i++) {
        if (strncmp(n->attrs[i].name, "activation", strlen("activation")) != 0) {
            attrs[(*count)++] = n->attrs[i];
        }
    }
    return attrs;
}

void decompose_fused_matmul(const ox_node *n, ox_val *outputs)
{
    ox_val a = ox_made_ranked(n, 0), b = ox_made_ranked(n, 1);
    if (ox_node_int(n, "transBatchA", 0) != 0 || ox_node_int(n, "transBatchB", 0) != 0) {
        ox_made_fail(n, "no rule for transBatchA and transBatchB");
    }
    a = ox_node_int(n, "transA", 0) != 0 && a->rank > 1 ? ox_swap_last(a) : a;
    b = ox_node_int(n, "transB", 0) != 0 && b->rank > 1 ? ox_swap_last(b) : b;
    outputs[0] = activated(n, ox_scale(ox_matmul(a, b), ox_node_float(n, "alpha", 1)));
}

void decompose_fused_gemm(const ox_node *n, ox_val *outputs)
{
    size_t count = 0;
    const ox_attr *attrs = plain_attrs(n, &count);
    ox_val in[] = {ox_made_ranked(n, 0), ox_made_ranked(n, 1), ox_made_input(n, 2)};
    ox_val y = ox_graph_emit(n->graph, "Gemm", in[2] == NULL ? 2 : 3, in, count, attrs);
    outputs[0] = activated(n, y);
}

/* x, w, bias, and what is added before the activation. */
void decompose_fused_conv(const ox_node *n, ox_val *outputs)
{
    size_t count = 0;
    const ox_attr *attrs = plain_attrs(n, &count);
    ox_val in[] = {ox_made_ranked(n, 0), ox_made_ranked(n, 1), ox_made_input(n, 2)};
    ox_val y = ox_graph_emit(n->graph, "Conv", in[2] == NULL ? 2 : 3, in, count, attrs);
    outputs[0] = activated(n, ox_made_plus(y, ox_made_input(n, 3)));
}

/* x and y are [N, H, W, C], filters [M, H, W, C / group]; those of NhwcFusedConv are
 * [M, C / group, H, W]. What is added before the activation is like y. */
void decompose_nhwc_conv(const ox_node *n, ox_val *outputs)
{
    static const int first[] = {0, 3, 1, 2}, last[] = {0, 2, 3, 1};
    size_t count = 0;
    const ox_attr *attrs = plain_attrs(n, &count);
    ox_val x = ox_made_ranked(n, 0);
    ox_val w = ox_made_ranked(n, 1);
    if (x->rank != 4 || w->rank != 4) {
        ox_made_fail(n, "no rule for its number of axes");
    }
    bool fused = strcmp(n->op, "NhwcFusedConv") == 0;
    ox_val in[] = {ox_transpose(x, first), fused ? w : ox_transpose(w, first), ox_made_input(n, 2)};
    ox_val y = ox_graph_emit(n->graph, "Conv", in[2] == NULL ? 2 : 3, in, count, attrs);
    ox_val added = fused ? ox_made_input(n, 3) : NULL;
    outputs[0] = activated(n, ox_made_plus(ox_transpose(y, last), added));
}

/* ---- normalisations -------------------------------------------------------------------------- */

static ox_val mean(ox_val x, size_t count, const int64_t *axes)
{
    return ox_reduce("ReduceMean", x, count, axes, true);
}

/* Over the last `count` axes, minus the mean where `centred`, times scale plus bias. */
static ox_val normalized(ox_val x, int count, bool centred, double epsilon, ox_val scale,
                         ox_val bias)
{
    int64_t axes[32];
    for (int d = 0; d < count; d++) {
        axes[d] = d - count;
    }
    ox_val d = centred ? ox_sub(x, mean(x, (size_t)count, axes)) : x;
    ox_val size = ox_sqrt(ox_shift(mean(ox_square(d), (size_t)count, axes), epsilon));
    ox_val y = ox_div(d, size);
    y = scale == NULL ? y : ox_mul(y, scale);
    return ox_made_plus(y, bias);
}

/* x, skip, gamma, beta, bias; without beta where it is the simplified one. Output 3 is the sum. */
void decompose_skip_layer_normalization(const ox_node *n, ox_val *outputs)
{
    bool simple = strcmp(n->op, "SkipSimplifiedLayerNormalization") == 0;
    ox_val sum = ox_add(ox_made_ranked(n, 0), ox_made_ranked(n, 1));
    sum = ox_made_plus(sum, ox_made_input(n, simple ? 3 : 4));
    double epsilon = ox_node_float(n, "epsilon", simple ? 1e-6 : 1e-12);
    outputs[0] = normalized(sum, 1, !simple, epsilon, ox_made_input(n, 2),
                            simple ? NULL : ox_made_input(n, 3));
    if (n->output_count > 3) {
        outputs[3] = sum;
    }
}

void decompose_simplified_layer_normalization(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0);
    int axis = ox_shape_axis(n, ox_node_int(n, "axis", -1), x->rank);
    double epsilon = ox_node_float(n, "epsilon", 1e-5);
    outputs[0] = normalized(x, x->rank - axis, false, epsilon, ox_made_input(n, 1), NULL);
}

/* Tokens, segments, the tables of words, positions and segments, gamma, beta, mask, positions.
 * Output 2 is the sum before it is normalised. */
void decompose_embed_layer_normalization(const ox_node *n, ox_val *outputs)
{
    ox_val tokens = ox_made_ranked(n, 0), segments = ox_node_input(n, 1);
    ox_val words = ox_made_ranked(n, 2), places = ox_made_ranked(n, 3);
    ox_val kinds = ox_made_input(n, 4), position = ox_node_input(n, 8);
    ox_val sum = ox_gather(words, tokens, 0);
    sum = ox_add(sum, position != NULL ? ox_gather(places, position, 0)
                                       : ox_slice(places, 0, 0, ox_made_size(n, tokens, 1), 1));
    if (kinds != NULL) {
        sum = ox_add(sum, segments != NULL ? ox_gather(kinds, segments, 0)
                                           : ox_slice(kinds, 0, 0, 1, 1));
    }
    double epsilon = ox_node_float(n, "epsilon", 1e-12);
    outputs[0] = normalized(sum, 1, true, epsilon, ox_made_input(n, 5), ox_made_input(n, 6));
    if (n->output_count > 2) {
        outputs[2] = sum;
    }
}

/* The numbers that integers v stand for; their scale and zero point are inputs. */
static ox_val real(const ox_node *n, ox_val v, size_t scale, size_t zero)
{
    ox_val s = ox_made_ranked(n, scale), z = ox_made_ranked(n, zero);
    return ox_mul(ox_sub(ox_cast(v, s->type), ox_cast(z, s->type)), s);
}

/* The same with tables of integers: their scales are inputs 8 to 12, zero points 13 to 17. */
void decompose_qembed_layer_normalization(const ox_node *n, ox_val *outputs)
{
    ox_val tokens = ox_made_ranked(n, 0), segments = ox_node_input(n, 1);
    ox_val sum = real(n, ox_gather(ox_made_ranked(n, 2), tokens, 0), 8, 13);
    int64_t steps = ox_made_size(n, tokens, 1);
    sum = ox_add(sum, real(n, ox_slice(ox_made_ranked(n, 3), 0, 0, steps, 1), 9, 14));
    if (segments != NULL) {
        sum = ox_add(sum, real(n, ox_gather(ox_made_ranked(n, 4), segments, 0), 10, 15));
    }
    ox_val gamma = real(n, ox_made_ranked(n, 5), 11, 16);
    ox_val beta = real(n, ox_made_ranked(n, 6), 12, 17);
    outputs[0] = normalized(sum, 1, true, ox_node_float(n, "epsilon", 1e-12), gamma, beta);
}

/* ---- groups of channels ---------------------------------------------------------------------- */

/* x [N, C, ..] or, with the channels last, [N, .., C]: each sample's groups of channels minus their
 * mean, over their deviation; times gamma plus beta, activated. */
static ox_val group_normalized(const ox_node *n, ox_val x)
{
    bool last = ox_node_int(n, "channels_last", 1) != 0;
    bool silu = ox_node_int(n, "activation", 0) != 0;
    int64_t groups = ox_node_int(n, "groups", 0), channels = ox_made_size(n, x, last ? -1 : 1);
    if (groups < 1 || channels % groups != 0 || x->rank < 3 || x->rank > OX_RANK_LIMIT) {
        ox_made_fail(n, "its groups do not fit");
    }
    ox_dim dims[OX_MAX_RANK];
    int64_t axes[OX_MAX_RANK];
    size_t count = 0;
    int at = last ? x->rank - 1 : 1, rank = x->rank + 1;
    memcpy(dims, x->dims, (size_t)x->rank * sizeof *dims);
    memmove(dims + at + 2, dims + at + 1, (size_t)(x->rank - at - 1) * sizeof *dims);
    dims[at] = ox_dim_of(groups);
    dims[at + 1] = ox_dim_of(channels / groups);
    for (int d = 1; d < rank; d++) {
        if (d != at) {
            axes[count++] = d - rank;
        }
    }
    ox_val each = ox_reshape(x, rank, dims), d = ox_sub(each, mean(each, count, axes));
    double epsilon = ox_node_float(n, "epsilon", 1e-5);
    ox_val size = ox_sqrt(ox_shift(mean(ox_square(d), count, axes), epsilon));
    ox_val y = ox_reshape(ox_div(d, size), x->rank, x->dims);
    int after = last ? 0 : x->rank - 2;
    y = ox_mul(y, ox_made_column(ox_made_ranked(n, 1), after));
    y = ox_add(y, ox_made_column(ox_made_ranked(n, 2), after));
    return silu ? ox_mul(y, ox_unary("Sigmoid", y)) : y;
}

void decompose_group_norm(const ox_node *n, ox_val *outputs)
{
    outputs[0] = ox_made_result(n, 0, group_normalized(n, ox_made_of_rank(n, 0, 3, 5)));
}

/* x, gamma, beta, skip, bias. Output 1 is the sum. */
void decompose_skip_group_norm(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_of_rank(n, 0, 4, 4), skip = ox_made_ranked(n, 3), bias = ox_made_input(n, 4);
    bool last = ox_node_int(n, "channels_last", 1) != 0;
    if (skip->rank == 2) {
        skip = ox_unsqueeze(ox_unsqueeze(skip, last ? 1 : -1), last ? 1 : -1);
    }
    bias = bias == NULL ? NULL : ox_made_column(bias, last ? 0 : 2);
    ox_val sum = ox_made_plus(ox_add(x, skip), bias);
    outputs[0] = ox_made_result(n, 0, group_normalized(n, sum));
    if (ox_made_has_output(n, 1)) {
        outputs[1] = ox_made_result(n, 1, sum);
    }
}
