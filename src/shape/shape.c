/* What all families of shape inference share: reading lists of integers, merging with what is
 * known, broadcasting. */
#include "shape/shape.h"

#include <string.h>

#include "base/axis.h"

/* ---- reading ---------------------------------------------------------------------------- */

ox_type ox_shape_type(const ox_node *n, size_t i)
{
    ox_val v = ox_node_input(n, i);
    return v == NULL ? OX_NONE : v->type;
}

int ox_shape_rank(const ox_node *n, size_t i)
{
    ox_val v = ox_node_input(n, i);
    return v == NULL ? -1 : v->rank;
}

const ox_dim *ox_shape_dims(const ox_node *n, size_t i)
{
    ox_val v = ox_node_input(n, i);
    return v == NULL || v->rank < 0 ? NULL : v->dims;
}

int ox_shape_need(const ox_node *n, size_t i, int least, int most)
{
    int rank = ox_shape_rank(n, i);
    if (rank >= 0 && (rank < least || rank > most)) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: input %zu has shape %s", ox_node_label(n), i,
                ox_shape_text(n->graph->arena, rank, ox_shape_dims(n, i)));
    }
    return rank;
}

int ox_shape_axis(const ox_node *n, int64_t axis, int rank)
{
    int front = ox_axis_front(axis, rank);
    if (front < 0) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: axis %lld with rank %d", ox_node_label(n),
                (long long)axis, rank);
    }
    return front;
}

static ox_shape_list list_made(const ox_dim *items, size_t count)
{
    ox_shape_list list = {.given = true, .fixed = true, .items = items, .count = count};
    for (size_t i = 0; i < count; i++) {
        list.fixed = list.fixed && ox_dim_is_static(items[i]);
    }
    return list;
}

ox_shape_list ox_shape_input_list(const ox_node *n, size_t input)
{
    ox_val v = ox_node_input(n, input);
    if (v == NULL) {
        return (ox_shape_list){.given = false};
    }
    if (v->rank > 1) {
        ox_shape_need(n, input, 0, 1);
    }
    const ox_dim *items = ox_shape_contents(v);
    if (items == NULL) {
        return (ox_shape_list){.given = true};
    }
    return list_made(items, v->rank == 0 ? 1 : (size_t)v->dims[0].size);
}

ox_shape_list ox_shape_list_of(const ox_node *n, size_t input, const char *attr)
{
    ox_shape_list list = ox_shape_input_list(n, input);
    size_t count = 0;
    const int64_t *ints = list.given ? NULL : ox_node_ints(n, attr, &count);
    if (ints == NULL) {
        return list;
    }
    ox_dim *items = ox_arena_alloc(n->graph->arena, count, sizeof *items);
    for (size_t i = 0; i < count; i++) {
        items[i] = ox_dim_of(ints[i]);
    }
    return list_made(items, count);
}

bool *ox_shape_axes(const ox_node *n, const ox_shape_list *axes, int rank)
{
    bool *marked = ox_arena_alloc(n->graph->arena, (size_t)rank + 1, sizeof *marked);
    for (size_t i = 0; i < axes->count; i++) {
        int axis = ox_shape_axis(n, axes->items[i].size, rank);
        if (marked[axis]) {
            ox_fail(n->graph->arena, OX_INVALID, "%s: axis %d is given twice", ox_node_label(n),
                    axis);
        }
        marked[axis] = true;
    }
    return marked;
}

const double *ox_shape_doubles(const ox_node *n, size_t input, size_t *count)
{
    ox_val v = ox_node_input(n, input);
    const ox_const *c = v == NULL ? NULL : ox_contents(v);
    return c != NULL && ox_const_count(c) <= OX_SHAPE_ELEMENTS ? ox_numbers(v, count) : NULL;
}

ox_type ox_shape_type_attr(const ox_node *n, const char *name, ox_type otherwise)
{
    int64_t type = ox_node_int(n, name, otherwise);
    if (type < 0 || type > 255) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: %s is %lld, not an element type",
                ox_node_label(n), name, (long long)type);
    }
    return (ox_type)type;
}

bool ox_shape_number(const ox_node *n, size_t input, int64_t *out)
{
    ox_val v = ox_node_input(n, input);
    const ox_dim *items = v == NULL ? NULL : ox_shape_elements(v);
    size_t count = 0;
    if (items == NULL || !ox_shape_count(v->rank, v->dims, &count) || count != 1 ||
        !ox_dim_is_static(items[0])) {
        return false;
    }
    *out = items[0].size;
    return true;
}

/* ---- writing ---------------------------------------------------------------------------- */

ox_dim *ox_shape_room(const ox_node *n, int rank)
{
    return ox_arena_alloc(n->graph->arena, rank > 0 ? (size_t)rank : 1, sizeof(ox_dim));
}

ox_dim *ox_shape_copy(const ox_node *n, size_t i)
{
    int rank = ox_shape_rank(n, i);
    ox_dim *dims = ox_shape_room(n, rank);
    if (rank > 0) {
        memcpy(dims, ox_shape_dims(n, i), (size_t)rank * sizeof *dims);
    }
    return dims;
}

ox_dim ox_shape_any(const ox_node *n)
{
    return ox_dim_unknown(n->graph);
}

/* Whether the dimensions that both know are the same. One that differs means that the others are
 * of another time, too. */
static bool fits(int rank, const ox_dim *known, const ox_dim *found)
{
    for (int k = 0; k < rank; k++) {
        if (known[k].unknown == 0 && found[k].unknown == 0 && !ox_dim_equal(known[k], found[k])) {
            return false;
        }
    }
    return true;
}

/* Whether an input leaves the dimension free. */
static bool is_free(ox_graph *g, ox_dim d)
{
    for (size_t i = 0; i < g->input_count; i++) {
        for (int k = 0; k < g->inputs[i]->rank; k++) {
            if (g->inputs[i]->dims[k].unknown == d.unknown) {
                return true;
            }
        }
    }
    return false;
}

/* Whether what is known says more. Of a dimension that an input leaves free, a number is only the
 * one that the exporter has met. */
static bool says_more(const ox_node *n, ox_dim known, ox_dim found)
{
    return found.unknown != 0 && known.unknown == 0 &&
           !is_free(ox_graph_outermost(n->graph), found);
}

void ox_shape_set(ox_node *n, size_t i, ox_type type, int rank, const ox_dim *dims)
{
    if (i >= n->output_count || n->outputs[i] == NULL) {
        return;
    }
    ox_val v = n->outputs[i];
    v->elements = NULL;
    v->type = type != OX_NONE ? type : v->type;
    if (rank < 0) {
        return;
    }
    if (rank > OX_FILE_RANK) {
        ox_fail(n->graph->arena, OX_UNSUPPORTED, "%s: output %zu would have %d axes",
                ox_node_label(n), i, rank);
    }
    bool keep = v->rank == rank && fits(rank, v->dims, dims);
    ox_dim *merged = ox_shape_room(n, rank);
    for (int k = 0; k < rank; k++) {
        merged[k] = keep && says_more(n, v->dims[k], dims[k]) ? v->dims[k] : dims[k];
        if (merged[k].unknown == 0 && merged[k].size < 0) {
            ox_fail(n->graph->arena, OX_INVALID, "%s: output %zu would have shape %s",
                    ox_node_label(n), i, ox_shape_text(n->graph->arena, rank, dims));
        }
    }
    v->rank = rank;
    v->dims = merged;
}

void ox_shape_same(ox_node *n, size_t i, size_t input)
{
    ox_shape_set(n, i, ox_shape_type(n, input), ox_shape_rank(n, input), ox_shape_dims(n, input));
}

/* ---- dimensions ------------------------------------------------------------------------- */

static _Noreturn void fail_shapes(const ox_node *n, int rank, const ox_dim *dims, int other_rank,
                                  const ox_dim *other)
{
    ox_arena *a = n->graph->arena;
    ox_fail(a, OX_INVALID, "%s: shapes %s and %s do not fit", ox_node_label(n),
            ox_shape_text(a, rank, dims), ox_shape_text(a, other_rank, other));
}

/* A symbol is taken for more than 1: a model whose N is free cannot mean anything else. */
static bool broadcast_dim(const ox_node *n, ox_dim a, ox_dim b, ox_dim *out)
{
    if (ox_dim_equal(a, b) || ox_dim_is(b, 1)) {
        *out = a;
    } else if (ox_dim_is(a, 1)) {
        *out = b;
    } else if (a.unknown != 0) {
        *out = b.unknown != 0 ? ox_shape_any(n) : b;
    } else if (b.unknown != 0) {
        *out = a;
    } else if (ox_dim_is_static(a) && ox_dim_is_static(b)) {
        return false;
    } else {
        *out = ox_shape_any(n);
    }
    return true;
}

void ox_shape_broadcast(const ox_node *n, int *out_rank, ox_dim **out, int rank, const ox_dim *dims)
{
    int wide = rank > *out_rank ? rank : *out_rank;
    ox_dim *joined = ox_shape_room(n, wide);
    for (int k = 0; k < wide; k++) {
        int i = k - (wide - *out_rank);
        int j = k - (wide - rank);
        ox_dim a = i < 0 ? ox_dim_of(1) : (*out)[i];
        ox_dim b = j < 0 ? ox_dim_of(1) : dims[j];
        if (!broadcast_dim(n, a, b, &joined[k])) {
            fail_shapes(n, *out_rank, *out, rank, dims);
        }
    }
    *out_rank = wide;
    *out = joined;
}

ox_dim ox_shape_agree(const ox_node *n, ox_dim a, ox_dim b)
{
    if (ox_dim_is_static(a) && ox_dim_is_static(b) && a.size != b.size) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: dimensions %lld and %lld do not fit",
                ox_node_label(n), (long long)a.size, (long long)b.size);
    }
    if (ox_dim_is_static(b)) {
        return b;
    }
    return a.unknown != 0 ? b : a;
}

int64_t ox_shape_plus(const ox_node *n, int64_t a, int64_t b)
{
    int64_t sum = 0;
    if (!ox_int_add(a, b, &sum)) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: a size is too large", ox_node_label(n));
    }
    return sum;
}

int64_t ox_shape_count_attr(const ox_node *n, const char *name, int64_t otherwise)
{
    int64_t count = ox_node_int(n, name, otherwise);
    if (count < 1) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: %s is %lld", ox_node_label(n), name,
                (long long)count);
    }
    return count;
}

int64_t ox_shape_times(const ox_node *n, int64_t a, int64_t b)
{
    int64_t product = 0;
    if (!ox_int_mul(a, b, &product)) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: a size is too large", ox_node_label(n));
    }
    return product;
}

ox_dim ox_shape_dim_times(const ox_node *n, ox_dim a, ox_dim b)
{
    ox_shape_times(n, a.size, b.size);
    return ox_shape_mul(n->graph, a, b);
}

static const char *dim_text(ox_arena *a, ox_dim d)
{
    if (d.unknown != 0) {
        return "?";
    }
    if (ox_dim_is_static(d)) {
        return ox_arena_format(a, "%lld", (long long)d.size);
    }
    const char *text = d.size == 1 ? "" : ox_arena_format(a, "%lld", (long long)d.size);
    for (int i = 0; i < d.batch; i++) {
        text = ox_arena_format(a, "%sN", text);
    }
    for (int i = 0; i < d.refs; i++) {
        text = ox_arena_format(a, "%sR", text);
    }
    return text;
}

const char *ox_shape_text(ox_arena *a, int rank, const ox_dim *dims)
{
    const char *text = "[";
    for (int k = 0; k < rank && k < 16; k++) {
        text = ox_arena_format(a, "%s%s%s", text, k == 0 ? "" : ",", dim_text(a, dims[k]));
    }
    return ox_arena_format(a, rank > 16 ? "%s,...]" : "%s]", text);
}
