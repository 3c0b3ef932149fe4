/* Operators of com.microsoft over sequences that lie in a row, token behind token:
 * VarlenCausalConvWithState, GatedDeltaNet. Where each begins is an input [B + 1]. */
#include <math.h>
#include <string.h>

#include "rules/heads.h"

/* ---- VarlenCausalConvWithState --------------------------------------------------------------- */

enum { WEIGHT = 1, ENDS, BIAS, STATE, COUNT, DELTA };

/* Where tokens are: the sequence of each [T], and its place there; starts and lengths [B] of the
 * sequences. */
typedef struct places {
    ox_val sequence, own, starts, lengths;
} places;

static places find_places(const ox_node *n, size_t input, ox_val tokens)
{
    const int64_t last = -1;
    ox_val ends = ox_cast(ox_made_of_rank(n, input, 1, 1), OX_INT64);
    places p = {.starts = ox_slice(ends, 0, 0, -1, 1)};
    ends = ox_slice(ends, 0, 1, INT64_MAX, 1);
    p.lengths = ox_sub(ends, p.starts);
    ox_val beyond = ox_less(ox_unsqueeze(ends, 0), ox_shift(ox_unsqueeze(tokens, -1), 1));
    p.sequence = ox_reduce("ReduceSum", ox_cast(beyond, OX_INT64), 1, &last, false);
    p.own = ox_sub(tokens, ox_gather(p.starts, p.sequence, 0));
    return p;
}

/* The tokens, and behind them what the state holds of each sequence, [T + B * L, C]. */
typedef struct rows {
    ox_val all, tokens;     /* tokens: how many these are, int64 [1] */
    int64_t kept, channels; /* L, C */
} rows;

static rows rows_of(const ox_node *n, ox_val x, int64_t kept)
{
    ox_graph *g = n->graph;
    ox_val state = ox_made_of_rank(n, STATE, 3, 3);
    rows r = {x, ox_dims(g, 1, &x->dims[0]), kept, ox_made_size(n, x, 1)};
    if (kept > 0) {
        const ox_dim flat[] = {ox_shape_dim_times(n, state->dims[0], ox_dim_of(kept)), x->dims[1]};
        state = ox_reshape(ox_swap_last(state), 2, flat);
        r.all = ox_concat(g, 2, (ox_val[]){x, state}, 0);
    }
    return r;
}

/* Rows at place `own` of sequences that begin at `start`; before that the state has them. */
static ox_val row_at(const rows *r, ox_val own, ox_val start, ox_val sequence)
{
    ox_val at = ox_add(start, own);
    if (r->kept > 0) {
        ox_val first = ox_add(r->tokens, ox_scale(ox_shift(sequence, 1), (double)r->kept));
        at = ox_where(ox_less(own, ox_number(own, 0)), ox_add(first, own), at);
    }
    return ox_gather(r->all, at, 0);
}

static ox_val activated(const ox_node *n, ox_val y)
{
    const char *activation = ox_node_string(n, "activation", "none");
    if (strcmp(activation, "silu") == 0 || strcmp(activation, "swish") == 0) {
        return ox_mul(y, ox_unary("Sigmoid", y));
    }
    if (strcmp(activation, "none") != 0) {
        ox_made_fail(n, "its activation is not known");
    }
    return y;
}

/* The last L rows of each sequence, [B, C, L]. */
static ox_val kept_rows(const rows *r, const places *p)
{
    ox_val step = ox_iota(r->all->graph, OX_INT64, r->kept);
    ox_val own = ox_add(ox_shift(ox_unsqueeze(p->lengths, -1), -(double)r->kept), step);
    ox_val sequence = ox_unsqueeze(ox_made_counted(p->lengths, 0), -1);
    return ox_swap_last(row_at(r, own, ox_unsqueeze(p->starts, -1), sequence));
}

/* The first tokens of each sequence, as many as are asked for, and zeros: [B, capacity, C]. */
static ox_val captured(const ox_node *n, ox_val x, const places *p)
{
    int64_t capacity = ox_node_int(n, "state_update_capacity", 0);
    ox_val count = ox_node_input(n, COUNT);
    if (count == NULL || capacity < 1 || capacity > 8) {
        ox_made_fail(n, "its state_update_capacity does not fit");
    }
    ox_val slot = ox_iota(n->graph, OX_INT64, capacity);
    ox_val end = ox_min(ox_cast(count, OX_INT64), p->lengths);
    ox_val last = ox_shift(ox_dims(n->graph, 1, &x->dims[0]), -1);
    ox_val at = ox_min(ox_add(ox_unsqueeze(p->starts, -1), slot), last);
    ox_val used = ox_cast(ox_less(slot, ox_unsqueeze(end, -1)), x->type);
    return ox_mul(ox_gather(x, at, 0), ox_unsqueeze(used, -1));
}

/* What each token's window reads, [T, k, C], times the weights. */
void decompose_varlen_causal_conv(const ox_node *n, ox_val *outputs)
{
    const int64_t window = 1;
    ox_val x = ox_made_of_rank(n, 0, 2, 2), w = ox_made_of_rank(n, WEIGHT, 3, 3);
    int64_t taps = ox_made_size(n, w, 2), step = ox_node_int(n, "dilation", 1);
    if (ox_node_input(n, DELTA) != NULL) {
        ox_made_fail(n, "ONNX Runtime has no kernel for the CPU that takes kernel_delta");
    }
    if (step < 1 || taps < 1 || taps > 1024 || step > 1024) {
        ox_made_fail(n, "its window does not fit");
    }
    rows r = rows_of(n, x, (taps - 1) * step);
    places p = find_places(n, ENDS, ox_made_counted(x, 0));
    ox_val back =
        ox_shift(ox_scale(ox_iota(n->graph, OX_INT64, taps), (double)step), -(double)r.kept);
    ox_val own = ox_add(ox_unsqueeze(p.own, -1), back);
    ox_val start = ox_unsqueeze(ox_gather(p.starts, p.sequence, 0), -1);
    ox_val read = row_at(&r, own, start, ox_unsqueeze(p.sequence, -1));
    ox_val y = ox_mul(read, ox_swap_last(ox_squeeze(w, 1)));
    y = ox_made_plus(ox_reduce("ReduceSum", y, 1, &window, false), ox_made_input(n, BIAS));
    outputs[0] = ox_made_result(n, 0, activated(n, y));
    if (ox_made_has_output(n, 1) && r.kept > 0) {
        outputs[1] = ox_made_result(n, 1, kept_rows(&r, &p));
    }
    if (ox_made_has_output(n, 2)) {
        outputs[2] = ox_made_result(n, 2, captured(n, x, &p));
    }
}

/* ---- GatedDeltaNet --------------------------------------------------------------------------- */

/* update_rule says no more than which of the inputs are there. */

enum { KEY = 1, VALUE, OFFSETS, DECAY, BETA, FIRST, LOG, SHIFT };

typedef struct net {
    const ox_node *node;
    ox_dim batch;       /* of sequences; of samples where offsets are given */
    int64_t steps;      /* tokens of each */
    int64_t heads;      /* of values */
    int64_t own;        /* of queries and keys */
    int64_t key, value; /* sizes of a head */
    int before;         /* axes of tokens: 1 or 2 */
} net;

/* [tokens, count, width] as [B, heads, T, width]: heads that are fewer are there several times. */
static ox_val by_heads(const net *t, ox_val v, int64_t count, int64_t width)
{
    const ox_dim apart[] = {t->batch, ox_dim_of(t->steps), ox_dim_of(count), ox_dim_of(1),
                            ox_dim_of(width)};
    ox_val y = ox_reshape(v, 5, apart);
    const ox_dim wide[] = {t->batch, apart[1], apart[2], ox_dim_of(t->heads / count), apart[4]};
    const ox_dim joined[] = {t->batch, apart[1], ox_dim_of(t->heads), apart[4]};
    y = ox_reshape(ox_expand(y, 5, wide), 4, joined);
    return ox_transpose(y, (int[]){0, 2, 1, 3});
}

static net net_of(const ox_node *n, ox_val q, ox_val first)
{
    bool packed = ox_node_input(n, KEY) == NULL;
    net t = {.node = n, .batch = ox_dim_of(1), .before = q->rank - (packed ? 1 : 2)};
    ox_dim steps = q->dims[t.before - 1];
    if (t.before > 1 && ox_node_input(n, OFFSETS) != NULL) {
        ox_made_fail(n, "its shapes do not fit");
    }
    if (packed) {
        first = ox_made_of_rank(n, FIRST, 4, 4);
        t.heads = ox_made_size(n, first, 1);
        t.value = ox_made_size(n, first, 2);
        t.key = ox_made_size(n, first, 3);
        t.own = t.key < 1 ? 0 : (ox_made_size(n, q, -1) - t.heads * t.value) / (2 * t.key);
    } else {
        ox_val v = ox_made_of_rank(n, VALUE, q->rank, q->rank);
        t.own = ox_made_size(n, q, -2);
        t.key = ox_made_size(n, q, -1);
        t.heads = ox_made_size(n, v, -2);
        t.value = ox_made_size(n, v, -1);
    }
    if (t.before == 2) {
        t.batch = q->dims[0];
    } else if (ox_node_input(n, OFFSETS) != NULL) {
        t.batch = (ox_dim){.size = 1, .batch = steps.batch, .refs = steps.refs};
        ox_dim_div(steps, t.batch, &steps);
    } else if (first != NULL) {
        t.batch = first->dims[0];
        ox_dim_div(q->dims[0], t.batch, &steps);
    }
    if (!ox_dim_is_static(steps) || steps.size < 1 || steps.size > OX_HEADS_STEPS) {
        ox_made_fail(n, "its number of tokens is not known, or too large to be unrolled");
    }
    if (t.own < 1 || t.heads < t.own || t.heads % t.own != 0) {
        ox_made_fail(n, "its numbers of heads do not fit");
    }
    ox_budget_spend(n->graph->arena, OX_COST_NODES, (uint64_t)steps.size);
    t.steps = steps.size;
    return t;
}

/* The decay of each token in logarithms, [B, heads, T, key or 1], or NULL. */
static ox_val decay_of(const net *t, double least)
{
    const ox_node *n = t->node;
    ox_val v = ox_made_input(n, DECAY), shift = ox_made_input(n, SHIFT),
           log = ox_made_input(n, LOG);
    const char *gate = ox_node_string(n, "gate_activation", "none");
    if (v == NULL) {
        return NULL;
    }
    int64_t width = v->rank == t->before + 1 ? 1 : t->key;
    v = by_heads(t, v, t->heads, width);
    if (strcmp(gate, "none") == 0) {
        return v;
    }
    if (shift != NULL) {
        bool each = ox_made_count(n, shift, 0) > t->heads;
        const ox_dim wide[] = {ox_dim_of(t->heads), ox_dim_of(1), ox_dim_of(each ? t->key : 1)};
        v = ox_add(v, ox_reshape(shift, 3, wide));
    }
    ox_val factor = log == NULL ? ox_number(v, 1) : ox_made_column(ox_exp(log), 2);
    if (strcmp(gate, "softplus") == 0 || strcmp(gate, "qwen") == 0) {
        return ox_neg(ox_mul(factor, ox_unary("Softplus", v)));
    }
    if (strcmp(gate, "sigmoid") != 0 && strcmp(gate, "kda") != 0) {
        ox_made_fail(n, "its gate_activation is not known");
    }
    return ox_scale(ox_unary("Sigmoid", ox_mul(factor, v)), least);
}

static ox_val beta_of(const net *t)
{
    ox_val v = ox_made_input(t->node, BETA);
    if (v == NULL) {
        return NULL;
    }
    v = by_heads(t, v, t->heads, 1);
    bool raw = strcmp(ox_node_string(t->node, "beta_activation", "none"), "sigmoid") == 0;
    return raw ? ox_unary("Sigmoid", v) : v;
}

/* x / sqrt(sum(x^2) + 1e-12) of each head, where the node does it. */
static ox_val of_length_one(const ox_node *n, ox_val x)
{
    const int64_t last = -1;
    if (ox_node_int(n, "qk_l2_norm", 0) == 0) {
        return x;
    }
    ox_val sum = ox_reduce("ReduceSum", ox_square(x), 1, &last, true);
    return ox_div(x, ox_sqrt(ox_shift(sum, 1e-12)));
}

/* Queries, keys and values [B, heads, T, ..]. */
static void read_heads(const net *t, ox_val q, ox_val *out)
{
    const ox_node *n = t->node;
    ox_val parts[3] = {q, NULL, NULL};
    int64_t width = t->own * t->key;
    for (size_t i = 0; i < 3; i++) {
        bool last = i == VALUE;
        int64_t end = (int64_t)i * width + (last ? t->heads * t->value : width);
        ox_val v = ox_node_input(n, KEY) != NULL ? ox_made_input(n, i)
                                                 : ox_slice(q, -1, (int64_t)i * width, end, 1);
        parts[i] = by_heads(t, v, last ? t->heads : t->own, last ? t->value : t->key);
    }
    double scale = ox_node_float(n, "scale", 0);
    out[0] = ox_scale(of_length_one(n, parts[0]), scale != 0 ? scale : 1 / sqrt((double)t->key));
    out[1] = of_length_one(n, parts[1]);
    out[2] = parts[2];
}

/* What token `step` of each sample starts from: the state of the one before, or, where a sequence
 * begins, as with the first one, its own. */
static ox_val begun(const net *t, const places *p, int64_t step, ox_val first, ox_val state)
{
    const ox_dim apart[] = {t->batch, ox_dim_of(t->steps)};
    ox_val at = ox_int_scalar(state->graph, step);
    ox_val place = ox_gather(ox_reshape(p->own, 2, apart), at, 1);
    ox_val sequence = ox_gather(ox_reshape(p->sequence, 2, apart), at, 1);
    ox_val own = ox_gather(first, sequence, 0);
    return step == 0
               ? own
               : ox_where(ox_made_column(ox_equal(place, ox_number(place, 0)), 3), own, state);
}

static ox_val at_step(ox_val v, int64_t t)
{
    return v == NULL ? NULL : ox_slice(v, -2, t, t + 1, 1);
}

/* The states of each sequence's end. */
static ox_val last_states(const net *t, const places *p, ox_val *states)
{
    if (p->own == NULL) {
        return states[t->steps - 1];
    }
    for (int64_t i = 0; i < t->steps; i++) {
        states[i] = ox_unsqueeze(states[i], 1);
    }
    ox_val all = ox_concat(t->node->graph, (size_t)t->steps, states, 1);
    const ox_dim flat[] = {ox_shape_dim_times(t->node, t->batch, ox_dim_of(t->steps)), all->dims[2],
                           all->dims[3], all->dims[4]};
    all = ox_reshape(all, 4, flat);
    return ox_gather(all, ox_shift(ox_add(p->starts, p->lengths), -1), 0);
}

/* States before the first token, [sequences, heads, key, value]. */
static ox_val first_states(const net *t, const places *p, ox_val first, ox_val like)
{
    ox_dim count = p->own == NULL ? t->batch : p->lengths->dims[0];
    const ox_dim dims[] = {count, ox_dim_of(t->heads), ox_dim_of(t->key), ox_dim_of(t->value)};
    return first != NULL ? ox_swap_last(first) : ox_zeros(like->graph, like->type, 4, dims);
}

/* [B, heads, T, value] as [tokens, heads, value]. */
static ox_val by_tokens(const net *t, ox_val q, ox_val y)
{
    ox_dim dims[4] = {q->dims[0], q->dims[1]};
    dims[t->before] = ox_dim_of(t->heads);
    dims[t->before + 1] = ox_dim_of(t->value);
    return ox_reshape(ox_transpose(y, (int[]){0, 2, 1, 3}), t->before + 2, dims);
}

void decompose_gated_delta_net(const ox_node *n, ox_val *outputs)
{
    ox_val q = ox_made_of_rank(n, 0, 2, 4), first = ox_made_input(n, FIRST), in[3];
    net t = net_of(n, q, first);
    places p = {.own = NULL};
    if (ox_node_input(n, OFFSETS) != NULL) {
        p = find_places(n, OFFSETS, ox_made_counted(q, 0));
    }
    read_heads(&t, q, in);
    double least = ox_node_float(n, "gate_lower_bound", -5);
    ox_val decay = decay_of(&t, least), beta = beta_of(&t);
    ox_val *states = ox_arena_alloc(n->graph->arena, (size_t)t.steps, sizeof(ox_val));
    ox_val *reads = ox_arena_alloc(n->graph->arena, (size_t)t.steps, sizeof(ox_val));
    ox_val start = first_states(&t, &p, first, in[0]);
    ox_val state = start;
    for (int64_t i = 0; i < t.steps; i++) {
        state = p.own == NULL ? state : begun(&t, &p, i, start, state);
        state = ox_heads_state(state, at_step(in[1], i), at_step(in[2], i), at_step(decay, i),
                               at_step(beta, i));
        states[i] = state;
        reads[i] = ox_matmul(at_step(in[0], i), state); /* [B, heads, 1, value] */
    }
    ox_val all = ox_concat(n->graph, (size_t)t.steps, reads, 2);
    outputs[0] = ox_made_result(n, 0, by_tokens(&t, q, all));
    if (ox_made_has_output(n, 1)) {
        outputs[1] = ox_made_result(n, 1, ox_swap_last(last_states(&t, &p, states)));
    }
}
