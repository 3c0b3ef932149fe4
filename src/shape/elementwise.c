/* Shapes of elementwise operators, and of those whose output looks like an input. */
#include "shape/shape.h"

void infer_same(ox_node *n)
{
    ox_shape_same(n, 0, 0);
}

void infer_identity(ox_node *n)
{
    ox_shape_same(n, 0, 0);
    ox_val v = ox_node_input(n, 0);
    ox_shape_fill(n, 0, v == NULL ? NULL : ox_shape_elements(v));
}

/* ---- broadcasting ----------------------------------------------------------------------- */

/* The shape of all inputs together; -1 where one of them has none. */
static int broadcast_inputs(const ox_node *n, ox_dim **dims)
{
    int rank = 0;
    *dims = NULL;
    for (size_t i = 0; i < n->input_count; i++) {
        int next = ox_shape_rank(n, i);
        if (next < 0) {
            return -1;
        }
        ox_shape_broadcast(n, &rank, dims, next, ox_shape_dims(n, i));
    }
    return rank;
}

/* The elements of input i spread over the first output, or NULL. */
static const ox_dim *spread(ox_node *n, size_t i)
{
    ox_val v = n->inputs[i];
    ox_val out = n->outputs[0];
    const ox_dim *elements = ox_shape_contents(v);
    if (elements == NULL) {
        return NULL;
    }
    const int64_t *own = ox_shape_strides(n->graph->arena, v->rank, v->dims);
    int64_t *strides = ox_arena_alloc(n->graph->arena, (size_t)out->rank + 1, sizeof *strides);
    for (int k = 0; k < v->rank; k++) {
        strides[out->rank - v->rank + k] = ox_dim_is(v->dims[k], 1) ? 0 : own[k];
    }
    ox_type type = out->type;
    out->type = OX_INT64; /* the condition of Where and operands of comparisons are others */
    ox_shape_view(n, 0, elements, 0, strides);
    out->type = type;
    const ox_dim *result = out->elements;
    out->elements = NULL;
    return result;
}

static bool any_elements(const ox_node *n)
{
    for (size_t i = 0; i < n->input_count; i++) {
        if (n->inputs[i] != NULL && ox_shape_elements(n->inputs[i]) != NULL) {
            return true;
        }
    }
    return false;
}

/* Elements of the output, calc folded over the inputs. */
static void calculate(ox_node *n, ox_shape_calc *calc)
{
    size_t count = 0;
    if (!any_elements(n) || !ox_shape_count(n->outputs[0]->rank, n->outputs[0]->dims, &count)) {
        return;
    }
    const ox_dim *first = spread(n, 0);
    if (first == NULL) {
        return;
    }
    ox_dim *out = ox_arena_copy(n->graph->arena, first, count, sizeof *out);
    for (size_t i = 1; i < n->input_count; i++) {
        const ox_dim *next = spread(n, i);
        if (next == NULL) {
            return;
        }
        for (size_t k = 0; k < count; k++) {
            out[k] = calc(n->graph, out[k], next[k]);
        }
    }
    ox_shape_fill(n, 0, out);
}

static bool broadcast(ox_node *n, ox_type type, ox_shape_calc *calc)
{
    ox_dim *dims = NULL;
    int rank = broadcast_inputs(n, &dims);
    ox_shape_set(n, 0, type, rank, dims);
    if (rank >= 0 && calc != NULL) {
        calculate(n, calc);
    }
    return rank >= 0;
}

static ox_type first_type(const ox_node *n)
{
    for (size_t i = 0; i < n->input_count; i++) {
        if (ox_shape_type(n, i) != OX_NONE) {
            return ox_shape_type(n, i);
        }
    }
    return OX_NONE;
}

/* Words that are left out make it shorter. */
void infer_string_normalizer(ox_node *n)
{
    bool same = ox_node_attr(n, "stopwords") == NULL;
    ox_shape_set(n, 0, OX_STRING, same ? ox_shape_rank(n, 0) : -1, ox_shape_dims(n, 0));
}

void infer_broadcast(ox_node *n)
{
    broadcast(n, first_type(n), NULL);
}

void infer_add(ox_node *n)
{
    broadcast(n, first_type(n), ox_shape_add);
}

void infer_sub(ox_node *n)
{
    broadcast(n, first_type(n), ox_shape_sub);
}

void infer_mul(ox_node *n)
{
    broadcast(n, first_type(n), ox_shape_mul);
}

void infer_div(ox_node *n)
{
    broadcast(n, first_type(n), ox_shape_div);
}

void infer_min(ox_node *n)
{
    broadcast(n, first_type(n), ox_shape_min);
}

void infer_max(ox_node *n)
{
    broadcast(n, first_type(n), ox_shape_max);
}

static ox_dim floor_mod(ox_graph *g, ox_dim a, ox_dim b)
{
    if (!ox_dim_is_static(b) || b.size <= 0 || a.unknown != 0) {
        return ox_dim_unknown(g);
    }
    int64_t rest = a.size % b.size;
    if (rest == 0) {
        return ox_dim_of(0);
    }
    return ox_dim_is_static(a) ? ox_dim_of(rest < 0 ? rest + b.size : rest) : ox_dim_unknown(g);
}

void infer_mod(ox_node *n)
{
    broadcast(n, first_type(n), ox_node_int(n, "fmod", 0) == 0 ? floor_mod : NULL);
}

void infer_pow(ox_node *n)
{
    broadcast(n, ox_shape_type(n, 0), NULL);
}

/* The slope is spread over x, never the other way round. */
void infer_prelu(ox_node *n)
{
    ox_dim *dims = NULL;
    int rank = broadcast_inputs(n, &dims);
    if (rank > ox_shape_rank(n, 0) && ox_shape_rank(n, 0) >= 0) {
        ox_shape_need(n, 1, 0, ox_shape_rank(n, 0));
    }
    ox_shape_same(n, 0, 0);
}

/* ---- comparisons and choices ------------------------------------------------------------ */

void infer_compare(ox_node *n)
{
    broadcast(n, OX_BOOL, NULL);
}

void infer_and(ox_node *n)
{
    broadcast(n, OX_BOOL, ox_shape_and);
}

void infer_or(ox_node *n)
{
    broadcast(n, OX_BOOL, ox_shape_or);
}

void infer_equal(ox_node *n)
{
    broadcast(n, OX_BOOL, ox_shape_equal);
}

void infer_less(ox_node *n)
{
    broadcast(n, OX_BOOL, ox_shape_less);
}

static ox_dim greater(ox_graph *g, ox_dim a, ox_dim b)
{
    return ox_shape_less(g, b, a);
}

static ox_dim opposite(ox_graph *g, ox_dim a)
{
    return ox_dim_is_static(a) ? ox_dim_of(a.size == 0) : ox_dim_unknown(g);
}

static ox_dim less_or_equal(ox_graph *g, ox_dim a, ox_dim b)
{
    return opposite(g, greater(g, a, b));
}

static ox_dim greater_or_equal(ox_graph *g, ox_dim a, ox_dim b)
{
    return opposite(g, ox_shape_less(g, a, b));
}

void infer_greater(ox_node *n)
{
    broadcast(n, OX_BOOL, greater);
}

void infer_less_or_equal(ox_node *n)
{
    broadcast(n, OX_BOOL, less_or_equal);
}

void infer_greater_or_equal(ox_node *n)
{
    broadcast(n, OX_BOOL, greater_or_equal);
}

void infer_test(ox_node *n)
{
    ox_shape_set(n, 0, OX_BOOL, ox_shape_rank(n, 0), ox_shape_dims(n, 0));
}

void infer_where(ox_node *n)
{
    ox_type type = ox_shape_type(n, 1) != OX_NONE ? ox_shape_type(n, 1) : ox_shape_type(n, 2);
    size_t count = 0;
    if (!broadcast(n, type, NULL) || n->input_count != 3 || !any_elements(n) ||
        !ox_shape_count(n->outputs[0]->rank, n->outputs[0]->dims, &count)) {
        return;
    }
    const ox_dim *c = spread(n, 0);
    const ox_dim *a = spread(n, 1);
    const ox_dim *b = spread(n, 2);
    if (c == NULL || a == NULL || b == NULL) {
        return;
    }
    ox_dim *out = ox_shape_room(n, (int)count);
    for (size_t k = 0; k < count; k++) {
        if (ox_dim_is_static(c[k])) {
            out[k] = c[k].size != 0 ? a[k] : b[k];
        } else {
            out[k] = ox_dim_equal(a[k], b[k]) ? a[k] : ox_shape_any(n);
        }
    }
    ox_shape_fill(n, 0, out);
}

/* ---- one input -------------------------------------------------------------------------- */

static void map_elements(ox_node *n, ox_dim (*map)(ox_graph *g, ox_dim a))
{
    ox_val v = ox_node_input(n, 0);
    size_t count = 0;
    const ox_dim *in = v == NULL ? NULL : ox_shape_elements(v);
    if (in == NULL || !ox_shape_count(v->rank, v->dims, &count)) {
        return;
    }
    ox_dim *out = ox_shape_room(n, (int)count);
    for (size_t k = 0; k < count; k++) {
        out[k] = map(n->graph, in[k]);
    }
    ox_shape_fill(n, 0, out);
}

static ox_dim negative(ox_graph *g, ox_dim a)
{
    return ox_shape_sub(g, ox_dim_of(0), a);
}

static ox_dim absolute(ox_graph *g, ox_dim a)
{
    return a.unknown != 0 ? ox_dim_unknown(g) : a.size < 0 ? negative(g, a) : a;
}

static ox_dim nonzero(ox_graph *g, ox_dim a)
{
    return a.unknown != 0 ? ox_dim_unknown(g) : ox_dim_of(a.size != 0);
}

void infer_neg(ox_node *n)
{
    ox_shape_same(n, 0, 0);
    map_elements(n, negative);
}

void infer_abs(ox_node *n)
{
    ox_shape_same(n, 0, 0);
    map_elements(n, absolute);
}

void infer_not(ox_node *n)
{
    infer_test(n);
    map_elements(n, opposite);
}

/* ---- types ------------------------------------------------------------------------------ */

static void cast_to(ox_node *n, ox_type type)
{
    ox_shape_set(n, 0, type, ox_shape_rank(n, 0), ox_shape_dims(n, 0));
    ox_val v = ox_node_input(n, 0);
    if (type == OX_BOOL) {
        map_elements(n, nonzero);
    } else if (v != NULL) {
        ox_shape_fill(n, 0, ox_shape_elements(v));
    }
}

void infer_cast(ox_node *n)
{
    cast_to(n, ox_shape_type_attr(n, "to", OX_NONE));
}

void infer_cast_like(ox_node *n)
{
    cast_to(n, ox_shape_type(n, 1));
}

void infer_bit_cast(ox_node *n)
{
    ox_shape_set(n, 0, ox_shape_type_attr(n, "to", OX_NONE), ox_shape_rank(n, 0),
                 ox_shape_dims(n, 0));
}

/* Bernoulli, EyeLike, RandomNormalLike, RandomUniformLike. */
void infer_like(ox_node *n)
{
    ox_type type = ox_shape_type_attr(n, "dtype", ox_shape_type(n, 0));
    ox_shape_set(n, 0, type, ox_shape_rank(n, 0), ox_shape_dims(n, 0));
}

void infer_dropout(ox_node *n)
{
    ox_shape_same(n, 0, 0);
    ox_shape_set(n, 1, OX_BOOL, ox_shape_rank(n, 0), ox_shape_dims(n, 0));
}
