/* Shapes of recurrent operators and attention. */
#include "shape/shape.h"

#include <string.h>

/* ---- LSTM, GRU, RNN --------------------------------------------------------------------- */

/* x [T, N, I] and recurrent weights [D, gates * H, H] give Y [T, D, N, H] and the last states
 * [D, N, H]; with layout 1 the batch comes first: [N, T, I], [N, T, D, H], [N, D, H]. */
void infer_recurrent(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 3, 3);
    int weights = ox_shape_need(n, 2, 3, 3);
    ox_type type = ox_shape_type(n, 0);
    bool batch_first = ox_node_int(n, "layout", 0) != 0;
    const char *direction = ox_node_string(n, "direction", "forward");
    const ox_dim *x = ox_shape_dims(n, 0);
    ox_dim steps = rank < 0 ? ox_shape_any(n) : x[batch_first ? 1 : 0];
    ox_dim batch = rank < 0 ? ox_shape_any(n) : x[batch_first ? 0 : 1];
    ox_dim directions = ox_dim_of(strcmp(direction, "bidirectional") == 0 ? 2 : 1);
    ox_dim hidden = weights < 0 ? ox_shape_any(n) : ox_shape_dims(n, 2)[2];
    if (ox_node_attr(n, "hidden_size") != NULL) {
        hidden = ox_shape_agree(n, hidden, ox_dim_of(ox_node_int(n, "hidden_size", 1)));
    }
    ox_dim all[2][4] = {{steps, directions, batch, hidden}, {batch, steps, directions, hidden}};
    ox_dim last[2][3] = {{directions, batch, hidden}, {batch, directions, hidden}};
    ox_shape_set(n, 0, type, 4, all[batch_first]);
    ox_shape_set(n, 1, type, 3, last[batch_first]);
    ox_shape_set(n, 2, type, 3, last[batch_first]);
}

/* ---- attention -------------------------------------------------------------------------- */

typedef struct heads {
    ox_dim batch, count, length, width;
} heads;

/* [B, H, L, D], or [B, L, H * D] with the number of heads in an attribute. */
static heads read_heads(const ox_node *n, size_t input, const char *attr)
{
    int rank = ox_shape_need(n, input, 3, 4);
    const ox_dim *dims = ox_shape_dims(n, input);
    heads h = {ox_shape_any(n), ox_shape_any(n), ox_shape_any(n), ox_shape_any(n)};
    if (rank == 4) {
        h = (heads){dims[0], dims[1], dims[2], dims[3]};
    } else if (rank == 3) {
        int64_t count = ox_node_int(n, attr, 0);
        if (count < 1) {
            ox_fail(n->graph->arena, OX_INVALID, "%s: %s is %lld", ox_node_label(n), attr,
                    (long long)count);
        }
        ox_dim width;
        h.batch = dims[0];
        h.length = dims[1];
        h.count = ox_dim_of(count);
        if (ox_dim_div(dims[2], h.count, &width)) {
            h.width = width;
        } else if (ox_dim_is_static(dims[2])) {
            ox_fail(n->graph->arena, OX_INVALID, "%s: %lld values for %lld heads", ox_node_label(n),
                    (long long)dims[2].size, (long long)count);
        }
    }
    return h;
}

/* The length of keys and values with those of the past. */
static ox_dim with_past(const ox_node *n, size_t past, ox_dim length)
{
    if (ox_node_input(n, past) == NULL) {
        return length;
    }
    int rank = ox_shape_need(n, past, 4, 4);
    return rank < 0 ? ox_shape_any(n) : ox_shape_add(n->graph, ox_shape_dims(n, past)[2], length);
}

void infer_attention(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 3, 4);
    ox_type type = ox_shape_type(n, 0);
    heads q = read_heads(n, 0, "q_num_heads");
    heads k = read_heads(n, 1, "kv_num_heads");
    heads v = read_heads(n, 2, "kv_num_heads");
    ox_dim split[4] = {q.batch, q.count, q.length, v.width};
    ox_dim joined[3] = {q.batch, q.length, ox_shape_dim_times(n, q.count, v.width)};
    ox_shape_set(n, 0, type, rank, rank == 3 ? joined : split);
    ox_dim length = with_past(n, 4, k.length);
    ox_dim keys[4] = {k.batch, k.count, length, k.width};
    ox_dim values[4] = {v.batch, v.count, with_past(n, 5, v.length), v.width};
    ox_dim products[4] = {q.batch, q.count, q.length, length};
    ox_shape_set(n, 1, ox_shape_type(n, 1), 4, keys);
    ox_shape_set(n, 2, ox_shape_type(n, 2), 4, values);
    ox_shape_set(n, 3, type, 4, products);
}

/* q, k, v packed as [B, T, H * d]: output [B, T, Hq * dv], state [B, Hkv, dk, dv]. */
void infer_linear_attention(ox_node *n)
{
    heads q = read_heads(n, 0, "q_num_heads");
    heads k = read_heads(n, 1, "kv_num_heads");
    heads v = read_heads(n, 2, "kv_num_heads");
    ox_dim out[3] = {q.batch, q.length, ox_shape_dim_times(n, q.count, v.width)};
    ox_dim state[4] = {q.batch, k.count, k.width, v.width};
    ox_type kept = ox_shape_type(n, 3) != OX_NONE ? ox_shape_type(n, 3) : ox_shape_type(n, 0);
    ox_shape_set(n, 0, ox_shape_type(n, 0), 3, out);
    ox_shape_set(n, 1, kept, 4, state);
}

void infer_rotary_embedding(ox_node *n)
{
    ox_shape_same(n, 0, 0);
}

/* x [N, C, L], weights [C, 1, k]: the state holds the last k - 1 values. */
void infer_causal_conv(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 3, 3);
    int weights = ox_shape_need(n, 1, 3, 3);
    ox_shape_same(n, 0, 0);
    ox_dim state[3] = {ox_shape_any(n), ox_shape_any(n), ox_shape_any(n)};
    if (rank >= 0) {
        state[0] = ox_shape_dims(n, 0)[0];
        state[1] = ox_shape_dims(n, 0)[1];
    }
    if (weights >= 0) {
        state[2] = ox_shape_sub(n->graph, ox_shape_dims(n, 1)[2], ox_dim_of(1));
    }
    ox_shape_set(n, 1, ox_shape_type(n, 0), 3, state);
}
