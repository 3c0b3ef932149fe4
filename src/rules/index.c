/* Rules of operators that pick by index. An index must not depend on the explained inputs, but for
 * Gather from a constant, which is how tokens become embeddings; where it does, by force, the
 * sample's counts on both sides. */
#include "rules/move.h"
#include "rules/side.h"
#include "shape/shape.h"

#include <string.h>

void ox_need_fixed(ox_ctx *c, size_t i)
{
    if (ox_varies(c, i)) {
        ox_rule_hole(c, ox_arena_format(c->g->arena,
                                        "input %zu depends on the explained inputs, but no "
                                        "multiplier passes: completeness would be lost%s",
                                        i, ox_hold_hint(c->g->arena, c->node->inputs[i])));
        c->frozen |= UINT32_C(1) << i;
    }
}

/* ---- along one axis ------------------------------------------------------------------------ */

/* [lead, own dims of x] of zeros. */
static ox_val zeros_like_x(ox_ctx *c)
{
    const ox_val x = c->node->inputs[0];
    ox_dim dims[OX_MAX_RANK];
    if (x->rank < 0 || c->lead + x->rank > OX_MAX_RANK) {
        ox_shape_fail(c->node);
    }
    memcpy(dims, c->m->dims, (size_t)c->lead * sizeof *dims);
    memcpy(dims + c->lead, x->dims, (size_t)x->rank * sizeof *dims);
    return ox_zeros(c->g, c->m->type, c->lead + x->rank, dims);
}

static bool is_run(size_t count, const int64_t *index)
{
    for (size_t k = 1; k < count; k++) {
        if (index[k] != index[0] + (int64_t)k) {
            return false;
        }
    }
    return true;
}

ox_val ox_pad_axis(ox_val m, int64_t axis, int64_t before, int64_t after)
{
    int64_t begin[OX_MAX_RANK] = {before}, end[OX_MAX_RANK] = {after};
    return ox_pad(m, (int)-axis, begin, end);
}

/* How often the most used position is used. */
static size_t most_uses(ox_ctx *c, size_t count, const int64_t *index, int64_t size)
{
    size_t *uses = ox_arena_alloc(c->g->arena, (size_t)size, sizeof *uses);
    size_t most = 0;
    for (size_t k = 0; k < count; k++) {
        if (index[k] < 0 || index[k] >= size) {
            ox_rule_fail(c, "an index is out of range");
        }
        if (++uses[index[k]] > most) {
            most = uses[index[k]];
        }
    }
    return most;
}

/* For every position of x the positions of m that it went to, `most` of them; `none` for the rest.
 * [size, most] */
static int64_t *sources_of(ox_ctx *c, size_t count, const int64_t *index, int64_t size, size_t most,
                           int64_t none)
{
    size_t total = 0;
    if (!ox_size_mul((size_t)size, most, &total)) {
        ox_rule_fail(c, "its index is too large");
    }
    int64_t *sources = ox_arena_alloc(c->g->arena, total, sizeof *sources);
    size_t *used = ox_arena_alloc(c->g->arena, (size_t)size, sizeof *used);
    for (size_t i = 0; i < total; i++) {
        sources[i] = none;
    }
    for (size_t k = 0; k < count; k++) {
        size_t to = (size_t)index[k];
        sources[to * most + used[to]++] = (int64_t)k;
    }
    return sources;
}

/* Every position of x gathers what it gets: m's positions, or a zero put behind them. */
static ox_val gather_back(ox_ctx *c, ox_val m, int64_t axis, size_t count, const int64_t *index,
                          int64_t size, size_t most)
{
    int at = m->rank + (int)axis;
    int64_t none = (int64_t)count;
    const int64_t *sources = sources_of(c, count, index, size, most, none);
    bool holes = false;
    for (size_t i = 0; i < (size_t)size * most; i++) {
        holes = holes || sources[i] == none;
    }
    ox_val padded = holes ? ox_pad_axis(m, axis, 0, 1) : m;
    ox_val found = ox_gather(padded, ox_ints(c->g, (size_t)size * most, sources), axis);
    if (most == 1) {
        return found;
    }
    ox_dim dims[OX_MAX_RANK + 1];
    memcpy(dims, m->dims, (size_t)at * sizeof *dims);
    dims[at] = ox_dim_of(size);
    dims[at + 1] = ox_dim_of((int64_t)most);
    memcpy(dims + at + 2, m->dims + at + 1, (size_t)(m->rank - at - 1) * sizeof *dims);
    return ox_sum(ox_reshape(found, m->rank + 1, dims), axis, false);
}

/* Adds up in place: for positions that are used much more often than others. */
static ox_val scatter_back(ox_ctx *c, ox_val m, int64_t axis, size_t count, const int64_t *index,
                           int64_t size)
{
    int at = m->rank + (int)axis;
    ox_dim dims[OX_MAX_RANK];
    memcpy(dims, m->dims, (size_t)m->rank * sizeof *dims);
    dims[at] = ox_dim_of(size);
    ox_val zeros = ox_zeros(c->g, m->type, m->rank, dims);
    ox_dim column[OX_MAX_RANK];
    for (int64_t i = 0; i < -axis; i++) {
        column[i] = ox_dim_of(i == 0 ? (int64_t)count : 1);
    }
    ox_val where = ox_reshape(ox_ints(c->g, count, index), (int)-axis, column);
    return ox_scatter_add(zeros, ox_expand(where, m->rank, m->dims), m, axis);
}

ox_val ox_spread(ox_ctx *c, ox_val m, int64_t axis, size_t count, const int64_t *index,
                 int64_t size)
{
    enum { MOST_WASTE = 4 };
    size_t most = most_uses(c, count, index, size), room = 0;
    if (count == 0 || is_run(count, index)) {
        int64_t before = count == 0 ? 0 : index[0];
        return ox_pad_axis(m, axis, before, size - before - (int64_t)count);
    }
    if (ox_size_mul((size_t)size, most, &room) && room / MOST_WASTE <= count + (size_t)size) {
        return gather_back(c, m, axis, count, index, size, most);
    }
    return scatter_back(c, m, axis, count, index, size);
}

int64_t ox_axis(ox_ctx *c, int64_t otherwise)
{
    ox_val x = ox_node_input(c->node, 0);
    int rank = x == NULL ? -1 : x->rank;
    int64_t axis = ox_node_int(c->node, "axis", ox_node_int(c->node, "gather_axis", otherwise));
    if (rank < 0 || rank > OX_MAX_RANK - 4) {
        ox_rule_fail(c, "its shape cannot be used");
    }
    return ox_shape_axis(c->node, axis, rank) - rank;
}

/* ---- Gather -------------------------------------------------------------------------------- */

/* The axes that the index brought become one: [.., index.., ..] to [.., count, ..]. */
static ox_val merge_index(ox_ctx *c, int axis, ox_dim count)
{
    const ox_val x = c->node->inputs[0], y = c->node->outputs[0];
    int before = x->rank + axis, after = -axis - 1;
    ox_dim dims[OX_MAX_RANK];
    memcpy(dims, x->dims, (size_t)before * sizeof *dims);
    dims[before] = count;
    memcpy(dims + before + 1, y->dims + (y->rank - after), (size_t)after * sizeof *dims);
    return ox_with_lead(c, c->m, x->rank, dims);
}

/* The index, counted from the front. */
static int64_t *index_of(ox_ctx *c, int64_t size, size_t *count)
{
    const ox_val v = ox_node_input(c->node, 1);
    const int64_t *given = NULL;
    const ox_const *known = v == NULL ? NULL : ox_contents(v);
    if (known != NULL) {
        given = ox_const_ints(c->g->arena, known);
        *count = ox_const_count(known);
    }
    given = given == NULL ? ox_known_ints(c, 1, count) : given;
    int64_t *index = ox_arena_copy(c->g->arena, given, *count, sizeof *index);
    for (size_t k = 0; k < *count; k++) {
        index[k] += index[k] < 0 ? size : 0;
    }
    return index;
}

static bool index_is_known(ox_ctx *c)
{
    const ox_val v = ox_node_input(c->node, 1);
    const ox_dim *e = v == NULL ? NULL : ox_shape_elements(v);
    bool computed = e != NULL && ox_dims_static(v->rank, v->dims) &&
                    ox_dims_static((int)ox_val_size(v).size, e);
    return v != NULL && (ox_contents(v) != NULL || computed);
}

/* The same where the index is an input, or computed from one that is not explained, or where the
 * length of the axis is free. */
static void gather_at_run_time(ox_ctx *c, int64_t axis)
{
    const ox_val x = c->node->inputs[0], index = ox_node_input(c->node, 1);
    if (index == NULL || index->rank < 0) {
        ox_shape_fail(c->node);
    }
    ox_dim count = ox_val_size(index), column[OX_MAX_RANK], all[OX_MAX_RANK];
    ox_val m = merge_index(c, (int)axis, count);
    for (int64_t i = 0; i < -axis; i++) {
        column[i] = i == 0 ? count : ox_dim_of(1);
    }
    memcpy(all, m->dims, (size_t)m->rank * sizeof *all);
    all[m->rank + axis] = x->dims[x->rank + axis];
    ox_val where = ox_expand(ox_reshape(ox_x(c, 1), (int)-axis, column), m->rank, m->dims);
    ox_send(c, 0, ox_scatter_add(ox_zeros(c->g, m->type, m->rank, all), where, m, axis));
}

/* The index as a number, and as the references have it: [R, own shape]. */
static ox_val index_difference(ox_ctx *c)
{
    const ox_val v = c->node->inputs[1];
    ox_val x0 = ox_x0(c, 1); /* with axes of length 1 after R */
    ox_dim dims[OX_MAX_RANK];
    int rank = c->node->outputs[0]->rank;
    int lead = x0->rank > rank ? x0->rank - rank : 0;
    memcpy(dims, x0->dims, (size_t)lead * sizeof *dims);
    memcpy(dims + lead, x0->dims + (x0->rank - v->rank), (size_t)v->rank * sizeof *dims);
    x0 = ox_reshape(x0, lead + v->rank, dims);
    return ox_sub(ox_cast(ox_x(c, 1), c->m->type), ox_cast(x0, c->m->type));
}

/* Embeddings: the index is a token, which may be any number. It gets sum(m dy) over what it picks,
 * per unit of index, 0 where both sides pick the same. */
static void flow_token(ox_ctx *c)
{
    const ox_node *n = c->node;
    int rank = n->outputs[0]->rank, index_rank = n->inputs[1]->rank;
    int before = n->inputs[0]->rank + (int)ox_axis(c, 0), after = rank - index_rank - before;
    int64_t axes[OX_MAX_RANK];
    size_t count = 0;
    for (int i = 0; i < rank; i++) {
        if (i < before || i >= rank - after) {
            axes[count++] = i - rank;
        }
    }
    ox_type type = c->m->type; /* tables may be quantised */
    ox_val dy = ox_sub(ox_cast(ox_y(c, 0), type), ox_cast(ox_y0(c, 0), type));
    ox_val terms = ox_mul(c->m, dy);
    ox_val sum = ox_reduce("ReduceSum", terms, count, axes, false);
    ox_val d = index_difference(c), zero = ox_number(d, 0);
    ox_val same = ox_equal(d, zero);
    ox_val share = ox_where(same, zero, ox_unary("Reciprocal", ox_where(same, ox_number(d, 1), d)));
    ox_send(c, 1, ox_mul(sum, share));
}

void flow_gather_block_quantized(ox_ctx *c)
{
    if (ox_varies(c, 0) || ox_varies(c, 2) || ox_varies(c, 3)) {
        ox_rule_fail(c, "its table depends on the input");
    }
    flow_token(c);
}

/* What was picked goes back, and is added up where it was picked twice. */
void flow_gather(ox_ctx *c)
{
    const ox_val x = c->node->inputs[0];
    if (ox_varies(c, 1) && !ox_varies(c, 0)) {
        flow_token(c);
        return;
    }
    ox_need_fixed(c, 1);
    int64_t axis = ox_axis(c, 0);
    size_t count = 0;
    if (c->node->outputs[0]->rank < x->rank - 1) {
        ox_shape_fail(c->node);
    }
    bool sized = ox_dim_is_static(x->dims[x->rank + axis]);
    if (!index_is_known(c) || !sized) {
        gather_at_run_time(c, axis);
        return;
    }
    int64_t size = ox_static_dim(c, 0, (int)axis);
    const int64_t *index = index_of(c, size, &count);
    ox_val m = merge_index(c, (int)axis, ox_dim_of((int64_t)count));
    ox_send(c, 0, ox_spread(c, m, axis, count, index, size));
}

/* ---- element by element -------------------------------------------------------------------- */

ox_val ox_index_like(ox_ctx *c, ox_val like, int lead)
{
    ox_val index = ox_x(c, 1);
    ox_dim dims[OX_MAX_RANK];
    if (index->rank < 0 || lead + index->rank > OX_MAX_RANK) {
        ox_shape_fail(c->node);
    }
    memcpy(dims, like->dims, (size_t)lead * sizeof *dims);
    memcpy(dims + lead, index->dims, (size_t)index->rank * sizeof *dims);
    return ox_expand(index, lead + index->rank, dims);
}

/* From a constant, as flow_token: m dy/d, 0 where both sides pick the same place. */
static void flow_element(ox_ctx *c)
{
    ox_type type = c->m->type;
    ox_val dy = ox_sub(ox_cast(ox_y(c, 0), type), ox_cast(ox_y0(c, 0), type));
    ox_val d = ox_sub(ox_cast(ox_x(c, 1), type), ox_cast(ox_x0(c, 1), type));
    ox_val zero = ox_number(d, 0), same = ox_equal(d, zero);
    ox_val slope = ox_where(same, zero, ox_div(dy, ox_where(same, ox_number(d, 1), d)));
    ox_send(c, 1, ox_mul(c->m, slope));
}

void flow_gather_elements(ox_ctx *c)
{
    if (ox_varies(c, 1) && !ox_varies(c, 0)) {
        flow_element(c);
        return;
    }
    ox_need_fixed(c, 1);
    ox_val zeros = zeros_like_x(c);
    ox_send(c, 0, ox_scatter_add(zeros, ox_index_like(c, c->m, c->lead), c->m, ox_axis(c, 0)));
}

/* Whether updates are added to the data; where they replace it, the data gets nothing there. */
static bool adds(ox_ctx *c)
{
    const char *reduction = ox_node_string(c->node, "reduction", "none");
    if (strcmp(reduction, "add") != 0 && strcmp(reduction, "none") != 0) {
        ox_fail(c->g->arena, OX_UNSUPPORTED, "%s: no rule for reduction %s", ox_node_label(c->node),
                reduction);
    }
    return strcmp(reduction, "add") == 0;
}

void flow_scatter_elements(ox_ctx *c)
{
    ox_need_fixed(c, 1);
    ox_val index = ox_index_like(c, c->m, c->lead);
    int64_t axis = ox_axis(c, 0);
    if (adds(c)) {
        ox_send(c, 0, c->m);
    } else {
        ox_attr attr = ox_attr_int("axis", axis);
        ox_val zeros = ox_zeros(c->g, c->m->type, index->rank, index->dims);
        ox_val in[] = {c->m, index, zeros};
        ox_send(c, 0, ox_graph_emit(c->g, "ScatterElements", 3, in, 1, &attr));
    }
    ox_send(c, 2, ox_gather_elements(c->m, index, axis));
}

/* ---- by tuples ----------------------------------------------------------------------------- */

ox_val ox_lead_last(ox_ctx *c, ox_val v, int lead, bool back)
{
    int perm[OX_MAX_RANK], own = v->rank - lead;
    if (v->rank > OX_MAX_RANK) {
        ox_rule_fail(c, "has too many axes");
    }
    for (int i = 0; i < v->rank; i++) {
        perm[i] = back ? (i < lead ? own + i : i - lead) : (i < own ? lead + i : i - own);
    }
    return ox_transpose(v, perm);
}

/* The same for the multiplier's lead axes. */
static ox_val lead_last(ox_ctx *c, ox_val v, bool back)
{
    return ox_lead_last(c, v, c->lead, back);
}

void flow_gather_nd(ox_ctx *c)
{
    ox_need_fixed(c, 1);
    ox_attr add = ox_attr_string("reduction", "add");
    ox_val in[] = {lead_last(c, zeros_like_x(c), false), ox_x(c, 1), lead_last(c, c->m, false)};
    ox_send(c, 0, lead_last(c, ox_graph_emit(c->g, "ScatterND", 3, in, 1, &add), true));
}

void flow_scatter_nd(ox_ctx *c)
{
    ox_need_fixed(c, 1);
    ox_val m = lead_last(c, c->m, false), index = ox_x(c, 1);
    ox_val taken = ox_graph_emit(c->g, "GatherND", 2, (ox_val[]){m, index}, 0, NULL);
    if (adds(c)) {
        ox_send(c, 0, c->m);
    } else {
        ox_val in[] = {m, index, ox_zeros(c->g, taken->type, taken->rank, taken->dims)};
        ox_send(c, 0, lead_last(c, ox_graph_emit(c->g, "ScatterND", 3, in, 0, NULL), true));
    }
    ox_send(c, 2, lead_last(c, taken, true));
}
