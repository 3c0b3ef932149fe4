/* Shapes of the operators of com.microsoft. */
#include "shape/shape.h"

#include <string.h>

/* As Conv, of which the channels are the last axis of x, the weights and y. */
void infer_nhwc_conv(ox_node *n)
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

void infer_fused_matmul(ox_node *n)
{
    infer_product(n, ox_shape_type(n, 0), "transA", "transB");
}

/* MatMulIntegerToFloat, DynamicQuantizeMatMul. */
void infer_matmul_to_float(ox_node *n)
{
    infer_product(n, ox_shape_type(n, 2), NULL, NULL);
}

void infer_matmul_nbits(ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    ox_dim *dims = rank < 1 ? NULL : ox_shape_copy(n, 0);
    if (dims != NULL) {
        dims[rank - 1] = ox_dim_of(ox_node_int(n, "N", 0));
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), dims == NULL ? -1 : rank, dims);
}

/* As Gather, of a table whose bytes hold several numbers each. */
void infer_gather_block_quantized(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 1, INT32_MAX), picks = ox_shape_rank(n, 1);
    int64_t bits = ox_node_int(n, "bits", 4);
    if (rank < 0 || picks < 0 || picks > INT32_MAX - rank) {
        ox_shape_set(n, 0, ox_shape_type(n, 2), -1, NULL);
        return;
    }
    int axis = ox_shape_axis(n, ox_node_int(n, "gather_axis", 0), rank), out = 0;
    ox_dim *dims = ox_shape_room(n, rank + picks), *in = ox_shape_copy(n, 0);
    if (ox_shape_type(n, 0) == OX_UINT8 && bits > 0 && bits < 8) {
        in[rank - 1] = ox_shape_dim_times(n, in[rank - 1], ox_dim_of(8 / bits));
    }
    for (int k = 0; k < rank; k++) {
        for (int i = 0; k == axis && i < picks; i++) {
            dims[out++] = ox_shape_dims(n, 1)[i];
        }
        if (k != axis) {
            dims[out++] = in[k];
        }
    }
    ox_shape_set(n, 0, ox_shape_type(n, 2), out, dims);
}

void infer_qgemm(ox_node *n)
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
void infer_qlinear_binary(ox_node *n)
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
void infer_qlinear_concat(ox_node *n)
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
void infer_skip(ox_node *n)
{
    ox_shape_same(n, 0, 0);
    ox_shape_same(n, 3, 0);
}

void infer_skip_group(ox_node *n)
{
    ox_shape_same(n, 0, 0);
    ox_shape_same(n, 1, 0);
}

void infer_dynamic_quantize_lstm(ox_node *n)
{
    ox_node plain = *n;
    int rank = ox_shape_need(n, 2, 3, 3);
    ox_value weights = {.graph = n->graph, .type = OX_FLOAT, .rank = rank};
    if (rank == 3) { /* [D, H, 4 H] as [D, 4 H, H] */
        const ox_dim *d = ox_shape_dims(n, 2);
        weights.dims = memcpy(ox_shape_room(n, 3), (ox_dim[]){d[0], d[2], d[1]}, 3 * sizeof *d);
        plain.inputs = ox_arena_copy(n->graph->arena, n->inputs, n->input_count, sizeof(ox_val));
        plain.inputs[2] = &weights;
    }
    infer_recurrent(&plain);
}

/* EmbedLayerNormalization, and the same of integers, which has no output 2. */
static void embed(ox_node *n, ox_type type)
{
    int rank = ox_shape_need(n, 0, 2, 2), words = ox_shape_need(n, 2, 2, 2);
    ox_dim dims[3] = {ox_shape_any(n), ox_shape_any(n), ox_shape_any(n)};
    for (int k = 0; k < 2 && rank == 2; k++) {
        dims[k] = ox_shape_dims(n, 0)[k];
    }
    if (words == 2) {
        dims[2] = ox_shape_dims(n, 2)[1];
    }
    ox_shape_set(n, 0, type, 3, dims);
    ox_shape_set(n, 1, OX_INT32, 1, dims);
    ox_shape_set(n, 2, type, 3, dims);
}

void infer_embed(ox_node *n)
{
    embed(n, ox_shape_type(n, 2));
}

void infer_qembed(ox_node *n)
{
    embed(n, ox_shape_type(n, 8));
}

/* ---- attention ------------------------------------------------------------------------------- */

/* Keys and values with those of the past: the length of input `past` along `axis` and that of the
 * new ones. */
static ox_dim with_past(const ox_node *n, size_t past, int axis, ox_dim length)
{
    if (ox_node_input(n, past) == NULL) {
        return length;
    }
    int rank = ox_shape_need(n, past, axis + 2, axis + 2);
    return rank < 0 ? ox_shape_any(n)
                    : ox_shape_add(n->graph, ox_shape_dims(n, past)[axis], length);
}

/* Of Attention and QAttention; output 1 holds keys and values [2, B, H, T, D]. */
static void infer_self_attention(ox_node *n, ox_type type, size_t past)
{
    int rank = ox_shape_need(n, 0, 3, 3), weights = ox_shape_need(n, 1, 2, 2);
    size_t count = 0;
    const int64_t *sizes = ox_node_ints(n, "qkv_hidden_sizes", &count);
    int64_t heads = ox_node_int(n, "num_heads", 0);
    if (rank < 0) {
        ox_shape_set(n, 0, type, -1, NULL);
        return;
    }
    ox_dim *dims = ox_shape_copy(n, 0);
    ox_dim third = ox_shape_any(n), width = ox_shape_any(n);
    if (sizes != NULL && count == 3) {
        third = ox_dim_of(sizes[2]);
    } else if (weights == 2) {
        ox_dim_div(ox_shape_dims(n, 1)[1], ox_dim_of(3), &third);
    }
    if (heads > 0) {
        ox_dim_div(third, ox_dim_of(heads), &width);
    }
    ox_dim length = with_past(n, past, 3, dims[1]);
    ox_dim kept[5] = {ox_dim_of(2), dims[0], ox_dim_of(heads), length, width};
    dims[2] = third;
    ox_shape_set(n, 0, type, 3, dims);
    ox_shape_set(n, 1, type, heads > 0 ? 5 : -1, kept);
}

void infer_contrib_attention(ox_node *n)
{
    infer_self_attention(n, ox_shape_type(n, 0), 4);
}

void infer_qattention(ox_node *n)
{
    infer_self_attention(n, ox_shape_type(n, 3), 8);
}

/* Of key or value i: [B, L, H * D], [B, H, L, D], or packed [B, L, H, count, D]: B, H, L, D. */
static void heads_of(const ox_node *n, size_t i, int64_t heads, ox_dim *out)
{
    int rank = ox_shape_rank(n, i);
    const ox_dim *d = ox_shape_dims(n, i);
    for (int k = 0; k < 4; k++) {
        out[k] = ox_shape_any(n);
    }
    if (rank == 3) {
        memcpy(out, (ox_dim[]){d[0], ox_dim_of(heads), d[1], out[3]}, 4 * sizeof *out);
        ox_dim_div(d[2], ox_dim_of(heads), &out[3]);
    } else if (rank == 4) {
        memcpy(out, d, 4 * sizeof *out);
    } else if (rank == 5) {
        memcpy(out, (ox_dim[]){d[0], d[2], d[1], d[4]}, 4 * sizeof *out);
    }
}

/* Keys and values are those of input 2, or stand with those before. */
void infer_multi_head_attention(ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    int64_t heads = ox_node_int(n, "num_heads", 0);
    ox_type type = ox_shape_type(n, 0);
    if ((rank != 3 && rank != 5) || heads < 1) {
        ox_shape_set(n, 0, type, -1, NULL);
        return;
    }
    for (size_t i = 1; i < 3; i++) {
        size_t from = ox_node_input(n, i) != NULL ? i : ox_node_input(n, 1) != NULL ? 1 : 0;
        ox_dim own[4];
        heads_of(n, from, heads, own);
        ox_dim out[3] = {ox_shape_dims(n, 0)[0], ox_shape_dims(n, 0)[1],
                         ox_shape_dim_times(n, own[1], own[3])};
        ox_shape_set(n, 0, type, 3, out);
        own[2] = with_past(n, 5 + i, 2, own[2]);
        ox_shape_set(n, i, type, 4, own);
    }
}

/* query [B, S, H * D], or heads of queries, keys and values side by side; keys that are kept
 * [B, Hk, T, D]. */
void infer_group_query_attention(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 3, 3), past = ox_shape_need(n, 3, 4, 4);
    int64_t heads = ox_node_int(n, "num_heads", 0), own = ox_node_int(n, "kv_num_heads", 0);
    ox_dim width = ox_shape_any(n), dims[3] = {width, width, width};
    int64_t all = ox_shape_plus(n, heads, ox_shape_times(n, own, 2));
    if (ox_node_input(n, 1) != NULL) {
        all = heads;
    }
    if (rank == 3) {
        memcpy(dims, ox_shape_dims(n, 0), sizeof dims);
        if (all > 0 && heads > 0 && ox_dim_div(dims[2], ox_dim_of(all), &width)) {
            dims[2] = ox_shape_dim_times(n, width, ox_dim_of(heads));
        }
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank < 0 ? -1 : 3, dims);
    bool cached = ox_node_input(n, 3) != NULL;
    for (size_t i = 1; i < 3; i++) {
        ox_dim kept[4] = {dims[0], ox_dim_of(own), cached ? ox_shape_any(n) : dims[1], width};
        int64_t total = 0;
        if (past == 4) {
            kept[3] = ox_shape_dims(n, 3)[3];
        }
        if (past == 4 && ox_shape_number(n, 6, &total)) {
            kept[2] = ox_shape_max(n->graph, ox_shape_dims(n, 3)[2], ox_dim_of(total));
        }
        ox_type type = cached ? ox_shape_type(n, 3) : ox_shape_type(n, 0);
        ox_shape_set(n, i, type, rank < 0 || own < 1 ? -1 : 4, kept);
    }
}

/* ---- tokens in a row ------------------------------------------------------------------------- */

/* x [T, C], a state [B, C, L]; of each sequence some tokens [B, capacity, C]. */
void infer_varlen_causal_conv(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 2, 2), state = ox_shape_need(n, 4, 3, 3);
    ox_shape_same(n, 0, 0);
    ox_shape_same(n, 1, 4);
    ox_dim made[3] = {state < 0 ? ox_shape_any(n) : ox_shape_dims(n, 4)[0],
                      ox_dim_of(ox_node_int(n, "state_update_capacity", 0)),
                      rank < 0 ? ox_shape_any(n) : ox_shape_dims(n, 0)[1]};
    ox_shape_set(n, 2, ox_shape_type(n, 0), 3, made);
}

/* Values [tokens, H, D], or behind queries and keys in a row; the state [B, H, D, key]. */
void infer_gated_delta_net(ox_node *n)
{
    bool packed = ox_node_input(n, 1) == NULL;
    int rank = ox_shape_need(n, packed ? 0 : 2, packed ? 2 : 3, packed ? 3 : 4);
    int state = ox_shape_need(n, 6, 4, 4), out = packed ? rank + 1 : rank;
    ox_dim any = ox_shape_any(n), kept[4] = {any, any, any, any};
    ox_dim *dims = rank < 0 ? NULL : ox_shape_room(n, rank + 1);
    for (int k = 0; k < rank; k++) {
        dims[k] = ox_shape_dims(n, packed ? 0 : 2)[k];
    }
    if (packed && rank > 0) {
        dims[out - 2] = state < 0 ? ox_shape_any(n) : ox_shape_dims(n, 6)[1];
        dims[out - 1] = state < 0 ? ox_shape_any(n) : ox_shape_dims(n, 6)[2];
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank < 0 ? -1 : out, dims);
    if (state == 4) {
        memcpy(kept, ox_shape_dims(n, 6), sizeof kept);
    } else if (rank == 3 || rank == 4) {
        memcpy(kept, (ox_dim[]){rank == 4 ? dims[0] : any, dims[rank - 2], dims[rank - 1], any},
               sizeof kept);
    }
    ox_shape_set(n, 1, OX_FLOAT, 4, kept);
}

/* Scores of experts [.., E], or what a matrix [E, width] makes them of, as [tokens, E]. */
void infer_group_router(ox_node *n)
{
    int rank = ox_shape_rank(n, 0), weights = ox_shape_need(n, 2, 2, 2);
    ox_dim dims[2] = {ox_dim_of(1), ox_shape_any(n)};
    for (int k = 0; k + 1 < rank; k++) {
        dims[0] = ox_shape_dim_times(n, dims[0], ox_shape_dims(n, 0)[k]);
    }
    if (weights == 2) {
        dims[1] = ox_shape_dims(n, 2)[0];
    } else if (rank > 0 && ox_node_input(n, 2) == NULL) {
        dims[1] = ox_shape_dims(n, 0)[rank - 1];
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank < 1 ? -1 : 2, dims);
    ox_shape_set(n, 1, OX_FLOAT, rank < 1 ? -1 : 2, dims);
    ox_shape_set(n, 2, OX_FLOAT, rank < 1 ? -1 : 2, dims);
}

/* Words [S, L] and filters [F, 1, k, E]. */
void infer_word_conv(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 2, 2), filters = ox_shape_need(n, 1, 4, 4);
    ox_dim dims[2] = {rank < 0 ? ox_shape_any(n) : ox_shape_dims(n, 0)[0],
                      filters < 0 ? ox_shape_any(n) : ox_shape_dims(n, 1)[0]};
    ox_shape_set(n, 0, ox_shape_type(n, 1), 2, dims);
}
