/* GroupQueryAttention and RotaryEmbedding of com.microsoft.
 *
 * Keys are those of the past followed by the new ones, [B, Hk, P + S, D]; each has a position in
 * its sequence, and the masks compare positions, so that it does not matter where the operator
 * keeps them. Of the P places of the past the first p are in use, which differs from sequence to
 * sequence and is known at run time. G queries share a key: [B, Hk, G, S, D] meets [B, Hk, 1, P +
 * S, D]. */
#include "rules/heads.h"

#include <math.h>
#include <string.h>

enum {
    KEY = 1,
    PAST = 3,
    LENGTHS = 5,
    TOTAL = 6,
    COSINE = 7,
    SINE = 8,
    IDS = 9,
    BIAS = 10,
    SINK = 11,
    NORM = 14,
    VALID = 16
};

/* A position that no query comes to. */
static const int64_t never = INT64_C(1) << 40;

/* Input i, one number a sequence, as int64 [B, 1]. */
static ox_val each_sequence(const ox_node *n, size_t i)
{
    ox_val v = ox_node_input(n, i);
    if (v == NULL || v->rank < 1 || v->rank > 2) {
        ox_made_fail(n, "its lengths of sequences do not fit");
    }
    v = ox_cast(v, OX_INT64);
    return v->rank == 1 ? ox_unsqueeze(v, -1) : v;
}

/* How far sequences are, [B, 1] and [B, L]. */
typedef struct places {
    ox_val before, total; /* keys before the new ones, and with them */
    ox_val resident;      /* rows of the past in use: all that are before, or those of a window */
    ox_val queries, keys; /* their positions */
} places;

/* Of a cache of C rows for a window of W: T, or T - G ceil((T - C) / G), G = C - W + 1. */
static ox_val resident(const ox_node *n, ox_val past, ox_val t)
{
    if (ox_node_int(n, "sliding_window_cache", 0) == 0) {
        return t;
    }
    int64_t size = ox_made_size(n, past, 2), window = ox_node_int(n, "local_window_size", -1);
    if (window < 1 || window > size) {
        ox_made_fail(n, "its window does not fit");
    }
    int64_t step = size - window + 1;
    ox_val over = ox_max(ox_shift(t, (double)(step - 1 - size)), ox_number(t, 0));
    ox_val steps = ox_div(over, ox_number(t, (double)step));
    return ox_sub(t, ox_scale(steps, (double)step));
}

/* The first `length` rows of the past are in use; what is no key is at `never`. */
static places find_places(const ox_node *n, ox_val fresh, ox_val past)
{
    ox_val new_keys = ox_made_counted(fresh, 2), zero;
    places p = {.total = ox_shift(each_sequence(n, LENGTHS), 1)};
    ox_val length = ox_node_input(n, VALID) != NULL
                        ? each_sequence(n, VALID)
                        : ox_squeeze(ox_dims(n->graph, 1, &fresh->dims[2]), 0);
    zero = ox_number(p.total, 0);
    p.before = ox_max(ox_sub(p.total, length), zero);
    p.resident = p.before;
    p.queries = ox_add(p.before, new_keys);
    p.keys = p.queries;
    if (past != NULL) {
        p.resident = resident(n, past, p.before);
        ox_val rows = ox_made_counted(past, 2);
        ox_val own = ox_add(ox_sub(p.before, p.resident), rows);
        own = ox_where(ox_less(rows, p.resident), own, ox_number(own, (double)never));
        p.keys = ox_concat(n->graph, 2, (ox_val[]){own, p.keys}, -1);
    }
    return p;
}

/* ---- queries, keys, values ------------------------------------------------------------------- */

/* Part of the packed heads [B, S, H, D], or an input of its own, as [B, heads, S, D]. */
static ox_val heads_of(const ox_node *n, ox_val packed, size_t i, int64_t first, int64_t heads)
{
    ox_val v = packed != NULL ? ox_slice(packed, 2, first, first + heads, 1)
                              : ox_heads_apart(n, ox_made_of_rank(n, i, 3, 3), heads);
    return ox_heads_swap(v);
}

/* Of each head x / sqrt(mean(x^2) + epsilon), times a weight. */
static ox_val normalized(const ox_node *n, ox_val x, size_t weight, const char *epsilon)
{
    const int64_t last = -1;
    ox_val scale = ox_made_input(n, weight);
    if (scale == NULL) {
        return x;
    }
    double least = ox_node_float(n, epsilon, ox_node_float(n, "qk_norm_epsilon", 1e-6));
    ox_val mean = ox_reduce("ReduceMean", ox_square(x), 1, &last, true);
    return ox_mul(ox_div(x, ox_sqrt(ox_shift(mean, least))), scale);
}

/* cos or sin at positions [B, S] as [B, 1, S, D / 2]. */
static ox_val angles(const ox_node *n, size_t i, ox_val positions)
{
    return ox_unsqueeze(ox_gather(ox_made_of_rank(n, i, 2, 2), positions, 0), 1);
}

/* Positions [B, S] of the new keys. Where they are given, the first one counts of a prompt, from
 * which the others follow. */
static ox_val turned_at(const ox_node *n, ox_val x, const places *p)
{
    ox_val ids = ox_node_input(n, IDS), length = ox_dims(n->graph, 1, &x->dims[2]);
    if (ids == NULL) {
        return p->queries;
    }
    if (ids->rank != 2) {
        ox_made_fail(n, "its positions do not fit");
    }
    if (ox_node_input(n, VALID) != NULL) {
        return ids;
    }
    ox_val first = ox_slice(ox_slice(ids, 0, 0, 1, 1), 1, 0, 1, 1);
    ox_val prompt = ox_equal(ox_cast(ox_node_input(n, TOTAL), OX_INT64), length);
    return ox_where(prompt, ox_add(first, ox_made_counted(x, 2)), ids);
}

static ox_val turned(const ox_node *n, ox_val x, const places *p)
{
    if (ox_node_int(n, "do_rotary", 0) == 0) {
        return x;
    }
    ox_val ids = turned_at(n, x, p), cosine = angles(n, COSINE, ids);
    int64_t size = ox_made_size(n, cosine, -1);
    return ox_heads_turn(n, x, cosine, angles(n, SINE, ids), size > INT32_MAX ? -1 : 2 * size);
}

/* ---- scores ---------------------------------------------------------------------------------- */

/* [B, S or 1, K]: hides keys after the query, outside its window, and padding. */
static ox_val hidden_keys(const ox_node *n, const places *p, ox_val like)
{
    ox_val queries = ox_unsqueeze(p->queries, -1), keys = ox_unsqueeze(p->keys, 1);
    int64_t window = ox_node_int(n, "local_window_size", -1);
    ox_val seen = ox_less(keys, ox_unsqueeze(p->total, 1));
    ox_val hidden = ox_heads_hide(ox_unary("Not", seen), like);
    if (ox_node_int(n, "causal", 1) == 0) {
        return hidden;
    }
    hidden = ox_add(hidden, ox_heads_hide(ox_greater(keys, queries), like));
    if (window > 0) {
        ox_val first = ox_shift(queries, (double)(1 - window));
        hidden = ox_add(hidden, ox_heads_hide(ox_less(keys, first), like));
    }
    return hidden;
}

/* What is added to the scores, [B, H or 1, S, T] by the positions of keys, as [B, Hk or 1, G or 1,
 * S, K]. */
static ox_val bias_of(const ox_node *n, const places *p, ox_val like, bool past)
{
    ox_val bias = ox_made_input(n, BIAS);
    if (bias == NULL) {
        return NULL;
    }
    bias = ox_made_of_rank(n, BIAS, 4, 4);
    if (past) {
        ox_val end = ox_dims(n->graph, 1, &bias->dims[3]);
        ox_val at = ox_min(p->keys, ox_shift(end, -1));
        at = ox_unsqueeze(ox_unsqueeze(at, 1), 1);
        const ox_dim wide[] = {like->dims[0], bias->dims[1], bias->dims[2], bias->dims[3]};
        const ox_dim full[] = {like->dims[0], bias->dims[1], bias->dims[2], like->dims[4]};
        bias = ox_gather_elements(ox_expand(bias, 4, wide), ox_expand(at, 4, full), -1);
    }
    bool shared = ox_dim_is(bias->dims[1], 1);
    const ox_dim apart[] = {bias->dims[0], shared ? ox_dim_of(1) : like->dims[1],
                            shared ? ox_dim_of(1) : like->dims[2], bias->dims[2], bias->dims[3]};
    return ox_reshape(bias, 5, apart);
}

/* The shares of keys; a sink of each head takes the rest. */
static ox_val shares_of(const ox_node *n, ox_val scores)
{
    ox_val sink = ox_made_input(n, SINK);
    ox_attr axis = ox_attr_int("axis", -1);
    if (sink == NULL && ox_node_int(n, "smooth_softmax", -1) == 1) {
        sink = ox_number(scores, 0);
    }
    if (sink == NULL) {
        return ox_graph_emit(n->graph, "Softmax", 1, &scores, 1, &axis);
    }
    if (sink->rank == 1) {
        const ox_dim apart[] = {scores->dims[1], scores->dims[2], ox_dim_of(1), ox_dim_of(1)};
        sink = ox_reshape(sink, 4, apart);
    }
    ox_dim column[5];
    memcpy(column, scores->dims, sizeof column);
    column[4] = ox_dim_of(1);
    ox_val parts[] = {ox_expand(sink, 5, column), scores};
    ox_val all = ox_concat(n->graph, 2, parts, -1);
    return ox_slice(ox_graph_emit(n->graph, "Softmax", 1, &all, 1, &axis), -1, 1, INT64_MAX, 1);
}

/* ---- GroupQueryAttention --------------------------------------------------------------------- */

static void check_kind(const ox_node *n)
{
    const ox_val past = ox_node_input(n, PAST);
    if (past != NULL && !ox_type_is_float(past->type)) {
        ox_made_fail(n, "no rule for a quantised cache");
    }
    if ((past == NULL) != (ox_node_input(n, PAST + 1) == NULL) ||
        (ox_node_input(n, KEY) == NULL) != (ox_node_input(n, KEY + 1) == NULL)) {
        ox_made_fail(n, "keys without values");
    }
}

/* [B, Hk, K, D] as the operator keeps them, [B, Hk, T, D]: the first p of the past, then the new
 * ones. */
static ox_val kept(const ox_node *n, const places *p, ox_val past, ox_val all)
{
    if (past == NULL) {
        return all;
    }
    ox_graph *g = n->graph;
    ox_val own = ox_dims(g, 1, &past->dims[2]);
    ox_val total = ox_cast(ox_node_input(n, TOTAL), OX_INT64);
    ox_val end = ox_max(own, ox_reshape(total, 1, (ox_dim[]){ox_dim_of(1)}));
    ox_val rows = ox_iota_of(ox_squeeze(end, 0));
    ox_val fresh = ox_add(ox_sub(rows, p->before), own);
    ox_val last = ox_shift(ox_dims(g, 1, &all->dims[2]), -1);
    ox_val at = ox_min(ox_where(ox_less(rows, p->before), rows, fresh), last);
    at = ox_unsqueeze(ox_unsqueeze(at, 1), -1);
    const ox_dim wide[] = {all->dims[0], all->dims[1], at->dims[2], all->dims[3]};
    ox_val beyond = ox_shift(ox_slice(p->queries, -1, -1, INT64_MAX, 1), 1);
    ox_val used = ox_cast(ox_less(rows, beyond), all->type);
    used = ox_unsqueeze(ox_unsqueeze(used, 1), -1);
    return ox_mul(ox_gather_elements(all, ox_expand(at, 4, wide), 2), used);
}

static void set_kept(const ox_node *n, size_t i, const places *p, ox_val past, ox_val all,
                     ox_val *outputs)
{
    bool window = ox_node_int(n, "sliding_window_cache", 0) != 0;
    if (ox_made_has_output(n, i) && !window) {
        outputs[i] = ox_made_result(n, i, kept(n, p, past, all));
    }
}

/* softmax(cap(scale q k^T) + bias) v, with rotated q and k. */
void decompose_group_query_attention(const ox_node *n, ox_val *outputs)
{
    int64_t heads = ox_node_int(n, "num_heads", 0), own = ox_node_int(n, "kv_num_heads", 0);
    ox_val packed = NULL, past_k = ox_made_input(n, PAST), past_v = ox_made_input(n, PAST + 1);
    check_kind(n);
    if (own < 1 || heads < own || heads % own != 0 || heads > INT32_MAX) {
        ox_made_fail(n, "its heads do not fit");
    }
    if (ox_node_input(n, KEY) == NULL) {
        packed = ox_heads_apart(n, ox_made_of_rank(n, 0, 3, 3), heads + 2 * own);
    }
    ox_val q = heads_of(n, packed, 0, 0, heads), k = heads_of(n, packed, KEY, heads, own);
    ox_val v = heads_of(n, packed, KEY + 1, heads + own, own);
    if (!ox_dim_equal(q->dims[2], k->dims[2])) {
        ox_made_fail(n, "no rule for more or fewer keys than queries");
    }
    places p = find_places(n, q, past_k);
    q = turned(n, normalized(n, q, NORM, "q_norm_epsilon"), &p);
    k = turned(n, normalized(n, k, NORM + 1, "k_norm_epsilon"), &p);
    if (past_k != NULL) {
        k = ox_concat(n->graph, 2, (ox_val[]){past_k, k}, 2);
        v = ox_concat(n->graph, 2, (ox_val[]){past_v, v}, 2);
    }
    double scale = ox_node_float(n, "scale", 0);
    scale = scale != 0 ? scale : 1 / sqrt((double)ox_made_size(n, q, -1));
    const ox_dim apart[] = {q->dims[0], ox_dim_of(own), ox_dim_of(heads / own), q->dims[2],
                            q->dims[3]};
    ox_val grouped = ox_scale(ox_reshape(q, 5, apart), scale);
    ox_val scores = ox_matmul(grouped, ox_swap_last(ox_unsqueeze(k, 2)));
    ox_val hidden = ox_unsqueeze(ox_unsqueeze(hidden_keys(n, &p, scores), 1), 1);
    ox_val biased = ox_heads_cap(scores, ox_node_float(n, "softcap", 0));
    biased = ox_made_plus(biased, bias_of(n, &p, scores, past_k != NULL));
    ox_val shares = shares_of(n, ox_add(biased, hidden));
    ox_val y = ox_matmul(shares, ox_unsqueeze(v, 2));
    y = ox_heads_join(ox_reshape(y, 4, q->dims));
    outputs[0] = ox_made_result(n, 0, y);
    set_kept(n, 1, &p, past_k, k, outputs);
    set_kept(n, 2, &p, past_v, v, outputs);
}

/* ---- RotaryEmbedding ------------------------------------------------------------------------- */

/* Positions [B, S], or the first of them [1], those after it following. */
static ox_val positions(const ox_node *n, ox_val x)
{
    ox_val ids = ox_node_input(n, 1);
    if (ids == NULL || ids->rank < 1 || ids->rank > 2) {
        ox_made_fail(n, "its positions do not fit");
    }
    ox_val first = ox_cast(ids, OX_INT64);
    return ids->rank == 2 ? first : ox_unsqueeze(ox_add(first, ox_made_counted(x, 2)), 0);
}

/* x [B, S, H * D] or [B, H, S, D] as the latter; cosines have half of what is turned. */
static ox_val by_heads(const ox_node *n, ox_val x, ox_val cosines)
{
    int64_t size = ox_node_int(n, "rotary_embedding_dim", 0);
    int64_t heads = ox_node_int(n, "num_heads", 0), half = ox_made_size(n, cosines, -1);
    if (ox_node_int(n, "is_packed_batching", 0) != 0) {
        ox_made_fail(n, "no rule for packed batches");
    }
    if (x->rank == 3 && (size == 0 || heads == 0)) {
        int64_t all = ox_made_size(n, x, -1);
        heads = half < 1 || half > all / 2 ? 0 : all / (2 * half);
    }
    return x->rank == 4 ? x : ox_heads_swap(ox_heads_apart(n, x, heads));
}

static ox_val turned_back(const ox_node *n, ox_val x, ox_val each, ox_val cosine, ox_val sine)
{
    int64_t size = ox_node_int(n, "rotary_embedding_dim", 0);
    ox_val y = ox_heads_turn(n, each, cosine, sine, size);
    return ox_made_result(n, 0, x->rank == 4 ? y : ox_heads_join(y));
}

void decompose_contrib_rotary_embedding(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_of_rank(n, 0, 3, 4);
    ox_val each = by_heads(n, x, ox_made_of_rank(n, 2, 2, 2)), ids = positions(n, each);
    outputs[0] = turned_back(n, x, each, angles(n, 2, ids), angles(n, 3, ids));
}

/* ---- MRotaryEmbedding: three positions a token, each for a section of the angles ----------------
 */

enum { STREAMS = 3 };

/* Which of time, height and width angle i goes by. */
static int stream_of(int64_t i, const int64_t *sections, bool interleaved)
{
    if (interleaved) {
        int at = (int)(i % STREAMS);
        return i / STREAMS < sections[at] ? at : 0;
    }
    return i < sections[0] ? 0 : i - sections[0] < sections[1] ? 1 : 2;
}

static ox_val angles_of_streams(const ox_node *n, size_t input, const int64_t *sections)
{
    ox_val cache = ox_made_of_rank(n, input, 2, 2), ids = ox_made_of_rank(n, 1, 3, 3), sum = NULL;
    bool interleaved = ox_node_int(n, "mrope_layout", 0) != 0;
    int64_t half = ox_made_size(n, cache, -1);
    double *mine = ox_arena_alloc(n->graph->arena, (size_t)half, sizeof *mine);
    for (int s = 0; s < STREAMS; s++) {
        for (int64_t i = 0; i < half; i++) {
            mine[i] = stream_of(i, sections, interleaved) == s;
        }
        ox_val part = ox_mul(cache, ox_floats(n->graph, cache->type, 1, &half, mine));
        ox_val own = ox_gather(ids, ox_ints(n->graph, 1, (const int64_t[]){s}), 0);
        own = ox_cast(ox_reshape(own, 2, &ids->dims[1]), OX_INT64);
        part = ox_gather(part, own, 0);
        sum = sum == NULL ? part : ox_add(sum, part);
    }
    return ox_unsqueeze(sum, -3);
}

void decompose_mrotary_embedding(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_of_rank(n, 0, 3, 4);
    size_t count = 0;
    const int64_t *sections = ox_node_ints(n, "mrope_section", &count);
    ox_val each = by_heads(n, x, ox_made_of_rank(n, 2, 2, 2));
    if (sections == NULL || count != STREAMS || ox_node_float(n, "scale", 1) != 1) {
        ox_made_fail(n, "no rule for a scale, or without mrope_section");
    }
    ox_val cosine = angles_of_streams(n, 2, sections), sine = angles_of_streams(n, 3, sections);
    outputs[0] = turned_back(n, x, each, cosine, sine);
}
