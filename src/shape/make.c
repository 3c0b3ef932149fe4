/* Shapes of operators that make tensors: constants, Shape itself, ranges, random numbers. */
#include "shape/shape.h"

#include <math.h>
#include <string.h>

/* A tensor attribute as a value that ox_shape_elements can read. */
static void set_tensor(ox_node *n, const ox_const *c)
{
    ox_graph *g = n->graph;
    ox_dim *dims = ox_shape_room(n, c->rank);
    for (int k = 0; k < c->rank; k++) {
        dims[k] = ox_dim_of(c->dims[k]);
    }
    ox_shape_set(n, 0, c->type, c->rank, dims);
    ox_value stand_in = {.graph = g, .type = c->type, .rank = c->rank, .dims = dims, .constant = c};
    ox_shape_fill(n, 0, ox_shape_elements(&stand_in));
}

static void set_list(ox_node *n, ox_type type, const ox_attr *list, const int64_t *ints)
{
    ox_dim length = ox_dim_of((int64_t)list->count);
    ox_shape_set(n, 0, type, 1, &length);
    if (ints != NULL && list->count <= OX_SHAPE_ELEMENTS) {
        ox_dim *elements = ox_shape_room(n, (int)list->count);
        for (size_t k = 0; k < list->count; k++) {
            elements[k] = ox_dim_of(ints[k]);
        }
        ox_shape_fill(n, 0, elements);
    }
}

void infer_constant(ox_node *n)
{
    for (size_t i = 0; i < n->attr_count; i++) {
        const ox_attr *attr = &n->attrs[i];
        if (strcmp(attr->name, "value") == 0 && attr->kind == OX_ATTR_TENSOR && attr->tensor) {
            set_tensor(n, attr->tensor);
        } else if (strcmp(attr->name, "value_int") == 0 && attr->kind == OX_ATTR_INT) {
            ox_dim element = ox_dim_of(attr->i);
            ox_shape_set(n, 0, OX_INT64, 0, NULL);
            ox_shape_fill(n, 0, &element);
        } else if (strcmp(attr->name, "value_ints") == 0 && attr->kind == OX_ATTR_INTS) {
            set_list(n, OX_INT64, attr, attr->ints);
        } else if (strcmp(attr->name, "value_float") == 0) {
            ox_shape_set(n, 0, OX_FLOAT, 0, NULL);
        } else if (strcmp(attr->name, "value_floats") == 0 && attr->kind == OX_ATTR_FLOATS) {
            set_list(n, OX_FLOAT, attr, NULL);
        } else if (strcmp(attr->name, "value_string") == 0) {
            ox_shape_set(n, 0, OX_STRING, 0, NULL);
        }
    }
}

void infer_constant_of_shape(ox_node *n)
{
    const ox_attr *value = ox_node_attr(n, "value");
    const ox_const *c = value != NULL && value->kind == OX_ATTR_TENSOR ? value->tensor : NULL;
    ox_type type = c != NULL ? c->type : OX_FLOAT;
    ox_shape_list shape = ox_shape_input_list(n, 0);
    ox_shape_set(n, 0, type, shape.items == NULL ? -1 : (int)shape.count, shape.items);
    size_t count = 0;
    const int64_t *fill = c == NULL || ox_const_count(c) != 1 || shape.items == NULL
                              ? NULL
                              : ox_const_ints(n->graph->arena, c);
    if (fill != NULL && ox_shape_count((int)shape.count, shape.items, &count)) {
        ox_dim *elements = ox_shape_room(n, (int)count);
        for (size_t k = 0; k < count; k++) {
            elements[k] = ox_dim_of(fill[0]);
        }
        ox_shape_fill(n, 0, elements);
    }
}

/* ---- shapes as data --------------------------------------------------------------------- */

void infer_shape(ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    ox_dim length = ox_shape_any(n);
    ox_run run = {0};
    if (rank >= 0) {
        run = ox_run_of(rank, ox_node_int(n, "start", 0), ox_node_int(n, "end", rank), 1);
        length = ox_dim_of(run.count);
    }
    ox_shape_set(n, 0, OX_INT64, 1, &length);
    if (rank > 0) {
        ox_shape_fill(n, 0, ox_shape_dims(n, 0) + run.first);
    } else if (rank == 0) {
        ox_shape_fill(n, 0, &length);
    }
}

void infer_size(ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    ox_shape_set(n, 0, OX_INT64, 0, NULL);
    ox_dim size = ox_dim_of(1);
    for (int k = 0; k < rank; k++) {
        size = ox_shape_dim_times(n, size, ox_shape_dims(n, 0)[k]);
    }
    if (rank >= 0) {
        ox_shape_fill(n, 0, &size);
    }
}

/* ---- ranges and random numbers ---------------------------------------------------------- */

static bool range_of_doubles(const ox_node *n, double *count)
{
    const double *part[3];
    for (size_t i = 0; i < 3; i++) {
        size_t size = 0;
        part[i] = ox_shape_doubles(n, i, &size);
        if (part[i] == NULL || size != 1) {
            return false;
        }
    }
    double span = part[1][0] - part[0][0];
    span = ox_shape_type(n, 0) == OX_FLOAT ? (double)(float)span : span;
    *count = ceil(span / part[2][0]);
    return *count < 1e15; /* false for NaN, too */
}

/* (limit - start + delta - 1) / delta for whole numbers that do not overflow. */
static bool range_count(const ox_node *n, const int64_t part[3], int64_t *count)
{
    int64_t span = 0;
    int64_t opposite = 0;
    if (!ox_int_mul(part[0], -1, &opposite) || !ox_int_add(part[1], opposite, &span) ||
        part[2] == INT64_MIN || part[2] == 0) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: the range has no end", ox_node_label(n));
    }
    bool empty = part[2] > 0 ? span <= 0 : span >= 0;
    *count = empty ? 0 : span / part[2] + (span % part[2] != 0);
    return true;
}

/* range(0, n, d) has n / d elements, also where n is a symbol times a multiple of d. */
static bool plain_range(const ox_node *n, ox_dim *count)
{
    int64_t start = 0;
    int64_t delta = 0;
    ox_shape_list limit = ox_shape_input_list(n, 1);
    if (!ox_shape_number(n, 0, &start) || !ox_shape_number(n, 2, &delta) || start != 0 ||
        delta < 1 || limit.items == NULL || limit.count != 1 || ox_dim_is_static(limit.items[0])) {
        return false;
    }
    ox_dim length;
    bool known = delta == 1 || ox_dim_div(limit.items[0], ox_dim_of(delta), &length);
    *count = delta == 1 ? limit.items[0] : known ? length : *count;
    return known;
}

void infer_range(ox_node *n)
{
    ox_dim length = ox_shape_any(n);
    int64_t part[3] = {0, 0, 0};
    double wide = 0;
    int64_t count = 0;
    bool whole = ox_shape_number(n, 0, &part[0]) && ox_shape_number(n, 1, &part[1]) &&
                 ox_shape_number(n, 2, &part[2]) && range_count(n, part, &count);
    if (whole) {
        length = ox_dim_of(count);
    } else if (!plain_range(n, &length) && range_of_doubles(n, &wide)) {
        length = ox_dim_of(wide > 0 ? (int64_t)wide : 0);
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), 1, &length);
    if (whole && count <= OX_SHAPE_ELEMENTS) {
        ox_dim *elements = ox_shape_room(n, (int)count);
        for (int64_t k = 0; k < count; k++) {
            elements[k] = ox_dim_of(part[0] + k * part[2]);
        }
        ox_shape_fill(n, 0, elements);
    }
}

/* RandomNormal, RandomUniform. */
void infer_random(ox_node *n)
{
    ox_type type = ox_shape_type_attr(n, "dtype", OX_FLOAT);
    ox_shape_list shape = ox_shape_list_of(n, SIZE_MAX, "shape");
    ox_shape_set(n, 0, type, shape.items == NULL ? -1 : (int)shape.count, shape.items);
}

void infer_multinomial(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 2, 2);
    ox_dim dims[2] = {rank < 0 ? ox_shape_any(n) : ox_shape_dims(n, 0)[0],
                      ox_dim_of(ox_node_int(n, "sample_size", 1))};
    ox_shape_set(n, 0, ox_shape_type_attr(n, "dtype", OX_INT32), 2, dims);
}
