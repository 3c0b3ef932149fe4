/* Products with weights of a few bits: they are unpacked, which ONNX Runtime does once when it
 * loads the model. */
#include "rules/weights.h"

#include <string.h>

/* ---- unpacking ------------------------------------------------------------------------------- */

ox_val ox_weights_unpack(ox_val bytes, ox_type type, int64_t bits)
{
    ox_val rest = ox_cast(bytes, type), parts[8];
    size_t count = (size_t)(8 / bits);
    double base = (double)(1 << bits);
    for (size_t i = 0; i + 1 < count; i++) {
        ox_val above = ox_unary("Floor", ox_scale(rest, 1 / base));
        parts[i] = ox_unsqueeze(ox_sub(rest, ox_scale(above, base)), -1);
        rest = above;
    }
    if (count == 1) {
        return rest;
    }
    parts[count - 1] = ox_unsqueeze(rest, -1);
    ox_dim dims[OX_MAX_RANK];
    memcpy(dims, bytes->dims, (size_t)bytes->rank * sizeof *dims);
    dims[bytes->rank - 1] =
        ox_dim_mul(bytes->graph, dims[bytes->rank - 1], ox_dim_of((int64_t)count));
    return ox_reshape(ox_concat(bytes->graph, count, parts, -1), bytes->rank, dims);
}

static void check_packing(const ox_node *n, ox_packing p)
{
    bool known = p.bits == 2 || p.bits == 4 || p.bits == 8;
    if (!known || p.block < 1 || p.block > INT32_MAX) {
        ox_made_fail(n, "no rule for its kind of weights");
    }
}

ox_val ox_weights_real(const ox_node *n, ox_val bytes, ox_val scale, ox_val zero, ox_packing p)
{
    check_packing(n, p);
    ox_val numbers = ox_weights_unpack(bytes, scale->type, p.bits);
    int rank = numbers->rank;
    int64_t width = ox_made_size(n, numbers, -1), blocks = width / p.block;
    if (blocks < 1 || width % p.block != 0 || rank + 1 > OX_MAX_RANK) {
        ox_made_fail(n, "its shapes do not fit");
    }
    ox_dim apart[OX_MAX_RANK], whole[OX_MAX_RANK];
    memcpy(whole, numbers->dims, (size_t)rank * sizeof *whole);
    memcpy(apart, whole, (size_t)rank * sizeof *apart);
    apart[rank - 1] = ox_dim_of(blocks);
    apart[rank] = ox_dim_of(p.block);
    numbers = ox_reshape(numbers, rank + 1, apart);
    apart[rank] = ox_dim_of(1);
    if (zero == NULL) {
        numbers = ox_shift(numbers, -(double)(1 << (p.bits - 1)));
    } else {
        if (zero->type == OX_UINT8) {
            ox_dim packed[OX_MAX_RANK];
            memcpy(packed, whole, (size_t)rank * sizeof *packed);
            packed[rank - 1] = ox_dim_of((blocks * p.bits + 7) / 8);
            zero = ox_weights_unpack(ox_reshape(zero, rank, packed), scale->type, p.bits);
            zero = ox_slice(zero, -1, 0, blocks, 1);
        }
        numbers = ox_sub(numbers, ox_reshape(ox_cast(zero, scale->type), rank + 1, apart));
    }
    return ox_reshape(ox_mul(numbers, ox_reshape(scale, rank + 1, apart)), rank, whole);
}

/* ---- MatMulNBits ----------------------------------------------------------------------------- */

/* W [N, K] where each column names the block whose scale it has. */
static ox_val grouped(const ox_node *n, ox_val numbers, ox_val index, ox_packing p)
{
    ox_val scale = ox_made_ranked(n, 2), zero = ox_made_input(n, 3);
    const ox_dim each[] = {numbers->dims[0], ox_dim_of(ox_made_size(n, ox_node_input(n, 1), 1))};
    numbers = ox_slice(numbers, -1, 0, ox_node_int(n, "K", 0), 1);
    index = ox_slice(index, 0, 0, ox_node_int(n, "K", 0), 1);
    if (zero == NULL) {
        numbers = ox_shift(numbers, -(double)(1 << (p.bits - 1)));
    } else if (zero->type == OX_UINT8) {
        ox_made_fail(n, "no rule for packed zero points of columns in groups");
    } else {
        numbers = ox_sub(numbers, ox_gather(ox_reshape(zero, 2, each), index, 1));
    }
    return ox_mul(numbers, ox_gather(ox_reshape(scale, 2, each), index, 1));
}

/* W [N, K] of bytes [N, blocks, block * bits / 8]. */
static ox_val matrix_of(const ox_node *n, ox_val w, ox_packing p)
{
    int64_t rows = ox_node_int(n, "N", 0), width = ox_node_int(n, "K", 0), all = 0;
    check_packing(n, p);
    if (rows < 1 || width < 1 || ox_node_int(n, "weight_prepacked", 0) != 0) {
        ox_made_fail(n, "no rule for its kind of weights");
    }
    if (!ox_int_mul(ox_made_size(n, w, 1), ox_made_size(n, w, 2), &all) || all > INT64_MAX / 8 ||
        all * 8 / p.bits < width || !ox_dim_is(w->dims[0], rows)) {
        ox_made_fail(n, "its shapes do not fit");
    }
    const ox_dim flat[] = {ox_dim_of(rows), ox_dim_of(all)};
    ox_val bytes = ox_reshape(w, 2, flat), scale = ox_made_ranked(n, 2);
    if (ox_node_input(n, 4) != NULL) {
        return grouped(n, ox_weights_unpack(bytes, scale->type, p.bits), ox_node_input(n, 4), p);
    }
    return ox_slice(ox_weights_real(n, bytes, scale, ox_made_input(n, 3), p), -1, 0, width, 1);
}

/* y = x W^T + bias. Weights of no size stand for zeros; at level 4 ONNX Runtime may round x. */
void decompose_matmul_nbits(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_of_rank(n, 0, 1, OX_RANK_LIMIT), w = ox_made_of_rank(n, 1, 3, 3);
    ox_val bias = ox_made_input(n, 5), y = NULL;
    const ox_packing p = {ox_node_int(n, "bits", 4), ox_node_int(n, "block_size", 32)};
    if (ox_dim_is(ox_val_size(w), 0)) {
        ox_dim dims[OX_MAX_RANK];
        memcpy(dims, x->dims, (size_t)x->rank * sizeof *dims);
        dims[x->rank - 1] = ox_dim_of(ox_node_int(n, "N", 0));
        y = ox_expand(bias == NULL ? ox_number(x, 0) : bias, x->rank, dims);
    } else {
        ox_val weights = ox_cast(matrix_of(n, w, p), x->type);
        y = ox_made_plus(ox_matmul(x, ox_swap_last(weights)), bias);
    }
    bool rounds = ox_node_int(n, "accuracy_level", 0) == 4;
    outputs[0] = rounds ? ox_made_rounded(n, 0, y) : y;
}

/* ---- MatMulBnb4 ------------------------------------------------------------------------------ */

/* What the 16 codes stand for: 4-bit floats, and the quantiles of a normal distribution. */
static const double codes[2][16] = {
    {0, 5.208333333e-03, 0.66666667, 1, 0.33333333, 0.5, 0.16666667, 0.25, 0, -5.208333333e-03,
     -0.66666667, -1, -0.33333333, -0.5, -0.16666667, -0.25},
    {-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
     -0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725,
     0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
     0.7229568362236023, 1}};

/* y = x W^T: codes of W [N, K] in a row, the upper ones of a byte first, with a factor a block. */
void decompose_matmul_bnb4(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0), bytes = ox_made_of_rank(n, 1, 1, 1);
    ox_val factor = ox_made_of_rank(n, 2, 1, 1);
    int64_t rows = ox_node_int(n, "N", 0), width = ox_node_int(n, "K", 0), all = 0;
    int64_t block = ox_node_int(n, "block_size", 0), kind = ox_node_int(n, "quant_type", 1);
    if (rows < 1 || width < 1 || block < 1 || kind < 0 || kind > 1 ||
        ox_node_int(n, "transB", 1) == 0 || !ox_int_mul(rows, width, &all) || all % block != 0) {
        ox_made_fail(n, "no rule for its kind of weights");
    }
    ox_val high = ox_unary("Floor", ox_scale(ox_cast(bytes, OX_FLOAT), 1.0 / 16));
    ox_val low = ox_sub(ox_cast(bytes, OX_FLOAT), ox_scale(high, 16));
    ox_val parts[] = {ox_unsqueeze(high, -1), ox_unsqueeze(low, -1)};
    ox_val index = ox_cast(ox_concat(n->graph, 2, parts, -1), OX_INT64);
    int64_t size = 16;
    ox_val table = ox_floats(n->graph, x->type, 1, &size, codes[kind]);
    const ox_dim line[] = {ox_dim_of(2 * ox_made_size(n, bytes, 0))};
    const ox_dim blocks[] = {ox_dim_of(all / block), ox_dim_of(block)};
    const ox_dim matrix[] = {ox_dim_of(rows), ox_dim_of(width)};
    ox_val numbers = ox_slice(ox_reshape(ox_gather(table, index, 0), 1, line), 0, 0, all, 1);
    numbers = ox_reshape(numbers, 2, blocks);
    ox_val weights = ox_reshape(ox_mul(numbers, ox_unsqueeze(factor, -1)), 2, matrix);
    outputs[0] = ox_matmul(x, ox_swap_last(weights));
}
