/* Operators of decoders that hand a state from call to call, written as what they are made of:
 * CausalConvWithState, LinearAttention, TensorScatter. */
#include <string.h>

#include "rules/heads.h"

/* ---- CausalConvWithState ------------------------------------------------------------------- */

/* The convolution of the state and the input in a row; the end of the row is the new state. */
void decompose_causal_conv(const ox_node *n, ox_val *outputs)
{
    ox_graph *g = n->graph;
    ox_val x = ox_made_of_rank(n, 0, 3, 3), w = ox_made_of_rank(n, 1, 3, 3);
    ox_val bias = ox_made_input(n, 2), past = ox_made_input(n, 3);
    int64_t channels = ox_made_size(n, w, 0), kept = ox_made_size(n, w, 2) - 1;
    const char *activation = ox_node_string(n, "activation", "none");
    ox_dim dims[] = {x->dims[0], ox_dim_of(channels), ox_dim_of(kept)};
    if (past == NULL && kept > 0) {
        past = ox_zeros(g, x->type, 3, dims);
    }
    ox_val row = kept == 0 ? x : ox_concat(g, 2, (ox_val[]){past, x}, -1);
    ox_attr group = ox_attr_int("group", channels);
    ox_val y = ox_graph_emit(g, "Conv", bias == NULL ? 2 : 3, (ox_val[]){row, w, bias}, 1, &group);
    if (strcmp(activation, "silu") == 0 || strcmp(activation, "swish") == 0) {
        y = ox_mul(y, ox_unary("Sigmoid", y));
    } else if (strcmp(activation, "none") != 0) {
        ox_made_fail(n, "its activation is not known");
    }
    outputs[0] = ox_made_result(n, 0, y);
    if (ox_made_has_output(n, 1) && kept > 0) {
        outputs[1] = ox_made_result(n, 1, ox_slice(row, -1, -kept, INT64_MAX, 1));
    }
}

/* ---- LinearAttention ----------------------------------------------------------------------- */

typedef struct heads {
    const ox_node *node;
    ox_dim batch;
    int64_t steps, q_heads, kv_heads, key, value; /* the last two are sizes of one head */
} heads;

/* [B, T, count * width] as [B, count, T, width] */
static ox_val split_heads(const heads *h, ox_val v, int64_t count, int64_t width)
{
    if (v->rank != 3 || !ox_dim_is(v->dims[2], count * width)) {
        ox_made_fail(h->node, "its shapes do not fit");
    }
    ox_dim dims[] = {h->batch, ox_dim_of(h->steps), ox_dim_of(count), ox_dim_of(width)};
    return ox_transpose(ox_reshape(v, 4, dims), (int[]){0, 2, 1, 3});
}

/* The same with `least` or more heads of one number each, or heads of `width`; NULL for NULL. */
static ox_val split_factor(const heads *h, ox_val v, int64_t width)
{
    if (v == NULL) {
        return NULL;
    }
    int64_t last = ox_made_size(h->node, v, -1);
    int64_t each = last == h->kv_heads * width ? width : 1;
    return split_heads(h, v, last / each, each);
}

static ox_val at_step(ox_val v, int64_t t)
{
    return v == NULL ? NULL : ox_slice(v, -2, t, t + 1, 1);
}

ox_val ox_heads_state(ox_val state, ox_val k, ox_val v, ox_val decay, ox_val beta)
{
    state = decay == NULL ? state : ox_mul(state, ox_swap_last(ox_exp(decay)));
    v = beta == NULL ? v : ox_mul(beta, ox_sub(v, ox_matmul(k, state)));
    return ox_add(state, ox_mul(ox_swap_last(k), v));
}

static heads heads_of(const ox_node *n, ox_val q, ox_val k, ox_val v)
{
    heads h = {
        .node = n,
        .batch = q->dims[0],
        .steps = ox_made_size(n, q, 1),
        .q_heads = ox_node_int(n, "q_num_heads", 0),
        .kv_heads = ox_node_int(n, "kv_num_heads", 0),
    };
    if (h.kv_heads < 1 || h.q_heads < h.kv_heads || h.q_heads % h.kv_heads != 0) {
        ox_made_fail(n, "its numbers of heads do not fit");
    }
    if (h.steps < 1 || h.steps > OX_HEADS_STEPS) {
        ox_made_fail(n, "its sequence is empty or too long to be unrolled");
    }
    ox_budget_spend(n->graph->arena, OX_COST_NODES, (uint64_t)h.steps);
    h.key = ox_made_size(n, k, 2) / h.kv_heads;
    h.value = ox_made_size(n, v, 2) / h.kv_heads;
    return h;
}

/* Queries [B, T, heads * key] as [B, kv heads, T, queries of a head, key] */
static ox_val split_queries(const heads *h, ox_val q)
{
    if (!ox_dim_is(q->dims[2], h->q_heads * h->key)) {
        ox_made_fail(h->node, "its shapes do not fit");
    }
    ox_dim dims[] = {h->batch, ox_dim_of(h->steps), ox_dim_of(h->kv_heads),
                     ox_dim_of(h->q_heads / h->kv_heads), ox_dim_of(h->key)};
    return ox_transpose(ox_reshape(q, 5, dims), (int[]){0, 2, 1, 3, 4});
}

static ox_val first_state(const heads *h, ox_val like)
{
    ox_val past = ox_made_input(h->node, 3);
    ox_dim dims[] = {h->batch, ox_dim_of(h->kv_heads), ox_dim_of(h->key), ox_dim_of(h->value)};
    return past != NULL ? past : ox_zeros(like->graph, like->type, 4, dims);
}

void decompose_linear_attention(const ox_node *n, ox_val *outputs)
{
    ox_val q = ox_made_of_rank(n, 0, 3, 3), k = ox_made_of_rank(n, 1, 3, 3);
    ox_val v = ox_made_of_rank(n, 2, 3, 3);
    heads h = heads_of(n, q, k, v);
    double scale = ox_node_float(n, "scale", 0);
    q = ox_mul(split_queries(&h, q),
               scale == 0 ? ox_div(ox_number(q, 1), ox_sqrt(ox_number(q, (double)h.key)))
                          : ox_number(q, scale));
    k = split_heads(&h, k, h.kv_heads, h.key);
    v = split_heads(&h, v, h.kv_heads, h.value);
    ox_val decay = split_factor(&h, ox_made_input(n, 4), h.key);
    ox_val beta = split_factor(&h, ox_made_input(n, 5), 1);
    ox_val state = first_state(&h, k);
    ox_val *reads = ox_arena_alloc(n->graph->arena, (size_t)h.steps, sizeof *reads);
    for (int64_t t = 0; t < h.steps; t++) {
        state = ox_heads_state(state, at_step(k, t), at_step(v, t), at_step(decay, t),
                               at_step(beta, t));
        ox_val query = ox_squeeze(ox_slice(q, -3, t, t + 1, 1), -3);
        reads[t] = ox_unsqueeze(ox_matmul(query, state), 1); /* [B, 1, kv heads, .., value] */
    }
    ox_dim dims[] = {h.batch, ox_dim_of(h.steps), ox_dim_of(h.q_heads * h.value)};
    ox_val rows = ox_concat(n->graph, (size_t)h.steps, reads, 1);
    outputs[0] = ox_made_result(n, 0, ox_reshape(rows, 3, dims));
    if (ox_made_has_output(n, 1)) {
        outputs[1] = ox_made_result(n, 1, state);
    }
}

/* ---- TensorScatter ------------------------------------------------------------------------- */

/* Position p of the cache takes place p - start of the update, where that lies inside. */
void decompose_tensor_scatter(const ox_node *n, ox_val *outputs)
{
    ox_val past = ox_made_ranked(n, 0), update = ox_made_ranked(n, 1);
    ox_val start = ox_node_input(n, 2);
    int axis = ox_shape_axis(n, ox_node_int(n, "axis", -2), past->rank) - past->rank;
    int64_t places = ox_made_size(n, past, axis), count = ox_made_size(n, update, axis);
    ox_val zero = ox_int_scalar(n->graph, 0);
    ox_val place = ox_made_range(zero, places, -axis - 1);
    if (start != NULL) {
        place = ox_sub(place, ox_made_column(ox_cast(start, OX_INT64), past->rank - 1));
    }
    if (strcmp(ox_node_string(n, "mode", "linear"), "circular") == 0) {
        place = ox_binary("Mod", place, ox_int_scalar(n->graph, places));
    }
    ox_val inside = ox_binary("And", ox_greater(place, ox_int_scalar(n->graph, -1)),
                              ox_less(place, ox_int_scalar(n->graph, count)));
    ox_val picked = ox_min(ox_max(place, zero), ox_int_scalar(n->graph, count - 1));
    picked = ox_gather_elements(update, ox_expand(picked, past->rank, past->dims), axis);
    outputs[0] = ox_made_result(n, 0, ox_where(inside, picked, past));
}
