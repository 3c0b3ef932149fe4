#include "rules/sweep.h"

#include <string.h>

enum { STEP_RANK = 4, ALL_RANK = STEP_RANK + 1 }; /* [K, R, N, H]; T before N */
enum { MOST_INPUTS = 6, MOST_STATES = 2, MOST_CAPTURED = 2 };

/* ---- a Scan --------------------------------------------------------------------------------- */

/* One that is being built in `graph`, over the axis of steps of what enters; states are
 * carried on, weights seen from outside, or kept as states that stay, for other runtimes. */
typedef struct loop {
    ox_graph *graph, *body;
    bool up;
    size_t states, kept, count, captured_count;
    ox_val given[MOST_INPUTS + MOST_CAPTURED]; /* states, what is kept, what is taken by steps */
    ox_val captured[MOST_CAPTURED];
} loop;

static loop begin(ox_graph *g, bool up)
{
    return (loop){
        .graph = g, .body = ox_graph_inside(g, ox_graph_fresh_name(g, "sweep")), .up = up};
}

/* What v is in the body, [K, R, N, ..]: ONNX Runtime asks for the ranks of what a Scan gives. */
static ox_val enter(loop *l, ox_val v)
{
    ox_dim dims[STEP_RANK];
    for (int d = 0; d < STEP_RANK; d++) {
        dims[d] = ox_dim_unknown(l->body);
    }
    l->given[l->count++] = v;
    return ox_graph_input(l->body, NULL, v->type, STEP_RANK, dims);
}

/* States enter before what is taken step by step. */
static ox_val carry(loop *l, ox_val first)
{
    l->states++;
    return enter(l, first);
}

/* Between the states and what is taken step by step. */
static ox_val keep(loop *l, ox_val v)
{
    ox_val inside = ox_graph_input(l->body, NULL, v->type, v->rank, v->dims);
    size_t at = l->states + l->kept++, behind = l->count++ - at;
    memmove(l->given + at + 1, l->given + at, behind * sizeof v);
    memmove(l->body->inputs + at + 1, l->body->inputs + at, behind * sizeof v);
    l->given[at] = v;
    l->body->inputs[at] = inside;
    return inside;
}

static ox_val see(loop *l, ox_val v)
{
    if (ox_is_portable(v)) {
        return keep(l, v);
    }
    l->captured[l->captured_count++] = v;
    return v;
}

/* Outputs have names of their own. */
static void give(loop *l, ox_val v)
{
    for (size_t i = 0; i < l->body->output_count; i++) {
        if (l->body->outputs[i] == v) {
            v = ox_unary("Identity", v);
        }
    }
    ox_graph_output(l->body, v, v->name);
}

/* What each step makes, of all steps. */
static ox_val end(loop *l, const ox_val *states, ox_val made)
{
    int64_t axes[MOST_INPUTS], directions[MOST_INPUTS];
    int64_t axis = ALL_RANK - 3; /* tract miscounts one from the end */
    size_t carried = l->states + l->kept, steps = l->count - carried;
    for (size_t i = 0; i < steps; i++) {
        axes[i] = axis;
        directions[i] = l->up ? 0 : 1;
    }
    for (size_t i = 0; i < l->states; i++) {
        give(l, states[i]);
    }
    for (size_t i = l->states; i < carried; i++) {
        give(l, ox_unary("Identity", l->body->inputs[i]));
    }
    give(l, made);
    ox_graph_prune(l->body);
    ox_graph_sort(l->body);
    const ox_attr attrs[] = {
        {.name = "body", .kind = OX_ATTR_GRAPH, .graph = l->body},
        ox_attr_int("num_scan_inputs", (int64_t)steps),
        ox_attr_ints("scan_input_axes", steps, axes),
        ox_attr_ints("scan_input_directions", steps, directions),
        ox_attr_ints("scan_output_axes", 1, &axis),
        ox_attr_ints("scan_output_directions", 1, directions),
    };
    ox_node *scan =
        ox_graph_emit_node(l->graph, "", "Scan", l->count, l->given, carried + 1, 6, attrs);
    for (size_t i = 0; i < l->captured_count; i++) {
        ox_node_captures(scan, l->captured[i]);
    }
    scan->outputs[carried]->type = l->given[0]->type;
    return scan->outputs[carried];
}

/* ---- functions ------------------------------------------------------------------------------ */

/* v with axes of length 1 before its own. */
static ox_val of_rank(ox_val v, int rank)
{
    while (v->rank < rank) {
        v = ox_unsqueeze(v, 0);
    }
    return v;
}

/* The operands of a function, and what its body needs to know besides. */
typedef struct call {
    bool up, first;
    const ox_cells *cells; /* NULL: of another */
    size_t count;
    ox_val in[MOST_INPUTS + MOST_CAPTURED];
} call;

static void add(call *c, ox_val v)
{
    c->in[c->count++] = v;
}

static void add_steps(call *c, ox_val v)
{
    add(c, of_rank(v, ALL_RANK));
}

static void add_state(call *c, ox_val v)
{
    add(c, of_rank(v, STEP_RANK));
}

/* The function of the first state's shape with the steps of `like`. */
static ox_val call_sweep(const char *name, call c, ox_body body, ox_val first, ox_val like,
                         int64_t width)
{
    ox_arena *a = like->graph->arena;
    int lead = first->rank - 2;
    ox_dim dims[ALL_RANK];
    for (int d = 0; d < STEP_RANK - 2; d++) {
        int from = d - (STEP_RANK - 2 - lead);
        dims[d] = from < 0 ? ox_dim_of(1) : first->dims[from];
    }
    dims[ALL_RANK - 3] = like->dims[like->rank - 3];
    dims[ALL_RANK - 2] = first->dims[lead];
    dims[ALL_RANK - 1] = ox_dim_of(width);
    name = ox_arena_format(a, "Sweep%s%s%s", name, c.first ? "First" : "", c.up ? "Up" : "");
    const call *user = ox_arena_copy(a, &c, 1, sizeof c);
    ox_val all = ox_call_shaped(name, body, user, c.count, c.in, ALL_RANK, dims);
    while (all->rank > first->rank + 1) {
        all = ox_squeeze(all, 0);
    }
    return all;
}

static int64_t last_of(ox_val v)
{
    return v->dims[v->rank - 1].size;
}

static ox_val beside(size_t count, const ox_val *parts)
{
    return ox_concat(parts[0]->graph, count, parts, -1);
}

/* The states' new ones behind what a step makes, where these are wanted. */
static ox_val with_states(const call *c, ox_val made, size_t count, const ox_val *states)
{
    ox_val all[1 + MOST_STATES] = {made};
    memcpy(all + 1, states, count * sizeof *states);
    return c->first ? beside(count + 1, all) : made;
}

/* ---- layers with one state ------------------------------------------------------------------ */

/* Operands: the state, m, u, r, then what each has of its own. */
enum { H, M, U, R, OWN };

static call call_of(const ox_sweep *s)
{
    call c = {.up = s->up, .first = s->first};
    add_state(&c, s->h);
    add_steps(&c, s->m);
    add_steps(&c, s->u);
    add(&c, s->r);
    return c;
}

static ox_val rnn(const ox_val *in, const void *user)
{
    const call *c = user;
    loop l = begin(in[M]->graph, c->up);
    ox_val h = carry(&l, in[H]);
    h = ox_add(enter(&l, in[M]), h);
    ox_val before = ox_matmul(ox_mul(h, enter(&l, in[U])), see(&l, in[R]));
    return end(&l, &before, with_states(c, h, 1, &before));
}

ox_val ox_sweep_rnn(const ox_sweep *s)
{
    return call_sweep("Rnn", call_of(s), rnn, s->h, s->m, (s->first ? 2 : 1) * last_of(s->h));
}

static ox_val gru(const ox_val *in, const void *user)
{
    const call *c = user;
    loop l = begin(in[M]->graph, c->up);
    ox_val h = carry(&l, in[H]);
    h = ox_add(enter(&l, in[M]), h);
    ox_val three[] = {h, h, h};
    ox_val gates = ox_mul(beside(3, three), enter(&l, in[U]));
    ox_val kept = ox_mul(h, enter(&l, in[OWN]));
    ox_val before = ox_add(ox_matmul(gates, see(&l, in[R])), kept);
    return end(&l, &before, with_states(c, h, 1, &before));
}

ox_val ox_sweep_gru(const ox_sweep *s)
{
    call c = call_of(s);
    add_steps(&c, s->kept);
    return call_sweep("Gru", c, gru, s->h, s->m, (s->first ? 2 : 1) * last_of(s->h));
}

/* v as so many parts along its last axis. */
static const ox_val *parts_of(ox_val v, size_t count)
{
    const ox_attr attrs[] = {ox_attr_int("axis", -1), ox_attr_int("num_outputs", (int64_t)count)};
    return ox_graph_emit_node(v->graph, "", "Split", 1, &v, count, 2, attrs)->outputs;
}

static ox_val gru_reset(const ox_val *in, const void *user)
{
    const call *c = user;
    loop l = begin(in[M]->graph, c->up);
    ox_val h = carry(&l, in[H]);
    h = ox_add(enter(&l, in[M]), h);
    ox_val two[] = {h, h};
    const ox_val *made = parts_of(ox_mul(beside(2, two), enter(&l, in[U])), 2);
    ox_val kept = ox_mul(h, enter(&l, in[OWN])), a = ox_matmul(made[1], see(&l, in[OWN + 2]));
    ox_val twice[] = {a, a};
    const ox_val *reset = parts_of(ox_mul(beside(2, twice), enter(&l, in[OWN + 1])), 2);
    ox_val gates[] = {made[0], reset[1], made[1]};
    ox_val before = ox_matmul(beside(2, gates), see(&l, in[R]));
    before = ox_add(ox_add(before, kept), reset[0]);
    return end(&l, &before, with_states(c, beside(3, gates), 1, &before));
}

ox_val ox_sweep_gru_reset(const ox_sweep *s)
{
    call c = call_of(s);
    add_steps(&c, s->kept);
    add_steps(&c, s->reset);
    add(&c, s->r_new);
    return call_sweep("GruReset", c, gru_reset, s->h, s->m, (s->first ? 4 : 3) * last_of(s->h));
}

/* ---- LSTM ----------------------------------------------------------------------------------- */

static ox_val lstm(const ox_val *in, const void *user)
{
    const call *c = user;
    loop l = begin(in[M]->graph, c->up);
    ox_val h = carry(&l, in[H]), cell = carry(&l, in[OWN]);
    h = ox_add(enter(&l, in[M]), h);
    cell = ox_add(ox_mul(h, enter(&l, in[OWN + 2])), cell);
    ox_val each[] = {cell, h, cell, cell};
    ox_val gates = ox_mul(beside(4, each), enter(&l, in[U]));
    ox_val kept = ox_mul(cell, enter(&l, in[OWN + 1]));
    ox_val before[] = {ox_matmul(gates, see(&l, in[R])), kept};
    return end(&l, before, with_states(c, gates, 2, before));
}

ox_val ox_sweep_lstm(const ox_sweep *s)
{
    call c = call_of(s);
    add_state(&c, s->c);
    add_steps(&c, s->kept);
    add_steps(&c, s->out);
    return call_sweep("Lstm", c, lstm, s->h, s->m, (s->first ? 6 : 4) * last_of(s->h));
}

/* ---- forwards ------------------------------------------------------------------------------- */

/* Zeros in the shape of one step of v. */
static ox_val zeros_of_step(ox_val v)
{
    ox_dim dims[OX_MAX_RANK];
    memcpy(dims, v->dims, (size_t)v->rank * sizeof *dims);
    memmove(dims + v->rank - 3, dims + v->rank - 2, 2 * sizeof *dims);
    return ox_zeros(v->graph, v->type, v->rank - 1, dims);
}

static ox_val sums(const ox_val *in, const void *user)
{
    loop l = begin(in[0]->graph, ((const call *)user)->up);
    ox_val c = carry(&l, in[0]);
    c = ox_mul(c, enter(&l, in[1]));
    c = ox_add(c, enter(&l, in[2]));
    return end(&l, &c, c);
}

ox_val ox_sweep_sums(ox_val f, ox_val b, bool down)
{
    call c = {.up = !down};
    ox_val first = zeros_of_step(b);
    add_state(&c, first);
    add_steps(&c, f);
    add_steps(&c, b);
    return call_sweep("Sums", c, sums, first, b, last_of(b));
}

static ox_val gate_of(const ox_cells *of, ox_val in, ox_val cell, ox_val weights)
{
    in = ox_add(in, ox_mul(cell, weights));
    return ox_gate_value(of->function, of->clip > 0 ? ox_clip(in, -of->clip, of->clip) : in);
}

/* Operands: the state, i, new, to_i; f and to_f where there is one; what enters. */
static ox_val cells(const ox_val *in, const void *user)
{
    const call *c = user;
    const ox_cells *of = c->cells;
    size_t next = 4;
    loop l = begin(in[0]->graph, c->up);
    ox_val cell = carry(&l, in[0]), i = enter(&l, in[1]), new = enter(&l, in[2]);
    ox_val f = of->f == NULL ? NULL : enter(&l, in[next++]);
    ox_val to_f = of->f == NULL ? NULL : see(&l, in[next++]);
    if (of->enters != NULL) {
        cell = ox_add(cell, enter(&l, in[next]));
    }
    i = gate_of(of, i, cell, see(&l, in[3]));
    f = f == NULL ? ox_one_minus(i) : gate_of(of, f, cell, to_f);
    cell = ox_add(ox_mul(f, cell), ox_mul(i, new));
    return end(&l, &cell, cell);
}

ox_val ox_sweep_cells(const ox_cells *of)
{
    ox_arena *a = of->new->graph->arena;
    call c = {.up = !of->down, .cells = ox_arena_copy(a, of, 1, sizeof *of)};
    ox_val like = of->enters == NULL ? of->new : ox_add(of->new, of->enters);
    ox_val first = zeros_of_step(like);
    add_state(&c, first);
    add_steps(&c, of->i);
    add_steps(&c, of->new);
    add(&c, of->to_i);
    if (of->f != NULL) {
        add_steps(&c, of->f);
        add(&c, of->to_f);
    }
    if (of->enters != NULL) {
        add_steps(&c, of->enters);
    }
    const ox_gate *f = of->function;
    const char *name = ox_arena_format(
        a, "Cells%s%s%s%.9g_%.9g_%.9g_", f->op, of->f == NULL ? "Coupled" : "",
        of->enters != NULL ? "Entered" : "", (double)f->alpha, (double)f->beta, of->clip);
    return call_sweep(name, c, cells, first, like, last_of(like));
}
