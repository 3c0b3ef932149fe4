/* Operators over values of which some have an axis of steps in front: a row each. */
#include <string.h>

#include "lift/batch.h"
#include "shape/shape.h"

typedef ox_val (*form)(ox_batch *b, const ox_node *n);

static ox_val emit_like(const ox_node *n, size_t count, const ox_val *in, size_t attr_count,
                        const ox_attr *attrs)
{
    return ox_graph_emit(n->graph, n->op, count, in, attr_count, attrs);
}

static ox_val of_elements(ox_batch *b, const ox_node *n)
{
    ox_val *in = ox_arena_copy(n->graph->arena, n->inputs, n->input_count, sizeof *in);
    int rank = 0;
    for (size_t i = 0; i < n->input_count; i++) {
        rank = in[i] != NULL && ox_batch_rank(b, in[i]) > rank ? ox_batch_rank(b, in[i]) : rank;
    }
    for (size_t i = 0; i < n->input_count; i++) {
        in[i] = in[i] == NULL ? NULL : ox_batch_aligned(b, in[i], rank);
    }
    return emit_like(n, n->input_count, in, n->attr_count, n->attrs);
}

static ox_val of_matmul(ox_batch *b, const ox_node *n)
{
    if (ox_batch_rank(b, n->inputs[0]) < 2 || ox_batch_rank(b, n->inputs[1]) < 2) {
        ox_batch_give_up(b, n);
    }
    return of_elements(b, n);
}

/* An axis of one step, counted from the end. */
static int64_t from_end(const ox_batch *b, const ox_node *n, int64_t axis, int rank)
{
    if (axis < -(int64_t)rank || axis >= rank) {
        ox_batch_give_up(b, n);
    }
    return axis < 0 ? axis : axis - rank;
}

/* The axes that input 1 lists, counted from the end of `rank`; all of them where it is missing. */
static ox_val axes_of(const ox_batch *b, const ox_node *n, int rank)
{
    int64_t axes[OX_MAX_RANK];
    ox_shape_list list = ox_shape_input_list(n, 1);
    if ((list.given && !list.fixed) || rank < 0 || rank >= OX_MAX_RANK ||
        list.count > OX_MAX_RANK || ox_batch_by_step(b, ox_node_input(n, 1))) {
        ox_batch_give_up(b, n);
    }
    size_t count = list.given && list.count > 0 ? list.count : (size_t)rank;
    for (size_t i = 0; i < count; i++) {
        int64_t axis = list.count > 0 ? list.items[i].size : (int64_t)i;
        axes[i] = from_end(b, n, axis, rank);
    }
    return ox_ints(n->graph, count, axes);
}

static ox_val of_reduction(ox_batch *b, const ox_node *n)
{
    int rank = ox_batch_rank(b, n->inputs[0]);
    ox_shape_list list = ox_shape_input_list(n, 1);
    bool nothing = list.count == 0 && ox_node_int(n, "noop_with_empty_axes", 0) != 0;
    if (nothing || rank == 0) {
        ox_batch_give_up(b, n);
    }
    ox_val in[] = {n->inputs[0], axes_of(b, n, rank)};
    return emit_like(n, 2, in, n->attr_count, n->attrs);
}

static ox_val of_unsqueeze(ox_batch *b, const ox_node *n)
{
    int rank = ox_batch_rank(b, n->inputs[0]) + (int)ox_shape_input_list(n, 1).count;
    ox_val in[] = {n->inputs[0], axes_of(b, n, rank)};
    return emit_like(n, 2, in, 0, NULL);
}

static ox_val of_squeeze(ox_batch *b, const ox_node *n)
{
    if (ox_shape_input_list(n, 1).count == 0) {
        ox_batch_give_up(b, n);
    }
    ox_val in[] = {n->inputs[0], axes_of(b, n, ox_batch_rank(b, n->inputs[0]))};
    return emit_like(n, 2, in, 0, NULL);
}

static ox_val of_transpose(ox_batch *b, const ox_node *n)
{
    int rank = ox_batch_rank(b, n->inputs[0]), order[OX_MAX_RANK] = {0};
    const int *perm = rank >= OX_MAX_RANK ? NULL : ox_node_perm(n, rank);
    if (perm == NULL) {
        ox_batch_give_up(b, n);
    }
    for (int i = 0; i < rank; i++) {
        order[i + 1] = 1 + perm[i];
    }
    return ox_transpose(n->inputs[0], order);
}

/* Attributes with `axis` counted from the end. */
static ox_attr axis_from_end(const ox_batch *b, const ox_node *n, int64_t otherwise, int rank)
{
    return ox_attr_int("axis", from_end(b, n, ox_node_int(n, "axis", otherwise), rank));
}

static ox_val of_softmax(ox_batch *b, const ox_node *n)
{
    ox_attr axis = axis_from_end(b, n, -1, ox_batch_rank(b, n->inputs[0]));
    return emit_like(n, 1, n->inputs, 1, &axis);
}

static ox_val of_concat(ox_batch *b, const ox_node *n)
{
    ox_val *in = ox_arena_copy(n->graph->arena, n->inputs, n->input_count, sizeof *in);
    ox_attr axis = axis_from_end(b, n, 0, ox_batch_rank(b, in[0]));
    for (size_t i = 0; i < n->input_count; i++) {
        in[i] = ox_batch_repeated(b, in[i]);
    }
    return emit_like(n, n->input_count, in, 1, &axis);
}

/* Of the same for all steps at what differs: along the first axis; or the other way round. */
static ox_val of_gather(ox_batch *b, const ox_node *n)
{
    ox_val x = n->inputs[0];
    int rank = ox_batch_rank(b, x);
    int64_t axis = from_end(b, n, ox_node_int(n, "axis", 0), rank);
    bool first = !ox_batch_by_step(b, x) && axis == -rank;
    if (!first && ox_batch_by_step(b, n->inputs[1])) {
        ox_batch_give_up(b, n);
    }
    return ox_gather(x, n->inputs[1], axis);
}

static ox_val of_reshape(ox_batch *b, const ox_node *n)
{
    ox_val x = n->inputs[0];
    ox_dim dims[OX_MAX_RANK] = {b->steps};
    ox_shape_list shape = ox_shape_input_list(n, 1);
    if (!shape.fixed || shape.count >= OX_MAX_RANK || ox_batch_by_step(b, n->inputs[1])) {
        ox_batch_give_up(b, n);
    }
    ox_dim left = ox_val_size(x), known = b->steps;
    int open = -1;
    for (size_t i = 0; i < shape.count; i++) {
        bool same = shape.items[i].size == 0;
        if (same && (ox_node_int(n, "allowzero", 0) != 0 || (int)i >= ox_batch_rank(b, x))) {
            ox_batch_give_up(b, n);
        }
        dims[i + 1] = same ? x->dims[i + 1] : shape.items[i];
        open = shape.items[i].size == -1 ? (int)i + 1 : open;
        known = open == (int)i + 1 ? known : ox_dim_mul(n->graph, known, dims[i + 1]);
    }
    if (open >= 0 && !ox_dim_div(left, known, &dims[open])) {
        ox_batch_give_up(b, n);
    }
    return ox_reshape(x, (int)shape.count + 1, dims);
}

/* ---- places that are counted ----------------------------------------------------------------- */

static ox_progression progression_of(const ox_batch *b, ox_val v)
{
    const ox_batch_mark *m = v == NULL ? NULL : ox_batch_mark_of(b, v);
    return m != NULL ? m->is : (ox_progression){.known = false};
}

/* Numbers beyond are not those of places. */
#define MOST (INT64_C(1) << 40)

/* What the result of n is in step t. */
static ox_progression counted(const ox_batch *b, const ox_node *n)
{
    if (ox_node_has(n, OX_KEEPS_ELEMENTS)) {
        return progression_of(b, n->inputs[0]);
    }
    ox_progression p = {.known = false};
    if (ox_node_is(n, "Gather") && !ox_batch_by_step(b, n->inputs[0]) && n->inputs[0]->rank == 1) {
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
static ox_val of_slice(ox_batch *b, const ox_node *n)
{
    ox_val x = n->inputs[0];
    ox_progression from = progression_of(b, ox_node_input(n, 1));
    ox_progression to = progression_of(b, ox_node_input(n, 2));
    ox_shape_list axes = ox_shape_input_list(n, 3), step = ox_shape_input_list(n, 4);
    bool first = !axes.given || (axes.fixed && axes.count == 1 && axes.items[0].size == 0);
    bool ones = !step.given || (step.fixed && step.count == 1 && step.items[0].size == 1);
    int64_t length = from.each;
    if (ox_batch_by_step(b, x) || !first || !ones || !from.known || !to.known || from.first != 0 ||
        to.first != length || to.each != length || length < 1 || x->rank < 1 ||
        x->rank >= OX_MAX_RANK ||
        !ox_dim_equal(x->dims[0], ox_dim_mul(n->graph, b->steps, ox_dim_of(length)))) {
        ox_batch_give_up(b, n);
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

ox_val ox_batch_write(ox_batch *b, const ox_node *n)
{
    form write = form_of(n);
    if (write == NULL || n->output_count != 1) {
        ox_batch_give_up(b, n);
    }
    ox_val y = ox_batch_note(b, write(b, n), true);
    ox_batch_mark_of(b, y)->is = counted(b, n);
    return y;
}
