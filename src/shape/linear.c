/* Shapes of matrix products: Gemm, MatMul and their quantized kin. */
#include "shape/shape.h"

#include <string.h>

void infer_gemm(ox_node *n)
{
    int a = ox_shape_need(n, 0, 2, 2);
    int b = ox_shape_need(n, 1, 2, 2);
    bool flip_a = ox_node_int(n, "transA", 0) != 0;
    bool flip_b = ox_node_int(n, "transB", 0) != 0;
    ox_dim dims[2] = {ox_shape_any(n), ox_shape_any(n)};
    if (a >= 0) {
        dims[0] = ox_shape_dims(n, 0)[flip_a];
    }
    if (b >= 0) {
        dims[1] = ox_shape_dims(n, 1)[!flip_b];
    }
    if (a >= 0 && b >= 0) {
        ox_shape_agree(n, ox_shape_dims(n, 0)[!flip_a], ox_shape_dims(n, 1)[flip_b]);
    }
    if (ox_shape_rank(n, 2) >= 0) {
        int rank = 2;
        ox_dim *out = dims;
        ox_shape_broadcast(n, &rank, &out, ox_shape_rank(n, 2), ox_shape_dims(n, 2));
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), 2, dims);
}

/* NumPy's matmul of inputs `left` and `right`: vectors lose their axis, the axes before the last
 * two are broadcast. */
static void multiply(ox_node *n, size_t left, size_t right, ox_type type)
{
    int a = ox_shape_need(n, left, 1, INT32_MAX);
    int b = ox_shape_need(n, right, 1, INT32_MAX);
    if (a < 0 || b < 0) {
        ox_shape_set(n, 0, type, -1, NULL);
        return;
    }
    const ox_dim *x = ox_shape_dims(n, left);
    const ox_dim *y = ox_shape_dims(n, right);
    ox_shape_agree(n, x[a - 1], b == 1 ? y[0] : y[b - 2]);
    int rank = a > 2 ? a - 2 : 0;
    ox_dim *outer = ox_shape_room(n, rank);
    if (rank > 0) {
        memcpy(outer, x, (size_t)rank * sizeof *outer);
    }
    ox_shape_broadcast(n, &rank, &outer, b > 2 ? b - 2 : 0, y);
    ox_dim *dims = ox_shape_room(n, rank + 2);
    if (rank > 0) {
        memcpy(dims, outer, (size_t)rank * sizeof *dims);
    }
    if (a > 1) {
        dims[rank++] = x[a - 2];
    }
    if (b > 1) {
        dims[rank++] = y[b - 1];
    }
    ox_shape_set(n, 0, type, rank, dims);
}

void infer_matmul(ox_node *n)
{
    multiply(n, 0, 1, ox_shape_type(n, 0));
}

void infer_matmul_integer(ox_node *n)
{
    multiply(n, 0, 1, OX_INT32);
}

void infer_qlinear_matmul(ox_node *n)
{
    multiply(n, 0, 3, ox_shape_type(n, 7));
}
