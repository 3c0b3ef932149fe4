#include "rules/sweep.h"

#include <string.h>

/* Operands of both functions, in this order; those of a cell are the last. */
enum { M, U, R, H, KEPT, C, OUT, OPERANDS };

enum { STEP_RANK = 4 }; /* [K, R, N, H] */

typedef struct loop loop;

typedef struct form {
    bool up, cells, with_cells;
    size_t gates, operands;
    void (*step)(loop *l, const struct form *f);
} form;

/* ---- the body of the Scan ------------------------------------------------------------------- */

struct loop {
    ox_graph *body;
    const ox_val *in; /* of the function */
    ox_val part[OPERANDS];
};

/* An operand in the body, [K, R, N, ..]: ONNX Runtime asks for the ranks of what a Scan gives. */
static void enter(loop *l, int operand)
{
    ox_dim dims[STEP_RANK];
    for (int d = 0; d < STEP_RANK; d++) {
        dims[d] = ox_dim_unknown(l->body);
    }
    if (l->in[operand] != NULL) {
        l->part[operand] = ox_graph_input(l->body, NULL, l->in[operand]->type, STEP_RANK, dims);
    }
}

static void give(loop *l, ox_val v)
{
    ox_graph_output(l->body, v, v->name);
}

/* v beside itself, `count` times. */
static ox_val copies(ox_val v, size_t count)
{
    ox_val *same = ox_arena_alloc(v->graph->arena, count, sizeof *same);
    for (size_t i = 0; i < count; i++) {
        same[i] = v;
    }
    return count == 1 ? v : ox_concat(v->graph, count, same, -1);
}

static void step_state(loop *l, const form *f)
{
    ox_val h = ox_add(l->part[M], l->part[H]);
    ox_val before = ox_matmul(ox_mul(copies(h, f->gates), l->part[U]), l->in[R]);
    if (l->part[KEPT] != NULL) {
        before = ox_add(before, ox_mul(h, l->part[KEPT]));
    }
    give(l, before);
    give(l, h);
}

/* h is the sum so far. */
static void step_sum(loop *l, const form *f)
{
    (void)f;
    ox_val sum = ox_add(ox_mul(l->part[H], l->part[U]), l->part[M]);
    give(l, ox_unary("Identity", sum));
    give(l, sum);
}

static void step_cell(loop *l, const form *f)
{
    ox_val h = ox_add(l->part[M], l->part[H]);
    ox_val c = ox_add(ox_mul(h, l->part[OUT]), l->part[C]);
    ox_val each[] = {c, h, c, c};
    ox_val gates = ox_mul(ox_concat(l->body, 4, each, -1), l->part[U]);
    give(l, ox_matmul(gates, l->in[R]));
    give(l, ox_mul(c, l->part[KEPT]));
    ox_val both[] = {gates, c};
    give(l, f->with_cells ? ox_concat(l->body, 2, both, -1) : gates);
}

/* The Scan over the third axis from the end; states are carried on, weights are seen from outside.
 */
static ox_val body(const ox_val *operands, const void *user)
{
    const form *f = user;
    ox_val in[OPERANDS] = {NULL};
    memcpy(in, operands, f->operands * sizeof *in);
    ox_graph *g = in[M]->graph;
    static const int carried[] = {H, C}, scanned[] = {M, U, KEPT, OUT};
    loop l = {.body = ox_graph_inside(g, ox_graph_fresh_name(g, "sweep")), .in = in};
    ox_val given[OPERANDS];
    size_t count = 0, states = f->cells ? 2 : 1;
    for (size_t i = 0; i < states; i++) {
        enter(&l, carried[i]);
        given[count++] = in[carried[i]];
    }
    int64_t axes[4], directions[4], last = -3;
    for (size_t i = 0; i < 4; i++) {
        enter(&l, scanned[i]);
        if (in[scanned[i]] != NULL) {
            axes[count - states] = last;
            directions[count - states] = f->up ? 0 : 1;
            given[count++] = in[scanned[i]];
        }
    }
    f->step(&l, f);
    ox_graph_prune(l.body);
    ox_graph_sort(l.body);
    const ox_attr attrs[] = {
        {.name = "body", .kind = OX_ATTR_GRAPH, .graph = l.body},
        ox_attr_int("num_scan_inputs", (int64_t)(count - states)),
        ox_attr_ints("scan_input_axes", count - states, axes),
        ox_attr_ints("scan_input_directions", count - states, directions),
        ox_attr_ints("scan_output_axes", 1, &last),
        ox_attr_ints("scan_output_directions", 1, directions),
    };
    ox_node *scan = ox_graph_emit_node(g, "", "Scan", count, given, states + 1, 6, attrs);
    if (in[R] != NULL) {
        ox_node_captures(scan, in[R]);
    }
    scan->outputs[states]->type = in[M]->type;
    return scan->outputs[states];
}

/* ---- the functions -------------------------------------------------------------------------- */

/* v with axes of length 1 before its own. */
static ox_val of_rank(ox_val v, int rank)
{
    while (v != NULL && v->rank < rank) {
        v = ox_unsqueeze(v, 0);
    }
    return v;
}

static ox_val call(const char *name, const ox_sweep *s, form f, int64_t width)
{
    enum { ALL = STEP_RANK + 1 }; /* steps before N */
    ox_val in[OPERANDS] = {
        of_rank(s->m, ALL),       of_rank(s->u, ALL),    s->r,
        of_rank(s->h, STEP_RANK), of_rank(s->kept, ALL), of_rank(s->c, STEP_RANK),
        of_rank(s->out, ALL)};
    ox_arena *a = s->m->graph->arena;
    const form *user = ox_arena_copy(a, &f, 1, sizeof f);
    const ox_dim *h = in[H]->dims;
    const ox_dim dims[ALL] = {h[0], h[1], in[M]->dims[2], h[2], ox_dim_of(width)};
    ox_val all = ox_call_shaped(ox_arena_format(a, "%s%s", name, f.up ? "Up" : ""), body, user,
                                f.operands, in, ALL, dims);
    while (all->rank > s->h->rank + 1) {
        all = ox_squeeze(all, 0);
    }
    return all;
}

static int64_t last_of(ox_val v)
{
    return v->dims[v->rank - 1].size;
}

ox_val ox_sweep_states(const ox_sweep *s)
{
    int64_t hidden = last_of(s->h), gates = last_of(s->u) / hidden;
    form f = {.up = s->up, .gates = (size_t)gates, .step = step_state};
    f.operands = s->kept != NULL ? C : KEPT;
    const char *name = s->kept != NULL ? "SweepGru" : "SweepRnn";
    return call(name, s, f, hidden);
}

ox_val ox_sweep_cells(const ox_sweep *s, bool cells)
{
    int64_t hidden = last_of(s->h);
    form f = {.up = s->up, .cells = true, .with_cells = cells, .step = step_cell};
    f.operands = OPERANDS;
    return call(cells ? "SweepLstmCells" : "SweepLstm", s, f, (cells ? 5 : 4) * hidden);
}

ox_val ox_sweep_sums(ox_val f, ox_val b, bool down)
{
    ox_dim dims[OX_MAX_RANK];
    memcpy(dims, b->dims, (size_t)b->rank * sizeof *dims);
    dims[b->rank - 3] = b->dims[b->rank - 2];
    dims[b->rank - 2] = b->dims[b->rank - 1];
    ox_sweep s = {.m = b, .u = f, .up = !down};
    s.h = ox_zeros(b->graph, b->type, b->rank - 1, dims);
    form as = {.up = !down, .step = step_sum, .operands = KEPT};
    s.r = ox_number(b, 0); /* has a place among the operands, and is not used */
    return call("SweepSums", &s, as, last_of(b));
}
