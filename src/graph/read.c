/* Reading graphs: attributes, constants, labels, and the arithmetic of dimensions. */
#include <math.h>
#include <string.h>

#include "graph/graph.h"

/* ---- nodes ------------------------------------------------------------------------------ */

const char *ox_node_label(const ox_node *n)
{
    ox_arena *a = n->graph->arena;
    const char *dot = n->domain[0] == '\0' ? "" : ".";
    if (!n->original) {
        const char *what = n->origin == NULL ? "" : ox_node_label(n->origin);
        return ox_arena_format(a, "added node \"%s\" (%s%s%s)%s%s", n->name, n->domain, dot, n->op,
                               n->origin == NULL ? "" : ", for ", what);
    }
    return ox_arena_format(a, "node %zu \"%s\" (%s%s%s)", n->index, n->name, n->domain, dot, n->op);
}

const char *ox_node_base(const ox_node *n)
{
    ox_val y = n->output_count > 0 ? n->outputs[0] : NULL;
    bool unnamed = y != NULL && (n->name[0] == '\0' || n->name == y->name);
    return !unnamed ? n->name : y->base != NULL ? y->base : y->name;
}

static const char *label(const void *n)
{
    return ox_node_label(n);
}

void ox_node_at(const ox_node *n)
{
    ox_budget_at(n->graph->arena, label, n);
}

const int *ox_node_perm(const ox_node *n, int rank)
{
    size_t count = 0;
    const int64_t *given = ox_node_ints(n, "perm", &count);
    int *perm = ox_arena_alloc(n->graph->arena, (size_t)rank + 1, sizeof *perm);
    bool *used = ox_arena_alloc(n->graph->arena, (size_t)rank + 1, sizeof *used);
    if (given != NULL && count != (size_t)rank) {
        return NULL;
    }
    for (int i = 0; i < rank; i++) {
        int64_t axis = given == NULL ? rank - 1 - i : given[i];
        if (axis < 0 || axis >= rank || used[axis]) {
            return NULL;
        }
        used[axis] = true;
        perm[i] = (int)axis;
    }
    return perm;
}

bool ox_node_has_body(const ox_node *n)
{
    for (size_t i = 0; i < n->attr_count; i++) {
        if (n->attrs[i].kind == OX_ATTR_GRAPH || n->attrs[i].kind == OX_ATTR_GRAPHS) {
            return true;
        }
    }
    return false;
}

bool ox_node_has(const ox_node *n, unsigned traits)
{
    return n != NULL && ox_operator_has(n->domain, n->op, traits);
}

ox_val ox_node_input(const ox_node *n, size_t i)
{
    return i < n->input_count ? n->inputs[i] : NULL;
}

const ox_attr *ox_node_attr(const ox_node *n, const char *name)
{
    for (size_t i = 0; i < n->attr_count; i++) {
        if (strcmp(n->attrs[i].name, name) == 0) {
            return &n->attrs[i];
        }
    }
    return NULL;
}

/* The attribute, NULL where there is none; one of another kind gives up. */
static const ox_attr *attr_of_kind(const ox_node *n, const char *name, ox_attr_kind kind)
{
    const ox_attr *a = ox_node_attr(n, name);
    if (a != NULL && a->kind != kind) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: attribute %s has the wrong type",
                ox_node_label(n), name);
    }
    return a;
}

int64_t ox_node_int(const ox_node *n, const char *name, int64_t otherwise)
{
    const ox_attr *a = attr_of_kind(n, name, OX_ATTR_INT);
    return a == NULL ? otherwise : a->i;
}

double ox_node_float(const ox_node *n, const char *name, double otherwise)
{
    const ox_attr *a = attr_of_kind(n, name, OX_ATTR_FLOAT);
    return a == NULL ? (double)(float)otherwise : (double)a->f; /* as ONNX stores it */
}

const char *ox_node_string(const ox_node *n, const char *name, const char *otherwise)
{
    const ox_attr *a = attr_of_kind(n, name, OX_ATTR_STRING);
    return a == NULL ? otherwise : a->s;
}

const int64_t *ox_node_ints(const ox_node *n, const char *name, size_t *count)
{
    const ox_attr *a = attr_of_kind(n, name, OX_ATTR_INTS);
    if (a == NULL) {
        *count = 0;
        return NULL;
    }
    static const int64_t none[1] = {0};
    *count = a->count;
    return a->count == 0 ? none : a->ints;
}

/* ---- constants -------------------------------------------------------------------------- */

size_t ox_const_count(const ox_const *c)
{
    size_t width = ox_type_size(c->type);
    return width == 0 ? 0 : c->size / width;
}

void *ox_elements_copy(ox_arena *a, ox_type type, const void *data, size_t size)
{
    char **copy = ox_arena_copy(a, data, size, 1);
    for (size_t i = 0; type == OX_STRING && i < size / sizeof *copy; i++) {
        copy[i] = (char *)(uintptr_t)ox_arena_string(a, copy[i]);
    }
    return copy;
}

static double half_to_double(uint16_t h)
{
    int exponent = (h >> 10) & 31;
    double fraction = h & 1023;
    double v = exponent == 0    ? ldexp(fraction, -24)
               : exponent == 31 ? (fraction == 0 ? (double)INFINITY : (double)NAN)
                                : ldexp(fraction + 1024, exponent - 25);
    return (h & 0x8000) != 0 ? -v : v;
}

static double bfloat_to_double(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

#define READ(type, expression)                                                                     \
    do {                                                                                           \
        type e;                                                                                    \
        memcpy(&e, p, sizeof e);                                                                   \
        return (expression);                                                                       \
    } while (0)

static int64_t element_int(ox_type type, const unsigned char *p)
{
    switch (type) {
    case OX_BOOL:
    case OX_UINT8: return *p;
    case OX_INT8: READ(int8_t, e);
    case OX_UINT16: READ(uint16_t, e);
    case OX_INT16: READ(int16_t, e);
    case OX_UINT32: READ(uint32_t, e);
    case OX_INT32: READ(int32_t, e);
    case OX_UINT64: READ(uint64_t, (int64_t)e);
    default: READ(int64_t, e);
    }
}

static double element_double(ox_type type, const unsigned char *p)
{
    switch (type) {
    case OX_FLOAT: READ(float, (double)e);
    case OX_DOUBLE: READ(double, e);
    case OX_FLOAT16: READ(uint16_t, half_to_double(e));
    case OX_BFLOAT16: READ(uint16_t, bfloat_to_double(e));
    default: return (double)element_int(type, p);
    }
}

bool ox_type_is_float(ox_type type)
{
    return type == OX_FLOAT || type == OX_DOUBLE || type == OX_FLOAT16 || type == OX_BFLOAT16;
}

double ox_const_double(const ox_const *c, size_t i)
{
    return element_double(c->type, (const unsigned char *)c->data + i * ox_type_size(c->type));
}

static bool is_integer(ox_type type)
{
    return (type >= OX_UINT8 && type <= OX_INT64) || type == OX_BOOL || type == OX_UINT32 ||
           type == OX_UINT64;
}

const double *ox_const_doubles(ox_arena *a, const ox_const *c)
{
    size_t width = ox_type_size(c->type);
    if (c->data == NULL || width == 0 || c->type == OX_STRING) {
        return NULL;
    }
    size_t count = ox_const_count(c);
    double *out = ox_arena_alloc(a, count + 1, sizeof *out);
    for (size_t i = 0; i < count; i++) {
        out[i] = element_double(c->type, (const unsigned char *)c->data + i * width);
    }
    return out;
}

const int64_t *ox_const_ints(ox_arena *a, const ox_const *c)
{
    if (c->data == NULL || !is_integer(c->type)) {
        return NULL;
    }
    size_t width = ox_type_size(c->type);
    size_t count = ox_const_count(c);
    int64_t *out = ox_arena_alloc(a, count + 1, sizeof *out);
    for (size_t i = 0; i < count; i++) {
        out[i] = element_int(c->type, (const unsigned char *)c->data + i * width);
    }
    return out;
}

bool ox_only_moves(const char *op)
{
    static const char *const ops[] = {"Identity", "MaxPool",   "Reshape",  "Slice",
                                      "Squeeze",  "Transpose", "Unsqueeze"};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (strcmp(op, ops[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- dimensions ------------------------------------------------------------------------- */

ox_dim ox_dim_of(int64_t size)
{
    return (ox_dim){.size = size};
}

ox_dim ox_dim_unknown(ox_graph *g)
{
    while (g->outer != NULL) {
        g = g->outer;
    }
    return (ox_dim){.size = 1, .unknown = ++g->unknowns};
}

bool ox_dim_is_static(ox_dim d)
{
    return d.batch == 0 && d.refs == 0 && d.unknown == 0;
}

bool ox_dim_equal(ox_dim a, ox_dim b)
{
    return a.size == b.size && a.batch == b.batch && a.refs == b.refs && a.unknown == b.unknown;
}

bool ox_dim_is(ox_dim d, int64_t size)
{
    return ox_dim_is_static(d) && d.size == size;
}

ox_dim ox_dim_mul(ox_graph *g, ox_dim a, ox_dim b)
{
    if (ox_dim_is(a, 1)) {
        return b;
    }
    if (ox_dim_is(b, 1)) {
        return a;
    }
    if (ox_dim_is(a, 0) || ox_dim_is(b, 0)) {
        return ox_dim_of(0);
    }
    ox_dim d = {.batch = (uint8_t)(a.batch + b.batch), .refs = (uint8_t)(a.refs + b.refs)};
    if (a.unknown != 0 || b.unknown != 0 || !ox_int_mul(a.size, b.size, &d.size)) {
        return ox_dim_unknown(g);
    }
    return d;
}

bool ox_dim_div(ox_dim a, ox_dim b, ox_dim *out)
{
    if (ox_dim_equal(a, b) && a.size != 0) {
        *out = ox_dim_of(1);
        return true;
    }
    if (a.unknown != 0 || b.unknown != 0 || b.size == 0 || b.batch > a.batch || b.refs > a.refs ||
        (b.size == -1 && a.size == INT64_MIN) || a.size % b.size != 0) {
        return ox_dim_is(b, 1) ? (*out = a, true) : false;
    }
    *out = (ox_dim){.size = a.size / b.size,
                    .batch = (uint8_t)(a.batch - b.batch),
                    .refs = (uint8_t)(a.refs - b.refs)};
    return true;
}

bool ox_dims_equal(int rank, const ox_dim *a, const ox_dim *b)
{
    for (int i = 0; i < rank; i++) {
        if (!ox_dim_equal(a[i], b[i])) {
            return false;
        }
    }
    return true;
}

bool ox_dims_static(int rank, const ox_dim *dims)
{
    for (int i = 0; i < rank; i++) {
        if (!ox_dim_is_static(dims[i])) {
            return false;
        }
    }
    return true;
}

ox_dim ox_val_size(ox_val v)
{
    ox_dim product = ox_dim_of(1);
    for (int i = 0; i < v->rank; i++) {
        product = ox_dim_mul(v->graph, product, v->dims[i]);
    }
    return product;
}
