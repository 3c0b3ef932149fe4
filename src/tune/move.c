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

/* An input that holds one known number. */
static bool one_number(const ox_node *n, size_t i, int64_t *out)
{
    const ox_form *f = ox_form_in(n, i);
    ox_val v = f == NULL ? NULL : f->plain;
    if (v == NULL || v->elements == NULL || v->rank > 1 ||
        (v->rank == 1 && !ox_dim_is(v->dims[0], 1)) || !ox_dim_is_static(v->elements[0])) {
        return false;
    }
    *out = v->elements[0].size;
    return true;
}

bool layout_slice(ox_tuner *t, ox_node *n)
{
    ox_form *x = ox_form_in(n, 0);
    int64_t from, to, axis, step = 1;
    if (!ox_form_ready(t, x) || !one_number(n, 1, &from) || !one_number(n, 2, &to) ||
        !one_number(n, 3, &axis) || (n->input_count > 4 && !one_number(n, 4, &step))) {
        return false;
    }
    int64_t channels = ox_form_size(x, 3);
    ox_run run = ox_run_of(channels, from, to, 1);
    from = run.first;
    to = run.first + run.count;
    bool ends = to % t->block == 0 || to == channels;
    if (ox_axis_front(axis, x->rank) != x->rank - 3 || step != 1 || run.count == 0 ||
        from % t->block != 0 || !ends) {
        return false;
    }
    ox_dim dims[OX_TUNE_RANK];
    memcpy(dims, x->dims, (size_t)x->rank * sizeof *dims);
    dims[x->rank - 3] = ox_dim_of(to - from);
    ox_val out = ox_slice(ox_form_blocked(t, x), 1, from, ox_tune_padded(t, to), 1);
    ox_form_set(t, ox_form_of(n->outputs[0]), out, OX_FOLDED, x->rank, dims);
    return true;
}

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
