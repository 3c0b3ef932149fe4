/* Where the samples lie in a value: which axis has their number N as a factor, and what stands
 * before and after it there, in the order of memory: dims[axis] = before * N * after. [N, T, C]
 * reshaped to [N*T, C] has N before T, [T, N, C] to [T*N, C] behind it, and heads split off and
 * merged again put it anywhere. Most operators leave an axis as a whole; a reshape keeps the order
 * of memory, so that as many numbers lie between two samples behind it as before.
 *
 * With that, references take the place of N wherever a value has it (explain/branch.c). */
#include "explain/place.h"

#include <string.h>

#include "explain/bind.h"
#include "explain/order.h"
#include "rules/own.h"
#include "rules/rules.h"
#include "rules/side.h"
#include "shape/shape.h"

/* Of dims[first] to dims[end - 1]; 0 where it is not known. */
static int64_t product(ox_val v, int first, int end)
{
    int64_t all = 1;
    for (int d = first; d < end; d++) {
        bool known = ox_dim_is_static(v->dims[d]) && ox_int_mul(all, v->dims[d].size, &all);
        all = known ? all : 0;
    }
    return all;
}

/* The axis that has N as a factor; -1 where there is none, -2 where N is there more than once. */
static int axis_of(ox_val v)
{
    int axis = -1;
    for (int d = 0; d < v->rank; d++) {
        if (v->dims[d].batch > 0) {
            axis = axis == -1 && v->dims[d].batch == 1 ? d : -2;
        }
    }
    return axis;
}

static const ox_place *place_of(ox_val v)
{
    return &ox_side_of(v)->place;
}

/* Sets what comes before N, where that leaves a whole number behind it. */
static void put(ox_place *to, int64_t size, int64_t before)
{
    to->known = before > 0 && size % before == 0;
    to->before = to->known ? before : 0;
    to->after = to->known ? size / before : 0;
}

/* Reshape and the like: the order of memory stays. */
static void place_reshaped(ox_val x, ox_val y, ox_place *to)
{
    const ox_place *from = place_of(x);
    int64_t size = y->dims[to->axis].size, stride = 0, ahead = 0;
    if (!from->known) {
        return;
    }
    bool apart = ox_int_mul(from->after, product(x, from->axis + 1, x->rank), &stride);
    int64_t behind = product(y, to->axis + 1, y->rank);
    if (apart && stride > 0 && behind > 0) {
        int64_t after = stride % behind == 0 ? stride / behind : 0;
        put(to, size, after > 0 && size % after == 0 ? size / after : 0);
        return;
    }
    apart = ox_int_mul(from->before, product(x, 0, from->axis), &ahead);
    int64_t before = product(y, 0, to->axis);
    put(to, size, apart && before > 0 && ahead % before == 0 ? ahead / before : 0);
}

/* Whether N alone, as the reshaped axis is, is not what it was: as far apart in memory. */
static bool moves_samples(ox_val x, ox_val y, const ox_place *to)
{
    const ox_place *from = place_of(x);
    int64_t stride = 0;
    if (!ox_side_of(x)->varies || axis_of(x) < 0) {
        return false;
    }
    int64_t inner = product(x, from->axis + 1, x->rank), behind = product(y, to->axis + 1, y->rank);
    bool known = from->known && inner > 0 && behind > 0 && ox_int_mul(from->after, inner, &stride);
    return known && stride != behind;
}

static void place_transposed(const ox_node *n, ox_val x, ox_val y, ox_place *to)
{
    const int *perm = ox_node_perm(n, y->rank);
    const ox_place *from = place_of(x);
    if (from->known && perm != NULL && from->axis == perm[to->axis]) {
        put(to, y->dims[to->axis].size, from->before);
    }
}

/* One part behind the other along the samples' axis: [a*N*c] and [b*N*c] are [(a+b)*N*c]. */
static bool place_joined(const ox_node *n, ox_val y, ox_place *to)
{
    int64_t before = 0;
    if (ox_axis_front(ox_node_int(n, "axis", 0), y->rank) != to->axis) {
        return false;
    }
    for (size_t i = 0; i < n->input_count; i++) {
        const ox_place *from = place_of(n->inputs[i]);
        bool alike =
            from->known && from->axis == to->axis && from->after == place_of(n->inputs[0])->after;
        if (!alike || !ox_int_add(before, from->before, &before)) {
            return true;
        }
    }
    put(to, y->dims[to->axis].size, before);
    return true;
}

/* Repeated as a whole. */
static void place_tiled(ox_val x, ox_val y, ox_place *to)
{
    const ox_place *from = place_of(x);
    if (from->known && from->axis == to->axis) {
        put(to, y->dims[to->axis].size, y->dims[to->axis].size / from->after);
    }
}

/* The axis comes from an operand, wherever it has it; those that vary must agree. */
static void place_kept(const ox_node *n, ox_val y, ox_place *to)
{
    ox_dim dim = y->dims[to->axis];
    for (int varying = 1; varying >= 0 && !to->known; varying--) {
        for (size_t i = 0; i < n->input_count; i++) {
            ox_val x = n->inputs[i];
            if (x == NULL || ox_side_of(x)->varies != (varying == 1)) {
                continue;
            }
            const ox_place *from = place_of(x);
            if (!from->known || !ox_dim_equal(x->dims[from->axis], dim)) {
                continue;
            }
            if (to->known && to->before != from->before) {
                to->known = false;
                return;
            }
            put(to, dim.size, from->before);
        }
    }
}

/* Attribute or input `axis` of an operator that works along one axis, or from it on. */
static int axis_along(const ox_node *n, ox_val x, int64_t otherwise)
{
    size_t count = 0;
    ox_val given = ox_node_is(n, "CumSum") || ox_node_is(n, "CumProd") ? ox_node_input(n, 1) : NULL;
    const double *known = given == NULL ? NULL : ox_numbers(given, &count);
    int64_t axis =
        known != NULL && count == 1 ? (int64_t)known[0] : ox_node_int(n, "axis", otherwise);
    return ox_axis_front(axis, x->rank);
}

/* Whether n computes one number of several along the samples' axis, which it leaves as long as it
 * is: a sample's result is not its own then. What makes that axis shorter shows in the shape. */
static bool mixes(const ox_node *n, ox_val x, int axis)
{
    if (ox_node_has(n, OX_ALONG_AXIS)) {
        return axis_along(n, x, -1) == axis;
    }
    if (ox_node_has(n, OX_IN_WINDOWS)) {
        return axis != 0;
    }
    if (ox_node_has(n, OX_IN_STEPS)) {
        return axis_of(x) == (ox_node_int(n, "layout", 0) == 1);
    }
    if (ox_node_is(n, "Trilu")) {
        return axis >= x->rank - 2;
    }
    return ox_node_is(n, "ReverseSequence") && ox_node_int(n, "time_axis", 0) == axis;
}

/* ---- what picks rows, or writes them ------------------------------------------------------- */

/* The numbers by which n picks along the samples' axis of x, or writes along it; NULL where it does
 * not, or where they are not found, which `found` tells apart. */
static ox_val sample_numbers(const ox_node *n, ox_val x, bool *found)
{
    ox_val index = ox_node_input(n, 1);
    bool one = ox_node_is(n, "Gather") || ox_node_is(n, "GatherElements") ||
               ox_node_is(n, "Scatter") || ox_node_is(n, "ScatterElements");
    bool tuples = ox_node_is(n, "GatherND") || ox_node_is(n, "ScatterND");
    *found = true;
    if (index == NULL || axis_of(x) < 0 || (!one && !tuples)) {
        return NULL;
    }
    if (one) {
        return axis_along(n, x, 0) == axis_of(x) ? index : NULL;
    }
    int64_t place = axis_of(x) - ox_node_int(n, "batch_dims", 0);
    ox_dim last = index->rank < 1 ? ox_dim_of(0) : index->dims[index->rank - 1];
    if (place < 0 || (ox_dim_is_static(last) && place >= last.size)) {
        return NULL; /* a batch axis, or one behind those that are picked along */
    }
    ox_val part = index->rank < 1 ? NULL : ox_own_part(index, place);
    *found = part != NULL;
    return part;
}

/* Whether n may give a sample rows of another one, or write them there: unless by the sample's own
 * number. With held values beside it that holds where it was decomposed so (rules/pick.c), as
 * references are others than the samples that held values name. */
static bool mixes_rows(const ox_node *n, ox_val x, bool decomposed)
{
    bool found;
    ox_val numbers = sample_numbers(n, x, &found);
    if (numbers == NULL) {
        return !found;
    }
    ox_val index = n->inputs[1];
    int64_t rows = place_of(x)->after;
    bool apart = !decomposed || ox_side_of(n->outputs[0])->decomposed;
    return (ox_side_of(index)->of_held && !apart) ||
           !(numbers == index ? ox_own_numbers(index, rows) : rows == 1 && ox_own_number(numbers));
}

static void place(ox_val y, bool decomposed)
{
    ox_place *to = &ox_side_of(y)->place;
    const ox_node *n = y->node;
    *to = (ox_place){.axis = axis_of(y)};
    if (to->axis < 0) {
        return;
    }
    ox_val x = n == NULL ? NULL : ox_node_input(n, 0);
    bool along = x != NULL && x->rank > 0 && ox_side_of(x)->varies;
    if ((along && mixes(n, x, to->axis)) ||
        (x != NULL && ox_side_of(y)->varies && mixes_rows(n, x, decomposed))) {
        return;
    }
    const ox_row *row = n == NULL ? NULL : ox_rule_find(n->domain, n->op);
    bool reshaped = row != NULL && row->rule == flow_reshape;
    if (y->dims[to->axis].size == 1 && !(reshaped && moves_samples(x, y, to))) {
        put(to, 1, 1);
        return;
    }
    if (n == NULL || y->dims[to->axis].size <= 1) {
        return;
    }
    if (n->parts != NULL) {
        *to = *place_of(n->parts[y->output]);
        return;
    }
    if (reshaped) {
        place_reshaped(n->inputs[0], y, to);
    } else if (ox_node_is(n, "Transpose")) {
        place_transposed(n, n->inputs[0], y, to);
    } else if (ox_node_is(n, "Tile")) {
        place_tiled(n->inputs[0], y, to);
    } else if (!ox_node_is(n, "Concat") || !place_joined(n, y, to)) {
        place_kept(n, y, to);
    }
}

/* Whether samples are not found because a value is, or comes from, a scale of the batch. */
static bool is_scale(const ox_node *n)
{
    bool lost = false;
    for (size_t i = 0; i < n->input_count; i++) {
        ox_val x = n->inputs[i];
        if (x != NULL && ox_side_of(x)->varies && !place_of(x)->known) {
            lost = true;
            if (!place_of(x)->scale) {
                return false;
            }
        }
    }
    const ox_node *origin = n->original ? n : n->origin;
    return lost || (origin != NULL && strncmp(origin->op, "DynamicQuantize", 15) == 0);
}

void ox_place_find(ox_explain_state *s, bool decomposed)
{
    for (size_t i = 0; i < s->g->input_count; i++) {
        place(s->g->inputs[i], decomposed);
    }
    for (size_t i = 0; i < s->g->node_count; i++) { /* in topological order */
        const ox_node *n = s->g->nodes[i];
        for (size_t k = 0; k < n->output_count; k++) {
            ox_place *found = &ox_side_of(n->outputs[k])->place;
            place(n->outputs[k], decomposed);
            found->scale = !found->known && is_scale(n);
        }
    }
}

/* ---- what stands in the way ------------------------------------------------------------------ */

static bool has_unknown(ox_val v)
{
    bool unknown = false;
    for (int d = 0; d < v->rank; d++) {
        unknown = unknown || v->dims[d].unknown != 0;
    }
    return unknown;
}

/* What is wrong with v, and what to change. */
static const char *reason(ox_val v)
{
    if (v->rank < 0) {
        return "has as many steps as there are samples; operators over the whole batch in its "
               "place keep samples apart";
    }
    if (has_unknown(v)) {
        return "has an axis of which the length is not known, so that samples are not found; keep "
               "them in an axis of their own";
    }
    switch (axis_of(v)) {
    case -1:
        return ox_node_is(v->node, "Reshape")
                   ? "has no batch axis; -1, or what Shape says of it, in place of its size keeps "
                     "it"
                   : "has no batch axis; keep it, or explain a tensor before (--output-name)";
    case -2: return "has the batch in more than one place; keep samples in one axis";
    default: return "mixes samples along its batch axis; keep them in an axis of their own";
    }
}

static const char *describe(ox_explain_state *s, ox_val v)
{
    const char *shape = v->rank < 0 ? "" : ox_shape_text(s->arena, v->rank, v->dims);
    return ox_arena_format(s->arena, "%s: its result%s%s %s", ox_node_label(v->node),
                           v->rank < 0 ? "" : " ", shape, reason(v));
}

bool ox_place_absent(ox_val v)
{
    return axis_of(v) == -1;
}

bool ox_place_found(ox_val v)
{
    return v->rank < 0 || has_unknown(v);
}

bool ox_place_repeats(ox_val v)
{
    return v->rank >= 0 && place_of(v)->known && !has_unknown(v);
}

const char *ox_place_missing(ox_explain_state *s)
{
    for (size_t i = s->order->count; i-- > 0;) { /* the first one in the model */
        const ox_node *n = s->order->nodes[i];
        for (size_t k = 0; k < n->output_count; k++) {
            ox_val v = n->outputs[k];
            if (v->rank >= 0 && ox_side_of(v)->varies && !place_of(v)->known) {
                return describe(s, v);
            }
        }
    }
    return NULL;
}

/* Scales of a whole batch move results by rounding alone, and samples alone have their own. */
static ox_cut cut_of(ox_val v)
{
    return place_of(v)->scale ? OX_CUT_ALONE : OX_CUT_WHOLE;
}

ox_cut ox_place_cut(ox_explain_state *s)
{
    ox_cut cut = OX_CUT_ANY;
    for (size_t i = 0; i < s->g->node_count; i++) {
        const ox_node *n = s->g->nodes[i];
        for (size_t k = 0; k < n->output_count; k++) {
            ox_val v = n->outputs[k];
            bool lost = v->rank >= 0 && ox_side_of(v)->varies && !place_of(v)->known;
            if (lost && ox_type_is_float(v->type)) {
                cut = cut_of(v) > cut ? cut_of(v) : cut;
            }
        }
    }
    return cut;
}

/* Before the order is known, and of the batch axis alone. */
const char *ox_place_lost(ox_explain_state *s)
{
    for (size_t i = 0; i < s->bind->input_count; i++) {
        ox_side_of(s->bind->inputs[i].x)->varies = true;
    }
    for (size_t i = 0; i < s->g->node_count; i++) {
        const ox_node *n = s->g->nodes[i];
        for (size_t k = 0; k < n->output_count; k++) {
            ox_val v = n->outputs[k];
            bool lost = v->rank >= 0 ? axis_of(v) < 0 : ox_node_has_body(n);
            if (ox_side_of(v)->varies && v->needed && lost) {
                return describe(s, v);
            }
        }
    }
    return "";
}
