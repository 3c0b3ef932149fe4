/* Operators of com.microsoft that are one of the standard, or a few of them. */
#include "rules/decompose.h"

#include <math.h>
#include <string.h>

enum { MAX_UNFOLDED = 1 << 24 }; /* numbers of an index */

/* ---- one of the standard --------------------------------------------------------------------- */

/* That of the same name, with the same inputs and attributes. */
void decompose_standard(const ox_node *n, ox_val *outputs)
{
    ox_made_ranked(n, 0);
    outputs[0] = ox_graph_emit(n->graph, n->op, n->input_count, n->inputs, n->attr_count, n->attrs);
}

/* Its axis is an int32 number. */
void decompose_expand_dims(const ox_node *n, ox_val *outputs)
{
    const ox_dim one = ox_dim_of(1);
    ox_val axis = ox_cast(ox_made_ranked(n, 1), OX_INT64);
    outputs[0] = ox_binary("Unsqueeze", ox_made_ranked(n, 0), ox_reshape(axis, 1, &one));
}

/* Adds its bias and what is skipped; without training it drops nothing. */
void decompose_bias_dropout(const ox_node *n, ox_val *outputs)
{
    if (ox_node_input(n, 4) != NULL) {
        size_t count = 0;
        const double *training = ox_numbers(ox_node_input(n, 4), &count);
        if (training == NULL || count != 1 || training[0] != 0) {
            ox_made_fail(n, "is in training mode");
        }
    }
    ox_val sum = ox_made_plus(ox_made_ranked(n, 0), ox_made_input(n, 1));
    outputs[0] = ox_made_plus(sum, ox_made_input(n, 2));
}

/* CausalConvWithState and LinearAttention are those of the standard without the options that these
 * lack. */
static void check_options(const ox_node *n)
{
    static const struct {
        const char *name;
        int64_t usual;
    } options[] = {{"dilation", 1},
                   {"ndim", 1},
                   {"state_update_capacity", 0},
                   {"state_window", 0},
                   {"state_length", 0},
                   {"channels_last", 0},
                   {"input_channels", 0},
                   {"state_channels_last", -1}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (ox_node_int(n, options[i].name, options[i].usual) != options[i].usual) {
            ox_made_fail(n,
                         ox_arena_format(n->graph->arena, "no rule for its %s", options[i].name));
        }
    }
}

void decompose_contrib_causal_conv(const ox_node *n, ox_val *outputs)
{
    check_options(n);
    decompose_causal_conv(n, outputs);
}

void decompose_contrib_linear_attention(const ox_node *n, ox_val *outputs)
{
    check_options(n);
    const char *rule = ox_node_string(n, "update_rule", "gated_delta");
    bool decays = strncmp(rule, "gated", strlen("gated")) == 0;
    bool corrects = strcmp(rule, "delta") == 0 || strcmp(rule, "gated_delta") == 0;
    if ((ox_node_input(n, 4) != NULL) != decays || (ox_node_input(n, 5) != NULL) != corrects) {
        ox_made_fail(n, "no rule for its update_rule with these inputs");
    }
    decompose_linear_attention(n, outputs);
}

/* ---- activations ----------------------------------------------------------------------------- */

static ox_val silu(ox_val x)
{
    return ox_mul(x, ox_unary("Sigmoid", x));
}

/* silu(scale x) */
void decompose_scaled_silu(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0), scale = ox_made_input(n, 1);
    scale = scale == NULL ? ox_number(x, ox_node_float(n, "alpha", 1)) : ox_cast(scale, x->type);
    outputs[0] = ox_made_result(n, 0, silu(ox_mul(x, scale)));
}

/* The first half of x + bias, times gelu of the second. */
void decompose_bias_split_gelu(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_plus(ox_made_ranked(n, 0), ox_made_input(n, 1));
    int64_t width = ox_made_size(n, x, -1);
    ox_val gate = ox_slice(x, -1, width / 2, width, 1);
    ox_val part = ox_shift(ox_unary("Erf", ox_scale(gate, sqrt(0.5))), 1);
    ox_val gelu = ox_mul(gate, ox_scale(part, 0.5));
    outputs[0] = ox_made_result(n, 0, ox_mul(ox_slice(x, -1, 0, width / 2, 1), gelu));
}

/* g sigmoid(alpha g) (l + beta), both cut at a limit before; halves of one input, or two. */
void decompose_contrib_swiglu(const ox_node *n, ox_val *outputs)
{
    ox_val g = ox_made_ranked(n, 0), l = ox_made_input(n, 1);
    double limit = ox_node_float(n, "limit", 0);
    if (l == NULL) {
        int64_t width = ox_made_size(n, g, -1);
        l = ox_slice(g, -1, width / 2, width, 1);
        g = ox_slice(g, -1, 0, width / 2, 1);
    }
    if (limit > 0) {
        ox_val in[] = {l, ox_number(l, -limit), ox_number(l, limit)};
        g = ox_min(g, ox_number(g, limit));
        l = ox_graph_emit(n->graph, "Clip", 3, in, 0, NULL);
    }
    ox_val gate = ox_unary("Sigmoid", ox_scale(g, ox_node_float(n, "activation_alpha", 1)));
    ox_val up = ox_shift(l, ox_node_float(n, "activation_beta", 0));
    outputs[0] = ox_made_result(n, 0, ox_mul(ox_mul(g, gate), up));
}

void decompose_gemm_fast_gelu(const ox_node *n, ox_val *outputs)
{
    ox_val y = ox_matmul(ox_made_ranked(n, 0), ox_made_ranked(n, 1));
    outputs[0] = ox_made_result(n, 0, ox_made_fast_gelu(ox_made_plus(y, ox_made_input(n, 2))));
}

/* softmax(x + bias) along the last axis. */
void decompose_bias_softmax(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0), bias = ox_made_ranked(n, 1);
    ox_attr last = ox_attr_int("axis", -1);
    bool aligned = bias->rank == x->rank || ox_node_int(n, "is_inner_broadcast", 0) == 0;
    if (ox_shape_axis(n, ox_node_int(n, "axis", 1), x->rank) != x->rank - 1 || !aligned) {
        ox_made_fail(n, "no rule for its axis and bias");
    }
    ox_val sum = ox_add(x, bias);
    outputs[0] = ox_made_result(n, 0, ox_graph_emit(n->graph, "Softmax", 1, &sum, 1, &last));
}

/* ---- gates and norms ------------------------------------------------------------------------- */

/* x + y gate */
void decompose_gated_add(const ox_node *n, ox_val *outputs)
{
    if (ox_node_input(n, 3) != NULL) {
        ox_made_fail(n, "no rule for its gate_weight, which is rounded to bfloat16");
    }
    ox_val product = ox_mul(ox_made_ranked(n, 1), ox_made_ranked(n, 2));
    outputs[0] = ox_made_result(n, 0, ox_add(ox_made_ranked(n, 0), product));
}

/* x [.., groups of `width`] over the root of each group's mean square; shape as before. */
static ox_val root_mean_square(const ox_node *n, ox_val x, int64_t width)
{
    const int64_t last = -1;
    int64_t all = ox_made_size(n, x, -1);
    ox_dim dims[OX_MAX_RANK];
    if (width < 1 || all % width != 0 || x->rank > OX_RANK_LIMIT) {
        ox_made_fail(n, "its shapes do not fit");
    }
    memcpy(dims, x->dims, (size_t)x->rank * sizeof *dims);
    dims[x->rank - 1] = ox_dim_of(all / width);
    dims[x->rank] = ox_dim_of(width);
    ox_val each = ox_reshape(x, x->rank + 1, dims);
    ox_val mean = ox_reduce("ReduceMean", ox_square(each), 1, &last, true);
    ox_val size = ox_sqrt(ox_shift(mean, ox_node_float(n, "epsilon", 1e-5)));
    return ox_reshape(ox_div(each, size), x->rank, x->dims);
}

/* A vector as often as it fits the last axis of x. */
static ox_val repeated(const ox_node *n, ox_val v, ox_val x)
{
    int64_t own = ox_made_size(n, v, -1), all = ox_made_size(n, x, -1), times = 0;
    times = own < 1 ? 0 : all / own;
    if (v->rank != 1 || times * own != all) {
        ox_made_fail(n, "its shapes do not fit");
    }
    return times == 1 ? v : ox_binary("Tile", v, ox_ints(n->graph, 1, &times));
}

/* x / sqrt(mean(x^2) + epsilon) scale, times silu or sigmoid of a gate. */
void decompose_gated_rms_norm(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0), scale = ox_made_of_rank(n, 1, 1, 1);
    ox_val gate = ox_made_ranked(n, 2);
    const char *op = ox_node_string(n, "activation", "silu");
    ox_val y = root_mean_square(n, x, ox_made_size(n, scale, 0));
    y = ox_mul(y, repeated(n, scale, x));
    gate = strcmp(op, "sigmoid") == 0 ? ox_unary("Sigmoid", gate) : silu(gate);
    outputs[0] = ox_made_result(n, 0, ox_mul(y, gate));
}

/* Of each branch [.., C, H], or of C in a row [.., C * H]. */
void decompose_branchwise_rms_norm(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0), scale = ox_made_input(n, 1);
    int64_t branches = ox_node_int(n, "num_branches", 0), last = ox_made_size(n, x, -1);
    if (branches < 0 || (branches > 0 && last % branches != 0)) {
        ox_made_fail(n, "its branches do not fit");
    }
    ox_val y = root_mean_square(n, x, branches > 0 ? last / branches : last);
    if (scale != NULL && branches > 0) {
        const ox_dim row = ox_val_size(scale);
        y = ox_mul(y, repeated(n, ox_reshape(scale, 1, &row), x));
    } else if (scale != NULL) {
        bool each = ox_dim_is(ox_val_size(scale), last);
        const ox_dim dims[] = {each ? ox_dim_of(1) : ox_dim_of(ox_made_size(n, x, -2)),
                               ox_dim_of(last)};
        y = ox_mul(y, ox_reshape(scale, 2, dims));
    }
    outputs[0] = ox_made_result(n, 0, y);
}

/* ---- hyper-connections: C streams [.., C, H], or in a row [.., C * H] ---------------------------
 */

static ox_val streams_apart(const ox_node *n, ox_val x)
{
    int64_t count = ox_node_int(n, "num_branches", 0), last = ox_made_size(n, x, -1);
    if (count == 0 && x->rank >= 2) {
        return x;
    }
    if (count < 1 || last % count != 0 || x->rank >= OX_MAX_RANK) {
        ox_made_fail(n, "its branches do not fit");
    }
    ox_dim dims[OX_MAX_RANK];
    memcpy(dims, x->dims, (size_t)x->rank * sizeof *dims);
    dims[x->rank - 1] = ox_dim_of(count);
    dims[x->rank] = ox_dim_of(last / count);
    return ox_reshape(x, x->rank + 1, dims);
}

/* The factors of streams: one each [.., C], or as many as these have numbers. */
static ox_val gates_of(const ox_node *n, ox_val gates, ox_val streams)
{
    if (gates->rank == streams->rank) {
        return gates;
    }
    if (gates->rank != streams->rank - 1) {
        ox_made_fail(n, "its shapes do not fit");
    }
    bool one = ox_dim_is(gates->dims[gates->rank - 1], ox_made_size(n, streams, -2));
    return one ? ox_unsqueeze(gates, -1) : streams_apart(n, gates);
}

void decompose_hyper_connection_pre_mix(const ox_node *n, ox_val *outputs)
{
    ox_val x = streams_apart(n, ox_made_ranked(n, 0));
    ox_val sum = ox_sum(ox_mul(x, gates_of(n, ox_made_ranked(n, 1), x)), -2, false);
    double scale = ox_node_float(n, "reduction_scale", 1);
    outputs[0] = ox_made_result(n, 0, ox_mul(sum, ox_number(sum, scale)));
}

void decompose_hyper_connection_post_mix(const ox_node *n, ox_val *outputs)
{
    ox_val given = ox_made_ranked(n, 0), x = streams_apart(n, given);
    ox_val added = ox_unsqueeze(ox_made_ranked(n, 1), -2), mix = ox_made_input(n, 3);
    added = ox_mul(added, gates_of(n, ox_made_ranked(n, 2), x));
    ox_val mixed = mix == NULL ? x : ox_matmul(ox_swap_last(mix), x);
    ox_val y = ox_add(mixed, added);
    outputs[0] = ox_made_result(n, 0, ox_reshape(y, given->rank, given->dims));
}

/* sigmoid(sign(s) sqrt(max(|s|, 1e-6))) times a value that all streams share, where s is the
 * product of normalised keys and queries. */
void decompose_engram_gate(const ox_node *n, ox_val *outputs)
{
    ox_val key = ox_made_ranked(n, 0), query = ox_made_ranked(n, 1), conv = ox_made_input(n, 5);
    int64_t size = ox_made_size(n, key, -1);
    key = ox_mul(root_mean_square(n, key, size), ox_made_ranked(n, 3));
    query = ox_mul(root_mean_square(n, query, size), ox_made_ranked(n, 4));
    ox_val s = ox_sum(ox_mul(key, query), -1, true);
    s = ox_mul(s, ox_number(s, 1 / sqrt((double)size)));
    ox_val root = ox_sqrt(ox_binary("Max", ox_unary("Abs", s), ox_number(s, 1e-6)));
    ox_val gate = ox_unary("Sigmoid", ox_mul(ox_unary("Sign", s), root));
    ox_val y = ox_mul(gate, ox_unsqueeze(ox_made_ranked(n, 2), -2));
    outputs[0] = ox_made_result(n, 0, y);
    if (ox_made_has_output(n, 1)) {
        outputs[1] = ox_made_result(n, 1, ox_mul(root_mean_square(n, y, size), conv));
    }
}

/* ---- gates --------------------------------------------------------------------------------------
 */

/* scale softplus(a + bias), and sigmoid(b). */
void decompose_linear_attention_gate(const ox_node *n, ox_val *outputs)
{
    ox_val sum = ox_add(ox_made_ranked(n, 0), ox_made_ranked(n, 1));
    ox_val decay = ox_mul(ox_unary("Softplus", sum), ox_made_ranked(n, 2));
    outputs[0] = ox_made_result(n, 0, decay);
    if (ox_made_has_output(n, 1)) {
        outputs[1] = ox_made_result(n, 1, ox_unary("Sigmoid", ox_made_ranked(n, 3)));
    }
}

/* Queries and keys turned by the sine and cosine of one input. */
void decompose_gemma_rotary_embedding(const ox_node *n, ox_val *outputs)
{
    ox_val angle = ox_unsqueeze(ox_made_of_rank(n, 0, 3, 3), 1);
    ox_val cosine = ox_unary("Cos", angle), sine = ox_unary("Sin", angle);
    for (size_t i = 0; i < 2 && i < n->output_count; i++) {
        ox_val x = ox_made_ranked(n, 1 + 2 * i), turned = ox_made_ranked(n, 2 + 2 * i);
        outputs[i] = ox_made_result(n, i, ox_add(ox_mul(x, cosine), ox_mul(turned, sine)));
    }
}

/* ---- matrices -------------------------------------------------------------------------------- */

/* Distances of the rows of a and b, or their squares. */
void decompose_cdist(const ox_node *n, ox_val *outputs)
{
    const int64_t last = -1;
    ox_val a = ox_made_of_rank(n, 0, 2, 2), b = ox_made_of_rank(n, 1, 2, 2);
    const char *metric = ox_node_string(n, "metric", "sqeuclidean");
    bool root = strcmp(metric, "euclidean") == 0;
    if (!root && strcmp(metric, "sqeuclidean") != 0) {
        ox_made_fail(n, ox_arena_format(n->graph->arena, "no rule for its metric %s", metric));
    }
    ox_val d = ox_sub(ox_unsqueeze(a, 1), ox_unsqueeze(b, 0));
    ox_val sum = ox_reduce("ReduceSum", ox_square(d), 1, &last, false);
    outputs[0] = root ? ox_sqrt(sum) : sum;
}

/* y = x^-1: dy = -y dx y0 = -y0 dx y. */
void flow_inverse(ox_ctx *c)
{
    ox_val y = ox_swap_last(ox_y(c, 0)), y0 = ox_swap_last(ox_y0(c, 0));
    ox_val sum = ox_add(ox_matmul(ox_matmul(y, c->m), y0), ox_matmul(ox_matmul(y0, c->m), y));
    ox_send(c, 0, ox_scale(sum, -0.5));
}

void decompose_matmul_integer16(const ox_node *n, ox_val *outputs)
{
    ox_val a = ox_cast(ox_made_ranked(n, 0), OX_FLOAT), b = ox_cast(ox_made_ranked(n, 1), OX_FLOAT);
    outputs[0] = ox_made_result(n, 0, ox_matmul(a, b));
}

/* Slices of `size` along an axis, each `step` after the one before, with an axis of their own at
 * the end. */
void decompose_unfold_tensor(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0);
    int axis = ox_shape_axis(n, ox_node_int(n, "dim", -1), x->rank), order[OX_MAX_RANK],
        rank = x->rank + 1;
    int64_t size = ox_node_int(n, "size", 0), step = ox_node_int(n, "step", 1), all = 0;
    int64_t length = ox_made_size(n, x, axis);
    if (size < 1 || size > length || step < 1 || rank > OX_RANK_LIMIT ||
        !ox_int_mul((length - size) / step + 1, size, &all) || all > MAX_UNFOLDED) {
        ox_made_fail(n, "its slices do not fit");
    }
    int64_t *index = ox_arena_alloc(n->graph->arena, (size_t)all, sizeof *index);
    for (int64_t i = 0; i < all; i++) {
        index[i] = i / size * step + i % size;
    }
    const ox_dim apart[] = {ox_dim_of(all / size), ox_dim_of(size)};
    ox_val at = ox_reshape(ox_ints(n->graph, (size_t)all, index), 2, apart);
    for (int d = 0; d < rank; d++) {
        order[d] = d == rank - 1 ? axis + 1 : d > axis ? d + 1 : d;
    }
    outputs[0] = ox_transpose(ox_gather(x, at, axis), order);
}

/* ---- WordConvEmbedding ----------------------------------------------------------------------- */

/* Where windows [S, L - k + 1] end within their word. Its length is the number of characters that
 * are not 0; of a shorter one than a window the first window is taken. */
static ox_val windows_inside(ox_val ids, int64_t windows, int64_t width)
{
    const int64_t last = -1;
    ox_val letters = ox_cast(ox_greater(ids, ox_number(ids, 0)), OX_INT64);
    ox_val length = ox_reduce("ReduceSum", letters, 1, &last, true);
    length = ox_max(length, ox_number(length, (double)width));
    ox_val end = ox_shift(ox_iota(ids->graph, OX_INT64, windows), (double)(width - 1));
    return ox_less(end, length);
}

/* Of each word [S, L] the largest value of each filter: at least -1, as tanh. */
void decompose_word_conv(const ox_node *n, ox_val *outputs)
{
    const int64_t places = -1;
    ox_graph *g = n->graph;
    ox_val ids = ox_made_of_rank(n, 0, 2, 2), w = ox_made_of_rank(n, 1, 4, 4);
    ox_val table = ox_made_of_rank(n, 3, 2, 2);
    int64_t width = ox_made_size(n, w, 2), windows = ox_made_size(n, ids, 1) - width + 1;
    if (width < 1 || windows < 1) {
        ox_made_fail(n, "its words are shorter than its window");
    }
    ox_val in[] = {ox_unsqueeze(ox_gather(table, ids, 0), 1), w, ox_made_input(n, 2)};
    ox_val y = ox_tanh(ox_squeeze(ox_graph_emit(g, "Conv", 3, in, 0, NULL), -1)); /* [S, F, L'] */
    y = ox_where(ox_unsqueeze(windows_inside(ids, windows, width), 1), y, ox_number(y, -1));
    outputs[0] = ox_made_result(n, 0, ox_reduce("ReduceMax", y, 1, &places, false));
}
