/* Shapes of operators that reduce axes, and of those that sort along one. */
#include "shape/shape.h"

#include <string.h>

/* Folds all elements of the input into one. */
static void reduce_elements(ox_node *n, ox_shape_calc *calc)
{
    ox_val v = ox_node_input(n, 0);
    size_t count = 0;
    const ox_dim *in = v == NULL ? NULL : ox_shape_elements(v);
    if (in == NULL || !ox_shape_count(v->rank, v->dims, &count) || count == 0) {
        return;
    }
    ox_dim result = in[0];
    for (size_t k = 1; k < count; k++) {
        result = calc(n->graph, result, in[k]);
    }
    ox_shape_fill(n, 0, &result);
}

static ox_shape_calc *calc_of(const char *op)
{
    return strcmp(op, "ReduceProd") == 0  ? ox_shape_mul
           : strcmp(op, "ReduceSum") == 0 ? ox_shape_add
           : strcmp(op, "ReduceMax") == 0 ? ox_shape_max
           : strcmp(op, "ReduceMin") == 0 ? ox_shape_min
                                          : NULL;
}

/* No axes are all axes, or none with noop_with_empty_axes. */
void infer_reduce(ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    ox_type type = ox_shape_type(n, 0);
    bool keep = ox_node_int(n, "keepdims", 1) != 0;
    ox_shape_list axes = ox_shape_list_of(n, 1, "axes");
    bool all = !axes.given || (axes.items != NULL && axes.count == 0);
    if (all && ox_node_int(n, "noop_with_empty_axes", 0) != 0) {
        ox_shape_same(n, 0, 0);
        return;
    }
    if (rank < 0 || (axes.given && (axes.items == NULL || !axes.fixed))) {
        ox_dim *dims = NULL;
        for (int k = 0; keep && k < rank; k++) {
            dims = dims == NULL ? ox_shape_room(n, rank) : dims;
            dims[k] = ox_shape_any(n);
        }
        ox_shape_set(n, 0, type, keep ? rank : -1, dims);
        return;
    }
    const bool *reduced = ox_shape_axes(n, &axes, rank);
    ox_dim *dims = ox_shape_room(n, rank);
    int kept = 0;
    size_t count = 0;
    for (int k = 0; k < rank; k++) {
        if (!all && !reduced[k]) {
            dims[kept++] = ox_shape_dims(n, 0)[k];
        } else if (keep) {
            dims[kept++] = ox_dim_of(1);
        }
    }
    ox_shape_set(n, 0, type, kept, dims);
    if (calc_of(n->op) != NULL && ox_shape_count(kept, dims, &count) && count == 1 &&
        (all || rank <= 1)) {
        reduce_elements(n, calc_of(n->op));
    }
}

/* ArgMax, ArgMin. */
void infer_arg(ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    bool keep = ox_node_int(n, "keepdims", 1) != 0;
    ox_dim *dims = ox_shape_room(n, rank);
    int kept = rank < 0 ? -1 : 0;
    int axis = rank < 0 ? 0 : ox_shape_axis(n, ox_node_int(n, "axis", 0), rank);
    for (int k = 0; k < rank; k++) {
        if (k != axis) {
            dims[kept++] = ox_shape_dims(n, 0)[k];
        } else if (keep) {
            dims[kept++] = ox_dim_of(1);
        }
    }
    ox_shape_set(n, 0, OX_INT64, kept, dims);
}

void infer_topk(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 1, INT32_MAX);
    ox_dim *dims = NULL;
    if (rank >= 0) {
        int axis = ox_shape_axis(n, ox_node_int(n, "axis", -1), rank);
        ox_shape_list k = ox_shape_input_list(n, 1);
        dims = ox_shape_copy(n, 0);
        if (!k.given) {
            dims[axis] = ox_dim_of(ox_node_int(n, "k", 1));
        } else {
            dims[axis] = k.items != NULL && k.count == 1 ? k.items[0] : ox_shape_any(n);
        }
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
    ox_shape_set(n, 1, OX_INT64, rank, dims);
}

/* Loss per element, or reduced to a scalar; SoftmaxCrossEntropyLoss has log_prob, too. */
void infer_loss(ox_node *n)
{
    bool each = strcmp(ox_node_string(n, "reduction", "mean"), "none") == 0;
    ox_shape_set(n, 0, ox_shape_type(n, 0), each ? ox_shape_rank(n, 1) : 0, ox_shape_dims(n, 1));
    ox_shape_same(n, 1, 0);
}
