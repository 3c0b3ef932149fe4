/* Attention, QAttention and MultiHeadAttention of com.microsoft: products, Softmax, and masks as
 * numbers that are added. */
#include "rules/heads.h"

#include <math.h>

/* ---- heads ----------------------------------------------------------------------------------- */

/* [B, S, H] as [B, heads, S, H / heads]; four axes stay. */
static ox_val in_heads(const ox_node *n, ox_val v, int64_t heads)
{
    static const int order[] = {0, 2, 1, 3};
    if (v->rank == 4) {
        return v;
    }
    int64_t width = v->rank == 3 ? ox_made_size(n, v, -1) : 0;
    if (heads < 1 || width < 1 || width % heads != 0) {
        ox_made_fail(n, "no rule for the shape of its inputs");
    }
    const ox_dim apart[] = {v->dims[0], v->dims[1], ox_dim_of(heads), ox_dim_of(width / heads)};
    return ox_transpose(ox_reshape(v, 4, apart), order);
}

/* ---- masks ----------------------------------------------------------------------------------- */

/* 1 where `low` <= key < `high`, both [B] or one NULL, as [B, K]. */
static ox_val between(ox_val low, ox_val high, ox_val keys)
{
    ox_val seen = ox_less(keys, ox_unsqueeze(high, -1));
    if (low != NULL) {
        seen = ox_binary("And", seen, ox_unary("Not", ox_less(keys, ox_unsqueeze(low, -1))));
    }
    return seen;
}

/* 1 for keys that are seen: from a mask [B, K] or [B, S, K] of zeros and ones, or from where those
 * of each sequence end [B], or end and start [2 * B]; with axes for the heads and, where they are
 * missing, the queries. */
static ox_val seen_keys(const ox_node *n, ox_val mask, ox_val scores)
{
    ox_dim batch = scores->dims[0], twice = ox_dim_mul(n->graph, batch, ox_dim_of(2));
    ox_val seen = mask;
    if (mask->rank == 1) {
        ox_val at = ox_cast(mask, OX_INT64), keys = ox_made_counted(scores, 3);
        bool both = ox_dim_equal(mask->dims[0], twice);
        if (!both && !ox_dim_equal(mask->dims[0], batch)) {
            ox_made_fail(n, "no rule for the shape of its mask");
        }
        const ox_dim apart[] = {ox_dim_of(2), batch};
        ox_val ends = both ? ox_reshape(at, 2, apart) : NULL;
        seen = !both ? between(NULL, at, keys)
                     : between(ox_gather(ends, ox_int_scalar(n->graph, 1), 0),
                               ox_gather(ends, ox_int_scalar(n->graph, 0), 0), keys);
    }
    seen = ox_cast(seen, scores->type);
    if (seen->rank == 2) {
        return ox_unsqueeze(ox_unsqueeze(seen, 1), 1);
    }
    if (seen->rank == 3) {
        return ox_unsqueeze(seen, 1);
    }
    ox_made_fail(n, "no rule for the shape of its mask");
}

/* scores + fill where nothing is seen. */
static ox_val masked(ox_val scores, ox_val seen, double fill)
{
    return ox_add(scores, ox_scale(ox_shift(ox_neg(seen), 1), fill));
}

/* Keys after the query are not seen: [S, K], the last query at the last key. */
static ox_val causal(ox_val scores)
{
    ox_val queries = ox_made_counted(scores, 2), keys = ox_made_counted(scores, 3);
    ox_val count = ox_dims(scores->graph, 1, &scores->dims[2]);
    ox_val before = ox_sub(ox_dims(scores->graph, 1, &scores->dims[3]), count);
    ox_val after = ox_greater(keys, ox_unsqueeze(ox_add(queries, before), -1));
    return ox_cast(ox_unary("Not", after), scores->type);
}

/* ---- products -------------------------------------------------------------------------------- */

/* softmax(q k^T scale + bias + masks) v, of [B, H, S, D], heads side by side: [B, S, H * D]. */
static ox_val attended(const ox_node *n, ox_val q, ox_val k, ox_val v, ox_val mask, ox_val bias)
{
    double fill = ox_node_float(n, "mask_filter_value", -10000);
    int64_t width = ox_made_size(n, q, -1);
    double scale = ox_node_float(n, "scale", 0);
    scale = scale > 0 ? scale : 1 / sqrt((double)width);
    ox_val scores = ox_scale(ox_matmul(q, ox_swap_last(k)), scale);
    scores = ox_made_plus(scores, bias);
    if (mask != NULL) {
        scores = masked(scores, seen_keys(n, mask, scores), fill);
    }
    if (ox_node_int(n, "unidirectional", 0) != 0) {
        scores = masked(scores, causal(scores), fill);
    }
    ox_attr axis = ox_attr_int("axis", -1);
    ox_val shares = ox_graph_emit(n->graph, "Softmax", 1, &scores, 1, &axis);
    return ox_heads_join(ox_matmul(shares, v));
}

/* v behind those of the past, where there are any. */
static ox_val behind(ox_val past, ox_val v)
{
    return past == NULL ? v : ox_concat(v->graph, 2, (ox_val[]){past, v}, 2);
}

/* ---- operators ------------------------------------------------------------------------------- */

/* Queries, keys and values side by side [B, S, ..]; mask, bias of the scores, and keys and values
 * of the past [2, B, H, P, D] are inputs, of which 0 is none. Output 1 has them with the new ones.
 */
static void self_attention(const ox_node *n, ox_val all, size_t mask, size_t bias, size_t past,
                           ox_val *outputs)
{
    ox_val part[3], before = ox_made_input(n, past);
    size_t count = 0;
    const int64_t *sizes = ox_node_ints(n, "qkv_hidden_sizes", &count);
    if (ox_node_int(n, "do_rotary", 0) != 0 ||
        ox_node_int(n, "past_present_share_buffer", 0) != 0) {
        ox_made_fail(n, "no rule for do_rotary and past_present_share_buffer");
    }
    if (before != NULL && before->rank != 5) {
        ox_made_fail(n, "its past does not fit");
    }
    int64_t third = ox_made_size(n, all, -1) / 3, at = 0, heads = ox_node_int(n, "num_heads", 0);
    for (size_t i = 0; i < 3; i++) {
        int64_t size = sizes != NULL && count == 3 ? sizes[i] : third;
        if (size < 1 || size > INT32_MAX) {
            ox_made_fail(n, "its heads do not fit");
        }
        part[i] = in_heads(n, ox_slice(all, -1, at, at + size, 1), heads);
        at += size;
        if (before != NULL && i > 0) {
            ox_val old = ox_gather(before, ox_int_scalar(n->graph, (int64_t)i - 1), 0);
            part[i] = behind(old, part[i]);
        }
    }
    outputs[0] = attended(n, part[0], part[1], part[2], ox_node_input(n, mask),
                          bias == 0 ? NULL : ox_made_input(n, bias));
    if (ox_made_has_output(n, 1)) {
        ox_val both[] = {ox_unsqueeze(part[1], 0), ox_unsqueeze(part[2], 0)};
        outputs[1] = ox_made_result(n, 1, ox_concat(n->graph, 2, both, 0));
    }
}

/* x, one matrix and one bias for queries, keys and values, mask, past, bias of the scores. */
void decompose_contrib_attention(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0), w = ox_made_ranked(n, 1), bias = ox_made_input(n, 2);
    self_attention(n, ox_made_plus(ox_matmul(x, w), bias), 3, 5, 4, outputs);
}

/* (v - zero) scale of integers; zeros and scales may be one for each column. */
static ox_val real(const ox_node *n, size_t i, size_t scale, size_t zero)
{
    ox_val s = ox_made_ranked(n, scale), v = ox_cast(ox_made_ranked(n, i), s->type);
    ox_val z = ox_node_input(n, zero);
    return ox_mul(z == NULL ? v : ox_sub(v, ox_cast(z, s->type)), s);
}

/* x, matrix, bias, scales of both, mask, zeros of both, past. */
void decompose_qattention(const ox_node *n, ox_val *outputs)
{
    ox_val all = ox_matmul(real(n, 0, 3, 6), real(n, 1, 4, 7));
    self_attention(n, ox_made_plus(all, ox_made_input(n, 2)), 5, 0, 8, outputs);
}

/* Queries, keys and values as they are given: each its input, the latter two [B, S, H, 2, D], or
 * all of them [B, S, H, 3, D]. */
static void read_parts(const ox_node *n, ox_val *part)
{
    size_t inputs = ox_node_input(n, 1) == NULL ? 1 : ox_node_input(n, 2) == NULL ? 2 : 3;
    for (size_t i = 0; i < 3; i++) {
        part[i] = i < inputs ? ox_made_ranked(n, i) : NULL;
    }
    ox_val packed = part[inputs - 1];
    size_t count = 4 - inputs;
    for (size_t i = 0; inputs < 3 && i < count; i++) {
        if (packed->rank != 5 || !ox_dim_is(packed->dims[3], (int64_t)count)) {
            ox_made_fail(n, "its packed inputs do not fit");
        }
        ox_val each = ox_gather(packed, ox_int_scalar(n->graph, (int64_t)i), 3);
        const ox_dim dims[] = {each->dims[0], each->dims[1],
                               ox_dim_mul(n->graph, each->dims[2], each->dims[3])};
        part[inputs - 1 + i] = ox_reshape(each, 3, dims);
    }
}

/* Query, key, value, their bias, mask of the keys, bias of the scores, past keys and values. */
void decompose_multi_head_attention(const ox_node *n, ox_val *outputs)
{
    ox_val part[3], bias = ox_made_input(n, 3);
    int64_t at = 0, heads = ox_node_int(n, "num_heads", 0);
    if (ox_node_input(n, 8) != NULL || ox_node_input(n, 9) != NULL) {
        ox_made_fail(n, "no rule for a past in a shared buffer");
    }
    read_parts(n, part);
    for (size_t i = 0; i < 3; i++) {
        if (bias != NULL && part[i]->rank == 3) {
            int64_t size = ox_made_size(n, part[i], -1);
            part[i] = ox_add(part[i], ox_slice(bias, -1, at, at + size, 1));
            at += size;
        }
        part[i] = in_heads(n, part[i], heads);
        part[i] = i == 0 ? part[i] : behind(ox_made_input(n, 5 + i), part[i]);
    }
    outputs[0] = attended(n, part[0], part[1], part[2], ox_node_input(n, 4), ox_made_input(n, 5));
    for (size_t i = 1; i < 3; i++) {
        if (ox_made_has_output(n, i)) {
            outputs[i] = ox_made_result(n, i, part[i]);
        }
    }
}
