/* Shapes of the operators of com.microsoft that are one of the standard, or a few of them. */
#include "shape/shape.h"

#include <string.h>

/* ---- one of the standard --------------------------------------------------------------------- */

void infer_torch_embedding(ox_node *n)
{
    ox_node plain = *n;
    plain.input_count = 2;
    if (n->input_count >= 2) {
        infer_gather(&plain);
    }
}

void infer_expand_dims(ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    int64_t at = 0;
    if (rank < 0 || !ox_shape_number(n, 1, &at)) {
        ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
        return;
    }
    int axis = ox_shape_axis(n, at, rank + 1);
    const ox_dim *in = ox_shape_dims(n, 0);
    ox_dim *dims = ox_shape_room(n, rank + 1);
    for (int d = 0; d <= rank; d++) {
        dims[d] = d < axis ? in[d] : d == axis ? ox_dim_of(1) : in[d - 1];
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank + 1, dims);
}

/* As a standard operator whose input and output have their channels last. */
static void infer_channels_last(ox_node *n, void (*infer)(ox_node *n))
{
    if (ox_shape_need(n, 0, 4, 4) != 4) {
        return;
    }
    ox_value x = *n->inputs[0], y = *n->outputs[0];
    const ox_dim *d = x.dims;
    ox_dim front[4] = {d[0], d[3], d[1], d[2]};
    x.dims = front;
    y.rank = -1;
    ox_val out = &y;
    ox_node plain = *n;
    plain.inputs = ox_arena_copy(n->graph->arena, n->inputs, n->input_count, sizeof(ox_val));
    plain.inputs[0] = &x;
    plain.output_count = 1;
    plain.outputs = &out;
    infer(&plain);
    if (y.rank == 4) {
        d = y.dims;
        ox_shape_set(n, 0, y.type, 4, (ox_dim[]){d[0], d[2], d[3], d[1]});
    }
}

void infer_nhwc_max_pool(ox_node *n)
{
    infer_channels_last(n, infer_pool);
}

void infer_nhwc_fused_conv(ox_node *n)
{
    infer_channels_last(n, infer_conv);
}

void infer_contrib_qlinear_conv(ox_node *n)
{
    if (ox_node_int(n, "channels_last", 0) != 0) {
        infer_channels_last(n, infer_qlinear_conv);
    } else {
        infer_qlinear_conv(n);
    }
}

/* ---- elementwise ----------------------------------------------------------------------------- */

void infer_two(ox_node *n)
{
    ox_shape_same(n, 0, 0);
    ox_shape_same(n, 1, 0);
}

void infer_gemma_rotary(ox_node *n)
{
    ox_shape_same(n, 0, 1);
    ox_shape_same(n, 1, 3);
}

/* The last axis holds two halves. */
void infer_half(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 1, INT32_MAX);
    ox_dim *dims = rank < 1 ? NULL : ox_shape_copy(n, 0), half;
    if (dims != NULL) {
        dims[rank - 1] = ox_dim_div(dims[rank - 1], ox_dim_of(2), &half) ? half : ox_shape_any(n);
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank < 1 ? -1 : rank, dims);
}

void infer_swiglu(ox_node *n)
{
    if (ox_node_input(n, 1) != NULL) {
        infer_same(n);
    } else {
        infer_half(n);
    }
}

/* Condition and operands, inputs 1 and 4. */
void infer_qlinear_where(ox_node *n)
{
    static const size_t inputs[] = {0, 1, 4};
    int rank = 0;
    ox_dim *dims = NULL;
    for (size_t i = 0; i < 3; i++) {
        if (ox_shape_rank(n, inputs[i]) < 0) {
            ox_shape_set(n, 0, ox_shape_type(n, 1), -1, NULL);
            return;
        }
        ox_shape_broadcast(n, &rank, &dims, ox_shape_rank(n, inputs[i]),
                           ox_shape_dims(n, inputs[i]));
    }
    ox_shape_set(n, 0, ox_shape_type(n, 1), rank, dims);
}

/* ---- others ---------------------------------------------------------------------------------- */

/* Rows of a and b. */
void infer_cdist(ox_node *n)
{
    int a = ox_shape_need(n, 0, 2, 2), b = ox_shape_need(n, 1, 2, 2);
    ox_dim dims[2] = {a < 0 ? ox_shape_any(n) : ox_shape_dims(n, 0)[0],
                      b < 0 ? ox_shape_any(n) : ox_shape_dims(n, 1)[0]};
    ox_shape_set(n, 0, ox_shape_type(n, 0), 2, dims);
}

void infer_gemm_fast_gelu(ox_node *n)
{
    ox_node plain = *n;
    plain.input_count = n->input_count < 2 ? n->input_count : 2;
    infer_matmul(&plain);
}

void infer_unfold(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 1, INT32_MAX - 1);
    int64_t size = ox_node_int(n, "size", 0), step = ox_node_int(n, "step", 1);
    if (rank < 0) {
        ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
        return;
    }
    int axis = ox_shape_axis(n, ox_node_int(n, "dim", -1), rank);
    ox_dim *dims = ox_shape_room(n, rank + 1);
    memcpy(dims, ox_shape_dims(n, 0), (size_t)rank * sizeof *dims);
    bool fits = ox_dim_is_static(dims[axis]) && size > 0 && step > 0 && size <= dims[axis].size;
    dims[axis] = fits ? ox_dim_of((dims[axis].size - size) / step + 1) : ox_shape_any(n);
    dims[rank] = size > 0 ? ox_dim_of(size) : ox_shape_any(n);
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank + 1, dims);
}

/* ---- hyper-connections ----------------------------------------------------------------------- */

/* C streams [.., C, H], or in a row [.., C * H], become one [.., H]. */
void infer_hyper_connection_pre_mix(ox_node *n)
{
    int64_t branches = ox_node_int(n, "num_branches", 0);
    int rank = ox_shape_rank(n, 0);
    const ox_dim *in = rank < 1 ? NULL : ox_shape_dims(n, 0);
    bool row = branches > 0;
    bool known = in != NULL && (row ? ox_dim_is_static(in[rank - 1]) : rank >= 2);
    if (!known) {
        ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
        return;
    }
    int out = row ? rank : rank - 1;
    ox_dim *dims = ox_shape_room(n, out);
    memcpy(dims, in, (size_t)(out - 1) * sizeof *dims);
    dims[out - 1] = row ? ox_dim_of(in[rank - 1].size / branches) : in[rank - 1];
    ox_shape_set(n, 0, ox_shape_type(n, 0), out, dims);
}

void infer_engram_gate(ox_node *n)
{
    for (size_t i = 0; i < n->output_count; i++) {
        ox_shape_same(n, i, 0);
    }
}
