/* Shapes of our own functions. */
#include <string.h>

#include "base/ours.h"
#include "shape/shape.h"

/* The shapes of the first `count` inputs together, less the last `drop` axes of each. */
static bool broadcast(const ox_node *n, size_t count, int drop, int *rank, ox_dim **dims)
{
    *rank = 0;
    *dims = ox_shape_room(n, 0);
    for (size_t i = 0; i < count; i++) {
        int own = ox_shape_rank(n, i);
        if (own < drop) {
            return false;
        }
        ox_shape_broadcast(n, rank, dims, own - drop, ox_shape_dims(n, i));
    }
    return true;
}

/* The mean over the first axis of x0. */
static void infer_mean(ox_node *n)
{
    int rank;
    ox_dim *dims;
    if (!broadcast(n, 3, 0, &rank, &dims) || ox_shape_rank(n, 2) < 1) {
        return;
    }
    int axis = rank - ox_shape_rank(n, 2);
    memmove(dims + axis, dims + axis + 1, (size_t)(rank - 1 - axis) * sizeof *dims);
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank - 1, dims);
}

/* The axes of m, x and x0 before the last, and the last of x. */
static void infer_winner(ox_node *n)
{
    int rank;
    ox_dim *dims;
    if (n->input_count < 3 || !broadcast(n, 3, 1, &rank, &dims)) {
        return;
    }
    ox_dim *all = ox_shape_room(n, rank + 1);
    memcpy(all, dims, (size_t)rank * sizeof *all);
    all[rank] = ox_shape_dims(n, 1)[ox_shape_rank(n, 1) - 1];
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank + 1, all);
}

/* The first two axes of the parts, and the last two that the last input says. */
static void infer_interleave(ox_node *n)
{
    const ox_val shape = ox_node_input(n, n->input_count - 1);
    const ox_dim *wanted = shape == NULL ? NULL : ox_shape_elements(shape);
    if (ox_shape_rank(n, 0) != 4 || shape == NULL || shape->rank != 1 ||
        !ox_dim_is(shape->dims[0], 4)) {
        return;
    }
    ox_dim *dims = ox_shape_copy(n, 0);
    dims[2] = wanted == NULL ? ox_shape_any(n) : wanted[2];
    dims[3] = wanted == NULL ? ox_shape_any(n) : wanted[3];
    ox_shape_set(n, 0, ox_shape_type(n, 0), 4, dims);
}

/* [K, B, R, N, columns]. */
static void infer_trees(ox_node *n)
{
    if (n->input_count != OX_TREE_INPUTS || ox_shape_rank(n, OX_TREE_M) != 5 ||
        ox_shape_rank(n, OX_TREE_X) != 3 || ox_shape_rank(n, OX_TREE_X0) != 3 ||
        ox_shape_rank(n, OX_TREE_COLUMNS) != 1) {
        return;
    }
    ox_dim *dims = ox_shape_copy(n, OX_TREE_M);
    dims[2] = ox_shape_dims(n, OX_TREE_X0)[1];
    dims[3] = ox_shape_dims(n, OX_TREE_X)[1];
    dims[4] = ox_shape_dims(n, OX_TREE_COLUMNS)[0];
    ox_shape_set(n, 0, ox_shape_type(n, OX_TREE_M), 5, dims);
}

/* Of q, k and v, each with the axes before the last two that all have together. */
static void infer_matrices(ox_node *n)
{
    int rank;
    ox_dim *dims;
    if (n->output_count != 3 || n->input_count < 4 ||
        !broadcast(n, n->input_count, 2, &rank, &dims)) {
        return;
    }
    for (size_t i = 0; i < 3; i++) {
        ox_dim *all = ox_shape_room(n, rank + 2);
        memcpy(all, dims, (size_t)rank * sizeof *all);
        memcpy(all + rank, ox_shape_dims(n, i + 1) + ox_shape_rank(n, i + 1) - 2, 2 * sizeof *all);
        ox_shape_set(n, i, ox_shape_type(n, 0), rank + 2, all);
    }
}

/* One for all channels. */
static void infer_channels(ox_node *n)
{
    int rank;
    ox_dim *dims;
    if (broadcast(n, n->input_count, 0, &rank, &dims) && rank >= 3) {
        dims[rank - 3] = ox_dim_of(1);
        ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
    }
}

/* Element by element. */
static void infer_elements(ox_node *n)
{
    int rank;
    ox_dim *dims;
    for (size_t k = 0; k < n->output_count && broadcast(n, n->input_count, 0, &rank, &dims); k++) {
        ox_shape_set(n, k, ox_shape_type(n, 0), rank, dims);
    }
}

void ox_shape_ours(ox_node *n)
{
    const ox_ours *f = ox_ours_find_any(n->op);
    if (n->input_count == 0 || f == NULL) {
        return;
    }
    switch (f->kind) {
    case OX_OURS_ELEMENTS:
    case OX_OURS_UNIT:
    case OX_OURS_ROWS: infer_elements(n); return;
    case OX_OURS_ATTENTION: infer_matrices(n); return;
    case OX_OURS_CHANNELS: infer_channels(n); return;
    case OX_OURS_MEAN: infer_mean(n); return;
    case OX_OURS_WINNER: infer_winner(n); return;
    case OX_OURS_PHASES: infer_interleave(n); return;
    case OX_OURS_TREES: infer_trees(n); return;
    case OX_OURS_OPAQUE: return;
    }
}
