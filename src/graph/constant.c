/* What a value holds where the model itself says it: an initializer, a Constant in any of its
 * spellings, or one of these behind operators that only cast or reshape. */
#include <string.h>

#include "graph/graph.h"

/* Elements that a Cast of a constant is followed through, since weights are not copied; and
 * operators between a value and its constant. */
enum { CAST_LIMIT = 1 << 16, MOST_MOVES = 16 };

static const ox_const *contents_within(ox_val v, int moves);

/* A constant of `count` elements of v's type and shape; its data are to be filled. */
static ox_const *new_contents(ox_val v, size_t count)
{
    ox_arena *a = v->graph->arena;
    int64_t *dims = ox_arena_alloc(a, (size_t)v->rank, sizeof *dims);
    for (int i = 0; i < v->rank; i++) {
        dims[i] = v->dims[i].size;
    }
    ox_const *c = ox_arena_alloc(a, 1, sizeof *c);
    size_t width = ox_type_size(v->type);
    *c = (ox_const){.type = v->type, .rank = v->rank, .dims = dims, .size = count * width};
    c->data = ox_arena_alloc(a, count, width);
    return c;
}

static const ox_const *list_contents(ox_val v, size_t count, const void *data, ox_type type)
{
    if (v->type != type || v->rank < 0 || !ox_dims_static(v->rank, v->dims) ||
        !ox_dim_is(ox_val_size(v), (int64_t)count)) {
        return NULL;
    }
    ox_const *c = new_contents(v, count);
    c->data = ox_arena_copy(v->graph->arena, data, c->size, 1);
    return c;
}

static const ox_const *constant_contents(ox_val v)
{
    for (size_t i = 0; i < v->node->attr_count; i++) {
        const ox_attr *a = &v->node->attrs[i];
        bool number = strcmp(a->name, "value_float") == 0 || strcmp(a->name, "value_int") == 0;
        bool list = strcmp(a->name, "value_floats") == 0 || strcmp(a->name, "value_ints") == 0;
        if (a->kind == OX_ATTR_TENSOR) { /* value, and sparse_value as it is read */
            return a->tensor;
        }
        if (number && a->kind == OX_ATTR_FLOAT) {
            return list_contents(v, 1, &a->f, OX_FLOAT);
        }
        if (number && a->kind == OX_ATTR_INT) {
            return list_contents(v, 1, &a->i, OX_INT64);
        }
        if (list && a->kind == OX_ATTR_FLOATS) {
            return list_contents(v, a->count, a->floats, OX_FLOAT);
        }
        if (list && a->kind == OX_ATTR_INTS) {
            return list_contents(v, a->count, a->ints, OX_INT64);
        }
    }
    return NULL;
}

/* The numbers of `from` in v's type, float, double or int64; NULL for other types. */
static const ox_const *cast_contents(ox_val v, const ox_const *from)
{
    size_t count = ox_const_count(from);
    bool known = v->type == OX_FLOAT || v->type == OX_DOUBLE || v->type == OX_INT64;
    const double *numbers =
        !known || count > CAST_LIMIT ? NULL : ox_const_doubles(v->graph->arena, from);
    if (numbers == NULL) {
        return NULL;
    }
    ox_const *c = new_contents(v, count);
    void *data = (void *)(uintptr_t)c->data;
    for (size_t i = 0; i < count; i++) {
        bool fits = numbers[i] > -0x1p63 && numbers[i] < 0x1p63;
        switch (v->type) {
        case OX_FLOAT: ((float *)data)[i] = (float)numbers[i]; break;
        case OX_DOUBLE: ((double *)data)[i] = numbers[i]; break;
        default:
            if (!fits) {
                return NULL;
            }
            ((int64_t *)data)[i] = (int64_t)numbers[i];
        }
    }
    return c;
}

/* Behind operators of one operand that keep the order of elements. */
static const ox_const *moved_contents(ox_val v, int moves)
{
    const ox_node *n = v->node;
    ox_val x = ox_node_input(n, 0);
    bool kept = ox_node_has(n, OX_KEEPS_ELEMENTS) && x != NULL && v->output == 0 && moves > 0;
    const ox_const *from = kept ? contents_within(x, moves - 1) : NULL;
    if (from == NULL || from->data == NULL || v->rank < 0 || !ox_dims_static(v->rank, v->dims) ||
        !ox_dim_is(ox_val_size(v), (int64_t)ox_const_count(from))) {
        return NULL;
    }
    if (from->type != v->type) {
        return strcmp(n->op, "Cast") == 0 ? cast_contents(v, from) : NULL;
    }
    ox_const *c = new_contents(v, 0);
    c->data = from->data;
    c->size = from->size;
    return c;
}

static const ox_const *contents_within(ox_val v, int moves)
{
    if (v->constant != NULL || v->contents != NULL || v->node == NULL ||
        v->node->domain[0] != '\0') {
        return v->constant != NULL ? v->constant : v->contents;
    }
    v->contents =
        strcmp(v->node->op, "Constant") == 0 ? constant_contents(v) : moved_contents(v, moves);
    return v->contents;
}

const ox_const *ox_contents(ox_val v)
{
    return contents_within(v, MOST_MOVES);
}

const double *ox_numbers(ox_val v, size_t *count)
{
    const ox_const *c = v == NULL ? NULL : ox_contents(v);
    *count = c == NULL ? 0 : ox_const_count(c);
    return c == NULL ? NULL : ox_const_doubles(v->graph->arena, c);
}
