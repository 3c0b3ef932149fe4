/* Recurrent layers as a whole: what all steps make of both sides is there at once, in a few
 * products and elementwise operators; only what goes back from step to step is a Scan (sweep.c).
 *
 * States are [T, N, H] here, gates [T, N, G H]; lead axes come before. */
#include <string.h>

#include "rules/recurrent.h"
#include "rules/sweep.h"
#include "rules/unary.h"

/* One side of the layer. */
typedef struct half {
    ox_val x;      /* [T, N, C] */
    ox_val h;      /* the states that come out, [T, N, H] */
    ox_val before; /* those before */
    ox_val h0, c0; /* the first ones, [1, N, H]; NULL: zeros */
} half;

typedef struct layer {
    ox_ctx *c;
    int64_t steps, hidden; /* steps: -1 where they are known at run time */
    bool backward;
    ox_val w, r;           /* [G H, C] and [G H, H] */
    ox_val bias_w, bias_r; /* [G H], NULL: none */
    half sample, reference;
} layer;

/* ---- both sides ------------------------------------------------------------------------------ */

/* v in the shape of another. */
static ox_val shaped_like(ox_val v, ox_val like)
{
    v->rank = like->rank;
    v->dims = like->dims;
    return v;
}

/* Zeros before the steps of v [.., T, N, H], and so many of the last ones left out; or behind them
 * where the layer runs backwards. */
static ox_val delay(const layer *l, ox_val v, int64_t steps)
{
    int64_t before[] = {l->backward ? -steps : steps, 0, 0};
    int64_t after[] = {-before[0], 0, 0};
    return shaped_like(ox_pad(v, 3, before, after), v);
}

/* 1 at the first step, 0 at the others, [T, 1, 1], for the steps of `states`. */
static ox_val is_first(const layer *l, ox_val states)
{
    ox_graph *g = states->graph;
    const ox_dim dims[] = {states->dims[states->rank - 3], ox_dim_of(1), ox_dim_of(1)};
    ox_val shape = ox_graph_emit(g, "Shape", 1, &states, 0, NULL);
    ox_val count = ox_gather(shape, ox_int_scalar(g, states->rank - 3), 0);
    ox_val step = ox_iota_of(count);
    ox_val first = l->backward ? ox_sub(count, ox_int_scalar(g, 1)) : ox_int_scalar(g, 0);
    ox_val is = ox_cast(ox_equal(step, first), states->type);
    is = ox_unsqueeze(ox_unsqueeze(is, 1), 2);
    is->rank = 3;
    is->dims = ox_arena_copy(g->arena, dims, 3, sizeof *dims);
    return is;
}

/* The states before those of all steps. */
static ox_val before_of(const layer *l, ox_val states, ox_val first)
{
    ox_val before = delay(l, states, 1);
    return first == NULL ? before : ox_add(before, ox_mul(first, is_first(l, states)));
}

static ox_val first_of(const layer *l, ox_val v)
{
    return l->backward ? ox_slice(v, -3, -1, INT64_MAX, 1) : ox_slice(v, -3, 0, 1, 1);
}

static half look(const layer *l, bool reference)
{
    ox_ctx *c = l->c;
    const ox_node *n = c->node;
    ox_val in[3] = {NULL}, y = n->outputs[0];
    static const size_t inputs[] = {0, 5, 6};
    for (size_t i = 0; i < 3; i++) {
        ox_val v = ox_node_input(n, inputs[i]);
        bool zero = i > 0 && ox_recurrent_starts_at_zero(v);
        if (v != NULL && !zero) {
            in[i] = reference ? c->sides->reference(c, v) : c->sides->sample(c, v);
            in[i] = ox_cast(in[i], c->type);
        }
    }
    y = reference ? c->sides->reference(c, y) : c->sides->sample(c, y);
    half h = {.x = in[0], .h0 = in[1], .c0 = in[2], .h = ox_squeeze(ox_cast(y, c->type), -3)};
    h.before = before_of(l, h.h, h.h0);
    return h;
}

static ox_val part_of(const layer *l, ox_val v, int64_t axis, int64_t first, int64_t count)
{
    return v == NULL ? NULL : ox_slice(v, axis, first * l->hidden, (first + count) * l->hidden, 1);
}

static ox_val plus(ox_val a, ox_val b)
{
    return b == NULL ? a : ox_add(a, b);
}

/* What goes into `count` gates from the first on: of the input, and of the states before. */
static ox_val of_input(const layer *l, const half *h, int64_t first, int64_t count)
{
    ox_val w = part_of(l, l->w, 0, first, count);
    return plus(ox_matmul(h->x, ox_swap_last(w)), part_of(l, l->bias_w, -1, first, count));
}

static ox_val of_state(const layer *l, const half *h, int64_t first, int64_t count)
{
    ox_val r = part_of(l, l->r, 0, first, count);
    return plus(ox_matmul(h->before, ox_swap_last(r)), part_of(l, l->bias_r, -1, first, count));
}

static ox_val into(const layer *l, const half *h, int64_t first, int64_t count)
{
    return ox_add(of_input(l, h, first, count), of_state(l, h, first, count));
}

/* The value of weights and biases, which do not vary, without the axis of directions. */
static ox_val weight(ox_ctx *c, size_t i)
{
    ox_val v = ox_node_input(c->node, i);
    return v == NULL ? NULL : ox_squeeze(ox_cast(c->sides->sample(c, v), c->type), 0);
}

static layer open(ox_ctx *c, int64_t gates)
{
    const ox_node *n = c->node;
    layer l = {.c = c};
    const ox_dim steps = n->outputs[0]->dims[0];
    l.steps = ox_dim_is_static(steps) ? steps.size : -1;
    l.hidden = n->outputs[0]->dims[3].size;
    l.backward = strcmp(ox_node_string(n, "direction", "forward"), "reverse") == 0;
    l.w = weight(c, 1);
    l.r = weight(c, 2);
    ox_val bias = weight(c, 3);
    l.bias_w = part_of(&l, bias, -1, 0, gates);
    l.bias_r = part_of(&l, bias, -1, gates, gates);
    l.sample = look(&l, false);
    l.reference = look(&l, true);
    return l;
}

/* m times the slope of an activation between both sides. */
static ox_val slope(const char *op, ox_val m, ox_val x, ox_val x0, ox_val y, ox_val y0)
{
    return strcmp(op, "Relu") == 0 ? ox_flow(op, (ox_val[]){m, x, x0})
                                   : ox_flow(op, (ox_val[]){m, x, x0, y, y0});
}

/* ---- multipliers ----------------------------------------------------------------------------- */

static ox_val squeezed(ox_val m)
{
    return m == NULL ? NULL : ox_squeeze(m, -3);
}

/* What arrived at all states [.., T, N, H] and at the last ones [.., N, H], in the shape of pairs.
 */
static ox_sweep arrived(const layer *l, ox_val factor)
{
    ox_sweep s = {.m = squeezed(ox_m(l->c, 0)), .r = l->r, .up = l->backward};
    ox_val last_h = squeezed(ox_m(l->c, 1));
    ox_val last_c = l->c->node->output_count > 2 ? squeezed(ox_m(l->c, 2)) : NULL;
    ox_val like = s.m != NULL      ? s.m
                  : last_h != NULL ? ox_unsqueeze(last_h, -3)
                                   : ox_unsqueeze(last_c, -3);
    ox_val both = ox_mul(like, factor); /* for its shape alone */
    ox_dim dims[OX_MAX_RANK];
    int rank = both->rank - 1;
    memcpy(dims, both->dims, (size_t)both->rank * sizeof *dims);
    if (s.m == NULL) {
        s.m = ox_mul(like, ox_scale(is_first(l, factor), 0));
    }
    memmove(dims + rank - 2, dims + rank - 1, 2 * sizeof *dims);
    ox_val zeros = ox_zeros(l->c->g, like->type, rank, dims);
    s.h = last_h == NULL ? zeros : ox_expand(last_h, rank, dims);
    s.c = last_c == NULL ? zeros : ox_expand(last_c, rank, dims);
    return s;
}

/* Sends what arrives at the gates, from the input and from the first state. */
static void send(const layer *l, ox_val gates, ox_val of_h0)
{
    ox_ctx *c = l->c;
    if (ox_varies(c, 0)) {
        ox_send(c, 0, ox_matmul(gates, l->w));
    }
    if (ox_varies(c, 5)) {
        ox_send(c, 5, of_h0);
    }
}

static ox_val beside(ox_val a, ox_val b, ox_val c)
{
    ox_val parts[] = {a, b, c};
    return ox_concat(a->graph, c == NULL ? 2 : 3, parts, -1);
}

/* ---- LSTM ------------------------------------------------------------------------------------ */

/* What goes into gates i, o, f and the new value, and what comes out. */
typedef struct lstm_values {
    ox_val in, in_new, gates, i, o, f, new, c, before, out;
} lstm_values;

/* c_t = f_t c_t-1 + b_t over all steps, in rounds that look twice as far back each; as many as are
 * known. */
static ox_val run_cells(const layer *l, ox_val f, ox_val b)
{
    if (l->steps < 0) {
        return ox_sweep_sums(f, b, l->backward);
    }
    ox_val a = f;
    for (int64_t far = 1; far < l->steps; far *= 2) {
        b = ox_add(b, ox_mul(a, delay(l, b, far)));
        if (2 * far < l->steps) {
            a = ox_mul(a, delay(l, a, far));
        }
    }
    return b;
}

static lstm_values lstm_side(const layer *l, const half *h)
{
    lstm_values s = {.in = into(l, h, 0, 3), .in_new = into(l, h, 3, 1)};
    s.gates = ox_unary("Sigmoid", s.in);
    s.new = ox_tanh(s.in_new);
    s.i = part_of(l, s.gates, -1, 0, 1);
    s.o = part_of(l, s.gates, -1, 1, 1);
    s.f = part_of(l, s.gates, -1, 2, 1);
    ox_val added = ox_mul(s.i, s.new);
    if (h->c0 != NULL) {
        ox_val kept = ox_mul(first_of(l, s.f), h->c0);
        added = ox_add(added, ox_mul(kept, is_first(l, added)));
    }
    s.c = run_cells(l, s.f, added);
    s.before = before_of(l, s.c, h->c0);
    s.out = ox_tanh(s.c);
    return s;
}

void flow_lstm(ox_ctx *c)
{
    layer l = open(c, 4);
    lstm_values x = lstm_side(&l, &l.sample), r = lstm_side(&l, &l.reference);
    ox_val others =
        beside(ox_mean(x.new, r.new), ox_mean(x.out, r.out), ox_mean(x.before, r.before));
    ox_val u = beside(slope("Sigmoid", others, x.in, r.in, x.gates, r.gates),
                      slope("Tanh", ox_mean(x.i, r.i), x.in_new, r.in_new, x.new, r.new), NULL);
    ox_sweep s = arrived(&l, part_of(&l, u, -1, 0, 1));
    s.u = u;
    s.kept = ox_mean(x.f, r.f);
    s.out = slope("Tanh", ox_mean(x.o, r.o), x.c, r.c, x.out, r.out);
    bool cells = ox_varies(c, 6);
    ox_val all = ox_sweep_cells(&s, cells), gates = part_of(&l, all, -1, 0, 4);
    send(&l, gates, ox_varies(c, 5) ? ox_matmul(first_of(&l, gates), l.r) : NULL);
    if (cells) {
        ox_send(c, 6, ox_mul(first_of(&l, part_of(&l, all, -1, 4, 1)), first_of(&l, s.kept)));
    }
}

/* ---- GRU that resets behind its product -------------------------------------------------------
 */

typedef struct gru_values {
    ox_val in, both, z, r, old, in_new, new, gain;
} gru_values;

static gru_values gru_side(const layer *l, const half *h)
{
    gru_values s = {.in = into(l, h, 0, 2), .old = of_state(l, h, 2, 1)};
    s.both = ox_unary("Sigmoid", s.in);
    s.z = part_of(l, s.both, -1, 0, 1);
    s.r = part_of(l, s.both, -1, 1, 1);
    s.in_new = ox_add(of_input(l, h, 2, 1), ox_mul(s.r, s.old));
    s.new = ox_tanh(s.in_new);
    s.gain = ox_sub(h->before, s.new);
    return s;
}

/* h' = n + z (h - n), n = tanh(x_n + r q), q of the state before */
void flow_gru(ox_ctx *c)
{
    layer l = open(c, 3);
    gru_values x = gru_side(&l, &l.sample), r = gru_side(&l, &l.reference);
    ox_val z = ox_mean(x.z, r.z);
    ox_val new = slope("Tanh", ox_one_minus(z), x.in_new, r.in_new, x.new, r.new);
    ox_val others = beside(ox_mean(x.gain, r.gain), ox_mul(new, ox_mean(x.old, r.old)), NULL);
    ox_val both = slope("Sigmoid", others, x.in, r.in, x.both, r.both);
    ox_sweep s = arrived(&l, z);
    s.u = beside(both, ox_mul(new, ox_mean(x.r, r.r)), NULL);
    s.kept = z;
    ox_val h = ox_sweep_states(&s);
    ox_val three = beside(h, h, h);
    ox_val of_h0 = NULL;
    if (ox_varies(c, 5)) {
        ox_val first = first_of(&l, ox_mul(three, s.u));
        of_h0 = ox_add(ox_matmul(first, l.r), ox_mul(first_of(&l, h), first_of(&l, z)));
    }
    send(&l, ox_mul(three, beside(both, new, NULL)), of_h0);
}

/* ---- RNN ------------------------------------------------------------------------------------- */

void flow_rnn(ox_ctx *c)
{
    layer l = open(c, 1);
    ox_val x = into(&l, &l.sample, 0, 1), x0 = into(&l, &l.reference, 0, 1);
    ox_sweep s = arrived(&l, ox_mul(x, x0));
    ox_val one = ox_number(s.m, 1);
    s.u = slope(ox_recurrent_function(c->node), one, x, x0, l.sample.h, l.reference.h);
    ox_val gates = ox_mul(ox_sweep_states(&s), s.u);
    send(&l, gates, ox_varies(c, 5) ? ox_matmul(first_of(&l, gates), l.r) : NULL);
}
