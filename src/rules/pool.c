/* Rules of pools: averages pass on their adjoint; of a maximum one winner per window gets all. */
#include "rules/pool_tree.h"
#include "rules/second.h"
#include "rules/side.h"

#include <string.h>

/* ---- averages ---------------------------------------------------------------------------- */

/* How many inputs output p of an axis averages: with count_include_pad the padding counts too, but
 * not what hangs over it in ceil_mode. */
static int64_t count_taps(const ox_window *w, int64_t p, bool include_pad)
{
    int64_t low = include_pad ? -w->begin : 0, high = w->in + (include_pad ? w->end : 0);
    int64_t at = p * w->stride - w->begin;
    int64_t first = at < low ? (low - at + w->dilation - 1) / w->dilation : 0;
    int64_t end = at < high ? (high - at + w->dilation - 1) / w->dilation : 0;
    end = end < w->kernel ? end : w->kernel;
    return end > first ? end - first : 0;
}

/* 1 / count for every output position, [out...]: one number where they are all the same. */
static ox_val inverse_counts(ox_ctx *c, int axes, const ox_window *w)
{
    bool include_pad = ox_node_int(c->node, "count_include_pad", 0) != 0;
    int64_t *dims = ox_arena_alloc(c->g->arena, (size_t)axes, sizeof *dims);
    size_t size = 1;
    for (int k = 0; k < axes; k++) {
        dims[k] = w[k].out;
        if (!ox_size_mul(size, (size_t)w[k].out, &size)) {
            ox_rule_fail(c, "its output is too large");
        }
    }
    double *table = ox_arena_alloc(c->g->arena, size, sizeof *table);
    table[0] = 1;
    bool same = true;
    size_t done = 1;
    /* Backwards, so that what is still to be read is not overwritten. */
    for (int k = 0; k < axes; k++) {
        size_t out = (size_t)w[k].out;
        for (size_t i = done * out; i-- > 0;) {
            int64_t count = count_taps(&w[k], (int64_t)(i % out), include_pad);
            table[i] = table[i / out] / (double)(count > 0 ? count : 1);
        }
        done *= out;
    }
    for (size_t i = 1; i < size; i++) {
        same = same && table[i] == table[0];
    }
    ox_val one = ox_floats(c->g, c->type, 0, NULL, table);
    return same ? one : ox_floats(c->g, c->type, axes, dims, table);
}

/* Each output's flow repeated over its window, for windows side by side: nearest neighbours; zeros
 * where the input ends behind the last window. */
static ox_val repeat(ox_ctx *c, ox_val m, int axes, const ox_window *w)
{
    ox_graph *g = m->graph;
    double *scales = ox_arena_alloc(g->arena, (size_t)axes + 2, sizeof *scales);
    int64_t *none = ox_arena_alloc(g->arena, (size_t)axes, sizeof *none);
    int64_t *behind = ox_arena_alloc(g->arena, (size_t)axes, sizeof *behind);
    scales[0] = scales[1] = 1;
    for (int k = 0; k < axes; k++) {
        scales[2 + k] = (double)w[k].kernel;
        behind[k] = w[k].in - w[k].out * w[k].kernel;
    }
    int64_t count = axes + 2;
    ox_val in[] = {ox_fold(c, m), NULL, ox_floats(g, OX_FLOAT, 1, &count, scales)};
    ox_attr attrs[] = {
        ox_attr_string("mode", "nearest"),
        ox_attr_string("coordinate_transformation_mode", "asymmetric"),
        ox_attr_string("nearest_mode", "floor"),
    };
    ox_val wide = ox_graph_emit(g, "Resize", 3, in, 3, attrs);
    return ox_unfold(c, ox_pad(wide, axes, none, behind), m);
}

static bool side_by_side(int axes, const ox_window *w)
{
    bool yes = true;
    for (int k = 0; k < axes; k++) {
        yes = yes && w[k].begin == 0 && w[k].kernel == w[k].stride &&
              (w[k].dilation == 1 || w[k].kernel == 1) && w[k].out * w[k].kernel <= w[k].in;
    }
    return yes;
}

/* y = sum over the window / count: m / count through the adjoint of a depthwise convolution with
 * ones. */
void flow_average_pool(ox_ctx *c)
{
    int axes = ox_spatial_axes(c);
    const ox_window *w = ox_windows(c, NULL);
    ox_val m = ox_mul(c->m, ox_cast(ox_factor(c, inverse_counts(c, axes, w)), c->m->type));
    if (side_by_side(axes, w)) {
        ox_send(c, 0, repeat(c, m, axes, w));
        return;
    }
    int64_t channels = ox_static_dim(c, 0, -axes - 1);
    ox_dim *dims = ox_arena_alloc(c->g->arena, (size_t)axes + 2, sizeof *dims);
    dims[0] = ox_dim_of(channels);
    dims[1] = ox_dim_of(1);
    for (int k = 0; k < axes; k++) {
        dims[2 + k] = ox_dim_of(w[k].kernel);
    }
    ox_val ones = ox_expand(ox_number(m, 1), axes + 2, dims);
    m = ox_unconvolve(c, m, ones, channels, w);
    if (m != NULL) {
        ox_send(c, 0, m);
    }
}

/* Product of the spatial sizes of input i, or of output 0 (-1). */
static int64_t positions(ox_ctx *c, int i)
{
    int64_t size = 1;
    for (int k = -ox_spatial_axes(c); k < 0; k++) {
        if (!ox_int_mul(size, ox_static_dim(c, i, k), &size)) {
            ox_rule_fail(c, "its shape is too large");
        }
    }
    return size;
}

void flow_global_average_pool(ox_ctx *c)
{
    int axes = ox_spatial_axes(c);
    int64_t *shape = ox_arena_alloc(c->g->arena, (size_t)axes + 1, sizeof *shape);
    for (int k = 0; k < axes; k++) {
        shape[k] = ox_static_dim(c, 0, k - axes);
    }
    double share = 1.0 / (double)positions(c, 0);
    ox_val m = ox_scale(c->m, c->squared ? share * share : share);
    ox_send(c, 0, ox_binary("Expand", m, ox_ints(c->g, (size_t)axes, shape)));
}

/* The mean of V, once more over the count. */
ox_val ox_variance_of_average(ox_ctx *c)
{
    const ox_node *n = c->node;
    ox_val v = ox_variance(n->inputs[0]);
    if (v == NULL) {
        return NULL;
    }
    int axes = ox_spatial_axes(c);
    bool global = strcmp(n->op, "GlobalAveragePool") == 0;
    ox_ctx over = ox_over_variances(c);
    ox_val folded = ox_fold(&over, v);
    folded = ox_graph_emit(c->g, n->op, 1, &folded, n->attr_count, n->attrs);
    ox_val mean = ox_unfold(&over, folded, v);
    return global ? ox_scale(mean, 1.0 / (double)positions(c, 0))
                  : ox_mul(mean, inverse_counts(c, axes, ox_windows(c, NULL)));
}

/* ---- maxima ------------------------------------------------------------------------------ */

/* Merges the last `axes` axes of v into one. */
static ox_val flatten(ox_val v, int axes, int64_t size)
{
    int rank = v->rank - axes + 1;
    ox_dim *dims = ox_arena_alloc(v->graph->arena, (size_t)rank, sizeof *dims);
    for (int i = 0; i < rank - 1; i++) {
        dims[i] = v->dims[i];
    }
    dims[rank - 1] = ox_dim_of(size);
    return ox_reshape(v, rank, dims);
}

/* A window's maximum goes to one position of the input: where the sample has its maximum if that is
 * the larger one, else where the reference has it. There abs(x - x0) >= abs(y - y0) with the same
 * sign, so that the flow's share (y - y0) / (x - x0) lies in [0, 1]. Where x == x0 at the winner, y
 * == y0 as well and both have their maximum there: it gets all. Shares of windows that overlap are
 * added up.
 *
 * Takes m [.., windows], x and x0 [.., positions], and at and at0 [.., windows], the sample's and
 * the reference's winners as positions; gives [.., positions]. */
static ox_val winner_body(const ox_val *in, const void *user)
{
    (void)user;
    ox_val m = in[0], x = in[1], x0 = in[2], at = in[3], at0 = in[4];
    ox_val y = ox_gather_elements(x, at, -1), y0 = ox_gather_elements(x0, at0, -1);
    ox_val winner = ox_where(ox_greater(y, y0), at, at0);
    ox_val gap = ox_gather_elements(ox_sub(x, x0), winner, -1);
    ox_val zero = ox_equal(gap, ox_number(gap, 0)), one = ox_number(gap, 1);
    ox_val share = ox_where(zero, one, ox_div(ox_sub(y, y0), ox_where(zero, one, gap)));
    ox_val flow = ox_mul(m, share);

    ox_graph *g = m->graph;
    ox_attr last = ox_attr_int("end", -1), first = ox_attr_int("start", -1);
    ox_val sizes[] = {ox_graph_emit(g, "Shape", 1, &flow, 1, &last),
                      ox_graph_emit(g, "Shape", 1, &x, 1, &first)};
    ox_val index = ox_binary("Expand", winner, ox_unary("Shape", flow));
    ox_val zeros = ox_binary("Expand", ox_number(m, 0), ox_concat(g, 2, sizes, 0));
    return ox_scatter_add(zeros, index, flow, -1);
}

/* `at` and `at0` are [N, C, windows] and [R, 1, C, windows], as positions in the plane of `size`.
 */
static void send_to_winners(ox_ctx *c, ox_val at, ox_val at0, int64_t size)
{
    int axes = ox_spatial_axes(c);
    ox_type type = c->m->type;
    ox_val m = flatten(c->m, axes, positions(c, -1));
    ox_val x = flatten(ox_cast(ox_x(c, 0), type), axes, size);
    ox_val x0 = flatten(ox_cast(ox_x0(c, 0), type), axes, size);
    ox_val in[] = {m, x, x0, at, at0};

    int rank = m->rank, own = axes + 2, full = rank - 1 + axes;
    ox_dim *dims = ox_arena_alloc(c->g->arena, (size_t)full, sizeof *dims);
    for (int i = 0; i < rank - 1; i++) {
        int k = i - (rank - x0->rank);
        dims[i] = ox_dim_is(m->dims[i], 1) && k >= 0 ? x0->dims[k] : m->dims[i];
    }
    dims[rank - 1] = ox_dim_of(size);
    ox_val spread = ox_call_shaped("WinnerFlow", winner_body, NULL, 5, in, rank, dims);
    for (int i = full - axes; i < full; i++) {
        dims[i] = c->node->inputs[0]->dims[i - full + own];
    }
    ox_send(c, 0, ox_reshape(spread, full, dims));
}

/* The attributes of the node at hand without storage_order. */
static size_t pool_attrs(ox_ctx *c, ox_attr *attrs)
{
    size_t count = 0;
    for (size_t i = 0; i < c->node->attr_count; i++) {
        if (strcmp(c->node->attrs[i].name, "storage_order") != 0) {
            attrs[count] = c->node->attrs[i];
            attrs[count++].proto = NULL;
        }
    }
    return count;
}

/* In-plane positions of the maxima of x, [..., N, C, windows], by a MaxPool like the node at hand
 * over x with the axes before the channels folded: the reference's depends on nothing else, so that
 * it is computed when the model is loaded. MaxPool counts positions through the whole tensor. */
static ox_val find_winners(ox_ctx *c, ox_val x, int64_t size)
{
    ox_arena *a = c->g->arena;
    int axes = ox_spatial_axes(c), lead = x->rank - axes - 2;
    ox_dim *dims = ox_arena_copy(a, x->dims + lead, (size_t)axes + 2, sizeof *dims);
    for (int i = 0; i < lead; i++) {
        dims[0] = ox_dim_mul(c->g, dims[0], x->dims[i]);
    }
    ox_val folded = ox_reshape(x, axes + 2, dims);
    ox_attr *attrs = ox_arena_alloc(a, c->node->attr_count + 1, sizeof *attrs);
    size_t count = pool_attrs(c, attrs);
    const ox_node *pool = ox_graph_emit_node(c->g, "", "MaxPool", 1, &folded, 2, count, attrs);
    ox_val at = ox_binary("Mod", pool->outputs[1], ox_int_scalar(c->g, size));

    ox_dim *unfolded = ox_arena_copy(a, x->dims, (size_t)lead + 3, sizeof *unfolded);
    unfolded[lead + 2] = ox_dim_of(positions(c, -1));
    return ox_reshape(at, lead + 3, unfolded);
}

/* A window that is all of an axis. */
static const ox_window *whole_axes(ox_ctx *c, int axes)
{
    ox_window *w = ox_arena_alloc(c->g->arena, (size_t)axes, sizeof *w);
    for (int k = 0; k < axes; k++) {
        w[k] = ox_whole_window(ox_static_dim(c, 0, k - axes));
    }
    return w;
}

static ox_pool tree_of(ox_ctx *c, const ox_window *w)
{
    ox_val v = ox_variance(c->node->inputs[0]);
    ox_val mean = v != NULL && c->sides->third ? ox_mean_of_input(c, 0) : NULL;
    return (ox_pool){c, true, ox_x(c, 0), ox_x0(c, 0), v, mean, ox_spatial_axes(c), w};
}

/* Both orders at once, so that there is nothing left for the run of the second. */
static void send_by_tree(ox_ctx *c, const ox_window *w)
{
    ox_val q = NULL;
    if (c->squared) {
        return;
    }
    const ox_pool tree = tree_of(c, w);
    ox_send(c, 0, ox_pool_tree(&tree, ox_arrived_second(c), &q));
    if (q != NULL) {
        ox_send_second(c, 0, q);
    }
}

ox_val ox_variance_of_pool(ox_ctx *c)
{
    bool global = strcmp(c->node->op, "GlobalMaxPool") == 0;
    const ox_window *w = global ? whole_axes(c, ox_spatial_axes(c)) : ox_windows(c, NULL);
    const ox_pool tree = tree_of(c, w);
    ox_val *mean = &ox_side_of(c->node->outputs[0])->mean;
    return tree.v == NULL ? NULL : ox_pool_tree_variance(&tree, mean);
}

void flow_max_pool(ox_ctx *c)
{
    if (ox_m(c, 1) != NULL) {
        ox_rule_hole(c, "its indices vary, but no multiplier passes: completeness would be lost");
    }
    if (c->m == NULL) {
        return;
    }
    if (c->sides->pool_tree) {
        send_by_tree(c, ox_windows(c, NULL));
        return;
    }
    int64_t size = positions(c, 0);
    ox_val at = find_winners(c, ox_x(c, 0), size), at0 = find_winners(c, ox_x0(c, 0), size);
    send_to_winners(c, at, at0, size);
}

static ox_val argmax(ox_val v)
{
    ox_attr axis = ox_attr_int("axis", -1);
    return ox_graph_emit(v->graph, "ArgMax", 1, &v, 1, &axis);
}

void flow_global_max_pool(ox_ctx *c)
{
    int axes = ox_spatial_axes(c);
    if (c->sides->pool_tree) {
        send_by_tree(c, whole_axes(c, axes));
        return;
    }
    int64_t size = positions(c, 0);
    ox_val at = argmax(flatten(ox_x(c, 0), axes, size));
    ox_val at0 = argmax(flatten(ox_x0(c, 0), axes, size));
    send_to_winners(c, at, at0, size);
}
