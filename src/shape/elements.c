/* Contents of small integer tensors: what Shape, Gather, Concat, ... hand on to Reshape. */
#include "shape/shape.h"

static bool has_elements(ox_type type)
{
    return type == OX_INT64 || type == OX_INT32 || type == OX_BOOL;
}

bool ox_shape_count(int rank, const ox_dim *dims, size_t *count)
{
    int64_t product = 1;
    bool small = rank >= 0;
    for (int k = 0; k < rank; k++) {
        if (!ox_dim_is_static(dims[k]) || dims[k].size < 0) {
            return false;
        }
        /* A zero further on makes up for what is too large here. */
        if (dims[k].size == 0) {
            product = 0;
            small = true;
        } else if (product > 0 && dims[k].size > OX_SHAPE_ELEMENTS / product) {
            product = OX_SHAPE_ELEMENTS;
            small = false;
        } else {
            product *= dims[k].size;
        }
    }
    *count = (size_t)product;
    return small;
}

const ox_dim *ox_shape_elements(ox_val v)
{
    size_t count = 0;
    const ox_const *c = v->constant;
    if (v->elements != NULL || c == NULL) {
        return v->elements;
    }
    if (!has_elements(c->type) || !ox_shape_count(v->rank, v->dims, &count) ||
        ox_const_count(c) != count) {
        return NULL;
    }
    const int64_t *ints = count == 0 ? NULL : ox_const_ints(v->graph->arena, c);
    if (ints == NULL && count > 0) {
        return NULL;
    }
    ox_dim *elements = ox_arena_alloc(v->graph->arena, count, sizeof *elements);
    for (size_t i = 0; i < count; i++) {
        elements[i] = ox_dim_of(c->type == OX_BOOL ? ints[i] != 0 : ints[i]);
    }
    v->elements = elements;
    return elements;
}

const ox_dim *ox_shape_contents(ox_val v)
{
    size_t count = 0;
    const ox_dim *known = ox_shape_elements(v);
    if (known != NULL || !has_elements(v->type) || !ox_shape_count(v->rank, v->dims, &count)) {
        return known;
    }
    ox_dim *unknown = ox_arena_alloc(v->graph->arena, count, sizeof *unknown);
    for (size_t i = 0; i < count; i++) {
        unknown[i] = ox_dim_unknown(v->graph);
    }
    return unknown;
}

int64_t *ox_shape_strides(ox_arena *a, int rank, const ox_dim *dims)
{
    int64_t *strides = ox_arena_alloc(a, (size_t)rank + 1, sizeof *strides);
    int64_t step = 1;
    for (int k = rank - 1; k >= 0; k--) {
        strides[k] = step;
        if (!ox_int_mul(step, dims[k].size, &step)) {
            step = 0; /* there is a 0 among them, and nothing to step over */
        }
    }
    return strides;
}

void ox_shape_fill(ox_node *n, size_t i, const ox_dim *elements)
{
    if (elements == NULL || i >= n->output_count || n->outputs[i] == NULL) {
        return;
    }
    ox_val v = n->outputs[i];
    size_t count = 0;
    bool integer = v->type == OX_INT64 || v->type == OX_INT32 || v->type == OX_BOOL;
    if (!integer || !ox_shape_count(v->rank, v->dims, &count)) {
        return;
    }
    ox_dim *kept = ox_arena_copy(n->graph->arena, elements, count, sizeof *kept);
    for (size_t k = 0; k < count && v->type == OX_INT32; k++) {
        if (kept[k].size > INT32_MAX || kept[k].size < INT32_MIN) {
            kept[k] = ox_dim_unknown(n->graph);
        }
    }
    v->elements = kept;
}

void ox_shape_view(ox_node *n, size_t i, const ox_dim *elements, int64_t offset,
                   const int64_t *strides)
{
    size_t count = 0;
    if (elements == NULL || i >= n->output_count || n->outputs[i] == NULL ||
        !ox_shape_count(n->outputs[i]->rank, n->outputs[i]->dims, &count)) {
        return;
    }
    ox_val v = n->outputs[i];
    ox_dim *out = ox_arena_alloc(n->graph->arena, count, sizeof *out);
    for (size_t flat = 0; flat < count; flat++) {
        int64_t rest = (int64_t)flat;
        int64_t at = offset;
        for (int k = v->rank - 1; k >= 0; k--) {
            at += rest % v->dims[k].size * strides[k];
            rest /= v->dims[k].size;
        }
        out[flat] = elements[at];
    }
    ox_shape_fill(n, i, out);
}

/* ---- arithmetic ------------------------------------------------------------------------- */

static bool alike(ox_dim a, ox_dim b)
{
    return a.unknown == 0 && b.unknown == 0 && a.batch == b.batch && a.refs == b.refs;
}

/* size * N^batch * R^refs of `like`, a plain 0 where nothing is left. */
static ox_dim scaled(ox_dim like, int64_t size)
{
    like.size = size;
    return size == 0 ? ox_dim_of(0) : like;
}

ox_dim ox_shape_add(ox_graph *g, ox_dim a, ox_dim b)
{
    int64_t sum = 0;
    if (ox_dim_is(a, 0)) {
        return b;
    }
    if (ox_dim_is(b, 0)) {
        return a;
    }
    return alike(a, b) && ox_int_add(a.size, b.size, &sum) ? scaled(a, sum) : ox_dim_unknown(g);
}

ox_dim ox_shape_sub(ox_graph *g, ox_dim a, ox_dim b)
{
    if (ox_dim_equal(a, b)) {
        return ox_dim_of(0);
    }
    int64_t opposite = 0;
    if (b.unknown == 0 && ox_int_mul(b.size, -1, &opposite)) {
        return ox_shape_add(g, a, scaled(b, opposite));
    }
    return ox_dim_is(b, 0) ? a : ox_dim_unknown(g);
}

ox_dim ox_shape_mul(ox_graph *g, ox_dim a, ox_dim b)
{
    int64_t product = 0;
    if (ox_dim_is(a, 0) || ox_dim_is(b, 0)) {
        return ox_dim_of(0);
    }
    if (!ox_int_mul(a.size, b.size, &product) || a.batch + b.batch > UINT8_MAX ||
        a.refs + b.refs > UINT8_MAX) {
        return ox_dim_unknown(g);
    }
    return ox_dim_mul(g, a, b);
}

/* ONNX divides integers as C does. */
ox_dim ox_shape_div(ox_graph *g, ox_dim a, ox_dim b)
{
    ox_dim quotient;
    if (ox_dim_is(b, 0)) {
        return ox_dim_unknown(g);
    }
    if (ox_dim_is_static(a) && ox_dim_is_static(b)) {
        return b.size == -1 ? ox_shape_sub(g, ox_dim_of(0), a) : ox_dim_of(a.size / b.size);
    }
    if (ox_dim_is(b, 1)) {
        return a;
    }
    return ox_dim_div(a, b, &quotient) ? quotient : ox_dim_unknown(g);
}

/* a < b for all N and R from 1 on: 1 yes, 0 no, -1 not known. */
static int less(ox_dim a, ox_dim b)
{
    if (alike(a, b)) {
        return a.size < b.size;
    }
    if (a.unknown != 0 || b.unknown != 0) {
        return a.unknown == b.unknown ? 0 : -1;
    }
    /* Where exponents differ the signs may tell. */
    if (a.size <= 0 && b.size > 0) {
        return 1;
    }
    return a.size > 0 && b.size <= 0 ? 0 : -1;
}

static ox_dim truth(ox_graph *g, int known)
{
    return known < 0 ? ox_dim_unknown(g) : ox_dim_of(known);
}

ox_dim ox_shape_less(ox_graph *g, ox_dim a, ox_dim b)
{
    return truth(g, less(a, b));
}

ox_dim ox_shape_min(ox_graph *g, ox_dim a, ox_dim b)
{
    int known = less(a, b);
    return known < 0 ? ox_dim_unknown(g) : known ? a : b;
}

ox_dim ox_shape_max(ox_graph *g, ox_dim a, ox_dim b)
{
    int known = less(a, b);
    return known < 0 ? ox_dim_unknown(g) : known ? b : a;
}

ox_dim ox_shape_equal(ox_graph *g, ox_dim a, ox_dim b)
{
    if (ox_dim_equal(a, b)) {
        return ox_dim_of(1);
    }
    if (alike(a, b) || less(a, b) == 1 || less(b, a) == 1) {
        return ox_dim_of(0);
    }
    return ox_dim_unknown(g);
}

ox_dim ox_shape_and(ox_graph *g, ox_dim a, ox_dim b)
{
    if (ox_dim_is(a, 0) || ox_dim_is(b, 0)) {
        return ox_dim_of(0);
    }
    return ox_dim_is(a, 1) ? b : ox_dim_is(b, 1) ? a : ox_dim_unknown(g);
}

ox_dim ox_shape_or(ox_graph *g, ox_dim a, ox_dim b)
{
    if (ox_dim_is(a, 1) || ox_dim_is(b, 1)) {
        return ox_dim_of(1);
    }
    return ox_dim_is(a, 0) ? b : ox_dim_is(b, 0) ? a : ox_dim_unknown(g);
}
