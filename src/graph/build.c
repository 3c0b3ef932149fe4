/* The vocabulary for writing graphs. */
#include "graph/build.h"

#include <string.h>

/* ---- attributes and constants ------------------------------------------------------------ */

ox_attr ox_attr_int(const char *name, int64_t i)
{
    return (ox_attr){.name = name, .kind = OX_ATTR_INT, .i = i};
}

ox_attr ox_attr_float(const char *name, float f)
{
    return (ox_attr){.name = name, .kind = OX_ATTR_FLOAT, .f = f};
}

ox_attr ox_attr_string(const char *name, const char *s)
{
    return (ox_attr){.name = name, .kind = OX_ATTR_STRING, .s = s, .count = strlen(s)};
}

ox_attr ox_attr_ints(const char *name, size_t count, const int64_t *ints)
{
    return (ox_attr){.name = name, .kind = OX_ATTR_INTS, .ints = ints, .count = count};
}

ox_val ox_ints(ox_graph *g, size_t count, const int64_t *ints)
{
    int64_t dims[1] = {(int64_t)count};
    ox_const c = {.type = OX_INT64, .rank = 1, .dims = dims, .data = ints};
    c.size = count * sizeof *ints;
    return ox_graph_constant(g, NULL, &c);
}

ox_val ox_int_scalar(ox_graph *g, int64_t i)
{
    ox_const c = {.type = OX_INT64, .data = &i, .size = sizeof i};
    return ox_graph_constant(g, NULL, &c);
}

/* Writes a number as an element of `type`; 0 bytes for types that hold no numbers. */
static size_t encode(ox_type type, double number, void *to)
{
    size_t size = ox_type_size(type);
    double whole = number > -9e15 && number < 9e15 ? number : 0;
    float f = (float)number;
    int64_t i = (int64_t)whole;
    int32_t narrow = (int32_t)i;
    uint8_t small = (uint8_t)i;
    switch (type) {
    case OX_FLOAT: memcpy(to, &f, size); return size;
    case OX_DOUBLE: memcpy(to, &number, size); return size;
    case OX_INT64: memcpy(to, &i, size); return size;
    case OX_INT32: memcpy(to, &narrow, size); return size;
    case OX_BOOL:
    case OX_INT8:
    case OX_UINT8: memcpy(to, &small, size); return size;
    default: return 0;
    }
}

ox_val ox_floats(ox_graph *g, ox_type type, int rank, const int64_t *dims, const double *data)
{
    size_t count = 1;
    for (int i = 0; i < rank; i++) {
        count *= (size_t)dims[i];
    }
    size_t width = ox_type_size(type);
    unsigned char *bytes = ox_arena_alloc(g->arena, count, width);
    for (size_t i = 0; i < count; i++) {
        encode(type, data[i], bytes + i * width);
    }
    ox_const c = {.type = type, .rank = rank, .dims = dims, .data = bytes, .size = count * width};
    return ox_graph_constant(g, NULL, &c);
}

ox_val ox_iota(ox_graph *g, ox_type type, int64_t count)
{
    double *numbers = ox_arena_alloc(g->arena, (size_t)count, sizeof *numbers);
    for (int64_t i = 0; i < count; i++) {
        numbers[i] = (double)i;
    }
    return ox_floats(g, type, 1, &count, numbers);
}

ox_val ox_iota_of(ox_val count)
{
    ox_graph *g = count->graph;
    ox_val zero = ox_int_scalar(g, 0), in[] = {zero, count, ox_int_scalar(g, 1)};
    return ox_graph_emit(g, "Range", 3, in, 0, NULL);
}

ox_val ox_number(ox_val like, double number)
{
    unsigned char bytes[8];
    ox_const c = {.type = like->type, .data = bytes};
    c.size = encode(like->type, number, bytes);
    if (c.size == 0) {
        ox_fail(like->graph->arena, OX_UNSUPPORTED, "no constants of type %s for \"%s\"",
                ox_type_name(like->type), like->name);
    }
    return ox_graph_constant(like->graph, NULL, &c);
}

static int axis_of(ox_val v, uint32_t unknown)
{
    int axis = 0;
    while (axis < v->rank && v->dims[axis].unknown != unknown) {
        axis++;
    }
    return axis < v->rank ? axis : -1;
}

static uint64_t hash_unknown(uint32_t unknown)
{
    return ox_hash(0, &unknown, sizeof unknown);
}

/* The entered value that has an unknown dimension still, or NULL. */
static ox_val find_unknown(const ox_graph *g, uint32_t unknown)
{
    size_t at = OX_TABLE_START;
    ox_val v;
    while ((v = ox_table_next(&g->unknown, hash_unknown(unknown), &at)) != NULL &&
           axis_of(v, unknown) < 0) {
    }
    return v;
}

static void enter_unknown(ox_graph *g, ox_val v)
{
    for (int axis = 0; axis < v->rank; axis++) {
        uint32_t unknown = v->dims[axis].unknown;
        if (unknown != 0 && find_unknown(g, unknown) == NULL) {
            ox_table_add(&g->unknown, hash_unknown(unknown), v);
        }
    }
}

/* A value that has an unknown dimension: one that was entered, or whose shape became known later.
 */
static ox_val value_with(ox_graph *g, uint32_t unknown)
{
    while (g->unknown_seen < g->value_count) {
        enter_unknown(g, g->values[g->unknown_seen++]);
    }
    ox_val v = find_unknown(g, unknown);
    if (v == NULL) {
        ox_budget_spend(g->arena, OX_COST_ELEMENTS, g->value_count / 16); /* a glance at each */
    }
    for (size_t i = 0; v == NULL && i < g->value_count; i++) {
        v = axis_of(g->values[i], unknown) < 0 ? NULL : g->values[i];
    }
    if (v != NULL) {
        enter_unknown(g, v);
    }
    return v;
}

/* An unknown dimension, read off a value that has it. */
static ox_val unknown_at_run_time(ox_graph *g, ox_dim d)
{
    ox_val v = value_with(g, d.unknown);
    if (v == NULL && g->take != NULL) {
        return g->take(g->taker, unknown_at_run_time(g->outer, d));
    }
    if (v == NULL) {
        ox_fail(g->arena, OX_UNSUPPORTED, "%s: a dimension is needed that is not known",
                ox_graph_at(g));
    }
    int axis = axis_of(v, d.unknown);
    ox_attr range[] = {ox_attr_int("start", axis), ox_attr_int("end", axis + 1)};
    return ox_graph_emit(g, "Shape", 1, &v, 2, range);
}

/* size * N^batch * R^refs at run time, int64 [1]. */
static ox_val dim_at_run_time(ox_graph *g, ox_dim d)
{
    if (d.unknown != 0) {
        return unknown_at_run_time(g, d);
    }
    if ((d.batch > 0 && g->batch_size == NULL) || (d.refs > 0 && g->refs_size == NULL)) {
        ox_fail(g->arena, OX_UNSUPPORTED, "%s: a dimension is needed that is not known",
                ox_graph_at(g));
    }
    ox_val v = ox_ints(g, 1, &d.size);
    for (int i = 0; i < d.batch; i++) {
        v = ox_dim_is(d, 1) ? g->batch_size : ox_mul(v, g->batch_size);
    }
    for (int i = 0; i < d.refs; i++) {
        v = ox_mul(v, g->refs_size);
    }
    return v;
}

ox_val ox_dims(ox_graph *g, int rank, const ox_dim *dims)
{
    ox_val parts[OX_MAX_RANK];
    int64_t numbers[OX_MAX_RANK];
    size_t count = 0;
    if (rank < 0 || rank > OX_MAX_RANK) {
        ox_fail(g->arena, OX_UNSUPPORTED, "%s: a shape is needed that is not known", g->scope);
    }
    if (ox_dims_static(rank, dims)) {
        for (int i = 0; i < rank; i++) {
            numbers[i] = dims[i].size;
        }
        return ox_ints(g, (size_t)rank, numbers);
    }
    for (int i = 0; i < rank; i++) {
        parts[count++] = dim_at_run_time(g, dims[i]);
    }
    return ox_concat(g, count, parts, 0);
}

ox_val ox_zeros(ox_graph *g, ox_type type, int rank, const ox_dim *dims)
{
    static const int64_t one[1] = {1};
    static const unsigned char zero[8] = {0};
    ox_const *c = ox_arena_alloc(g->arena, 1, sizeof *c);
    *c = (ox_const){.type = type, .rank = 1, .dims = one, .data = zero};
    c->size = ox_type_size(type);
    ox_val shape = ox_dims(g, rank, dims);
    ox_attr value = {.name = "value", .kind = OX_ATTR_TENSOR, .tensor = c};
    return ox_graph_emit(g, "ConstantOfShape", 1, &shape, 1, &value);
}

/* ---- elementwise ------------------------------------------------------------------------- */

ox_val ox_unary(const char *op, ox_val a)
{
    return ox_graph_emit(a->graph, op, 1, &a, 0, NULL);
}

ox_val ox_binary(const char *op, ox_val a, ox_val b)
{
    return ox_graph_emit(a->graph, op, 2, (ox_val[]){a, b}, 0, NULL);
}

ox_val ox_add(ox_val a, ox_val b)
{
    return ox_binary("Add", a, b);
}
ox_val ox_sub(ox_val a, ox_val b)
{
    return ox_binary("Sub", a, b);
}
ox_val ox_mul(ox_val a, ox_val b)
{
    return ox_binary("Mul", a, b);
}
ox_val ox_div(ox_val a, ox_val b)
{
    return ox_binary("Div", a, b);
}
ox_val ox_max(ox_val a, ox_val b)
{
    return ox_binary("Max", a, b);
}
ox_val ox_min(ox_val a, ox_val b)
{
    return ox_binary("Min", a, b);
}
ox_val ox_scale(ox_val a, double factor)
{
    return ox_mul(a, ox_number(a, factor));
}
ox_val ox_shift(ox_val a, double term)
{
    return ox_add(a, ox_number(a, term));
}

/* OpenVINO (2026.4) computes (a f - b f) + little as a f - (b f - little), which is 0 where a is b.
 */
ox_val ox_apart_from_zero(ox_val d, double little)
{
    return ox_is_portable(d) ? ox_max(ox_abs(d), ox_number(d, little)) : ox_shift(d, little);
}
ox_val ox_neg(ox_val a)
{
    return ox_unary("Neg", a);
}
ox_val ox_abs(ox_val a)
{
    return ox_unary("Abs", a);
}
ox_val ox_exp(ox_val a)
{
    return ox_unary("Exp", a);
}
ox_val ox_log(ox_val a)
{
    return ox_unary("Log", a);
}
ox_val ox_sqrt(ox_val a)
{
    return ox_unary("Sqrt", a);
}
ox_val ox_tanh(ox_val a)
{
    return ox_unary("Tanh", a);
}
ox_val ox_square(ox_val a)
{
    return ox_mul(a, a);
}
ox_val ox_equal(ox_val a, ox_val b)
{
    return ox_binary("Equal", a, b);
}
ox_val ox_greater(ox_val a, ox_val b)
{
    return ox_binary("Greater", a, b);
}
ox_val ox_less(ox_val a, ox_val b)
{
    return ox_binary("Less", a, b);
}

ox_val ox_where(ox_val condition, ox_val a, ox_val b)
{
    return ox_graph_emit(a->graph, "Where", 3, (ox_val[]){condition, a, b}, 0, NULL);
}

ox_val ox_matmul(ox_val a, ox_val b)
{
    return ox_binary("MatMul", a, b);
}

/* ---- reductions -------------------------------------------------------------------------- */

ox_val ox_reduce(const char *op, ox_val a, size_t axis_count, const int64_t *axes, bool keep)
{
    if (axis_count == 0) {
        return a;
    }
    int64_t *own = ox_arena_copy(a->graph->arena, axes, axis_count, sizeof *own);
    ox_front_axes(a, axis_count, own);
    ox_val in[] = {a, ox_ints(a->graph, axis_count, own)};
    ox_attr keepdims = ox_attr_int("keepdims", keep);
    return ox_graph_emit(a->graph, op, 2, in, 1, &keepdims);
}

ox_val ox_sum(ox_val a, int64_t axis, bool keep)
{
    return ox_reduce("ReduceSum", a, 1, &axis, keep);
}

/* ---- moving ------------------------------------------------------------------------------ */

static bool same_shape(ox_val a, int rank, const ox_dim *dims)
{
    return a->rank == rank && ox_dims_equal(rank, a->dims, dims);
}

ox_val ox_reshape(ox_val a, int rank, const ox_dim *dims)
{
    ox_graph *g = a->graph;
    if (same_shape(a, rank, dims)) {
        return a;
    }
    if (a->node != NULL && !a->node->original && strcmp(a->node->op, "Reshape") == 0) {
        return ox_reshape(a->node->inputs[0], rank, dims);
    }
    int64_t numbers[OX_MAX_RANK];
    int free_dims = 0;
    if (rank < 0 || rank > OX_MAX_RANK) {
        ox_fail(g->arena, OX_UNSUPPORTED, "%s: a shape has too many axes", g->scope);
    }
    for (int i = 0; i < rank; i++) {
        bool is_static = ox_dim_is_static(dims[i]);
        free_dims += !is_static;
        numbers[i] = is_static ? dims[i].size : -1;
    }
    ox_val shape = free_dims <= 1 ? ox_ints(g, (size_t)rank, numbers) : ox_dims(g, rank, dims);
    return ox_graph_emit(g, "Reshape", 2, (ox_val[]){ox_apart(a), shape}, 0, NULL);
}

ox_val ox_reshape_constant(ox_val v, int rank, const ox_dim *dims)
{
    if (v->constant == NULL || v->node != NULL || !ox_dims_static(rank, dims)) {
        return ox_reshape(v, rank, dims);
    }
    int64_t sizes[OX_MAX_RANK];
    for (int i = 0; i < rank; i++) {
        sizes[i] = dims[i].size;
    }
    ox_const c = *v->constant;
    c.rank = rank;
    c.dims = sizes;
    c.proto = NULL;
    const char *slash = strrchr(v->name, '/');
    size_t length = slash == NULL ? 0 : (size_t)(slash - v->name);
    const char *scope = ox_arena_format(v->graph->arena, "%.*s", (int)length, v->name);
    const char *former = ox_graph_scope(v->graph, scope);
    ox_val same = ox_graph_constant(v->graph, NULL, &c);
    ox_graph_scope(v->graph, former);
    return same;
}

/* Arrays of OX_MAX_RANK are enough for a; a file says how many axes it has. */
static void need_axes(ox_val a, int least)
{
    if (a->rank < least || a->rank > OX_MAX_RANK) {
        ox_fail(a->graph->arena, OX_UNSUPPORTED, "%s: \"%s\" has %s", a->graph->scope, a->name,
                a->rank < 0       ? "an unknown shape"
                : a->rank < least ? "too few axes"
                                  : "too many axes");
    }
}

ox_val ox_transpose(ox_val a, const int *permutation)
{
    int64_t perm[OX_MAX_RANK];
    bool same = true;
    need_axes(a, 0);
    for (int i = 0; i < a->rank; i++) {
        perm[i] = permutation[i];
        same = same && permutation[i] == i;
    }
    ox_attr attr = ox_attr_ints("perm", (size_t)a->rank, perm);
    ox_val from = same ? a : ox_apart(a);
    return same ? a : ox_graph_emit(a->graph, "Transpose", 1, &from, 1, &attr);
}

ox_val ox_swap_last(ox_val a)
{
    int permutation[OX_MAX_RANK];
    need_axes(a, 2);
    for (int i = 0; i < a->rank; i++) {
        permutation[i] = i;
    }
    permutation[a->rank - 2] = a->rank - 1;
    permutation[a->rank - 1] = a->rank - 2;
    return ox_transpose(a, permutation);
}

ox_val ox_unsqueeze(ox_val a, int64_t axis)
{
    return ox_binary("Unsqueeze", ox_apart(a), ox_ints(a->graph, 1, &axis));
}

ox_val ox_squeeze(ox_val a, int64_t axis)
{
    return ox_binary("Squeeze", ox_apart(a), ox_ints(a->graph, 1, &axis));
}

ox_val ox_expand(ox_val a, int rank, const ox_dim *dims)
{
    return same_shape(a, rank, dims) ? a : ox_binary("Expand", a, ox_dims(a->graph, rank, dims));
}

ox_val ox_concat(ox_graph *g, size_t count, const ox_val *parts, int64_t axis)
{
    ox_attr attr = ox_attr_int("axis", axis);
    return count == 1 ? parts[0] : ox_graph_emit(g, "Concat", count, parts, 1, &attr);
}

ox_val ox_slice(ox_val a, int64_t axis, int64_t start, int64_t end, int64_t step)
{
    ox_graph *g = a->graph;
    ox_val in[] = {ox_apart(a), ox_ints(g, 1, &start), ox_ints(g, 1, &end), ox_ints(g, 1, &axis),
                   step == 1 ? NULL : ox_ints(g, 1, &step)};
    return ox_graph_emit(g, "Slice", 5, in, 0, NULL);
}

ox_val ox_reverse(ox_val a, int64_t axis)
{
    return ox_slice(a, axis, -1, INT64_MIN, -1);
}

/* What numbers below 0 at the ends of an axis cut off; tract (0.23) ends on a Pad that does. */
static ox_val cut_ends(ox_val v, int64_t axis, int64_t ends[2])
{
    bool first = ends[0] < 0, last = ends[1] < 0;
    if (!ox_is_portable(v) || !(first || last)) {
        return v;
    }
    v = ox_slice(v, axis, first ? -ends[0] : 0, last ? ends[1] : INT64_MAX, 1);
    ends[0] = first ? 0 : ends[0];
    ends[1] = last ? 0 : ends[1];
    return v;
}

/* What was padded to a by as much as is cut off now; else NULL. */
static ox_val before_pad(ox_val a, int count, const int64_t *before, const int64_t *after)
{
    const ox_node *n = a->node;
    ox_val pads = n == NULL || n->original || strcmp(n->op, "Pad") != 0 || n->input_count != 2
                      ? NULL
                      : n->inputs[1];
    if (pads == NULL || pads->constant == NULL) {
        return NULL;
    }
    const int64_t *padded = ox_const_ints(a->graph->arena, pads->constant);
    for (int i = 0; i < a->rank; i++) {
        int k = i - (a->rank - count);
        if (padded[i] != (k < 0 ? 0 : -before[k]) ||
            padded[i + a->rank] != (k < 0 ? 0 : -after[k])) {
            return NULL;
        }
    }
    return n->inputs[0];
}

ox_val ox_pad(ox_val a, int count, const int64_t *before, const int64_t *after)
{
    int64_t pads[2 * OX_MAX_RANK] = {0};
    bool none = true;
    need_axes(a, count);
    ox_val whole = before_pad(a, count, before, after);
    if (whole != NULL) {
        return whole;
    }
    for (int i = 0; i < count; i++) {
        int64_t ends[] = {before[i], after[i]};
        a = cut_ends(a, i - count, ends);
        pads[a->rank - count + i] = ends[0];
        pads[2 * a->rank - count + i] = ends[1];
        none = none && ends[0] == 0 && ends[1] == 0;
    }
    return none ? a : ox_binary("Pad", a, ox_ints(a->graph, 2 * (size_t)a->rank, pads));
}

ox_val ox_gather(ox_val a, ox_val indices, int64_t axis)
{
    ox_attr attr = ox_attr_int("axis", axis);
    return ox_graph_emit(a->graph, "Gather", 2, (ox_val[]){a, indices}, 1, &attr);
}

ox_val ox_gather_elements(ox_val a, ox_val indices, int64_t axis)
{
    ox_attr attr = ox_attr_int("axis", axis);
    return ox_graph_emit(a->graph, "GatherElements", 2, (ox_val[]){a, indices}, 1, &attr);
}

ox_val ox_scatter_add(ox_val zeros, ox_val indices, ox_val updates, int64_t axis)
{
    ox_attr attrs[] = {ox_attr_int("axis", axis), ox_attr_string("reduction", "add")};
    ox_val in[] = {zeros, indices, updates};
    return ox_graph_emit(zeros->graph, "ScatterElements", 3, in, 2, attrs);
}
