/* Operators that move or pool: what becomes of them in the blocked layout. */
#include <string.h>

#include "tune/tune.h"

/* ---- pools ------------------------------------------------------------------------------ */

static bool emit_pool(ox_tuner *t, ox_node *n, const char *op)
{
    ox_form *x = ox_form_in(n, 0);
    const ox_val y = n->outputs[0];
    if (x == NULL || x->rank != 4 || !ox_form_fits(t, x) || !ox_form_ready(t, x) || y->rank != 4 ||
        !ox_dims_static(3, y->dims + 1)) {
        return false;
    }
    ox_attr *attrs = ox_arena_alloc(t->arena, n->attr_count + 1, sizeof *attrs);
    size_t count = 0;
    for (size_t i = 0; i < n->attr_count; i++) {
        if (strcmp(n->attrs[i].name, "storage_order") != 0) {
            attrs[count] = n->attrs[i];
            attrs[count++].proto = NULL;
        }
    }
    ox_val in = ox_form_blocked(t, x);
    ox_dim logical[4] = {x->dims[0], x->dims[1], y->dims[2], y->dims[3]};
    ox_dim dims[4] = {x->dims[0], in->dims[1], y->dims[2], y->dims[3]};
    ox_form_set(t, ox_form_of(n->outputs[0]), ox_tune_emit(t, op, 1, &in, count, attrs, dims),
                OX_FOLDED, 4, logical);
    return true;
}

bool layout_pool(ox_tuner *t, ox_node *n)
{
    return emit_pool(t, n, n->op);
}

/* ---- shapes ----------------------------------------------------------------------------- */

/* Where C, H and W stay what they are, blocks do not notice. */
bool layout_reshape(ox_tuner *t, ox_node *n)
{
    ox_form *x = ox_form_in(n, 0);
    ox_val y = n->outputs[0];
    if (x->whole != NULL && x->whole->rank == y->rank &&
        ox_dims_equal(y->rank, x->whole->dims, y->dims)) {
        y->form = x->whole;
        return true;
    }
    if (!ox_form_ready(t, x) || y->rank < 4 || y->rank >= OX_TUNE_RANK) {
        return false;
    }
    for (int k = 1; k <= 3; k++) {
        if (!ox_dim_equal(y->dims[y->rank - k], x->dims[x->rank - k])) {
            return false;
        }
    }
    ox_form *f = ox_form_of(y);
    if (x->put_off) {
        ox_form_put_off(t, f, x->base, x->scale, x->add);
        return true;
    }
    ox_form_set(t, f, ox_form_blocked(t, x), OX_FOLDED, y->rank, y->dims);
    if (x->uses == 1) {
        f->conv = x->conv;
        f->filters = x->filters;
        f->bias = x->bias;
    }
    return true;
}

/* From what is known, so that the value need not be there for it. */
bool layout_shape(ox_tuner *t, ox_node *n)
{
    const ox_form *x = ox_form_in(n, 0);
    if (x->plain != NULL || x->rank < 0) {
        return false;
    }
    int64_t start = ox_node_int(n, "start", 0), end = ox_node_int(n, "end", x->rank);
    ox_run run = ox_run_of(x->rank, start, end, 1);
    const ox_dim *dims = x->dims + run.first;
    for (int64_t i = 0; i < run.count; i++) {
        if (dims[i].unknown != 0) {
            return false;
        }
    }
    if (run.count == 0) {
        return false;
    }
    ox_form *f = ox_form_of(n->outputs[0]);
    f->plain = ox_dims(t->g, (int)run.count, dims);
    f->rank = f->plain->rank;
    f->dims = f->plain->dims;
    return true;
}

/* ---- channels side by side -------------------------------------------------------------- */

static bool is_channels(const ox_node *n, const ox_form *f)
{
    return ox_axis_front(ox_node_int(n, "axis", 0), f->rank) == f->rank - 3;
}

bool layout_concat(ox_tuner *t, ox_node *n)
{
    const ox_form *first = ox_form_in(n, 0);
    int64_t channels = 0;
    bool some = false;
    for (size_t i = 0; i < n->input_count; i++) {
        const ox_form *f = ox_form_in(n, i);
        bool last = i + 1 == n->input_count;
        if (f == NULL || f->rank < 4 || f->rank != first->rank || !ox_form_fits(t, f) ||
            !is_channels(n, f) || (!last && ox_form_size(f, 3) % t->block != 0)) {
            return false;
        }
        some = some || f->blocked != NULL;
        channels += ox_form_size(f, 3);
    }
    if (!some) {
        return false;
    }
    ox_val *parts = ox_arena_alloc(t->arena, n->input_count, sizeof *parts);
    for (size_t i = 0; i < n->input_count; i++) {
        parts[i] = ox_form_blocked(t, ox_form_in(n, i));
    }
    ox_dim dims[OX_TUNE_RANK];
    memcpy(dims, first->dims, (size_t)first->rank * sizeof *dims);
    dims[first->rank - 3] = ox_dim_of(channels);
    ox_form_set(t, ox_form_of(n->outputs[0]), ox_concat(t->g, n->input_count, parts, 1), OX_FOLDED,
                first->rank, dims);
    return true;
}

/* ---- slices ------------------------------------------------------------------------------- */

/* What a Slice takes of an axis, counted from behind. */
typedef struct slice {
    int axis;
    ox_run run;
} slice;

/* The numbers that input i holds, of which there have to be `count`, all known. */
static bool find_numbers(const ox_node *n, size_t i, size_t count, int64_t *out)
{
    const ox_form *f = ox_form_in(n, i);
    ox_val v = f == NULL ? NULL : f->plain;
    if (v == NULL || v->elements == NULL || v->rank > 1 ||
        (v->rank == 1 ? !ox_dim_is(v->dims[0], (int64_t)count) : count != 1)) {
        return false;
    }
    bool known = true;
    for (size_t k = 0; k < count; k++) {
        known = known && ox_dim_is_static(v->elements[k]);
        out[k] = v->elements[k].size;
    }
    return known;
}

/* How many of C, H and W the node cuts; 0 where it is not known, takes nothing or goes backwards,
 * or cuts another axis. */
static size_t find_slices(const ox_node *n, const ox_form *x, slice out[3])
{
    const ox_form *starts = ox_form_in(n, 1);
    int64_t from[3] = {0}, to[3] = {0}, axes[3] = {0}, steps[3] = {1, 1, 1}, size = 1;
    if (starts->rank == 1 && ox_dim_is_static(starts->dims[0])) {
        size = starts->dims[0].size;
    }
    size_t count = size >= 1 && size <= 3 ? (size_t)size : 1;
    if (!find_numbers(n, 1, count, from) || !find_numbers(n, 2, count, to) ||
        !find_numbers(n, 3, count, axes) ||
        (ox_form_in(n, 4) != NULL && !find_numbers(n, 4, count, steps))) {
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        out[i].axis = x->rank - (int)ox_axis_front(axes[i], x->rank);
        if (out[i].axis < 1 || out[i].axis > 3 || steps[i] < 1) {
            return 0;
        }
        out[i].run = ox_run_of(ox_form_size(x, out[i].axis), from[i], to[i], steps[i]);
        if (out[i].run.count == 0) {
            return 0;
        }
    }
    return count;
}

/* Whole blocks of channels. */
static bool slice_channels(ox_tuner *t, ox_form *out, ox_form *x, ox_run run)
{
    int64_t from = run.first, to = run.first + run.count;
    bool ends = to % t->block == 0 || to == ox_form_size(x, 3);
    if (run.step != 1 || from % t->block != 0 || !ends) {
        return false;
    }
    ox_dim dims[OX_TUNE_RANK];
    memcpy(dims, x->dims, (size_t)x->rank * sizeof *dims);
    dims[x->rank - 3] = ox_dim_of(to - from);
    ox_val v = ox_slice(ox_form_blocked(t, x), 1, from, ox_tune_padded(t, to), 1);
    ox_form_set(t, out, v, OX_FOLDED, x->rank, dims);
    return true;
}

/* Every step-th row and column, where the last step is whole: the axis is seen as [size/step,
 * step], from which ONNX Runtime gathers what lies together three times as fast as by a Slice with
 * steps, and rows that several phases share once. NULL where it does not apply. */
static ox_val gather_phases(ox_tuner *t, ox_form *x, size_t count, const slice *slices)
{
    ox_dim dims[OX_TUNE_RANK + 3];
    ox_val v = ox_form_view(t, x, OX_SPLIT);
    if (v->rank + (int)count > OX_RANK_LIMIT) {
        return NULL;
    }
    int64_t steps[4] = {1, 1, 1, 1}, phases[4] = {0}; /* by the axis, counted from behind */
    for (size_t i = 0; i < count; i++) {
        ox_run run = slices[i].run;
        int64_t size = ox_form_size(x, slices[i].axis);
        if (run.step == 1 || run.first >= run.step || run.count * run.step != size) {
            return NULL;
        }
        steps[slices[i].axis] = run.step;
        phases[slices[i].axis] = run.first;
    }
    int rank = 0, axes[3] = {0};
    for (int i = 0; i < v->rank; i++) {
        int axis = v->rank - 1 - i; /* of the form: the block is one more behind */
        bool cut = (axis == 1 || axis == 2) && steps[axis] > 1;
        dims[rank++] = cut ? ox_dim_of(v->dims[i].size / steps[axis]) : v->dims[i];
        if (cut) {
            axes[axis] = rank;
            dims[rank++] = ox_dim_of(steps[axis]);
        }
    }
    v = ox_reshape(v, rank, dims);
    for (int axis = 2; axis >= 1; axis--) {
        if (steps[axis] > 1) {
            v = ox_gather(v, ox_ints(t->g, 1, &phases[axis]), axes[axis]);
        }
    }
    return v;
}

/* Rows and columns, a block of channels at a time. */
static bool slice_places(ox_tuner *t, ox_form *out, ox_form *x, size_t count, const slice *slices)
{
    int64_t from[2], to[2], axes[2], steps[2];
    ox_dim dims[OX_TUNE_RANK];
    memcpy(dims, x->dims, (size_t)x->rank * sizeof *dims);
    for (size_t i = 0; i < count; i++) {
        ox_run run = slices[i].run;
        if (slices[i].axis == 3) {
            return false;
        }
        from[i] = run.first;
        to[i] = run.first + (run.count - 1) * run.step + 1;
        axes[i] = x->rank - slices[i].axis;
        steps[i] = run.step;
        dims[axes[i]] = ox_dim_of(run.count);
    }
    ox_graph *g = t->g;
    ox_val v = gather_phases(t, x, count, slices);
    if (v == NULL) {
        ox_val in[] = {ox_form_view(t, x, OX_SPLIT), ox_ints(g, count, from), ox_ints(g, count, to),
                       ox_ints(g, count, axes), ox_ints(g, count, steps)};
        v = ox_graph_emit(g, "Slice", 5, in, 0, NULL);
    }
    ox_form_set(t, out, v, OX_SPLIT, x->rank, dims);
    return true;
}

bool layout_slice(ox_tuner *t, ox_node *n)
{
    ox_form *x = ox_form_in(n, 0), *out = ox_form_of(n->outputs[0]);
    slice slices[3];
    size_t count = ox_form_ready(t, x) ? find_slices(n, x, slices) : 0;
    if (count == 1 && slices[0].axis == 3) {
        return slice_channels(t, out, x, slices[0].run);
    }
    return count > 0 && count <= 2 && slice_places(t, out, x, count, slices);
}

/* ---- pads --------------------------------------------------------------------------------- */

/* Rows and columns around it, or less of them. */
bool layout_pad(ox_tuner *t, ox_node *n)
{
    ox_form *x = ox_form_in(n, 0);
    int64_t pads[2 * OX_TUNE_RANK] = {0}, all[2 * (OX_TUNE_RANK + 1)] = {0};
    const ox_val y = n->outputs[0];
    bool constant = strcmp(ox_node_string(n, "mode", "constant"), "constant") == 0;
    if (!constant || !ox_form_ready(t, x) || ox_form_in(n, 3) != NULL || y->rank != x->rank ||
        !ox_dims_static(2, y->dims + y->rank - 2) ||
        !find_numbers(n, 1, 2 * (size_t)x->rank, pads)) {
        return false;
    }
    ox_dim dims[OX_TUNE_RANK];
    memcpy(dims, x->dims, (size_t)x->rank * sizeof *dims);
    for (int i = 0; i < x->rank; i++) {
        bool place = i >= x->rank - 2;
        if (place ? y->dims[i].size <= 0 : pads[i] != 0 || pads[i + x->rank] != 0) {
            return false;
        }
        dims[i] = place ? y->dims[i] : dims[i];
        all[i] = pads[i];
        all[i + x->rank + 1] = pads[i + x->rank];
    }
    ox_form *value = ox_form_in(n, 2);
    ox_val in[] = {ox_form_view(t, x, OX_SPLIT), ox_ints(t->g, 2 * (size_t)(x->rank + 1), all),
                   value == NULL ? NULL : ox_form_plain(t, value)};
    ox_form_set(t, ox_form_of(y), ox_graph_emit(t->g, "Pad", 3, in, 0, NULL), OX_SPLIT, x->rank,
                dims);
    return true;
}

/* ---- the same value in more places -------------------------------------------------------- */

/* [.., C, 1, 1] repeated over H and W. */
bool layout_expand(ox_tuner *t, ox_node *n)
{
    ox_form *x = ox_form_in(n, 0);
    const ox_val y = n->outputs[0];
    if (x->rank < 4 || !ox_form_fits(t, x) || ox_form_size(x, 2) != 1 || ox_form_size(x, 1) != 1 ||
        y->rank != x->rank || !ox_dims_static(3, y->dims + y->rank - 3)) {
        return false;
    }
    for (int i = 0; i < x->rank - 2; i++) {
        if (!ox_dim_equal(x->dims[i], y->dims[i])) {
            return false;
        }
    }
    ox_form_put_off(t, ox_form_of(n->outputs[0]), NULL, NULL, x);
    return true;
}

/* Nearest neighbours by whole factors. */
bool layout_resize(ox_tuner *t, ox_node *n)
{
    ox_form *x = ox_form_in(n, 0);
    const ox_val y = n->outputs[0], scales = ox_node_input(n, 2);
    bool nearest = strcmp(ox_node_string(n, "mode", "nearest"), "nearest") == 0 &&
                   strcmp(ox_node_string(n, "nearest_mode", "round_prefer_floor"), "floor") == 0 &&
                   strcmp(ox_node_string(n, "coordinate_transformation_mode", "half_pixel"),
                          "asymmetric") == 0;
    if (!nearest || scales == NULL || x->rank != 4 || !ox_form_fits(t, x) || !ox_form_ready(t, x) ||
        y->rank != 4 || !ox_dims_static(3, y->dims + 1) || !ox_dim_equal(y->dims[1], x->dims[1])) {
        return false;
    }
    int64_t factors[4] = {1, 1, y->dims[2].size / ox_form_size(x, 2),
                          y->dims[3].size / ox_form_size(x, 1)};
    if (factors[2] * ox_form_size(x, 2) != y->dims[2].size ||
        factors[3] * ox_form_size(x, 1) != y->dims[3].size) {
        return false;
    }
    ox_val in = ox_form_blocked(t, x);
    ox_attr attr = ox_attr_ints("scales", 4, factors);
    ox_dim logical[4] = {x->dims[0], x->dims[1], y->dims[2], y->dims[3]};
    ox_dim dims[4] = {x->dims[0], in->dims[1], y->dims[2], y->dims[3]};
    ox_form_set(t, ox_form_of(n->outputs[0]), ox_tune_emit(t, "Upsample", 1, &in, 1, &attr, dims),
                OX_FOLDED, 4, logical);
    return true;
}
