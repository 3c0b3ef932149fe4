/* Shapes of the operators of com.microsoft. */
#include "shape/shape.h"

#include <string.h>

/* ---- as standard operators ------------------------------------------------------------------- */

/* As the standard operator of the same inputs. */
static void infer_as(ox_node *n, const char *op)
{
    size_t count = 0;
    const ox_shape_family *const *families = ox_shape_families(&count);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; families[i]->domain[0] == '\0' && k < families[i]->count; k++) {
            if (strcmp(families[i]->rows[k].op, op) == 0) {
                families[i]->rows[k].infer(n);
                return;
            }
        }
    }
}

static void infer_conv(ox_node *n)
{
    infer_as(n, "Conv");
}

/* As Conv, of which the channels are the last axis of x, the weights and y. */
static void infer_nhwc_conv(ox_node *n)
{
    if (ox_shape_need(n, 0, 4, 4) != 4 || ox_shape_need(n, 1, 4, 4) != 4) {
        return;
    }
    ox_value values[3] = {*n->inputs[0], *n->inputs[1], *n->outputs[0]};
    ox_dim dims[2][4];
    for (size_t i = 0; i < 2; i++) {
        const ox_dim *d = values[i].dims;
        memcpy(dims[i], (ox_dim[]){d[0], d[3], d[1], d[2]}, sizeof dims[i]);
        values[i].dims = dims[i];
    }
    values[2].rank = -1;
    ox_val in[] = {&values[0], &values[1]}, out = &values[2];
    ox_node plain = *n;
    plain.input_count = 2;
    plain.inputs = in;
    plain.output_count = 1;
    plain.outputs = &out;
    infer_conv(&plain);
    if (out->rank == 4) {
        const ox_dim *d = out->dims;
        ox_shape_set(n, 0, out->type, 4, (ox_dim[]){d[0], d[2], d[3], d[1]});
    }
}

static void infer_gemm(ox_node *n)
{
    infer_as(n, "Gemm");
}

static void infer_quantize(ox_node *n)
{
    infer_as(n, "QuantizeLinear");
}

static void infer_dequantize(ox_node *n)
{
    infer_as(n, "DequantizeLinear");
}

static void infer_average_pool(ox_node *n)
{
    infer_as(n, "AveragePool");
}

static void infer_global_average_pool(ox_node *n)
{
    infer_as(n, "GlobalAveragePool");
}

static void infer_same(ox_node *n)
{
    ox_shape_same(n, 0, 0);
}

/* ---- products -------------------------------------------------------------------------------- */

/* The dimensions of a matrix operand, the last two swapped where asked for; NULL: not known. */
static ox_dim *operand(const ox_node *n, size_t i, const char *swap)
{
    int rank = ox_shape_rank(n, i);
    if (rank < 0) {
        return NULL;
    }
    ox_dim *dims = ox_shape_copy(n, i);
    if (swap != NULL && rank > 1 && ox_node_int(n, swap, 0) != 0) {
        ox_dim last = dims[rank - 1];
        dims[rank - 1] = dims[rank - 2];
        dims[rank - 2] = last;
    }
    return dims;
}

static void infer_product(ox_node *n, ox_type type, const char *swap_a, const char *swap_b)
{
    ox_dim *a = operand(n, 0, swap_a), *b = operand(n, 1, swap_b);
    int rank_a = ox_shape_rank(n, 0), rank_b = ox_shape_rank(n, 1);
    if (a == NULL || b == NULL || rank_a < 2 || rank_b < 2) {
        ox_shape_set(n, 0, type, -1, NULL);
        return;
    }
    int rank = rank_a - 2;
    ox_dim *dims = ox_shape_room(n, (rank_a > rank_b ? rank_a : rank_b) + 2);
    for (int k = 0; k < rank; k++) {
        dims[k] = a[k];
    }
    ox_shape_broadcast(n, &rank, &dims, rank_b - 2, b);
    ox_dim *out = ox_shape_room(n, rank + 2);
    for (int k = 0; k < rank; k++) {
        out[k] = dims[k];
    }
    out[rank] = a[rank_a - 2];
    out[rank + 1] = b[rank_b - 1];
    ox_shape_set(n, 0, type, rank + 2, out);
}

static void infer_fused_matmul(ox_node *n)
{
    infer_product(n, ox_shape_type(n, 0), "transA", "transB");
}

/* MatMulIntegerToFloat, DynamicQuantizeMatMul. */
static void infer_matmul_to_float(ox_node *n)
{
    infer_product(n, ox_shape_type(n, 2), NULL, NULL);
}

static void infer_matmul_nbits(ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    ox_dim *dims = rank < 1 ? NULL : ox_shape_copy(n, 0);
    if (dims != NULL) {
        dims[rank - 1] = ox_dim_of(ox_node_int(n, "N", 0));
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), dims == NULL ? -1 : rank, dims);
}

static void infer_qgemm(ox_node *n)
{
    int a = ox_shape_need(n, 0, 2, 2), b = ox_shape_need(n, 3, 2, 2);
    bool swap_a = ox_node_int(n, "transA", 0) != 0, swap_b = ox_node_int(n, "transB", 0) != 0;
    ox_type type = ox_node_input(n, 7) == NULL ? OX_FLOAT : ox_shape_type(n, 0);
    ox_dim dims[2] = {a < 0 ? ox_shape_any(n) : ox_shape_dims(n, 0)[swap_a ? 1 : 0],
                      b < 0 ? ox_shape_any(n) : ox_shape_dims(n, 3)[swap_b ? 0 : 1]};
    ox_shape_set(n, 0, type, 2, dims);
}

/* ---- integers -------------------------------------------------------------------------------- */

/* QLinearAdd, QLinearMul: operands are inputs 0 and 3. */
static void infer_qlinear_binary(ox_node *n)
{
    int rank = 0;
    ox_dim *dims = NULL;
    for (size_t i = 0; i < 4; i += 3) {
        if (ox_shape_rank(n, i) < 0) {
            ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
            return;
        }
        ox_shape_broadcast(n, &rank, &dims, ox_shape_rank(n, i), ox_shape_dims(n, i));
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
}

/* Parts are inputs 2, 5, 8, ... */
static void infer_qlinear_concat(ox_node *n)
{
    int rank = ox_shape_rank(n, 2);
    if (rank < 0) {
        ox_shape_set(n, 0, ox_shape_type(n, 2), -1, NULL);
        return;
    }
    ox_dim *dims = ox_shape_copy(n, 2);
    int axis = ox_shape_axis(n, ox_node_int(n, "axis", 0), rank);
    for (size_t i = 5; i < n->input_count; i += 3) {
        bool known = ox_shape_rank(n, i) == rank && ox_dim_is_static(dims[axis]) &&
                     ox_dim_is_static(ox_shape_dims(n, i)[axis]);
        dims[axis] =
            known ? ox_dim_of(ox_shape_plus(n, dims[axis].size, ox_shape_dims(n, i)[axis].size))
                  : ox_shape_any(n);
    }
    ox_shape_set(n, 0, ox_shape_type(n, 2), rank, dims);
}

/* ---- normalisations -------------------------------------------------------------------------- */

/* Mean and deviation, outputs 1 and 2, are of training; output 3 is the sum. */
static void infer_skip(ox_node *n)
{
    ox_shape_same(n, 0, 0);
    ox_shape_same(n, 3, 0);
}

static void infer_embed(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 2, 2), words = ox_shape_need(n, 2, 2, 2);
    ox_dim dims[3] = {ox_shape_any(n), ox_shape_any(n), ox_shape_any(n)};
    for (int k = 0; k < 2 && rank == 2; k++) {
        dims[k] = ox_shape_dims(n, 0)[k];
    }
    if (words == 2) {
        dims[2] = ox_shape_dims(n, 2)[1];
    }
    ox_shape_set(n, 0, ox_shape_type(n, 2), 3, dims);
    ox_shape_set(n, 1, OX_INT32, 1, dims);
    ox_shape_set(n, 2, ox_shape_type(n, 2), 3, dims);
}

/* ---- attention ------------------------------------------------------------------------------- */

static void infer_attention(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 3, 3), weights = ox_shape_need(n, 1, 2, 2);
    size_t count = 0;
    const int64_t *sizes = ox_node_ints(n, "qkv_hidden_sizes", &count);
    if (rank < 0) {
        ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
        return;
    }
    ox_dim *dims = ox_shape_copy(n, 0);
    ox_dim third = ox_shape_any(n);
    if (sizes != NULL && count == 3) {
        third = ox_dim_of(sizes[2]);
    } else if (weights == 2) {
        ox_dim_div(ox_shape_dims(n, 1)[1], ox_dim_of(3), &third);
    }
    dims[2] = third;
    ox_shape_set(n, 0, ox_shape_type(n, 0), 3, dims);
}

/* query [B, S, H] and value [B, L, V], or [B, heads, L, V / heads]: [B, S, V]. */
static void infer_multi_head_attention(ox_node *n)
{
    int rank = ox_shape_rank(n, 0), value = ox_shape_rank(n, 2);
    if (rank != 3) {
        ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
        return;
    }
    ox_dim *dims = ox_shape_copy(n, 0);
    if (value == 3) {
        dims[2] = ox_shape_dims(n, 2)[2];
    } else if (value == 4) {
        dims[2] = ox_shape_dim_times(n, ox_shape_dims(n, 2)[1], ox_shape_dims(n, 2)[3]);
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), 3, dims);
}

static const ox_shape_row rows[] = {
    {"Attention", infer_attention},
    {"BiasAdd", infer_same},
    {"BiasGelu", infer_same},
    {"DequantizeLinear", infer_dequantize},
    {"DynamicQuantizeMatMul", infer_matmul_to_float},
    {"EmbedLayerNormalization", infer_embed},
    {"FastGelu", infer_same},
    {"FusedConv", infer_conv},
    {"FusedGemm", infer_gemm},
    {"FusedMatMul", infer_fused_matmul},
    {"Gelu", infer_same},
    {"MatMulIntegerToFloat", infer_matmul_to_float},
    {"MatMulNBits", infer_matmul_nbits},
    {"MultiHeadAttention", infer_multi_head_attention},
    {"NhwcConv", infer_nhwc_conv},
    {"QGemm", infer_qgemm},
    {"QLinearAdd", infer_qlinear_binary},
    {"QLinearAveragePool", infer_average_pool},
    {"QLinearConcat", infer_qlinear_concat},
    {"QLinearGlobalAveragePool", infer_global_average_pool},
    {"QLinearLeakyRelu", infer_same},
    {"QLinearMul", infer_qlinear_binary},
    {"QLinearSigmoid", infer_same},
    {"QLinearSoftmax", infer_same},
    {"QuantizeLinear", infer_quantize},
    {"QuickGelu", infer_same},
    {"SkipLayerNormalization", infer_skip},
    {"SkipSimplifiedLayerNormalization", infer_skip},
};

const ox_shape_family ox_shape_contrib = {"com.microsoft", rows, sizeof rows / sizeof rows[0]};

/* Some are written without a domain. */
static const ox_shape_row default_rows[] = {{"SimplifiedLayerNormalization", infer_same}};

const ox_shape_family ox_shape_contrib_default = {"", default_rows, 1};
