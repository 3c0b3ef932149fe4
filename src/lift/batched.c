/* Bodies of loops whose steps do not depend on each other, written out once for all steps: what
 * differs from step to step has an axis of steps in front, what does not stays as it is. Steps of
 * another kind, and operators that are not known here, are written out one by one. */
#include "lift/batched.h"

#include <string.h>

#include "lift/progression.h"
#include "shape/shape.h"

/* A value of the body as it was met: with an axis of steps or without; and what it is in step t,
 * where it is one whole number that is known. */
typedef struct mark {
    ox_val value;
    bool by_step;
    ox_progression is;
} mark;

typedef struct batch {
    const ox_control *c;
    ox_dim steps;
    ox_val like; /* the steps' axis first */
    ox_table marks;
} batch;

static _Noreturn void give_up(const batch *b, const ox_node *n)
{
    ox_control_fail(b->c, ox_arena_format(n->graph->arena, "%s has no form for all steps at once",
                                          ox_node_label(n)));
}

/* ---- marks ----------------------------------------------------------------------------------- */

static mark *find_mark(const batch *b, ox_val v)
{
    size_t at = OX_TABLE_START;
    uint64_t hash = ox_hash(0, &v, sizeof v);
    for (mark *m; (m = ox_table_next(&b->marks, hash, &at)) != NULL;) {
        if (m->value == v) {
            return m;
        }
    }
    return NULL;
}

/* The same node may stand for both kinds, as equal ones are shared: then steps are written out. */
static ox_val note(batch *b, ox_val v, bool by_step)
{
    mark *m = find_mark(b, v);
    if (m == NULL) {
        m = ox_arena_alloc(b->marks.arena, 1, sizeof *m);
        *m = (mark){.value = v, .by_step = by_step};
        ox_table_add(&b->marks, ox_hash(0, &v, sizeof v), m);
    }
    if (m->by_step != by_step || (by_step && v->rank < 1)) {
        ox_control_fail(b->c, "what differs from step to step cannot be told");
    }
    return v;
}

static bool is_by_step(const batch *b, ox_val v)
{
    const mark *m = v == NULL ? NULL : find_mark(b, v);
    return m != NULL && m->by_step;
}

/* The rank that v has in one step. */
static int own_rank(const batch *b, ox_val v)
{
    return v->rank - is_by_step(b, v);
}

/* v with axes of length 1 behind that of the steps, so that it broadcasts as in one step. */
static ox_val aligned(const batch *b, ox_val v, int rank)
{
    int64_t axes[OX_MAX_RANK];
    int missing = rank - own_rank(b, v);
    if (!is_by_step(b, v) || missing <= 0) {
        return v;
    }
    for (int i = 0; i < missing; i++) {
        axes[i] = i + 1;
    }
    return ox_binary("Unsqueeze", v, ox_ints(v->graph, (size_t)missing, axes));
}

/* v with an axis of steps, along which it is repeated where it had none. */
static ox_val repeated(const batch *b, ox_val v)
{
    ox_graph *g = v->graph;
    int64_t ones[OX_MAX_RANK];
    if (is_by_step(b, v)) {
        return v;
    }
    for (int i = 0; i < v->rank; i++) {
        ones[i] = 1;
    }
    ox_attr first[] = {ox_attr_int("start", 0), ox_attr_int("end", 1)};
    ox_val like = b->like, steps = ox_graph_emit(g, "Shape", 1, &like, 2, first);
    ox_val parts[] = {steps, ox_ints(g, (size_t)(v->rank < 0 ? 0 : v->rank), ones)};
    return ox_binary("Expand", v, ox_concat(g, 2, parts, 0));
}

/* ---- operators ------------------------------------------------------------------------------- */

typedef ox_val (*form)(batch *b, const ox_node *n);

static ox_val emit_like(const ox_node *n, size_t count, const ox_val *in, size_t attr_count,
                        const ox_attr *attrs)
{
    return ox_graph_emit(n->graph, n->op, count, in, attr_count, attrs);
}

static ox_val of_elements(batch *b, const ox_node *n)
{
    ox_val *in = ox_arena_copy(n->graph->arena, n->inputs, n->input_count, sizeof *in);
    int rank = 0;
    for (size_t i = 0; i < n->input_count; i++) {
        rank = in[i] != NULL && own_rank(b, in[i]) > rank ? own_rank(b, in[i]) : rank;
    }
    for (size_t i = 0; i < n->input_count; i++) {
        in[i] = in[i] == NULL ? NULL : aligned(b, in[i], rank);
    }
    return emit_like(n, n->input_count, in, n->attr_count, n->attrs);
}

static ox_val of_matmul(batch *b, const ox_node *n)
{
    if (own_rank(b, n->inputs[0]) < 2 || own_rank(b, n->inputs[1]) < 2) {
        give_up(b, n);
    }
    return of_elements(b, n);
}

/* An axis of one step, counted from the end. */
static int64_t from_end(const batch *b, const ox_node *n, int64_t axis, int rank)
{
    if (axis < -(int64_t)rank || axis >= rank) {
        give_up(b, n);
    }
    return axis < 0 ? axis : axis - rank;
}

/* The axes that input 1 lists, counted from the end of `rank`; all of them where it is missing. */
static ox_val axes_of(const batch *b, const ox_node *n, int rank)
{
    int64_t axes[OX_MAX_RANK];
    ox_shape_list list = ox_shape_input_list(n, 1);
    if ((list.given && !list.fixed) || rank < 0 || rank >= OX_MAX_RANK ||
        list.count > OX_MAX_RANK || is_by_step(b, ox_node_input(n, 1))) {
        give_up(b, n);
    }
    size_t count = list.given && list.count > 0 ? list.count : (size_t)rank;
    for (size_t i = 0; i < count; i++) {
        int64_t axis = list.count > 0 ? list.items[i].size : (int64_t)i;
        axes[i] = from_end(b, n, axis, rank);
    }
    return ox_ints(n->graph, count, axes);
}

static ox_val of_reduction(batch *b, const ox_node *n)
{
    int rank = own_rank(b, n->inputs[0]);
    ox_shape_list list = ox_shape_input_list(n, 1);
    bool nothing = list.count == 0 && ox_node_int(n, "noop_with_empty_axes", 0) != 0;
    if (nothing || rank == 0) {
        give_up(b, n);
    }
    ox_val in[] = {n->inputs[0], axes_of(b, n, rank)};
    return emit_like(n, 2, in, n->attr_count, n->attrs);
}

static ox_val of_unsqueeze(batch *b, const ox_node *n)
{
    int rank = own_rank(b, n->inputs[0]) + (int)ox_shape_input_list(n, 1).count;
    ox_val in[] = {n->inputs[0], axes_of(b, n, rank)};
    return emit_like(n, 2, in, 0, NULL);
}

static ox_val of_squeeze(batch *b, const ox_node *n)
{
    if (ox_shape_input_list(n, 1).count == 0) {
        give_up(b, n);
    }
    ox_val in[] = {n->inputs[0], axes_of(b, n, own_rank(b, n->inputs[0]))};
    return emit_like(n, 2, in, 0, NULL);
}

static ox_val of_transpose(batch *b, const ox_node *n)
{
    int rank = own_rank(b, n->inputs[0]), order[OX_MAX_RANK] = {0};
    const int *perm = rank >= OX_MAX_RANK ? NULL : ox_node_perm(n, rank);
    if (perm == NULL) {
        give_up(b, n);
    }
    for (int i = 0; i < rank; i++) {
        order[i + 1] = 1 + perm[i];
    }
    return ox_transpose(n->inputs[0], order);
}

/* Attributes with `axis` counted from the end. */
static ox_attr axis_from_end(const batch *b, const ox_node *n, int64_t otherwise, int rank)
{
    return ox_attr_int("axis", from_end(b, n, ox_node_int(n, "axis", otherwise), rank));
}

static ox_val of_softmax(batch *b, const ox_node *n)
{
    ox_attr axis = axis_from_end(b, n, -1, own_rank(b, n->inputs[0]));
    return emit_like(n, 1, n->inputs, 1, &axis);
}

static ox_val of_concat(batch *b, const ox_node *n)
{
    ox_val *in = ox_arena_copy(n->graph->arena, n->inputs, n->input_count, sizeof *in);
    ox_attr axis = axis_from_end(b, n, 0, own_rank(b, in[0]));
    for (size_t i = 0; i < n->input_count; i++) {
        in[i] = repeated(b, in[i]);
    }
    return emit_like(n, n->input_count, in, 1, &axis);
}

/* Of the same for all steps at what differs: along the first axis; or the other way round. */
static ox_val of_gather(batch *b, const ox_node *n)
{
    ox_val x = n->inputs[0];
    int rank = own_rank(b, x);
    int64_t axis = from_end(b, n, ox_node_int(n, "axis", 0), rank);
    bool first = !is_by_step(b, x) && axis == -rank;
    if (!first && is_by_step(b, n->inputs[1])) {
        give_up(b, n);
    }
    return ox_gather(x, n->inputs[1], axis);
}

static ox_val of_reshape(batch *b, const ox_node *n)
{
    ox_val x = n->inputs[0];
    ox_dim dims[OX_MAX_RANK] = {b->steps};
    ox_shape_list shape = ox_shape_input_list(n, 1);
    if (!shape.fixed || shape.count >= OX_MAX_RANK || is_by_step(b, n->inputs[1])) {
        give_up(b, n);
    }
    ox_dim left = ox_val_size(x), known = b->steps;
    int open = -1;
    for (size_t i = 0; i < shape.count; i++) {
        bool same = shape.items[i].size == 0;
        if (same && (ox_node_int(n, "allowzero", 0) != 0 || (int)i >= own_rank(b, x))) {
            give_up(b, n);
        }
        dims[i + 1] = same ? x->dims[i + 1] : shape.items[i];
        open = shape.items[i].size == -1 ? (int)i + 1 : open;
        known = open == (int)i + 1 ? known : ox_dim_mul(n->graph, known, dims[i + 1]);
    }
    if (open >= 0 && !ox_dim_div(left, known, &dims[open])) {
        give_up(b, n);
    }
    return ox_reshape(x, (int)shape.count + 1, dims);
}

/* ---- places that are counted ----------------------------------------------------------------- */

static ox_progression progression_of(const batch *b, ox_val v)
{
    const mark *m = v == NULL ? NULL : find_mark(b, v);
    return m != NULL ? m->is : (ox_progression){.known = false};
}

/* Numbers beyond are not those of places. */
#define MOST (INT64_C(1) << 40)

/* What the result of n is in step t. */
static ox_progression counted(const batch *b, const ox_node *n)
{
    if (ox_node_has(n, OX_KEEPS_ELEMENTS)) {
        return progression_of(b, n->inputs[0]);
    }
    ox_progression p = {.known = false};
    if (ox_node_is(n, "Gather") && !is_by_step(b, n->inputs[0]) && n->inputs[0]->rank == 1) {
        ox_progression at = progression_of(b, n->inputs[1]),
                       table = ox_progression_of(n->inputs[0]);
        p.known = at.known && table.known && at.each >= 0 && at.first >= 0 && at.each < MOST &&
                  at.first < MOST && table.each < MOST && table.each > -MOST;
        p.known = p.known && ox_int_mul(table.each, at.each, &p.each) &&
                  ox_int_mul(table.each, at.first, &p.first) &&
                  ox_int_add(p.first, table.first, &p.first);
    }
    return p;
}

/* Parts of the same length, one behind the other: [steps, length, ..]. */
static ox_val of_slice(batch *b, const ox_node *n)
{
    ox_val x = n->inputs[0];
    ox_progression from = progression_of(b, ox_node_input(n, 1));
    ox_progression to = progression_of(b, ox_node_input(n, 2));
    ox_shape_list axes = ox_shape_input_list(n, 3), step = ox_shape_input_list(n, 4);
    bool first = !axes.given || (axes.fixed && axes.count == 1 && axes.items[0].size == 0);
    bool ones = !step.given || (step.fixed && step.count == 1 && step.items[0].size == 1);
    int64_t length = from.each;
    if (is_by_step(b, x) || !first || !ones || !from.known || !to.known || from.first != 0 ||
        to.first != length || to.each != length || length < 1 || x->rank < 1 ||
        x->rank >= OX_MAX_RANK ||
        !ox_dim_equal(x->dims[0], ox_dim_mul(n->graph, b->steps, ox_dim_of(length)))) {
        give_up(b, n);
    }
    ox_attr all[] = {ox_attr_int("start", 1)};
    int64_t parts[] = {-1, length};
    ox_val shape[] = {ox_ints(n->graph, 2, parts), ox_graph_emit(n->graph, "Shape", 1, &x, 1, all)};
    return ox_binary("Reshape", x, ox_concat(n->graph, 2, shape, 0));
}

typedef struct row {
    const char *op;
    form form;
} row;

static const row rows[] = {
    {"Abs", of_elements},         {"Add", of_elements},         {"And", of_elements},
    {"Cast", of_elements},        {"Ceil", of_elements},        {"Concat", of_concat},
    {"Cos", of_elements},         {"Div", of_elements},         {"Equal", of_elements},
    {"Erf", of_elements},         {"Exp", of_elements},         {"Floor", of_elements},
    {"Gather", of_gather},        {"Greater", of_elements},     {"GreaterOrEqual", of_elements},
    {"Less", of_elements},        {"LessOrEqual", of_elements}, {"Log", of_elements},
    {"LogSoftmax", of_softmax},   {"MatMul", of_matmul},        {"Max", of_elements},
    {"Min", of_elements},         {"Mul", of_elements},         {"Neg", of_elements},
    {"Not", of_elements},         {"Or", of_elements},          {"Pow", of_elements},
    {"Reciprocal", of_elements},  {"ReduceL1", of_reduction},   {"ReduceL2", of_reduction},
    {"ReduceMax", of_reduction},  {"ReduceMean", of_reduction}, {"ReduceMin", of_reduction},
    {"ReduceProd", of_reduction}, {"ReduceSum", of_reduction},  {"ReduceSumSquare", of_reduction},
    {"Relu", of_elements},        {"Reshape", of_reshape},      {"Sigmoid", of_elements},
    {"Sign", of_elements},        {"Sin", of_elements},         {"Slice", of_slice},
    {"Softmax", of_softmax},      {"Sqrt", of_elements},        {"Squeeze", of_squeeze},
    {"Sub", of_elements},         {"Sum", of_elements},         {"Tanh", of_elements},
    {"Transpose", of_transpose},  {"Unsqueeze", of_unsqueeze},  {"Where", of_elements},
};

static form form_of(const ox_node *n)
{
    for (size_t i = 0; n->domain[0] == '\0' && i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i].op, n->op) == 0) {
            return rows[i].form;
        }
    }
    return NULL;
}

/* ---- bodies ---------------------------------------------------------------------------------- */

/* A node that is the same in all steps. */
static void visit_shared(const batch *b, ox_node *n)
{
    if (ox_node_has_body(n)) {
        give_up(b, n);
    }
    const ox_node *made = ox_graph_emit_node(n->graph, n->domain, n->op, n->input_count, n->inputs,
                                             n->output_count, n->attr_count, n->attrs);
    memcpy(n->outputs, made->outputs, n->output_count * sizeof(ox_val));
    ox_val known = n->output_count == 1 ? ox_graph_known(n->graph, made->outputs[0]) : NULL;
    n->outputs[0] = known != NULL ? known : n->outputs[0];
}

static void visit(void *user, ox_node *n, const ox_map *around)
{
    batch *b = user;
    (void)around;
    ox_control_spend(b->c, 1);
    bool by_step = false;
    for (size_t i = 0; i < n->input_count; i++) {
        ox_val v = n->inputs[i];
        by_step = by_step || is_by_step(b, v);
        if (v != NULL && !is_by_step(b, v)) {
            note(b, v, false);
        }
    }
    if (ox_node_is(n, "Identity")) {
        n->outputs[0] = n->inputs[0];
        return;
    }
    for (size_t i = 0; by_step && i < n->input_count; i++) {
        if (n->inputs[i] != NULL && n->inputs[i]->rank < 0) {
            give_up(b, n);
        }
    }
    if (!by_step && n->output_count > 0) {
        visit_shared(b, n);
    } else if (by_step) {
        form write = form_of(n);
        if (write == NULL || n->output_count != 1) {
            give_up(b, n);
        }
        n->outputs[0] = write(b, n);
        note(b, n->outputs[0], true);
        find_mark(b, n->outputs[0])->is = counted(b, n);
        return;
    }
    for (size_t i = 0; i < n->output_count; i++) {
        note(b, n->outputs[i], by_step);
    }
}

static ox_val *run_body(batch *b, size_t count, const ox_val *in, size_t *outputs)
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

static ox_val scanned_input(batch *b, const ox_scan *scan, size_t k)
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
    return note(b, b->like, true);
}

static ox_val scanned_output(const batch *b, const ox_scan *scan, size_t k, ox_val v)
{
    v = repeated(b, v);
    int axis = ox_shape_axis(b->c->node, scan->output_axes[k], v->rank);
    v = scan->output_backward[k] ? reversed(v, 0) : v;
    return moved(v, 0, axis);
}

static void write_scan(void *user)
{
    const job *j = user;
    const ox_node *n = j->c->node;
    const ox_scan *scan = j->scan;
    batch b = {.c = j->c, .marks.arena = n->graph->arena};
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
static ox_val step_numbers(batch *b)
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
    note(b, t, true);
    find_mark(b, t)->is = (ox_progression){true, 1, 0};
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
    batch b = {.c = j->c, .marks.arena = n->graph->arena};
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
        j->outputs[i] = i < carried ? in[i + 2] : repeated(&b, out[i + 1]);
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
