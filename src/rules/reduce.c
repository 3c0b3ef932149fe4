/* Rules of reductions and of softmax. Reduced axes are brought to the end and merged into one, so
 * that the bodies of functions, which know no shapes, work along the last axis. */
#include "rules/pool_tree.h"
#include "rules/second.h"
#include "rules/side.h"

#include <assert.h>
#include <string.h>

#include "shape/shape.h"

/* ---- axes ----------------------------------------------------------------------------------- */

/* Own axes of input 0, those that are reduced marked. */
typedef struct axes {
    int rank;
    bool reduced[OX_MAX_RANK];
    int count; /* of reduced ones */
} axes;

static void reduce_axis(ox_ctx *c, axes *a, int64_t given)
{
    int axis = ox_shape_axis(c->node, given, a->rank);
    a->count += !a->reduced[axis];
    a->reduced[axis] = true;
}

static axes no_axes(ox_ctx *c)
{
    axes a = {.rank = c->node->inputs[0]->rank};
    if (a.rank < 0 || a.rank > OX_MAX_RANK) {
        ox_shape_fail(c->node);
    }
    return a;
}

/* The axes of a Reduce operator: input 1, else all, or none with noop_with_empty_axes. */
static axes reduced_axes(ox_ctx *c)
{
    axes a = no_axes(c);
    size_t count = 0;
    const int64_t *list = ox_node_input(c->node, 1) == NULL ? NULL : ox_known_ints(c, 1, &count);
    for (size_t i = 0; i < count; i++) {
        reduce_axis(c, &a, list[i]);
    }
    if (count == 0 && ox_node_int(c->node, "noop_with_empty_axes", 0) == 0) {
        for (int d = 0; d < a.rank; d++) {
            reduce_axis(c, &a, d);
        }
    }
    return a;
}

/* The number of elements that become one. */
static int64_t reduced_size(ox_ctx *c, const axes *a)
{
    int64_t size = 1;
    for (int d = 0; d < a->rank; d++) {
        if (a->reduced[d] && !ox_int_mul(size, ox_static_dim(c, 0, d - a->rank), &size)) {
            ox_rule_fail(c, "its shape is too large");
        }
    }
    return size;
}

/* The reduced axes, counted from the end. */
static size_t reduced_list(const axes *a, int64_t *list)
{
    size_t count = 0;
    for (int d = 0; d < a->rank; d++) {
        if (a->reduced[d]) {
            list[count++] = d - a->rank;
        }
    }
    return count;
}

/* The multiplier or output v with the reduced axes put back, of length 1. */
static ox_val with_axes(ox_ctx *c, const axes *a, ox_val v)
{
    int kept = c->node->outputs[0]->rank;
    if (kept == a->rank) {
        return v;
    }
    int64_t list[OX_MAX_RANK];
    size_t count = reduced_list(a, list);
    return ox_binary("Unsqueeze", v, ox_ints(v->graph, count, list));
}

/* The order of own axes with the reduced ones at the end, or back from there. */
static void reduced_last(const axes *a, bool back, int *order)
{
    int next = 0;
    for (int last = 0; last < 2; last++) {
        for (int d = 0; d < a->rank; d++) {
            if (a->reduced[d] == (last == 1)) {
                order[back ? d : next] = back ? next : d;
                next++;
            }
        }
    }
}

/* [..., d0, d1, ...] to [..., kept axes, n] with n elements to reduce. */
static ox_val to_rows(const axes *a, ox_val v)
{
    int order[OX_MAX_RANK];
    reduced_last(a, false, order);
    v = ox_transpose_own(v, a->rank, order);
    if (a->count == 1) {
        return v;
    }
    int rank = v->rank - a->count + 1;
    ox_dim *dims = ox_arena_alloc(v->graph->arena, (size_t)rank, sizeof *dims);
    memcpy(dims, v->dims, (size_t)(rank - 1) * sizeof *dims);
    dims[rank - 1] = ox_dim_of(1);
    for (int d = rank - 1; d < v->rank; d++) {
        dims[rank - 1] = ox_dim_mul(v->graph, dims[rank - 1], v->dims[d]);
    }
    return ox_reshape(v, rank, dims);
}

/* A multiplier in rows back to the shape of input 0. */
static ox_val from_rows(ox_ctx *c, const axes *a, ox_val rows)
{
    int order[OX_MAX_RANK];
    reduced_last(a, false, order);
    if (a->count != 1) {
        int lead = rows->rank - (a->rank - a->count + 1), rank = lead + a->rank;
        ox_dim *dims = ox_arena_alloc(c->g->arena, (size_t)rank, sizeof *dims);
        memcpy(dims, rows->dims, (size_t)(lead + a->rank - a->count) * sizeof *dims);
        for (int d = a->rank - a->count; d < a->rank; d++) {
            dims[lead + d] = c->node->inputs[0]->dims[order[d]];
        }
        rows = ox_reshape(rows, rank, dims);
    }
    reduced_last(a, true, order);
    return ox_transpose_own(rows, a->rank, order);
}

/* ---- sums --------------------------------------------------------------------------------- */

/* m along the reduced axes. */
static void send_spread(ox_ctx *c, const axes *a, ox_val m)
{
    ox_dim dims[OX_MAX_RANK];
    for (int d = 0; d < a->rank; d++) {
        dims[d] = a->reduced[d] ? c->node->inputs[0]->dims[d] : ox_dim_of(1);
    }
    m = with_axes(c, a, m);
    bool same = ox_dims_equal(a->rank, dims, m->dims + m->rank - a->rank) || a->count == 0;
    ox_send(c, 0, same ? m : ox_binary("Expand", m, ox_dims(c->g, a->rank, dims)));
}

void flow_reduce_sum(ox_ctx *c)
{
    axes a = reduced_axes(c);
    send_spread(c, &a, c->m);
}

/* The same at run time, NULL where it is known. */
static ox_val free_size(ox_ctx *c, const axes *a)
{
    const ox_dim *own = c->node->inputs[0]->dims;
    ox_dim dims[OX_MAX_RANK];
    bool is_free = false;
    int count = 0;
    for (int d = 0; d < a->rank; d++) {
        if (a->reduced[d]) {
            is_free = is_free || !ox_dim_is_static(own[d]);
            dims[count++] = own[d];
        }
    }
    int64_t first = 0;
    ox_val sizes = is_free ? ox_dims(c->g, count, dims) : NULL;
    return is_free ? ox_cast(ox_reduce("ReduceProd", sizes, 1, &first, false), c->type) : NULL;
}

void flow_reduce_mean(ox_ctx *c)
{
    axes a = reduced_axes(c);
    ox_val size = free_size(c, &a);
    double share = size != NULL ? 1 : 1.0 / (double)reduced_size(c, &a);
    send_spread(c, &a,
                size != NULL ? ox_div(c->m, ox_factor(c, size))
                             : ox_scale(c->m, c->squared ? share * share : share));
}

/* The mean of V, once more over the count. */
ox_val ox_variance_of_mean(ox_ctx *c)
{
    const ox_node *n = c->node;
    axes a = reduced_axes(c);
    ox_val v = ox_variance(n->inputs[0]), size = v == NULL ? NULL : free_size(c, &a);
    if (v == NULL) {
        return NULL;
    }
    int64_t list[OX_MAX_RANK];
    size_t count = reduced_list(&a, list);
    v = ox_reduce("ReduceMean", v, count, list, n->outputs[0]->rank == a.rank);
    return size != NULL ? ox_div(v, size) : ox_scale(v, 1.0 / (double)reduced_size(c, &a));
}

/* ---- extremes ------------------------------------------------------------------------------ */

static ox_val arg_extreme(ox_val rows, bool max)
{
    ox_attr axis = ox_attr_int("axis", -1);
    return ox_graph_emit(rows->graph, max ? "ArgMax" : "ArgMin", 1, &rows, 1, &axis);
}

/* Extremes of rows as trees of those of two; `all` takes the window. */
static ox_pool tree_of(ox_ctx *c, const axes *a, ox_window *all)
{
    ox_val x = to_rows(a, ox_x(c, 0)), x0 = to_rows(a, ox_x0(c, 0));
    ox_val v = ox_variance(c->node->inputs[0]);
    *all = ox_whole_window(x->dims[x->rank - 1].size);
    bool max = strcmp(c->node->op, "ReduceMax") == 0;
    ox_val mean = v != NULL && c->sides->third ? to_rows(a, ox_mean_of_input(c, 0)) : NULL;
    return (ox_pool){c, max, x, x0, v == NULL ? NULL : to_rows(a, v), mean, 1, all};
}

static void send_by_tree(ox_ctx *c, const axes *a)
{
    ox_window all;
    ox_ctx rows = *c;
    ox_val q = ox_arrived_second(c);
    if (c->squared) {
        return;
    }
    rows.m = to_rows(a, with_axes(c, a, c->m));
    q = q == NULL ? NULL : to_rows(a, with_axes(c, a, q));
    ox_pool tree = tree_of(c, a, &all);
    tree.c = &rows;
    ox_send(c, 0, from_rows(c, a, ox_pool_tree(&tree, q, &q)));
    if (q != NULL) {
        ox_send_second(c, 0, from_rows(c, a, q));
    }
}

static bool has_known_rows(ox_ctx *c, const axes *a)
{
    for (int d = 0; d < a->rank; d++) {
        if (a->reduced[d] && !ox_dim_is_static(c->node->inputs[0]->dims[d])) {
            return false;
        }
    }
    return a->count > 0;
}

ox_val ox_variance_of_extremes(ox_ctx *c)
{
    axes a = reduced_axes(c);
    ox_window all;
    if (a.count == 0) {
        return ox_variance(c->node->inputs[0]);
    }
    const ox_pool tree = tree_of(c, &a, &all);
    ox_val mean = NULL, y = c->node->outputs[0];
    ox_val v = tree.v == NULL ? NULL : ox_pool_tree_variance(&tree, &mean);
    ox_ctx over = ox_over_variances(c);
    if (mean != NULL) {
        ox_side_of(y)->mean = ox_with_lead(&over, mean, y->rank, y->dims);
    }
    return v == NULL ? NULL : ox_with_lead(&over, v, y->rank, y->dims);
}

bool ox_reduces_known_rows(ox_ctx *c)
{
    axes a = reduced_axes(c);
    return has_known_rows(c, &a);
}

/* One element gets the flow: where the sample has its extreme if that is the more extreme one, else
 * where the reference has it. There abs(x - x0) >= abs(y - y0) with the same sign, so that the
 * flow's share (y - y0)/(x - x0) lies in [0, 1]; where both are 0 the winner gets all. */
void flow_reduce_extreme(ox_ctx *c)
{
    axes a = reduced_axes(c);
    if (a.count == 0) {
        ox_send(c, 0, c->m);
        return;
    }
    if (c->sides->pool_tree && has_known_rows(c, &a)) {
        send_by_tree(c, &a);
        return;
    }
    bool max = strcmp(c->node->op, "ReduceMax") == 0;
    ox_val x = to_rows(&a, ox_x(c, 0)), x0 = to_rows(&a, ox_x0(c, 0));
    ox_val at = arg_extreme(x, max), at0 = arg_extreme(x0, max);
    ox_val y = ox_gather_elements(x, at, -1), y0 = ox_gather_elements(x0, at0, -1);
    ox_val winner = ox_where(max ? ox_greater(y, y0) : ox_less(y, y0), at, at0);
    ox_val gap = ox_gather_elements(ox_sub(x, x0), winner, -1);
    ox_val still = ox_cast(ox_equal(gap, ox_number(gap, 0)), gap->type);
    ox_val share = ox_div(ox_add(ox_sub(y, y0), still), ox_add(gap, still));

    ox_val flow = ox_mul(to_rows(&a, with_axes(c, &a, c->m)), share);
    ox_dim *dims = ox_arena_copy(c->g->arena, flow->dims, (size_t)flow->rank, sizeof *dims);
    ox_val index = ox_expand(winner, flow->rank, dims);
    dims[flow->rank - 1] = x->dims[x->rank - 1];
    ox_val zeros = ox_zeros(c->g, flow->type, flow->rank, dims);
    ox_send(c, 0, from_rows(c, &a, ox_scatter_add(zeros, index, flow, -1)));
}

/* ---- softmax ------------------------------------------------------------------------------- */

/* `m` has the axes of input 0. */
static void send_rows(ox_ctx *c, const axes *a, ox_val m,
                      ox_val (*flow)(ox_val m, ox_val l, ox_val l0))
{
    ox_val x = ox_cast(ox_x(c, 0), m->type), x0 = ox_cast(ox_x0(c, 0), m->type);
    ox_val rows = to_rows(a, m), l = ox_log_softmax(ox_after(rows, to_rows(a, x)));
    ox_send(c, 0, from_rows(c, a, flow(rows, l, ox_log_softmax(to_rows(a, x0)))));
}

/* Of the results that are explained, both orders at once. */
static bool send_probabilities(ox_ctx *c, const axes *a)
{
    ox_val v = ox_variance(c->node->inputs[0]), q = NULL;
    if (!c->second || c->sides->probabilities != c->node || v == NULL) {
        return false;
    }
    ox_type type = c->m->type;
    ox_val x = ox_finite(ox_cast(ox_x(c, 0), type)); /* logits may be masked */
    ox_val x0 = ox_finite(ox_cast(ox_x0(c, 0), type));
    const ox_rows rows = {to_rows(a, c->m), to_rows(a, x), to_rows(a, x0),
                          to_rows(a, ox_cast(v, type))};
    ox_send(c, 0, from_rows(c, a, ox_probabilities(&rows, &q)));
    ox_send_second(c, 0, from_rows(c, a, q));
    return true;
}

void flow_softmax(ox_ctx *c)
{
    axes a = no_axes(c);
    reduce_axis(c, &a, ox_node_int(c->node, "axis", -1));
    if (send_probabilities(c, &a)) {
        return;
    }
    send_rows(c, &a, c->m, ox_softmax_flow);
}

void flow_log_softmax(ox_ctx *c)
{
    axes a = no_axes(c);
    reduce_axis(c, &a, ox_node_int(c->node, "axis", -1));
    send_rows(c, &a, c->m, ox_log_softmax_flow);
}

void flow_reduce_log_sum_exp(ox_ctx *c)
{
    axes a = reduced_axes(c);
    if (a.count == 0) {
        ox_send(c, 0, c->m);
        return;
    }
    send_rows(c, &a, with_axes(c, &a, c->m), ox_log_sum_exp_flow);
}
