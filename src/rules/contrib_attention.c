/* Attention and MultiHeadAttention of com.microsoft: products, Softmax, and masks as numbers that
 * are added. */
#include "rules/decompose.h"

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

/* 0, 1, .. [count] */
static ox_val counted(ox_val like, int64_t count)
{
    double *numbers = ox_arena_alloc(like->graph->arena, (size_t)count, sizeof *numbers);
    for (int64_t i = 0; i < count; i++) {
        numbers[i] = (double)i;
    }
    return ox_floats(like->graph, like->type, 1, &count, numbers);
}

/* ---- masks ----------------------------------------------------------------------------------- */

/* 1 for keys that are seen: from a mask [B, L] or [B, S, L] of zeros and ones, or from the number
 * of keys [B]; with axes for the heads and, where they are missing, the queries. */
static ox_val seen_keys(const ox_node *n, ox_val mask, ox_val like, int64_t keys)
{
    ox_val number = ox_cast(mask, like->type);
    if (mask->rank == 1) {
        ox_val length = ox_unsqueeze(number, -1);
        number = ox_cast(ox_less(counted(like, keys), length), like->type);
    }
    if (number->rank == 2) {
        return ox_unsqueeze(ox_unsqueeze(number, 1), 1);
    }
    if (number->rank == 3) {
        return ox_unsqueeze(number, 1);
    }
    ox_made_fail(n, "no rule for the shape of its mask");
}

/* scores + fill where nothing is seen. */
static ox_val masked(ox_val scores, ox_val seen, double fill)
{
    return ox_add(scores, ox_scale(ox_shift(ox_neg(seen), 1), fill));
}

/* Keys after the query are not seen: [S, L], the last query at the last key. */
static ox_val causal(ox_val like, int64_t queries, int64_t keys)
{
    ox_val query =
        ox_unsqueeze(ox_shift(counted(like, queries), (double)(keys - queries) + 0.5), 1);
    return ox_cast(ox_less(counted(like, keys), query), like->type);
}

/* softmax(q k^T scale + bias + masks) v, heads side by side: [B, S, H]. */
static ox_val attended(const ox_node *n, ox_val q, ox_val k, ox_val v, ox_val mask, ox_val bias)
{
    static const int order[] = {0, 2, 1, 3};
    int64_t heads = ox_node_int(n, "num_heads", 0);
    double fill = ox_node_float(n, "mask_filter_value", -10000);
    q = in_heads(n, q, heads);
    k = in_heads(n, k, heads);
    v = in_heads(n, v, heads);
    int64_t width = ox_made_size(n, q, -1);
    double scale = ox_node_float(n, "scale", 0);
    scale = scale > 0 ? scale : 1 / sqrt((double)width);
    ox_val scores = ox_scale(ox_matmul(q, ox_swap_last(k)), scale);
    scores = ox_made_plus(scores, bias);
    if (mask != NULL) {
        int64_t keys = mask->rank == 1 ? ox_made_size(n, k, -2) : 1;
        scores = masked(scores, seen_keys(n, mask, scores, keys), fill);
    }
    if (ox_node_int(n, "unidirectional", 0) != 0) {
        ox_val seen = causal(scores, ox_made_size(n, q, -2), ox_made_size(n, k, -2));
        scores = masked(scores, seen, fill);
    }
    ox_attr axis = ox_attr_int("axis", -1);
    ox_val shares = ox_graph_emit(n->graph, "Softmax", 1, &scores, 1, &axis);
    ox_val y = ox_transpose(ox_matmul(shares, v), order);
    const ox_dim together[] = {y->dims[0], y->dims[1],
                               ox_dim_mul(n->graph, y->dims[2], y->dims[3])};
    return ox_reshape(y, 3, together);
}

/* ---- operators ------------------------------------------------------------------------------- */

/* x, one matrix and one bias for queries, keys and values, mask, past, bias of the scores. */
void decompose_contrib_attention(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0), w = ox_made_ranked(n, 1), bias = ox_made_input(n, 2);
    ox_val all = ox_made_plus(ox_matmul(x, w), bias), part[3];
    size_t count = 0;
    const int64_t *sizes = ox_node_ints(n, "qkv_hidden_sizes", &count);
    if (ox_node_input(n, 4) != NULL || ox_node_int(n, "do_rotary", 0) != 0) {
        ox_made_fail(n, "no rule for past keys and do_rotary");
    }
    int64_t third = ox_made_size(n, w, -1) / 3, at = 0;
    for (size_t i = 0; i < 3; i++) {
        int64_t size = sizes != NULL && count == 3 ? sizes[i] : third;
        part[i] = ox_slice(all, -1, at, at + size, 1);
        at += size;
    }
    outputs[0] = attended(n, part[0], part[1], part[2], ox_node_input(n, 3), ox_made_input(n, 5));
}

/* Query, key, value, their bias, mask of the keys, bias of the scores, past keys and values. */
void decompose_multi_head_attention(const ox_node *n, ox_val *outputs)
{
    ox_val part[3], bias = ox_made_input(n, 3);
    int64_t at = 0;
    if (ox_node_input(n, 6) != NULL || ox_node_input(n, 1) == NULL || ox_node_input(n, 2) == NULL) {
        ox_made_fail(n, "no rule for past keys and packed inputs");
    }
    for (size_t i = 0; i < 3; i++) {
        part[i] = ox_made_ranked(n, i);
        if (bias != NULL && part[i]->rank == 3) {
            int64_t size = ox_made_size(n, part[i], -1);
            part[i] = ox_add(part[i], ox_slice(bias, -1, at, at + size, 1));
            at += size;
        }
    }
    outputs[0] = attended(n, part[0], part[1], part[2], ox_node_input(n, 4), ox_made_input(n, 5));
}
