/* Recurrent layers as a whole: what all steps make of both sides is there at once, in a few
 * products and elementwise operators; only what goes back from step to step is a Scan (sweep.c).
 *
 * States are [T, N, H] here, gates [T, N, G H]; lead axes come before. Steps beyond a sequence's
 * end carry nothing: their factors are zeros, and a cell's 1. */
#include <string.h>

#include "rules/recurrent.h"
#include "rules/sweep.h"

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
    double clip;           /* of what goes into gates; 0: none */
    const ox_gate *gates;  /* their functions */
    ox_val lengths;        /* [1, N, 1], int64; NULL: all have all steps */
    ox_val within;         /* 1 in a sequence, 0 beyond its end, [T, N, 1]; NULL: 1 */
    ox_val w, r;           /* [G H, C] and [G H, H] */
    ox_val bias_w, bias_r; /* [G H], NULL: none */
    ox_val peepholes;      /* [3 H], NULL: none */
    half sample, reference;
} layer;

static ox_val plus(ox_val a, ox_val b)
{
    return a == NULL ? b : b == NULL ? a : ox_add(a, b);
}

static ox_val times(ox_val a, ox_val b)
{
    return b == NULL ? a : ox_mul(a, b);
}

static ox_val beside(ox_val a, ox_val b, ox_val c)
{
    ox_val parts[] = {a, b, c};
    return ox_concat(a->graph, c == NULL ? 2 : 3, parts, -1);
}

static ox_val part_of(const layer *l, ox_val v, int64_t axis, int64_t first, int64_t count)
{
    return v == NULL ? NULL : ox_slice(v, axis, first * l->hidden, (first + count) * l->hidden, 1);
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* v in the shape of another. */
static ox_val shaped_like(ox_val v, ox_val like)
{
    v->rank = like->rank;
    v->dims = like->dims;
    return v;
}

/* A condition on steps as numbers, [T, N or 1, 1]. */
static ox_val indicator(const layer *l, ox_val condition)
{
    ox_graph *g = l->c->g;
    const ox_dim dims[] = {l->c->node->outputs[0]->dims[0],
                           l->lengths == NULL ? ox_dim_of(1) : l->lengths->dims[1], ox_dim_of(1)};
    ox_val is = ox_cast(condition, l->c->type);
    is->rank = 3;
    is->dims = ox_arena_copy(g->arena, dims, 3, sizeof *dims);
    return is;
}

/* The number of each step, [T, 1, 1], and of all. */
static ox_val steps_of(const layer *l, ox_val *count)
{
    ox_graph *g = l->c->g;
    ox_val shape = ox_graph_emit(g, "Shape", 1, &l->sample.h, 0, NULL);
    *count = ox_gather(shape, ox_int_scalar(g, l->sample.h->rank - 3), 0);
    return ox_unsqueeze(ox_unsqueeze(ox_iota_of(*count), 1), 2);
}

/* 1 at the step at an end of each sequence, 0 at the others: at that which is taken first where
 * `first`, else last. None of a sequence without steps is. */
static ox_val is_end(const layer *l, bool first)
{
    ox_val count, step = steps_of(l, &count);
    ox_graph *g = step->graph;
    if (first == l->backward) { /* the last of the sequence */
        ox_val all = l->lengths == NULL ? count : l->lengths;
        return indicator(l, ox_equal(step, ox_sub(all, ox_int_scalar(g, 1))));
    }
    return times(indicator(l, ox_equal(step, ox_int_scalar(g, 0))), l->within);
}

/* Zeros before the steps of v [.., T, N, H], and so many of the last ones left out; or behind them
 * where the layer runs backwards. */
static ox_val delay(const layer *l, ox_val v, int64_t steps)
{
    int64_t before[] = {l->backward ? -steps : steps, 0, 0};
    int64_t after[] = {-before[0], 0, 0};
    return shaped_like(ox_pad(v, 3, before, after), v);
}

/* The states before those of all steps. */
static ox_val before_of(const layer *l, ox_val states, ox_val first)
{
    ox_val before = delay(l, states, 1);
    return first == NULL ? before : ox_add(before, ox_mul(first, is_end(l, true)));
}

/* v [.., T, N, H] at the first step of each sequence, [.., 1, N, H]; zeros where it has none. */
static ox_val first_of(const layer *l, ox_val v)
{
    if (l->lengths != NULL) {
        return ox_sum(ox_mul(v, is_end(l, true)), -3, true);
    }
    return l->backward ? ox_slice(v, -3, -1, INT64_MAX, 1) : ox_slice(v, -3, 0, 1, 1);
}

/* ---- both sides ------------------------------------------------------------------------------ */

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
    return (half){.x = in[0], .h0 = in[1], .c0 = in[2], .h = ox_squeeze(ox_cast(y, c->type), -3)};
}

/* What goes into `count` gates from the first on: of the input, and of the states before. */
static ox_val of_input(const layer *l, const half *h, int64_t first, int64_t count)
{
    ox_val w = part_of(l, l->w, 0, first, count);
    return plus(ox_matmul(h->x, ox_swap_last(w)), part_of(l, l->bias_w, -1, first, count));
}

static ox_val of_state(const layer *l, ox_val before, int64_t first, int64_t count)
{
    ox_val r = part_of(l, l->r, 0, first, count);
    return plus(ox_matmul(before, ox_swap_last(r)), part_of(l, l->bias_r, -1, first, count));
}

static ox_val into(const layer *l, const half *h, int64_t first, int64_t count)
{
    return ox_add(of_input(l, h, first, count), of_state(l, h->before, first, count));
}

/* The value of weights and biases, which do not vary, without the axis of directions. */
static ox_val weight(ox_ctx *c, size_t i)
{
    ox_val v = ox_node_input(c->node, i);
    return v == NULL ? NULL : ox_squeeze(ox_cast(c->sides->sample(c, v), c->type), 0);
}

static void read_lengths(layer *l)
{
    ox_val lengths = ox_recurrent_lengths(l->c->node), count;
    if (lengths == NULL) {
        return;
    }
    lengths = ox_cast(ox_side_view(l->c, lengths, (ox_seen){false, false}), OX_INT64);
    l->lengths = ox_unsqueeze(ox_unsqueeze(lengths, 0), 2);
    ox_val step = steps_of(l, &count);
    l->within = indicator(l, ox_less(step, l->lengths));
}

static layer open(ox_ctx *c, int64_t gates)
{
    const ox_node *n = c->node;
    layer l = {.c = c, .clip = ox_node_float(n, "clip", 0)};
    const ox_dim steps = n->outputs[0]->dims[0];
    size_t functions = 0;
    l.gates = ox_gates_of(n, 0, &functions);
    l.steps = ox_dim_is_static(steps) ? steps.size : -1;
    l.hidden = n->outputs[0]->dims[3].size;
    l.backward = strcmp(ox_node_string(n, "direction", "forward"), "reverse") == 0;
    l.w = weight(c, 1);
    l.r = weight(c, 2);
    ox_val bias = weight(c, 3);
    l.bias_w = part_of(&l, bias, -1, 0, gates);
    l.bias_r = part_of(&l, bias, -1, gates, gates);
    l.peepholes = weight(c, 7);
    l.sample = look(&l, false);
    l.reference = look(&l, true);
    read_lengths(&l);
    l.sample.before = before_of(&l, l.sample.h, l.sample.h0);
    l.reference.before = before_of(&l, l.reference.h, l.reference.h0);
    return l;
}

/* ---- functions ------------------------------------------------------------------------------- */

/* What goes into some gates, the same as they clip it, and what they make of it. */
typedef struct made {
    ox_val in, cut, out;
} made;

static made through(const layer *l, int gate, ox_val in)
{
    made m = {.in = in, .cut = in};
    if (l->clip > 0) {
        m.cut = ox_clip(in, -l->clip, l->clip);
    }
    m.out = ox_gate_value(&l->gates[gate], m.cut);
    return m;
}

static ox_pair pair_of(ox_val x, ox_val x0, ox_val y, ox_val y0)
{
    return (ox_pair){.x = x, .x0 = x0, .y = y, .y0 = y0};
}

/* m times the slope of gates between both sides. */
static ox_val slope(const layer *l, int gate, ox_val m, const made *x, const made *r)
{
    ox_pair p = pair_of(x->cut, r->cut, x->out, r->out);
    m = ox_gate_flow(&l->gates[gate], m, &p);
    if (l->clip > 0) {
        p = pair_of(x->in, r->in, x->cut, r->cut);
        p.a = ox_number(m, -l->clip);
        p.b = ox_number(m, l->clip);
        m = ox_flow_of("Clip", m, &p);
    }
    return m;
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
    s.first = ox_varies(l->c, 5) || ox_varies(l->c, 6);
    ox_val last_h = squeezed(ox_m(l->c, 1));
    ox_val last_c = l->c->node->output_count > 2 ? squeezed(ox_m(l->c, 2)) : NULL;
    ox_val like = s.m != NULL      ? s.m
                  : last_h != NULL ? ox_unsqueeze(last_h, -3)
                                   : ox_unsqueeze(last_c, -3);
    ox_val both = ox_mul(like, factor); /* for its shape alone */
    ox_dim dims[OX_MAX_RANK];
    int rank = both->rank - 1;
    memcpy(dims, both->dims, (size_t)both->rank * sizeof *dims);
    memmove(dims + rank - 2, dims + rank - 1, 2 * sizeof *dims);
    if (l->lengths != NULL) { /* sequences end where they do */
        s.m = s.m == NULL ? NULL : ox_mul(s.m, l->within);
        s.m = last_h == NULL ? s.m : plus(ox_mul(ox_unsqueeze(last_h, -3), is_end(l, false)), s.m);
        last_h = NULL;
    }
    if (s.m == NULL) {
        s.m = ox_mul(like, ox_scale(is_end(l, true), 0));
    }
    ox_val zeros = ox_zeros(l->c->g, like->type, rank, dims);
    s.h = last_h == NULL ? zeros : ox_expand(last_h, rank, dims);
    s.c = last_c == NULL ? zeros : ox_expand(last_c, rank, dims);
    return s;
}

/* Sends what arrives at the gates, and at the states before all steps. */
static void send(const layer *l, ox_val gates, ox_val before_h, ox_val before_c)
{
    ox_ctx *c = l->c;
    if (ox_varies(c, 0)) {
        ox_send(c, 0, ox_matmul(gates, l->w));
    }
    if (ox_varies(c, 5)) {
        ox_send(c, 5, first_of(l, before_h));
    }
    if (ox_varies(c, 6)) {
        ox_send(c, 6, first_of(l, before_c));
    }
}

/* Factors, of which steps beyond a sequence's end have none. */
static ox_val within(const layer *l, ox_val factors)
{
    return times(factors, l->within);
}

/* ---- LSTM ------------------------------------------------------------------------------------ */

/* Gates i, o and f, or two of which i makes f as well; the new value; cells, and what they become
 * in states. */
typedef struct lstm_values {
    made gates, new, out;
    ox_val i, o, f, before;
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

static bool is_coupled(const layer *l)
{
    return ox_node_int(l->c->node, "input_forget", 0) != 0;
}

static ox_val peephole(const layer *l, int64_t gate)
{
    return part_of(l, l->peepholes, -1, gate, 1);
}

static void take_gates(const layer *l, lstm_values *s, ox_val in)
{
    s->gates = through(l, OX_GATE, in);
    s->i = part_of(l, s->gates.out, -1, 0, 1);
    s->o = part_of(l, s->gates.out, -1, 1, 1);
    s->f = is_coupled(l) ? ox_one_minus(s->i) : part_of(l, s->gates.out, -1, 2, 1);
}

/* Cells where gates see none of them. */
static ox_val cells_of(const layer *l, const half *h, lstm_values *s, ox_val in)
{
    take_gates(l, s, in);
    ox_val added = within(l, ox_mul(s->i, s->new.out));
    if (h->c0 != NULL) {
        added = ox_add(added, ox_mul(ox_mul(s->f, h->c0), is_end(l, true)));
    }
    return run_cells(l, s->f, added);
}

/* The same where they do: step by step. */
static ox_val cells_by_peepholes(const layer *l, const half *h, lstm_values *s, ox_val in)
{
    ox_val i = part_of(l, in, -1, 0, 1), o = part_of(l, in, -1, 1, 1);
    ox_val f = is_coupled(l) ? NULL : part_of(l, in, -1, 2, 1);
    ox_val new = within(l, s->new.out);
    const ox_cells of = {.function = &l->gates[OX_GATE],
                         .clip = l->clip,
                         .i = i,
                         .f = f,
                         .new = new,
                         .enters = h->c0 == NULL ? NULL : ox_mul(h->c0, is_end(l, true)),
                         .to_i = peephole(l, 0),
                         .to_f = peephole(l, 2),
                         .down = l->backward};
    ox_val c = ox_sweep_cells(&of), before = before_of(l, c, h->c0);
    i = ox_add(i, ox_mul(before, of.to_i));
    o = ox_add(o, ox_mul(c, peephole(l, 1)));
    take_gates(l, s, beside(i, o, f == NULL ? NULL : ox_add(f, ox_mul(before, of.to_f))));
    return c;
}

static lstm_values lstm_side(const layer *l, const half *h)
{
    lstm_values s = {.new = through(l, OX_GATE_NEW, into(l, h, 3, 1))};
    ox_val in = into(l, h, 0, is_coupled(l) ? 2 : 3);
    s.out.in = s.out.cut =
        l->peepholes != NULL ? cells_by_peepholes(l, h, &s, in) : cells_of(l, h, &s, in);
    s.before = before_of(l, s.out.in, h->c0);
    s.out.out = ox_gate_value(&l->gates[OX_GATE_OUT], s.out.in);
    return s;
}

/* From a state or cell to the gates i, o and f. */
static ox_val to_gates(const layer *l, const lstm_values *x, const lstm_values *r)
{
    ox_val new = ox_mean(x->new.out, r->new.out), out = ox_mean(x->out.out, r->out.out);
    ox_val before = ox_mean(x->before, r->before);
    if (!is_coupled(l)) {
        return slope(l, OX_GATE, beside(new, out, before), &x->gates, &r->gates);
    }
    ox_val both = beside(ox_sub(new, before), out, NULL);
    both = slope(l, OX_GATE, both, &x->gates, &r->gates);
    return beside(both, ox_scale(out, 0), NULL);
}

void flow_lstm(ox_ctx *c)
{
    layer l = open(c, 4);
    lstm_values x = lstm_side(&l, &l.sample), r = lstm_side(&l, &l.reference);
    ox_val gates = within(&l, to_gates(&l, &x, &r));
    ox_val new = within(&l, slope(&l, OX_GATE_NEW, ox_mean(x.i, r.i), &x.new, &r.new));
    ox_sweep s = arrived(&l, new);
    s.u = beside(gates, new, NULL);
    s.kept = within(&l, ox_mean(x.f, r.f));
    const ox_pair out = pair_of(x.out.in, r.out.in, x.out.out, r.out.out);
    s.out = within(&l, ox_gate_flow(&l.gates[OX_GATE_OUT], ox_mean(x.o, r.o), &out));
    if (l.peepholes != NULL) {
        s.out = ox_add(s.out, ox_mul(part_of(&l, gates, -1, 1, 1), peephole(&l, 1)));
        s.kept = ox_add(s.kept, ox_mul(part_of(&l, gates, -1, 0, 1), peephole(&l, 0)));
        s.kept = ox_add(s.kept, ox_mul(part_of(&l, gates, -1, 2, 1), peephole(&l, 2)));
    }
    if (l.within != NULL) { /* what arrives at the last cell stands behind all steps */
        s.kept = ox_add(s.kept, ox_one_minus(l.within));
    }
    ox_val all = ox_sweep_lstm(&s);
    send(&l, part_of(&l, all, -1, 0, 4), s.first ? part_of(&l, all, -1, 4, 1) : NULL,
         s.first ? part_of(&l, all, -1, 5, 1) : NULL);
}

/* ---- GRU ------------------------------------------------------------------------------------- */

typedef struct gru_values {
    made both, new; /* gates z and r, and the new value */
    ox_val z, r;
    ox_val old;  /* that is reset: a product of the state before, or that itself */
    ox_val gain; /* of the state before over the new value */
} gru_values;

static gru_values gru_side(const layer *l, const half *h, bool after)
{
    gru_values s = {.both = through(l, OX_GATE, into(l, h, 0, 2))};
    s.z = part_of(l, s.both.out, -1, 0, 1);
    s.r = part_of(l, s.both.out, -1, 1, 1);
    s.old = after ? of_state(l, h->before, 2, 1) : h->before;
    ox_val reset = ox_mul(s.r, s.old);
    reset = after ? reset : of_state(l, reset, 2, 1);
    s.new = through(l, OX_GATE_NEW, ox_add(of_input(l, h, 2, 1), reset));
    s.gain = ox_sub(h->before, s.new.out);
    return s;
}

/* h' = n + z (h - n), where n is a function of x_n + r q, q a product of the state before, or of
 * x_n + (r h) R_n. */
void flow_gru(ox_ctx *c)
{
    layer l = open(c, 3);
    bool after = ox_node_int(c->node, "linear_before_reset", 0) != 0;
    gru_values x = gru_side(&l, &l.sample, after), r = gru_side(&l, &l.reference, after);
    ox_val z = ox_mean(x.z, r.z), reset = ox_mean(x.r, r.r), old = ox_mean(x.old, r.old);
    ox_val new = within(&l, slope(&l, OX_GATE_NEW, ox_one_minus(z), &x.new, &r.new));
    ox_val others = beside(ox_mean(x.gain, r.gain), after ? ox_mul(new, old) : old, NULL);
    ox_val both = within(&l, slope(&l, OX_GATE, others, &x.both, &r.both));
    ox_sweep s = arrived(&l, new);
    s.kept = within(&l, z);
    ox_val gates, all;
    if (after) {
        s.u = beside(both, ox_mul(new, reset), NULL);
        all = ox_sweep_gru(&s);
        ox_val h = part_of(&l, all, -1, 0, 1);
        gates = ox_mul(beside(h, h, h), beside(both, new, NULL));
    } else {
        s.u = beside(part_of(&l, both, -1, 0, 1), new, NULL);
        s.reset = beside(reset, part_of(&l, both, -1, 1, 1), NULL);
        s.r_new = part_of(&l, l.r, 0, 2, 1);
        s.r = part_of(&l, l.r, 0, 0, 2);
        all = ox_sweep_gru_reset(&s);
        gates = part_of(&l, all, -1, 0, 3);
    }
    send(&l, gates, s.first ? part_of(&l, all, -1, after ? 1 : 3, 1) : NULL, NULL);
}

/* ---- RNN ------------------------------------------------------------------------------------- */

void flow_rnn(ox_ctx *c)
{
    layer l = open(c, 1);
    made x = through(&l, OX_GATE, into(&l, &l.sample, 0, 1));
    made r = through(&l, OX_GATE, into(&l, &l.reference, 0, 1));
    ox_val one = ox_number(x.in, 1);
    ox_val u = within(&l, slope(&l, OX_GATE, one, &x, &r));
    ox_sweep s = arrived(&l, ox_mul(x.in, r.in)); /* for its shape: a slope may be a number */
    s.u = ox_mul(u, ox_add(ox_scale(x.in, 0), one));
    ox_val all = ox_sweep_rnn(&s);
    send(&l, ox_mul(part_of(&l, all, -1, 0, 1), u), s.first ? part_of(&l, all, -1, 1, 1) : NULL,
         NULL);
}
