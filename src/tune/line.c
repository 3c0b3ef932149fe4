/* What has one spatial axis, seen as planes of one row: a twin of the node over [.., C, 1, L] is
 * written in its place, and the value is the twin's with the row left out. */
#include <string.h>

#include "shape/shape.h"
#include "tune/tune.h"

enum { MOST = 14 }; /* inputs */

/* Whether f is seen so, and there in blocks. */
static bool is_line(const ox_tuner *t, const ox_form *f)
{
    const ox_form *w = f == NULL ? NULL : f->whole;
    return w != NULL && w->rank == f->rank + 1 && ox_dim_is(w->dims[w->rank - 2], 1) &&
           ox_form_ready(t, w);
}

/* A value for the twin to read, that no node which stays reads. */
static ox_val stand_in(ox_tuner *t, ox_val v)
{
    ox_form *f = ox_form_of(v);
    if (f->rank < 2) {
        return v;
    }
    ox_val twin = ox_graph_emit_node(t->g, "onnxexplainer", "Row", 1, &v, 1, 0, NULL)->outputs[0];
    if (twin->form == NULL) {
        twin->form = ox_form_with_row(t, f);
        twin->type = v->type;
        twin->rank = twin->form->rank;
        twin->dims = twin->form->dims;
    }
    return twin;
}

/* Attributes of convolutions and pools with the row's before. False where there are other ones. */
static bool add_row_to_windows(ox_tuner *t, const ox_node *n, ox_attr *attrs)
{
    static const char *const ones[] = {"kernel_shape", "strides", "dilations"};
    for (size_t i = 0; i < n->attr_count; i++) {
        const ox_attr *a = &n->attrs[i];
        attrs[i] = *a;
        attrs[i].proto = NULL;
        if (a->kind != OX_ATTR_INTS) {
            continue;
        }
        bool pads = strcmp(a->name, "pads") == 0, known = pads;
        for (size_t k = 0; k < sizeof ones / sizeof *ones; k++) {
            known = known || strcmp(a->name, ones[k]) == 0;
        }
        if (!known || a->count != (pads ? 2 : 1)) {
            return false;
        }
        int64_t *ints = ox_arena_alloc(t->arena, 2 * a->count, sizeof *ints);
        for (size_t k = 0; k < a->count; k++) {
            ints[2 * k] = pads ? 0 : 1;
            ints[2 * k + 1] = a->ints[k];
        }
        attrs[i] = ox_attr_ints(a->name, 2 * a->count, ints);
    }
    return true;
}

typedef enum way { NONE, WINDOWS, ELEMENTS, CHANNELS, SUM, REPEAT, CUT, PAD } way;

static way way_of(const ox_node *n)
{
    ox_layout how = ox_tune_find(n);
    if (how == layout_conv || how == layout_pool) {
        return WINDOWS;
    }
    if (how == layout_elementwise || how == layout_whole_blocks || how == layout_add ||
        how == layout_mul || how == layout_mul_flow || how == layout_flow) {
        return ELEMENTS;
    }
    return how == layout_batch_normalization || how == layout_concat ? CHANNELS
           : how == layout_reduce_sum                                ? SUM
           : how == layout_expand                                    ? REPEAT
           : how == layout_slice                                     ? CUT
           : how == layout_pad                                       ? PAD
                                                                     : NONE;
}

/* The same value with other axes before C. */
static bool reshape_line(ox_tuner *t, ox_node *n)
{
    ox_form *x = ox_form_in(n, 0);
    if (strcmp(n->op, "Reshape") != 0 || n->domain[0] != '\0' || !is_line(t, x)) {
        return false;
    }
    const ox_val y = n->outputs[0];
    if (y->rank < 3 || y->rank + 1 >= OX_TUNE_RANK ||
        !ox_dims_equal(2, y->dims + y->rank - 2, x->dims + x->rank - 2)) {
        return false;
    }
    ox_form *f = ox_form_of(y), *w = ox_arena_alloc(t->arena, 1, sizeof *w);
    *w = (ox_form){.uses = f->uses};
    ox_form_set(t, w, ox_form_blocked(t, x->whole), OX_FOLDED, y->rank + 1,
                ox_tune_add_row(t, y->rank, y->dims));
    *f = (ox_form){.rank = y->rank, .dims = y->dims, .whole = w, .uses = f->uses};
    return true;
}

/* ---- inputs that are about axes ------------------------------------------------------------ */

/* Their known numbers, or NULL. */
static const ox_dim *numbers(const ox_node *n, size_t input, size_t *count)
{
    const ox_form *f = ox_form_in(n, input);
    ox_val v = f == NULL ? NULL : f->plain;
    bool vector = v != NULL && v->elements != NULL && v->rank == 1;
    *count = vector ? (size_t)v->dims[0].size : 0;
    return vector && ox_dims_static((int)*count, v->elements) ? v->elements : NULL;
}

/* Of which rows of the table see the elements. */
static ox_val known_ints(ox_tuner *t, size_t count, const int64_t *ints)
{
    ox_val v = ox_ints(t->g, count, ints);
    ox_shape_elements(v);
    return v;
}

/* Axes of [.., C, 1, L], counted from the front. */
static ox_val axes_with_row(ox_tuner *t, const ox_node *n, size_t input, int rank)
{
    size_t count;
    const ox_dim *axes = numbers(n, input, &count);
    int64_t *out = ox_arena_alloc(t->arena, count + 1, sizeof *out);
    for (size_t i = 0; axes != NULL && i < count; i++) {
        out[i] = ox_axis_front(axes[i].size, rank);
        out[i] += out[i] == rank - 1;
    }
    return axes == NULL ? NULL : known_ints(t, count, out);
}

/* Zeros before and behind the row. */
static ox_val pads_with_row(ox_tuner *t, const ox_node *n, int rank)
{
    size_t count;
    const ox_dim *pads = numbers(n, 1, &count);
    if (pads == NULL || count != 2 * (size_t)rank || ox_form_in(n, 3) != NULL) {
        return NULL;
    }
    int64_t *out = ox_arena_alloc(t->arena, count + 2, sizeof *out);
    size_t to = 0;
    for (size_t i = 0; i < count; i++) {
        bool last = i % (size_t)rank == (size_t)rank - 1;
        out[to] = 0;
        to += last;
        out[to++] = pads[i].size;
    }
    return known_ints(t, count + 2, out);
}

/* A sum over L alone is one over the row, too. */
static ox_val sum_with_row(ox_tuner *t, const ox_node *n, int rank)
{
    size_t count;
    const ox_dim *axes = numbers(n, 1, &count);
    bool line = axes != NULL && count == 1 && ox_axis_front(axes[0].size, rank) == rank - 1;
    return line ? known_ints(t, 2, (int64_t[]){-2, -1}) : NULL;
}

/* The inputs of the twin. False where they cannot be told. */
static bool find_inputs(ox_tuner *t, const ox_node *n, way how, ox_val *in)
{
    int rank = ox_form_in(n, 0)->rank;
    for (size_t i = 0; i < n->input_count; i++) {
        in[i] = n->inputs[i] == NULL ? NULL : stand_in(t, n->inputs[i]);
    }
    if (how == SUM) {
        return n->input_count > 1 && (in[1] = sum_with_row(t, n, rank)) != NULL;
    }
    if (how == CUT) {
        return n->input_count > 3 && (in[3] = axes_with_row(t, n, 3, rank)) != NULL;
    }
    return how != PAD || (in[1] = pads_with_row(t, n, rank)) != NULL;
}

/* ---- nodes ---------------------------------------------------------------------------------- */

/* How n is written by its twin; NONE where it is not. */
static way find_way(const ox_tuner *t, const ox_node *n)
{
    if (n->output_count != 1 || n->input_count < 1 || n->input_count > MOST ||
        ox_form_in(n, 0) == NULL) {
        return NONE;
    }
    way how = way_of(n);
    bool lines = false;
    for (size_t i = 0; i < n->input_count; i++) {
        const ox_form *f = ox_form_in(n, i);
        lines = lines || is_line(t, f);
        if (f != NULL && f->rank < 0) {
            return NONE;
        }
    }
    const ox_val y = n->outputs[0];
    bool conv = how == WINDOWS && y->rank == 3 && ox_form_in(n, 0)->rank == 3;
    bool repeat = how == REPEAT && t->lines && ox_form_in(n, 0)->rank == y->rank;
    bool fits = y->rank >= 3 && y->rank + 1 < OX_TUNE_RANK;
    return fits && (lines || conv || repeat) ? how : NONE;
}

/* The twin stands in no graph: rows of the table read what it takes, and write other nodes. */
bool ox_tune_line(ox_tuner *t, ox_node *n)
{
    way how = find_way(t, n);
    if (how == NONE) {
        return reshape_line(t, n);
    }
    ox_attr *attrs = ox_arena_alloc(t->arena, n->attr_count + 1, sizeof *attrs);
    ox_val in[MOST];
    if (!add_row_to_windows(t, n, attrs) || !find_inputs(t, n, how, in)) {
        return false;
    }
    const ox_val y = n->outputs[0];
    for (size_t i = 0; i < n->attr_count; i++) {
        if (strcmp(attrs[i].name, "axis") == 0) { /* of Concat: C is as far from the front */
            attrs[i] = ox_attr_int("axis", ox_axis_front(n->attrs[i].i, y->rank));
        }
    }
    ox_form *f = ox_form_of(y), *w = ox_arena_alloc(t->arena, 1, sizeof *w);
    ox_val out = ox_graph_emit_node(t->g, "onnxexplainer", "Row", 1, &y, 1, 0, NULL)->outputs[0];
    out->type = y->type;
    out->rank = y->rank + 1;
    out->dims = ox_tune_add_row(t, y->rank, y->dims);
    *w = (ox_form){.rank = out->rank, .dims = out->dims, .plain = out, .uses = f->uses};
    out->form = w;
    ox_node *twin = ox_arena_copy(t->arena, n, 1, sizeof *n);
    twin->inputs = ox_arena_copy(t->arena, in, n->input_count, sizeof *in);
    twin->outputs = ox_arena_copy(t->arena, &out, 1, sizeof out);
    twin->attrs = attrs;
    if (!ox_tune_find(twin)(t, twin)) {
        out->form = NULL;
        return false;
    }
    *f = (ox_form){.rank = y->rank, .dims = y->dims, .whole = w, .uses = f->uses};
    t->lines = true;
    return true;
}
