/* Composite operators written as the ones that they are made of: determinants, products along an
 * axis, losses. */
#include <string.h>

#include "rules/decompose.h"
#include "shape/shape.h"

/* ---- Det ----------------------------------------------------------------------------------- */

enum { MAX_ORDER = 8 };

/* Minors of the last rows by their set of columns: there are 2^order of them. */
typedef struct minors {
    int order;
    ox_val entries[MAX_ORDER][MAX_ORDER];
    ox_val known[1 << MAX_ORDER];
} minors;

/* Expanded along its first row. */
static ox_val minor_of(minors *m, unsigned columns, int row)
{
    if (m->known[columns] != NULL) {
        return m->known[columns];
    }
    ox_val sum = NULL;
    bool negative = false;
    for (int k = 0; k < m->order; k++) {
        unsigned column = 1U << k;
        if ((columns & column) == 0) {
            continue;
        }
        ox_val entry = m->entries[row][k], part = entry;
        if (columns != column) {
            part = ox_mul(entry, minor_of(m, columns & ~column, row + 1));
        }
        sum = sum == NULL ? part : negative ? ox_sub(sum, part) : ox_add(sum, part);
        negative = !negative;
    }
    m->known[columns] = sum;
    return sum;
}

void decompose_det(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_of_rank(n, 0, 2, OX_MAX_RANK);
    int64_t order = ox_made_size(n, x, -1);
    if (order < 1 || order > MAX_ORDER) {
        ox_made_fail(n, "only matrices of up to 8 rows are expanded");
    }
    minors *m = ox_arena_alloc(n->graph->arena, 1, sizeof *m);
    m->order = (int)order;
    for (int64_t i = 0; i < order; i++) {
        ox_val row = ox_squeeze(ox_slice(x, -2, i, i + 1, 1), -2);
        for (int64_t k = 0; k < order; k++) {
            m->entries[i][k] = ox_squeeze(ox_slice(row, -1, k, k + 1, 1), -1);
        }
    }
    outputs[0] = ox_made_result(n, 0, minor_of(m, (1U << order) - 1, 0));
}

/* ---- CumProd ------------------------------------------------------------------------------- */

/* x one further along the axis, behind ones. */
static ox_val moved(ox_val x, int axis, int64_t size)
{
    ox_dim dims[OX_MAX_RANK];
    memcpy(dims, x->dims, (size_t)x->rank * sizeof *dims);
    dims[x->rank + axis] = ox_dim_of(1);
    ox_val ones = ox_expand(ox_number(x, 1), x->rank, dims);
    ox_val parts[] = {ones, ox_slice(x, axis, 0, size - 1, 1)};
    return ox_concat(x->graph, 2, parts, axis);
}

/* Each is multiplied by the one `step` before it, for steps 1, 2, 4, ... */
void decompose_cum_prod(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_of_rank(n, 0, 1, OX_MAX_RANK);
    int64_t given = 0;
    if (!ox_shape_number(n, 1, &given)) {
        ox_made_fail(n, "its axis is not constant");
    }
    int axis = ox_shape_axis(n, given, x->rank) - x->rank;
    int64_t size = ox_made_size(n, x, axis);
    bool reverse = ox_node_int(n, "reverse", 0) != 0;
    x = reverse ? ox_reverse(x, axis) : x;
    if (ox_node_int(n, "exclusive", 0) != 0 && size > 0) {
        x = moved(x, axis, size);
    }
    for (int64_t step = 1; step < size; step *= 2) {
        ox_val first = ox_slice(x, axis, 0, step, 1), last = ox_slice(x, axis, step, size, 1);
        ox_val parts[] = {first, ox_mul(last, ox_slice(x, axis, 0, size - step, 1))};
        x = ox_concat(x->graph, 2, parts, axis);
    }
    outputs[0] = ox_made_result(n, 0, reverse ? ox_reverse(x, axis) : x);
}

/* ---- losses -------------------------------------------------------------------------------- */

/* Weights of the label's class, 0 where it is ignored: [N, C, ...] for labels [N, ...]. */
static ox_val label_weights(const ox_node *n, ox_val x, ox_val labels)
{
    ox_val at = ox_cast(ox_unsqueeze(labels, 1), OX_INT64);
    ox_val classes = ox_made_range(at, ox_made_size(n, x, 1 - x->rank), x->rank - 2);
    ox_val weights = ox_cast(ox_equal(at, classes), x->type);
    ox_val each = ox_made_input(n, 2);
    if (each != NULL) {
        weights = ox_mul(weights, ox_reshape(each, x->rank - 1, classes->dims));
    }
    if (ox_node_attr(n, "ignore_index") != NULL) {
        ox_val ignored = ox_number(at, (double)ox_node_int(n, "ignore_index", 0));
        ox_val kept = ox_unary("Not", ox_equal(at, ignored));
        weights = ox_mul(weights, ox_cast(kept, x->type));
    }
    return weights;
}

static ox_val total(ox_val x)
{
    int64_t axes[OX_MAX_RANK];
    for (int d = 0; d < x->rank; d++) {
        axes[d] = d;
    }
    return ox_reduce("ReduceSum", x, (size_t)x->rank, axes, false);
}

/* -log p of the label, weighted and reduced. */
static ox_val loss(const ox_node *n, ox_val logs)
{
    ox_val labels = ox_node_input(n, 1);
    if (labels == NULL || labels->rank != logs->rank - 1) {
        ox_made_fail(n, "its labels do not fit");
    }
    ox_val weights = label_weights(n, logs, labels);
    ox_val each = ox_neg(ox_sum(ox_mul(weights, logs), 1 - logs->rank, false));
    const char *reduction = ox_node_string(n, "reduction", "mean");
    if (strcmp(reduction, "none") == 0) {
        return each;
    }
    return strcmp(reduction, "sum") == 0 ? total(each) : ox_div(total(each), total(weights));
}

void decompose_nll_loss(const ox_node *n, ox_val *outputs)
{
    outputs[0] = ox_made_result(n, 0, loss(n, ox_made_of_rank(n, 0, 2, OX_MAX_RANK)));
}

void decompose_softmax_cross_entropy(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_of_rank(n, 0, 2, OX_MAX_RANK);
    ox_attr axis = ox_attr_int("axis", 1 - x->rank);
    ox_val logs = ox_graph_emit(n->graph, "LogSoftmax", 1, &x, 1, &axis);
    outputs[0] = ox_made_result(n, 0, loss(n, logs));
    if (ox_made_has_output(n, 1)) {
        outputs[1] = ox_made_result(n, 1, logs);
    }
}

/* ---- BatchNormalization -------------------------------------------------------------------- */

/* (x - mean) / sqrt(var + epsilon) scale + bias where one of these is computed; with constants it
 * has a rule of its own. */
void decompose_batch_normalization(const ox_node *n, ox_val *outputs)
{
    bool computed = false;
    for (size_t i = 1; i < 5; i++) {
        const ox_val v = ox_node_input(n, i);
        computed = computed || (v != NULL && ox_contents(v) == NULL);
    }
    if (!computed) {
        return;
    }
    ox_val x = ox_made_of_rank(n, 0, 2, OX_MAX_RANK), each[5] = {NULL};
    for (size_t i = 1; i < 5; i++) {
        each[i] = ox_made_column(ox_cast(ox_made_of_rank(n, i, 1, 1), x->type), x->rank - 2);
    }
    ox_val root = ox_sqrt(ox_shift(each[4], ox_node_float(n, "epsilon", 1e-5)));
    ox_val y = ox_mul(ox_div(ox_sub(x, each[3]), root), each[1]);
    outputs[0] = ox_made_result(n, 0, ox_add(y, each[2]));
}

/* ---- SwiGLU -------------------------------------------------------------------------------- */

void decompose_swiglu(const ox_node *n, ox_val *outputs)
{
    ox_val a = ox_made_of_rank(n, 0, 0, OX_MAX_RANK), b = ox_made_of_rank(n, 1, 0, OX_MAX_RANK);
    ox_attr alpha = ox_attr_float("alpha", (float)ox_node_float(n, "alpha", 1));
    ox_val gate = ox_graph_emit(n->graph, "Swish", 1, &a, 1, &alpha);
    outputs[0] = ox_made_result(n, 0, ox_mul(gate, b));
}
