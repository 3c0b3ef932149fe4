/* Attention and rotary embeddings, made of products, softmax and moves. */
#include <math.h>
#include <string.h>

#include "rules/heads.h"

/* ---- Attention ----------------------------------------------------------------------------- */

enum { PAST = 4, VALID = 6 }; /* inputs past_key, nonpad_kv_seqlen */

/* Below what is left of the lowest finite masks. */
static const double lowest = -1e13;

ox_val ox_heads_apart(const ox_node *n, ox_val v, int64_t heads)
{
    ox_dim count = ox_dim_of(heads), width;
    if (heads < 1 || v->rank != 3 || !ox_dim_div(v->dims[2], count, &width)) {
        ox_made_fail(n, "its heads do not fit");
    }
    const ox_dim dims[] = {v->dims[0], v->dims[1], count, width};
    return ox_reshape(v, 4, dims);
}

ox_val ox_heads_swap(ox_val v)
{
    static const int order[] = {0, 2, 1, 3};
    return ox_transpose(v, order);
}

static ox_val heads_of(const ox_node *n, size_t i, const char *heads)
{
    ox_val v = ox_made_of_rank(n, i, 3, 4);
    return v->rank == 4 ? v : ox_heads_swap(ox_heads_apart(n, v, ox_node_int(n, heads, 0)));
}

ox_val ox_heads_join(ox_val v)
{
    ox_val moved = ox_heads_swap(v);
    ox_dim width = ox_dim_mul(v->graph, moved->dims[2], moved->dims[3]);
    const ox_dim dims[] = {moved->dims[0], moved->dims[1], width};
    return ox_reshape(moved, 3, dims);
}

static ox_val behind_past(const ox_node *n, size_t past, ox_val v)
{
    ox_val before = ox_made_input(n, past);
    return before == NULL ? v : ox_concat(n->graph, 2, (ox_val[]){before, v}, -2);
}

/* Every head of v [B, H, L, D] as often as it serves one of `heads`. */
static ox_val repeat_heads(const ox_node *n, ox_val v, int64_t heads)
{
    int64_t own = ox_made_size(n, v, -3);
    if (own < 1 || heads % own != 0) {
        ox_made_fail(n, "its heads do not fit");
    }
    if (own == heads) {
        return v;
    }
    const int64_t times[] = {1, 1, heads / own, 1, 1};
    ox_val each = ox_binary("Expand", ox_unsqueeze(v, 2), ox_ints(n->graph, 5, times));
    const ox_dim dims[] = {v->dims[0], ox_dim_of(heads), v->dims[2], v->dims[3]};
    return ox_reshape(each, 4, dims);
}

ox_val ox_heads_hide(ox_val condition, ox_val like)
{
    return ox_scale(ox_cast(condition, like->type), OX_HIDDEN);
}

/* A mask of numbers: -inf hides, finite ones only weigh. */
static ox_val number_bias(ox_val mask, ox_val like)
{
    mask = ox_cast(mask, like->type);
    ox_val hides = ox_heads_hide(ox_unary("IsInf", mask), like);
    return ox_add(ox_max(mask, ox_number(mask, lowest)), hides);
}

/* The mask as what is added to the products [B, H, L, S]; keys beyond its end are hidden. */
static ox_val mask_bias(const ox_node *n, ox_val like)
{
    ox_val mask = ox_made_input(n, 3);
    if (mask == NULL) {
        return NULL;
    }
    ox_val bias = mask->type == OX_BOOL ? ox_heads_hide(ox_unary("Not", mask), like)
                                        : number_bias(mask, like);
    ox_dim keys = like->dims[3], own = mask->rank < 1 ? keys : mask->dims[mask->rank - 1];
    if (ox_dim_equal(keys, own) || ox_dim_is(own, 1)) {
        return bias;
    }
    int64_t have = ox_made_size(n, mask, -1), all = ox_made_size(n, like, -1);
    if (have > all) {
        ox_made_fail(n, "its mask does not fit");
    }
    const int64_t before = 0, after = all - have;
    ox_val beyond = ox_greater(ox_made_range(like, all, 0), ox_number(like, (double)have - 0.5));
    return ox_add(ox_pad(bias, 1, &before, &after), ox_heads_hide(beyond, like));
}

/* nonpad_kv_seqlen as [B, 1, 1, 1]. */
static ox_val valid_keys(const ox_node *n, ox_val like)
{
    ox_val valid = ox_node_input(n, VALID);
    if (valid == NULL || valid->rank != 1) {
        ox_made_fail(n, "its nonpad_kv_seqlen does not fit");
    }
    return ox_made_column(ox_cast(valid, like->type), 3);
}

/* How many keys come before the first query: of the past, or those of a cache that are valid. */
static ox_val keys_before(const ox_node *n, ox_val like)
{
    ox_val past = ox_node_input(n, PAST);
    if (past != NULL) {
        return ox_number(like, (double)ox_made_size(n, past, -2));
    }
    if (ox_node_input(n, VALID) == NULL) {
        return ox_number(like, 0);
    }
    return ox_shift(valid_keys(n, like), -(double)ox_made_size(n, like, -2));
}

/* What hides keys by their place: after the query, outside of its window, or padding. */
static ox_val place_bias(const ox_node *n, ox_val like)
{
    bool causal = ox_node_int(n, "is_causal", 0) != 0;
    int64_t left = ox_node_int(n, "left_window_size", -1);
    int64_t right = causal ? 0 : ox_node_int(n, "right_window_size", -1);
    bool cut = ox_node_input(n, VALID) != NULL;
    ox_val bias = NULL;
    if (left < 0 && right < 0 && !cut) {
        return NULL;
    }
    ox_val keys = ox_made_range(like, ox_made_size(n, like, -1), 0);
    ox_val queries = ox_made_range(like, ox_made_size(n, like, -2), 1);
    ox_val ahead = ox_sub(ox_sub(keys, queries), keys_before(n, like));
    if (right >= 0) {
        bias = ox_heads_hide(ox_greater(ahead, ox_number(like, (double)right)), like);
    }
    if (left >= 0) {
        ox_val behind = ox_less(ahead, ox_number(like, -(double)left));
        bias = ox_made_plus(bias, ox_heads_hide(behind, like));
    }
    if (cut) {
        ox_val padding = ox_greater(keys, ox_shift(valid_keys(n, like), -0.5));
        bias = ox_made_plus(bias, ox_heads_hide(padding, like));
    }
    return bias;
}

ox_val ox_heads_cap(ox_val x, double limit)
{
    return limit > 0 ? ox_scale(ox_tanh(ox_scale(x, 1 / limit)), limit) : x;
}

/* The shares of keys, 0 for queries from which all are hidden. */
static ox_val shares_of(const ox_node *n, ox_val biased, ox_val bias)
{
    ox_attr axis = ox_attr_int("axis", -1);
    ox_val shares = ox_graph_emit(n->graph, "Softmax", 1, &biased, 1, &axis);
    bool all_hidden = ox_node_input(n, 3) != NULL || ox_node_input(n, VALID) != NULL ||
                      ox_node_int(n, "left_window_size", -1) >= 0;
    if (!all_hidden) {
        return shares;
    }
    const int64_t keys = -1;
    ox_val best = ox_reduce("ReduceMax", bias, 1, &keys, true);
    ox_val sees = ox_greater(best, ox_number(best, OX_HIDDEN / 2));
    return ox_mul(shares, ox_cast(sees, shares->type));
}

/* softmax(cap(scale q k^T) + bias) v */
void decompose_attention(const ox_node *n, ox_val *outputs)
{
    ox_val q = heads_of(n, 0, "q_num_heads");
    ox_val k = behind_past(n, PAST, heads_of(n, 1, "kv_num_heads"));
    ox_val v = behind_past(n, PAST + 1, heads_of(n, 2, "kv_num_heads"));
    double scale = ox_node_float(n, "scale", 1 / sqrt((double)ox_made_size(n, q, -1)));
    int64_t heads = ox_made_size(n, q, -3), mode = ox_node_int(n, "qk_matmul_output_mode", 0);
    ox_val products = ox_matmul(ox_scale(q, scale), ox_swap_last(repeat_heads(n, k, heads)));
    ox_val capped = ox_heads_cap(products, ox_node_float(n, "softcap", 0));
    ox_val bias = ox_made_plus(mask_bias(n, products), place_bias(n, products));
    ox_val biased = ox_made_plus(capped, bias);
    ox_val shares = shares_of(n, biased, bias);
    ox_val y = ox_matmul(shares, repeat_heads(n, v, heads));
    const ox_val modes[] = {products, capped, biased, shares};
    outputs[0] = ox_made_result(n, 0, n->inputs[0]->rank == 3 ? ox_heads_join(y) : y);
    if (ox_made_has_output(n, 1)) {
        outputs[1] = ox_made_result(n, 1, k);
    }
    if (ox_made_has_output(n, 2)) {
        outputs[2] = ox_made_result(n, 2, v);
    }
    if (ox_made_has_output(n, 3) && mode >= 0 && mode < 4) {
        outputs[3] = ox_made_result(n, 3, modes[mode]);
    }
}

/* ---- RotaryEmbedding ----------------------------------------------------------------------- */

/* cos or sin of every position as [B, L, 1, D/2], or [B, 1, L, D/2] where heads come first. */
static ox_val angles(const ox_node *n, size_t i, bool heads_first)
{
    ox_val cache = ox_made_of_rank(n, i, 2, 3), ids = ox_node_input(n, 3);
    if (ids != NULL) {
        cache = ox_gather(cache, ids, 0);
    }
    return ox_unsqueeze(cache, heads_first ? -3 : -2);
}

/* The last axes' values in turn: [..., h] and [..., h] to [..., size]. */
static ox_val interleave(ox_val a, ox_val b, int64_t size)
{
    ox_dim dims[OX_MAX_RANK];
    memcpy(dims, a->dims, (size_t)a->rank * sizeof *dims);
    dims[a->rank - 1] = ox_dim_of(size);
    ox_val parts[] = {ox_unsqueeze(a, -1), ox_unsqueeze(b, -1)};
    return ox_reshape(ox_concat(a->graph, 2, parts, -1), a->rank, dims);
}

ox_val ox_heads_turn(const ox_node *n, ox_val x, ox_val cosine, ox_val sine, int64_t size)
{
    bool interleaved = ox_node_int(n, "interleaved", ox_node_int(n, "rotary_interleaved", 0)) != 0;
    int64_t width = ox_made_size(n, x, -1);
    size = size == 0 ? width : size;
    if (size < 2 || size % 2 != 0 || size > width) {
        ox_made_fail(n, "its rotary_embedding_dim does not fit");
    }
    int64_t second = interleaved ? 1 : size / 2, step = interleaved ? 2 : 1;
    ox_val a = ox_slice(x, -1, 0, interleaved ? size : second, step);
    ox_val b = ox_slice(x, -1, second, size, step);
    ox_val real = ox_sub(ox_mul(cosine, a), ox_mul(sine, b));
    ox_val imaginary = ox_add(ox_mul(sine, a), ox_mul(cosine, b));
    ox_val turned = interleaved ? interleave(real, imaginary, size)
                                : ox_concat(n->graph, 2, (ox_val[]){real, imaginary}, -1);
    if (size < width) {
        ox_val parts[] = {turned, ox_slice(x, -1, size, width, 1)};
        turned = ox_concat(n->graph, 2, parts, -1);
    }
    return turned;
}

/* Pairs of values, turned by the angle of their position. */
void decompose_rotary_embedding(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_of_rank(n, 0, 3, 4);
    bool heads_first = x->rank == 4;
    ox_val each = heads_first ? x : ox_heads_apart(n, x, ox_node_int(n, "num_heads", 0));
    ox_val turned = ox_heads_turn(n, each, angles(n, 1, heads_first), angles(n, 2, heads_first),
                                  ox_node_int(n, "rotary_embedding_dim", 0));
    outputs[0] = ox_made_result(n, 0, ox_reshape(turned, x->rank, x->dims));
}
