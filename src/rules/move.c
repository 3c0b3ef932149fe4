/* Rules of operators that move data: the adjoint puts everything back where it came from, adds up
 * what was used twice, and leaves zeros where nothing was used. Axes are counted from the end. */
#include "rules/move.h"

#include <string.h>

#include "shape/shape.h"

/* Rank of input 0, small enough for lead axes and one more. */
static int own_rank(ox_ctx *c)
{
    ox_val x = ox_node_input(c->node, 0);
    int rank = x == NULL ? -1 : x->rank;
    if (rank < 0 || rank > OX_MAX_RANK - 4) {
        ox_shape_fail(c->node);
    }
    return rank;
}

/* An axis, counted from the end. */
static int from_end(ox_ctx *c, int64_t axis, int rank)
{
    return ox_shape_axis(c->node, axis, rank) - rank;
}

/* ---- the same data ------------------------------------------------------------------------- */

void flow_identity(ox_ctx *c)
{
    ox_val given = ox_node_input(c->node, 2);
    if (strcmp(c->node->op, "Dropout") == 0 && given != NULL) {
        if (ox_shape_elements(given) == NULL) {
            ox_rule_fail(c, "whether it is in training mode is not known; --fix=NAME=0 says that "
                            "an input is false");
        }
        size_t count = 0;
        const int64_t *training = ox_known_ints(c, 2, &count);
        if (count > 0 && training[0] != 0) {
            ox_rule_fail(c, "is in training mode");
        }
    }
    if (c->m != NULL) { /* the mask of Dropout is the same for all */
        ox_send(c, 0, c->m);
    }
}

static bool has_unknown(ox_val v)
{
    bool unknown = false;
    for (int d = 0; d < v->rank; d++) {
        unknown = unknown || v->dims[d].unknown != 0;
    }
    return unknown;
}

/* The axes that an Unsqueeze has put in taken out again, which needs no dimensions. */
static ox_val without_added(ox_ctx *c)
{
    size_t count = 0;
    const int64_t *axes = ox_known_ints(c, 1, &count);
    int rank = c->node->outputs[0]->rank;
    int64_t *from_last = ox_arena_alloc(c->g->arena, count + 1, sizeof *from_last);
    for (size_t i = 0; i < count; i++) {
        from_last[i] = from_end(c, axes[i], rank);
    }
    return ox_binary("Squeeze", c->m, ox_ints(c->g, count, from_last));
}

void flow_reshape(ox_ctx *c)
{
    ox_need_fixed(c, 1);
    own_rank(c);
    const ox_val x = c->node->inputs[0];
    if (strcmp(c->node->op, "Unsqueeze") == 0 && has_unknown(x)) {
        ox_send(c, 0, without_added(c));
        return;
    }
    ox_send(c, 0, ox_with_lead(c, c->m, x->rank, x->dims));
}

/* Axis perm[i] of x became axis i of y. */
void flow_transpose(ox_ctx *c)
{
    int rank = own_rank(c);
    int back[OX_MAX_RANK] = {0};
    const int *perm = ox_node_perm(c->node, rank);
    if (perm == NULL) {
        ox_rule_fail(c, "its permutation is not one");
    }
    for (int i = 0; i < rank; i++) {
        back[perm[i]] = i;
    }
    ox_send(c, 0, ox_transpose_own(c->m, rank, back));
}

/* ---- parts --------------------------------------------------------------------------------- */

/* Where the parts of a Concat start, the end of the last one behind them. A part of free length is
 * one whose end, and those behind it, are counted from the end: as negative numbers. */
static const int64_t *starts_of_parts(ox_ctx *c, int axis)
{
    const ox_node *n = c->node;
    int64_t *starts = ox_arena_alloc(c->g->arena, n->input_count + 1, sizeof *starts);
    size_t after = n->input_count; /* parts before are counted from the start */
    for (size_t i = 0; i < n->input_count; i++) {
        const ox_val v = n->inputs[i];
        bool sized = v->rank + axis >= 0 && ox_dim_is_static(v->dims[v->rank + axis]);
        after = !sized && after > i ? i : after;
    }
    for (size_t i = 0; i < after; i++) {
        if (!ox_int_add(starts[i], ox_static_dim(c, (int)i, axis), &starts[i + 1])) {
            ox_rule_fail(c, "its shape is too large");
        }
    }
    for (size_t i = n->input_count; i-- > after + 1;) {
        if (!ox_int_add(starts[i + 1], -ox_static_dim(c, (int)i, axis), &starts[i])) {
            ox_rule_fail(c, "its shape is too large");
        }
    }
    starts[n->input_count] = after < n->input_count ? INT64_MAX : starts[n->input_count];
    return starts;
}

/* Whether the parts' sizes are known, several by the number of samples. */
static bool counts_samples(const ox_node *n, int axis)
{
    int counts = 0;
    for (size_t i = 0; i < n->input_count; i++) {
        const ox_val v = n->inputs[i];
        if (v == NULL || v->rank + axis < 0 || v->dims[v->rank + axis].unknown != 0) {
            return false;
        }
        counts += !ox_dim_is_static(v->dims[v->rank + axis]);
    }
    return counts > 1;
}

/* Parts of N samples each, say, along one axis: where they begin shows when the model runs. */
static void split_back(ox_ctx *c, int axis)
{
    size_t count = c->node->input_count;
    ox_dim *sizes = ox_arena_alloc(c->g->arena, count, sizeof *sizes);
    for (size_t i = 0; i < count; i++) {
        const ox_val v = c->node->inputs[i];
        sizes[i] = v->dims[v->rank + axis];
    }
    ox_attr along = ox_attr_int("axis", axis);
    ox_val in[] = {c->m, ox_dims(c->g, (int)count, sizes)};
    const ox_node *parts = ox_graph_emit_node(c->g, "", "Split", 2, in, count, 1, &along);
    for (size_t i = 0; i < count; i++) {
        const ox_val v = c->node->inputs[i];
        ox_send(c, i, ox_with_lead(c, parts->outputs[i], v->rank, v->dims));
    }
}

/* Each input gets its part of m; a shorter Concat of the first of them one part for all these. */
void flow_concat(ox_ctx *c)
{
    int axis = from_end(c, ox_node_int(c->node, "axis", 0), own_rank(c));
    ox_node n = *c->node;
    ox_val whole = NULL;
    if (counts_samples(&n, axis)) {
        split_back(c, axis);
        return;
    }
    size_t shared = ox_concat_prefix(c, &whole);
    if (shared > 0) {
        n.input_count -= shared - 1;
        n.inputs =
            ox_arena_copy(c->g->arena, n.inputs + shared - 1, n.input_count, sizeof *n.inputs);
        n.inputs[0] = whole;
    }
    ox_ctx of_n = *c;
    of_n.node = &n;
    const int64_t *starts = starts_of_parts(&of_n, axis);
    for (size_t i = 0; i < n.input_count; i++) {
        if (ox_varies(&of_n, i)) {
            bool only = n.input_count == 1;
            ox_send(&of_n, i, only ? c->m : ox_slice(c->m, axis, starts[i], starts[i + 1], 1));
        }
    }
}

/* The lead axes of all outputs' multipliers together: some may not depend on the references. */
static void find_lead(ox_ctx *c, ox_dim *lead)
{
    for (int d = 0; d < c->lead; d++) {
        lead[d] = ox_dim_of(1);
    }
    for (size_t i = 0; i < c->node->output_count; i++) {
        ox_val m = ox_m(c, i);
        for (int d = 0; m != NULL && d < c->lead; d++) {
            lead[d] = ox_dim_is(lead[d], 1) ? m->dims[d] : lead[d];
        }
    }
}

static ox_val with_lead(ox_ctx *c, ox_val m, const ox_dim *lead)
{
    ox_dim dims[OX_MAX_RANK];
    memcpy(dims, m->dims, (size_t)m->rank * sizeof *dims);
    for (int d = 0; d < c->lead; d++) {
        dims[d] = ox_dim_is(dims[d], 1) ? lead[d] : dims[d];
    }
    return ox_expand(m, m->rank, dims);
}

/* The outputs' multipliers in a row. An output without one is made of zeros, by which its
 * neighbour is padded. */
void flow_split(ox_ctx *c)
{
    const ox_node *n = c->node;
    int axis = from_end(c, ox_node_int(n, "axis", 0), own_rank(c));
    ox_val *parts = ox_arena_alloc(c->g->arena, n->output_count, sizeof *parts);
    size_t count = 0;
    int64_t missing = 0;
    ox_dim lead[OX_MAX_RANK];
    find_lead(c, lead);
    for (size_t i = 0; i < n->output_count; i++) {
        ox_val m = ox_m(c, i);
        if (m == NULL) {
            const ox_val y = n->outputs[i];
            int at = y->rank + axis;
            if (at < 0 || !ox_dim_is_static(y->dims[at])) {
                ox_rule_fail(c, "the size of an output is not known");
            }
            if (!ox_int_add(missing, y->dims[at].size, &missing)) {
                ox_rule_fail(c, "its shape is too large");
            }
            continue;
        }
        parts[count++] = ox_pad_axis(with_lead(c, m, lead), axis, missing, 0);
        missing = 0;
    }
    parts[count - 1] = ox_pad_axis(parts[count - 1], axis, 0, missing);
    ox_send(c, 0, ox_concat(c->g, count, parts, axis));
}

/* Whether a slice leaves out as many at each end, whatever the size is. */
static bool leaves_out(int64_t start, int64_t end, int64_t step)
{
    return step == 1 && start >= 0 && start < INT32_MAX &&
           (end >= INT32_MAX || (end < 0 && end > INT32_MIN));
}

/* Back to where a slice along one axis came from. */
static ox_val unslice(ox_ctx *c, ox_val m, int axis, int64_t start, int64_t end, int64_t step)
{
    const ox_val x = c->node->inputs[0];
    const ox_val y = c->node->outputs[0];
    bool all = step == 1 && ox_dim_equal(x->dims[x->rank + axis], y->dims[y->rank + axis]);
    if (all) {
        return m;
    }
    ox_dim along = x->dims[x->rank + axis];
    if (!ox_dim_is_static(along) && along.batch == 0 && leaves_out(start, end, step)) {
        return ox_pad_axis(m, axis, start, end < 0 ? -end : 0);
    }
    int64_t size = ox_static_dim(c, 0, axis);
    if (step == 0 || step == INT64_MIN) {
        ox_rule_fail(c, "a step cannot be used");
    }
    ox_run run = ox_run_of(size, start, end, step);
    int64_t *index = ox_arena_alloc(c->g->arena, (size_t)run.count, sizeof *index);
    for (int64_t k = 0; k < run.count; k++) {
        index[k] = run.first + k * run.step;
    }
    return ox_spread(c, m, axis, (size_t)run.count, index, size);
}

static const int64_t *ints_of(ox_ctx *c, size_t i, size_t expected)
{
    size_t count = 0;
    const int64_t *ints = ox_known_ints(c, i, &count);
    if (count != expected) {
        ox_rule_fail(c, "its inputs do not fit together");
    }
    return ints;
}

static const int64_t *optional_ints(ox_ctx *c, size_t i, size_t expected)
{
    return ox_node_input(c->node, i) == NULL ? NULL : ints_of(c, i, expected);
}

/* Whether y is all of x: the ends are then those of x, though not known as numbers. */
static bool takes_all(ox_ctx *c, int rank, size_t count, const int64_t *steps)
{
    bool all = ox_dims_equal(rank, c->node->inputs[0]->dims, c->node->outputs[0]->dims);
    for (size_t k = 0; k < count && steps != NULL; k++) {
        all = all && steps[k] == 1;
    }
    return all;
}

void flow_slice(ox_ctx *c)
{
    size_t count = 0;
    int rank = own_rank(c);
    const int64_t *starts = ox_known_ints(c, 1, &count);
    const int64_t *axes = optional_ints(c, 3, count), *steps = optional_ints(c, 4, count);
    if (takes_all(c, rank, count, steps)) {
        ox_send(c, 0, c->m);
        return;
    }
    const int64_t *ends = ints_of(c, 2, count);
    ox_val m = c->m;
    for (size_t k = 0; k < count; k++) {
        int axis = from_end(c, axes == NULL ? (int64_t)k : axes[k], rank);
        m = unslice(c, m, axis, starts[k], ends[k], steps == NULL ? 1 : steps[k]);
    }
    ox_send(c, 0, m);
}

/* ---- more of the same ---------------------------------------------------------------------- */

/* ox_send adds up along the axes that were broadcast. */
void flow_expand(ox_ctx *c)
{
    ox_need_fixed(c, 1);
    ox_send(c, 0, c->m);
}

/* y has every axis repeats times over: [.., d, ..] becomes [.., repeats, d, ..], summed. */
void flow_tile(ox_ctx *c)
{
    const ox_val x = c->node->inputs[0];
    int rank = own_rank(c), split_rank = 0;
    const int64_t *repeats = ints_of(c, 1, (size_t)rank);
    ox_dim dims[2 * OX_MAX_RANK];
    int64_t axes[OX_MAX_RANK];
    size_t axis_count = 0;
    for (int i = 0; i < rank; i++) {
        if (repeats[i] != 1) {
            axes[axis_count++] = split_rank;
            dims[split_rank++] = ox_dim_of(repeats[i]);
        }
        dims[split_rank++] = x->dims[i];
    }
    for (size_t k = 0; k < axis_count; k++) {
        axes[k] -= split_rank;
    }
    if (c->lead + split_rank > OX_MAX_RANK) {
        ox_rule_fail(c, "has too many axes");
    }
    ox_val m = ox_with_lead(c, c->m, split_rank, dims);
    ox_send(c, 0, ox_reduce("ReduceSum", m, axis_count, axes, false));
}

/* ---- Pad ----------------------------------------------------------------------------------- */

/* Which position of x the padded position p shows. */
static int64_t shown(const char *mode, int64_t p, int64_t size)
{
    if (strcmp(mode, "edge") == 0) {
        return p < 0 ? 0 : p >= size ? size - 1 : p;
    }
    bool wrap = strcmp(mode, "wrap") == 0;
    int64_t period = wrap ? size : size == 1 ? 1 : 2 * (size - 1);
    p %= period;
    p += p < 0 ? period : 0;
    return p < size ? p : period - p;
}

static ox_val unpad(ox_ctx *c, ox_val m, const char *mode, int axis, int64_t before)
{
    int64_t size = ox_static_dim(c, 0, axis), padded = ox_static_dim(c, -1, axis);
    if (size == 0) {
        ox_rule_fail(c, "pads an empty axis");
    }
    int64_t *index = ox_arena_alloc(c->g->arena, (size_t)padded, sizeof *index);
    for (int64_t p = 0; p < padded; p++) {
        index[p] = shown(mode, p - before, size);
    }
    return ox_spread(c, m, axis, (size_t)padded, index, size);
}

/* Constant padding is cut off again, other padding goes back to what it copied. */
void flow_pad(ox_ctx *c)
{
    int rank = own_rank(c);
    size_t count = (size_t)rank;
    const char *mode = ox_node_string(c->node, "mode", "constant");
    const int64_t *axes = ox_node_input(c->node, 3) == NULL ? NULL : ox_known_ints(c, 3, &count);
    const int64_t *pads = ints_of(c, 1, 2 * count);
    int64_t before[OX_MAX_RANK] = {0}, after[OX_MAX_RANK] = {0};
    if (ox_varies(c, 2)) {
        ox_rule_fail(c, "the value it pads with depends on the explained inputs");
    }
    ox_val m = c->m;
    for (size_t k = 0; k < count; k++) {
        int axis = from_end(c, axes == NULL ? (int64_t)k : axes[k], rank);
        if (pads[k] == INT64_MIN || pads[k + count] == INT64_MIN) {
            ox_rule_fail(c, "a pad cannot be used");
        }
        before[rank + axis] = -pads[k];
        after[rank + axis] = -pads[k + count];
        if (strcmp(mode, "constant") != 0 && (pads[k] != 0 || pads[k + count] != 0)) {
            m = unpad(c, m, mode, axis, pads[k]);
        }
    }
    ox_send(c, 0, strcmp(mode, "constant") == 0 ? ox_pad(m, rank, before, after) : m);
}

/* ---- blocks -------------------------------------------------------------------------------- */

/* m as the 6 axes `dims`, transposed, in the shape of x. */
static void send_blocks(ox_ctx *c, const ox_dim *dims, const int *permutation)
{
    const ox_val x = c->node->inputs[0];
    ox_val m = ox_transpose_own(ox_with_lead(c, c->m, 6, dims), 6, permutation);
    ox_send(c, 0, ox_with_lead(c, m, x->rank, x->dims));
}

static ox_dim block_size(ox_ctx *c)
{
    int64_t b = ox_node_int(c->node, "blocksize", 0);
    if (own_rank(c) != 4 || b < 1 || b > INT32_MAX) {
        ox_rule_fail(c, "its shape or blocksize cannot be used");
    }
    return ox_dim_of(b);
}

/* Channels [b, b, C] (DCR) or [C, b, b] (CRD) went to [C, H, b, W, b]. */
void flow_depth_to_space(ox_ctx *c)
{
    static const int dcr[] = {0, 3, 5, 1, 2, 4}, crd[] = {0, 1, 3, 5, 2, 4};
    ox_dim b = block_size(c);
    const ox_dim *x = c->node->inputs[0]->dims;
    ox_dim channels = ox_dim_of(ox_static_dim(c, 0, -3) / (b.size * b.size));
    const ox_dim dims[] = {x[0], channels, x[2], b, x[3], b};
    const char *mode = ox_node_string(c->node, "mode", "DCR");
    send_blocks(c, dims, strcmp(mode, "CRD") == 0 ? crd : dcr);
}

/* [C, H, b, W, b] went to channels [b, b, C] (DCR) or [C, b, b] (CRD). */
void flow_space_to_depth(ox_ctx *c)
{
    static const int dcr_back[] = {0, 3, 4, 1, 5, 2}, crd_back[] = {0, 1, 4, 2, 5, 3};
    ox_dim b = block_size(c);
    const ox_dim *x = c->node->inputs[0]->dims, *y = c->node->outputs[0]->dims;
    bool crd = strcmp(ox_node_string(c->node, "mode", "DCR"), "CRD") == 0;
    const ox_dim dims[] = {x[0], crd ? x[1] : b, b, crd ? b : x[1], y[2], y[3]};
    send_blocks(c, dims, crd ? crd_back : dcr_back);
}

/* ---- triangles ----------------------------------------------------------------------------- */

/* Sums from the other end. */
void flow_cumsum(ox_ctx *c)
{
    size_t count = 0;
    const int64_t *axis = ox_known_ints(c, 1, &count);
    int from = from_end(c, count == 1 ? axis[0] : INT64_MAX, own_rank(c));
    ox_attr attrs[] = {
        ox_attr_int("exclusive", ox_node_int(c->node, "exclusive", 0)),
        ox_attr_int("reverse", ox_node_int(c->node, "reverse", 0) == 0),
    };
    ox_val in[] = {c->m, ox_int_scalar(c->g, from)};
    ox_send(c, 0, ox_graph_emit(c->g, "CumSum", 2, in, 2, attrs));
}

/* The same triangle. */
void flow_trilu(ox_ctx *c)
{
    ox_need_fixed(c, 1);
    ox_attr upper = ox_attr_int("upper", ox_node_int(c->node, "upper", 1));
    ox_val in[] = {c->m, ox_x(c, 1)};
    ox_send(c, 0, ox_graph_emit(c->g, "Trilu", in[1] == NULL ? 1 : 2, in, 1, &upper));
}
