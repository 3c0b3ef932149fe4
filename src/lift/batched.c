/* Bodies of loops whose steps do not depend on each other, written out once for all steps: what
 * differs from step to step has an axis of steps in front, what does not stays as it is. Steps of
 * another kind, and operators that are not known here, are written out one by one. */
#include "lift/batched.h"

#include <string.h>

#include "lift/batch.h"
#include "shape/shape.h"

/* ---- bodies ---------------------------------------------------------------------------------- */

/* A node that is the same in all steps. */
static void visit_shared(const ox_batch *b, ox_node *n)
{
    if (ox_node_has_body(n)) {
        ox_batch_give_up(b, n);
    }
    const ox_node *made = ox_graph_emit_node(n->graph, n->domain, n->op, n->input_count, n->inputs,
                                             n->output_count, n->attr_count, n->attrs);
    memcpy(n->outputs, made->outputs, n->output_count * sizeof(ox_val));
    ox_val known = n->output_count == 1 ? ox_graph_known(n->graph, made->outputs[0]) : NULL;
    n->outputs[0] = known != NULL ? known : n->outputs[0];
}

static void visit(void *user, ox_node *n, const ox_map *around)
{
    ox_batch *b = user;
    (void)around;
    ox_control_spend(b->c, 1);
    bool by_step = false;
    for (size_t i = 0; i < n->input_count; i++) {
        ox_val v = n->inputs[i];
        by_step = by_step || ox_batch_by_step(b, v);
        if (v != NULL && !ox_batch_by_step(b, v)) {
            ox_batch_note(b, v, false);
        }
    }
    if (ox_node_is(n, "Identity")) {
        n->outputs[0] = n->inputs[0];
        return;
    }
    for (size_t i = 0; by_step && i < n->input_count; i++) {
        if (n->inputs[i] != NULL && n->inputs[i]->rank < 0) {
            ox_batch_give_up(b, n);
        }
    }
    if (!by_step && n->output_count > 0) {
        visit_shared(b, n);
    } else if (by_step) {
        n->outputs[0] = ox_batch_write(b, n);
        return;
    }
    for (size_t i = 0; i < n->output_count; i++) {
        ox_batch_note(b, n->outputs[i], by_step);
    }
}

static ox_val *run_body(ox_batch *b, size_t count, const ox_val *in, size_t *outputs)
{
    return ox_control_put(b->c, "body", visit, b, count, in, outputs);
}

/* ---- Scan ------------------------------------------------------------------------------------ */

/* v with axis `from` moved to `to`. */
static ox_val moved(ox_val v, int from, int to)
{
    int order[OX_MAX_RANK];
    for (int i = 0, at = 0; i < v->rank; i++) {
        at += at == from;
        order[i] = i == to ? from : at++;
    }
    return from == to ? v : ox_transpose(v, order);
}

/* The steps in opposite order. */
static ox_val reversed(ox_val v, int64_t axis)
{
    static const int64_t last = -1, end = INT64_MIN + 1;
    ox_graph *g = v->graph;
    ox_val in[] = {v, ox_ints(g, 1, &last), ox_ints(g, 1, &end), ox_ints(g, 1, &axis),
                   ox_ints(g, 1, &last)};
    return ox_graph_emit(g, "Slice", 5, in, 0, NULL);
}

typedef struct job {
    const ox_control *c;
    const ox_scan *scan; /* of a Scan */
    ox_val going;        /* of a Loop: the condition as its body takes it */
    ox_val *outputs;
} job;

static ox_val scanned_input(ox_batch *b, const ox_scan *scan, size_t k)
{
    const ox_node *n = b->c->node;
    ox_val v = n->inputs[scan->states + k];
    int axis = v == NULL || v->rank < 1 ? -1 : ox_shape_axis(n, scan->input_axes[k], v->rank);
    if (axis < 0 || v->rank >= OX_MAX_RANK) {
        ox_control_fail(b->c, "the shape of what it scans is not known");
    }
    ox_dim d = v->dims[axis];
    if (k > 0 && !ox_dim_equal(d, b->steps)) {
        ox_control_fail(b->c, "what it scans differs in length");
    }
    b->steps = d;
    v = moved(v, axis, 0);
    b->like = scan->input_backward[k] ? reversed(v, 0) : v;
    return ox_batch_note(b, b->like, true);
}

static ox_val scanned_output(const ox_batch *b, const ox_scan *scan, size_t k, ox_val v)
{
    v = ox_batch_repeated(b, v);
    int axis = ox_shape_axis(b->c->node, scan->output_axes[k], v->rank);
    v = scan->output_backward[k] ? reversed(v, 0) : v;
    return moved(v, 0, axis);
}

static void write_scan(void *user)
{
    const job *j = user;
    const ox_node *n = j->c->node;
    const ox_scan *scan = j->scan;
    ox_batch b = {.c = j->c, .marks.arena = n->graph->arena};
    ox_val *in = ox_arena_copy(n->graph->arena, n->inputs, n->input_count, sizeof *in);
    size_t count = 0;
    for (size_t k = 0; k + scan->states < n->input_count; k++) {
        in[scan->states + k] = scanned_input(&b, scan, k);
    }
    const ox_val *out = run_body(&b, n->input_count, in, &count);
    if (count < n->output_count) {
        ox_control_fail(j->c, "its subgraph has too few outputs");
    }
    for (size_t i = 0; i < n->output_count; i++) {
        if (i < scan->states && out[i] != in[i]) {
            ox_control_fail(j->c, "its steps depend on each other");
        }
        j->outputs[i] =
            i < scan->states ? in[i] : scanned_output(&b, scan, i - scan->states, out[i]);
    }
}

/* What cannot be done leaves the outputs to others. */
static bool attempt(const ox_control *c, void (*write)(void *user), job *j)
{
    ox_error err;
    ox_arena *a = c->node->graph->arena;
    bool done = ox_arena_try(a, write, j, &err);
    if (!done && err.code != OX_UNSUPPORTED) {
        ox_fail(a, err.code, "%s", err.message);
    }
    if (!done) {
        memset(j->outputs, 0, c->node->output_count * sizeof *j->outputs);
    }
    return done;
}

/* ---- Loop ------------------------------------------------------------------------------------ */

/* 0, 1, .. as the body wants the number of a step: a scalar or a vector of one. */
static ox_val step_numbers(ox_batch *b)
{
    const ox_node *n = b->c->node;
    ox_val trips = n->inputs[0];
    trips = trips->rank == 0 ? trips : ox_reshape(trips, 0, NULL);
    ox_val in[] = {ox_int_scalar(n->graph, 0), trips, ox_int_scalar(n->graph, 1)};
    ox_val t = ox_graph_emit_node(n->graph, "", "Range", 3, in, 1, 0, NULL)->outputs[0];
    t->rank = 1;
    t->dims = ox_arena_copy(n->graph->arena, &b->steps, 1, sizeof b->steps);
    b->like = t;
    t = ox_control_rank(b->c, "body", 0) == 1 ? ox_unsqueeze(t, 1) : t;
    ox_batch_note(b, t, true);
    ox_batch_mark_of(b, t)->is = (ox_progression){true, 1, 0};
    return t;
}

static bool is_true(ox_val v)
{
    size_t count = 0;
    const ox_dim *e = v == NULL ? NULL : ox_shape_elements(v);
    return v == NULL || (e != NULL && ox_shape_count(v->rank, v->dims, &count) && count == 1 &&
                         ox_dim_is_static(e[0]) && e[0].size != 0);
}

/* Of all but the first element of a vector and one more: as many as the vector has. */
static const ox_dim *length_of_rest(ox_val v)
{
    const ox_node *n = v->node, *whole = ox_node_is(n, "Slice") ? n->inputs[0]->node : NULL;
    ox_shape_list from = n != NULL ? ox_shape_input_list(n, 1) : (ox_shape_list){0};
    bool is = ox_node_is(whole, "Concat") && whole->input_count == 2 && from.fixed &&
              from.count == 1 && from.items[0].size == 1 && whole->inputs[0]->rank == 1 &&
              whole->inputs[1]->rank == 1 && ox_dim_is(whole->inputs[1]->dims[0], 1);
    ox_shape_list to = is ? ox_shape_input_list(n, 2) : (ox_shape_list){0};
    is = is && to.fixed && to.count == 1 && to.items[0].size >= INT32_MAX;
    return is ? &whole->inputs[0]->dims[0] : NULL;
}

/* The number of steps: a known one, or the length of such a vector; NULL where it is not known. */
static const ox_dim *steps_of(ox_val trips)
{
    const ox_dim *e = trips == NULL ? NULL : ox_shape_elements(trips);
    const ox_node *n = trips == NULL ? NULL : trips->node;
    if (e != NULL && e[0].unknown == 0) {
        return e;
    }
    while (ox_node_is(n, "Cast") || ox_node_is(n, "Identity") || ox_node_is(n, "Squeeze")) {
        n = n->inputs[0]->node;
    }
    int64_t at = 0;
    if (ox_node_is(n, "Gather") && ox_shape_number(n, 1, &at) && at == 0) {
        n = n->inputs[0]->node;
    }
    ox_val v = ox_node_is(n, "Shape") ? n->inputs[0] : NULL;
    e = v == NULL || v->rank != 1 ? NULL : length_of_rest(v);
    return e != NULL && e->unknown == 0 ? e : NULL;
}

static void write_loop(void *user)
{
    const job *j = user;
    const ox_node *n = j->c->node;
    size_t carried = n->input_count > 2 ? n->input_count - 2 : 0, count = 0;
    ox_batch b = {.c = j->c, .marks.arena = n->graph->arena};
    const ox_dim *steps = steps_of(ox_node_input(n, 0));
    if (steps == NULL || !is_true(ox_node_input(n, 1))) {
        ox_control_fail(j->c, "whether it goes on is known at run time only");
    }
    b.steps = *steps;
    ox_val *in = ox_arena_alloc(n->graph->arena, carried + 2, sizeof *in);
    in[0] = step_numbers(&b);
    in[1] = j->going;
    for (size_t i = 2; i < carried + 2; i++) {
        in[i] = n->inputs[i];
    }
    const ox_val *out = run_body(&b, carried + 2, in, &count);
    bool apart = count >= carried + 1 && count > n->output_count && is_true(out[0]);
    for (size_t i = 0; apart && i < carried; i++) {
        apart = out[i + 1] == in[i + 2];
    }
    if (!apart) {
        ox_control_fail(j->c, "its steps depend on each other");
    }
    for (size_t i = 0; i < n->output_count; i++) {
        j->outputs[i] = i < carried ? in[i + 2] : ox_batch_repeated(&b, out[i + 1]);
    }
}

bool ox_batched_loop(const ox_control *c, ox_val going, ox_val *outputs)
{
    job j = {.c = c, .going = going, .outputs = outputs};
    return attempt(c, write_loop, &j);
}

bool ox_batched_scan(const ox_control *c, const ox_scan *scan, ox_val *outputs)
{
    job j = {.c = c, .scan = scan, .outputs = outputs};
    return attempt(c, write_scan, &j);
}
