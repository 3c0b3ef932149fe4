/* Shapes of operators that slide a window: convolutions and pools. */
#include "shape/shape.h"

#include <string.h>

/* The window along one spatial axis. */
typedef struct window {
    int64_t kernel, stride, dilation, begin, end;
    bool same, valid; /* auto_pad */
} window;

/* An attribute with one number per spatial axis; NULL where there is none. */
static const int64_t *per_axis(const ox_node *n, const char *name, size_t count, int64_t least)
{
    size_t found = 0;
    const int64_t *ints = ox_node_ints(n, name, &found);
    if (ints == NULL || (found == 0 && count > 0)) {
        return NULL;
    }
    if (found != count) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: %s has %zu numbers instead of %zu",
                ox_node_label(n), name, found, count);
    }
    for (size_t i = 0; i < count; i++) {
        if (ints[i] < least) {
            ox_fail(n->graph->arena, OX_INVALID, "%s: %s has %lld", ox_node_label(n), name,
                    (long long)ints[i]);
        }
    }
    return ints;
}

/* One window per spatial axis. The kernel's size comes from kernel_shape or from the weights;
 * 0 where it is not known. */
static window *read_windows(const ox_node *n, int axes, const ox_dim *weights)
{
    size_t count = (size_t)axes;
    window *w = ox_arena_alloc(n->graph->arena, count + 1, sizeof *w);
    const int64_t *kernel = per_axis(n, "kernel_shape", count, 1);
    const int64_t *strides = per_axis(n, "strides", count, 1);
    const int64_t *dilations = per_axis(n, "dilations", count, 1);
    const int64_t *pads = per_axis(n, "pads", 2 * count, 0);
    const char *mode = ox_node_string(n, "auto_pad", "NOTSET");
    for (size_t i = 0; i < count; i++) {
        w[i].kernel = kernel != NULL ? kernel[i] : 0;
        if (weights != NULL && ox_dim_is_static(weights[i])) {
            ox_dim own = ox_dim_of(kernel != NULL ? kernel[i] : weights[i].size);
            w[i].kernel = ox_shape_agree(n, own, weights[i]).size;
        } else if (weights == NULL && kernel == NULL) {
            ox_fail(n->graph->arena, OX_INVALID, "%s: kernel_shape is missing", ox_node_label(n));
        }
        w[i].stride = strides != NULL ? strides[i] : 1;
        w[i].dilation = dilations != NULL ? dilations[i] : 1;
        w[i].same = strcmp(mode, "SAME_UPPER") == 0 || strcmp(mode, "SAME_LOWER") == 0;
        w[i].valid = strcmp(mode, "VALID") == 0;
        bool pad = pads != NULL && !w[i].same && !w[i].valid;
        w[i].begin = pad ? pads[i] : 0;
        w[i].end = pad ? pads[count + i] : 0;
    }
    return w;
}

/* From the first to the last tap of the kernel. */
static int64_t extent(const ox_node *n, const window *w)
{
    return ox_shape_plus(n, ox_shape_times(n, w->kernel - 1, w->dilation), 1);
}

/* Positions of the window along an input of size `in`. With ceil_mode the last one may hang over
 * the end, but has to start inside the input or the padding before it. */
static ox_dim slide(const ox_node *n, const window *w, ox_dim in, bool ceil_mode)
{
    if (w->same && w->stride == 1) {
        return in;
    }
    if (w->same) {
        return ox_dim_is_static(in) ? ox_dim_of(in.size / w->stride + (in.size % w->stride != 0))
                                    : ox_shape_any(n);
    }
    if (w->kernel == 0) {
        return ox_shape_any(n);
    }
    int64_t pads = ox_shape_plus(n, w->begin, w->end);
    int64_t size = extent(n, w);
    if (!ox_dim_is_static(in)) {
        return w->stride == 1 && pads == size - 1 ? in : ox_shape_any(n);
    }
    int64_t room = ox_shape_plus(n, ox_shape_plus(n, in.size, pads), -size);
    if (room < 0) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: a window of %lld does not fit into %lld",
                ox_node_label(n), (long long)size, (long long)(in.size + pads));
    }
    int64_t out = room / w->stride + 1;
    if (ceil_mode) {
        int64_t more = out + (room % w->stride != 0);
        int64_t start = ox_shape_times(n, more - 1, w->stride);
        out = start < ox_shape_plus(n, in.size, w->begin) ? more : more - 1;
    }
    return ox_dim_of(out);
}

static int64_t read_group(const ox_node *n)
{
    int64_t group = ox_node_int(n, "group", 1);
    if (group < 1) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: group is %lld", ox_node_label(n),
                (long long)group);
    }
    return group;
}

/* ---- convolutions ----------------------------------------------------------------------- */

/* x [N, C, ...] with weights [M, C / group, ...] at input `weight`: [N, M, ...]. */
static void convolve(ox_node *n, size_t weight, ox_type type)
{
    int rank = ox_shape_need(n, 0, 2, INT32_MAX);
    int weight_rank = ox_shape_need(n, weight, 2, INT32_MAX);
    if (rank < 0) {
        ox_shape_set(n, 0, type, -1, NULL);
        return;
    }
    int64_t group = read_group(n);
    const ox_dim *w = NULL;
    ox_dim *dims = ox_shape_copy(n, 0);
    if (weight_rank >= 0) {
        ox_shape_need(n, weight, rank, rank);
        w = ox_shape_dims(n, weight);
        ox_shape_agree(n, dims[1], ox_shape_dim_times(n, w[1], ox_dim_of(group)));
    }
    dims[1] = w != NULL ? w[0] : ox_shape_any(n);
    if (w == NULL && ox_node_attr(n, "kernel_shape") == NULL) {
        for (int k = 2; k < rank; k++) {
            dims[k] = ox_shape_any(n);
        }
        ox_shape_set(n, 0, type, rank, dims);
        return;
    }
    const window *windows = read_windows(n, rank - 2, w == NULL ? NULL : w + 2);
    for (int k = 2; k < rank; k++) {
        dims[k] = slide(n, &windows[k - 2], dims[k], false);
    }
    ox_shape_set(n, 0, type, rank, dims);
}

/* Conv and DeformConv. */
void infer_conv(ox_node *n)
{
    convolve(n, 1, ox_shape_type(n, 0));
}

void infer_conv_integer(ox_node *n)
{
    convolve(n, 1, OX_INT32);
}

void infer_qlinear_conv(ox_node *n)
{
    convolve(n, 3, ox_shape_type(n, 7));
}

/* (in - 1) stride + extent + output_padding - pads; auto_pad SAME pads until it is in * stride. */
static ox_dim unslide(const ox_node *n, const window *w, ox_dim in, int64_t extra)
{
    if (w->kernel == 0) {
        return ox_shape_any(n);
    }
    int64_t size = ox_shape_plus(n, extent(n, w), extra);
    int64_t pads = ox_shape_plus(n, w->begin, w->end);
    if (w->same) {
        pads = size > w->stride ? size - w->stride : 0;
    }
    int64_t more = ox_shape_plus(n, size - pads, -w->stride);
    if (!ox_dim_is_static(in)) {
        return more == 0 ? ox_shape_dim_times(n, in, ox_dim_of(w->stride)) : ox_shape_any(n);
    }
    int64_t out = ox_shape_plus(n, ox_shape_times(n, in.size, w->stride), more);
    if (out < 0) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: pads leave nothing of the output",
                ox_node_label(n));
    }
    return ox_dim_of(out);
}

/* x [N, C, ...] with weights [C, M / group, ...]: [N, M, ...]. */
void infer_conv_transpose(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 2, INT32_MAX);
    int weight_rank = ox_shape_need(n, 1, 2, INT32_MAX);
    if (rank < 0 || weight_rank < 0) {
        ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
        return;
    }
    ox_shape_need(n, 1, rank, rank);
    const ox_dim *w = ox_shape_dims(n, 1);
    ox_dim *dims = ox_shape_copy(n, 0);
    ox_shape_agree(n, dims[1], w[0]);
    dims[1] = ox_shape_dim_times(n, w[1], ox_dim_of(read_group(n)));
    size_t axes = (size_t)rank - 2;
    const window *windows = read_windows(n, rank - 2, w + 2);
    const int64_t *extra = per_axis(n, "output_padding", axes, 0);
    size_t asked_count = 0;
    const int64_t *asked = ox_node_ints(n, "output_shape", &asked_count);
    if (asked != NULL && asked_count > 0) {
        /* With batch and channels in front in some models. */
        bool whole = asked_count == axes + 2;
        asked = whole ? asked + 2 : per_axis(n, "output_shape", axes, 0);
    } else {
        asked = NULL;
    }
    for (size_t k = 0; k < axes; k++) {
        dims[k + 2] = asked != NULL
                          ? ox_dim_of(asked[k])
                          : unslide(n, &windows[k], dims[k + 2], extra != NULL ? extra[k] : 0);
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
}

/* ---- pools ------------------------------------------------------------------------------ */

/* AveragePool, LpPool, MaxPool with its indices. */
void infer_pool(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 2, INT32_MAX);
    ox_dim *dims = NULL;
    if (rank >= 0) {
        dims = ox_shape_copy(n, 0);
        const window *windows = read_windows(n, rank - 2, NULL);
        bool ceil_mode = ox_node_int(n, "ceil_mode", 0) != 0;
        for (int k = 2; k < rank; k++) {
            dims[k] = slide(n, &windows[k - 2], dims[k], ceil_mode);
        }
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
    ox_shape_set(n, 1, OX_INT64, rank, dims);
}

void infer_global_pool(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 2, INT32_MAX);
    ox_dim *dims = NULL;
    if (rank >= 0) {
        dims = ox_shape_copy(n, 0);
        for (int k = 2; k < rank; k++) {
            dims[k] = ox_dim_of(1);
        }
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
}

void infer_max_unpool(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 2, INT32_MAX);
    ox_shape_list asked = ox_shape_input_list(n, 2);
    ox_dim *dims = NULL;
    if (asked.given && asked.items != NULL) {
        rank = (int)asked.count;
        dims = ox_shape_room(n, rank);
        for (int k = 0; k < rank; k++) {
            dims[k] = asked.items[k];
        }
    } else if (rank >= 0) {
        dims = ox_shape_copy(n, 0);
        const window *windows = read_windows(n, rank - 2, NULL);
        for (int k = 2; k < rank; k++) {
            dims[k] = asked.given ? ox_shape_any(n) : unslide(n, &windows[k - 2], dims[k], 0);
        }
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
}

/* x [N, C, H, W] with rois [K, 5]: [K, C, pooled_shape]. */
void infer_max_roi_pool(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 4, 4);
    int rois = ox_shape_need(n, 1, 2, 2);
    const int64_t *pooled = per_axis(n, "pooled_shape", 2, 1);
    ox_dim dims[4] = {ox_shape_any(n), ox_shape_any(n), ox_shape_any(n), ox_shape_any(n)};
    dims[0] = rois >= 0 ? ox_shape_dims(n, 1)[0] : dims[0];
    dims[1] = rank >= 0 ? ox_shape_dims(n, 0)[1] : dims[1];
    for (int k = 0; k < 2 && pooled != NULL; k++) {
        dims[2 + k] = ox_dim_of(pooled[k]);
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), 4, dims);
}
