/* Shapes of operators that slide a window: convolutions and pools. */
#include "shape/window.h"

#include <string.h>

#include "shape/shape.h"

const int64_t *ox_window_numbers(const ox_node *n, const char *name, size_t count, int64_t least)
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

static ox_auto_pad auto_pad(const ox_node *n)
{
    const char *mode = ox_node_string(n, "auto_pad", "NOTSET");
    return strcmp(mode, "SAME_UPPER") == 0   ? OX_PAD_UPPER
           : strcmp(mode, "SAME_LOWER") == 0 ? OX_PAD_LOWER
           : strcmp(mode, "VALID") == 0      ? OX_PAD_VALID
                                             : OX_PAD_NOTSET;
}

static int64_t kernel_size(const ox_node *n, const int64_t *given, const ox_dim *weight)
{
    if (weight != NULL && ox_dim_is_static(*weight)) {
        return ox_shape_agree(n, given != NULL ? ox_dim_of(*given) : *weight, *weight).size;
    }
    if (weight == NULL && given == NULL) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: kernel_shape is missing", ox_node_label(n));
    }
    return given != NULL ? *given : 0;
}

ox_window *ox_windows_read(const ox_node *n, int axes, const ox_dim *weights)
{
    size_t count = (size_t)axes;
    ox_window *w = ox_arena_alloc(n->graph->arena, count + 1, sizeof *w);
    const int64_t *kernel = ox_window_numbers(n, "kernel_shape", count, 1);
    const int64_t *strides = ox_window_numbers(n, "strides", count, 1);
    const int64_t *dilations = ox_window_numbers(n, "dilations", count, 1);
    const int64_t *pads = ox_window_numbers(n, "pads", 2 * count, 0);
    ox_auto_pad mode = auto_pad(n);
    pads = mode == OX_PAD_NOTSET ? pads : NULL;
    for (size_t i = 0; i < count; i++) {
        int64_t size = kernel_size(n, kernel == NULL ? NULL : &kernel[i],
                                   weights == NULL ? NULL : &weights[i]);
        int64_t dilation = dilations != NULL ? dilations[i] : 1;
        w[i] = (ox_window){
            .kernel = size,
            .extent = ox_shape_plus(n, ox_shape_times(n, size - 1, dilation), 1),
            .stride = strides != NULL ? strides[i] : 1,
            .dilation = dilation,
            .begin = pads != NULL ? pads[i] : 0,
            .end = pads != NULL ? pads[count + i] : 0,
            .mode = mode,
        };
    }
    return w;
}

static bool is_same(const ox_window *w)
{
    return w->mode == OX_PAD_UPPER || w->mode == OX_PAD_LOWER;
}

/* Positions of the window along an input of size `in`. With ceil_mode the last one may hang over
 * the end, but has to start inside the input or the padding before it. */
static ox_dim slide(const ox_node *n, const ox_window *w, ox_dim in, bool ceil_mode)
{
    if (is_same(w) && w->stride == 1) {
        return in;
    }
    if (is_same(w)) {
        return ox_dim_is_static(in) ? ox_dim_of(in.size / w->stride + (in.size % w->stride != 0))
                                    : ox_shape_any(n);
    }
    if (w->kernel == 0) {
        return ox_shape_any(n);
    }
    int64_t pads = ox_shape_plus(n, w->begin, w->end);
    int64_t size = w->extent;
    if (!ox_dim_is_static(in)) {
        return w->stride == 1 && pads == size - 1 ? in : ox_shape_any(n);
    }
    int64_t room = ox_shape_plus(n, ox_shape_plus(n, in.size, pads), -size);
    if (room < 0) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: a window of %lld does not fit into %lld",
                ox_node_label(n), (long long)size, (long long)ox_shape_plus(n, in.size, pads));
    }
    int64_t out = room / w->stride + 1;
    if (ceil_mode) {
        int64_t more = out + (room % w->stride != 0);
        int64_t start = ox_shape_times(n, more - 1, w->stride);
        out = start < ox_shape_plus(n, in.size, w->begin) ? more : more - 1;
    }
    return ox_dim_of(out);
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
    int64_t group = ox_shape_count_attr(n, "group", 1);
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
    const ox_window *windows = ox_windows_read(n, rank - 2, w == NULL ? NULL : w + 2);
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
static ox_dim unslide(const ox_node *n, const ox_window *w, ox_dim in, int64_t extra)
{
    if (w->kernel == 0) {
        return ox_shape_any(n);
    }
    int64_t size = ox_shape_plus(n, w->extent, extra);
    int64_t pads = ox_shape_plus(n, w->begin, w->end);
    if (is_same(w)) {
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
    dims[1] = ox_shape_dim_times(n, w[1], ox_dim_of(ox_shape_count_attr(n, "group", 1)));
    size_t axes = (size_t)rank - 2;
    const ox_window *windows = ox_windows_read(n, rank - 2, w + 2);
    const int64_t *extra = ox_window_numbers(n, "output_padding", axes, 0);
    size_t asked_count = 0;
    const int64_t *asked = ox_node_ints(n, "output_shape", &asked_count);
    if (asked != NULL && asked_count > 0) {
        /* With batch and channels in front in some models. */
        bool whole = asked_count == axes + 2;
        asked = whole ? asked + 2 : ox_window_numbers(n, "output_shape", axes, 0);
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
        const ox_window *windows = ox_windows_read(n, rank - 2, NULL);
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
        const ox_window *windows = ox_windows_read(n, rank - 2, NULL);
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
    const int64_t *pooled = ox_window_numbers(n, "pooled_shape", 2, 1);
    ox_dim dims[4] = {ox_shape_any(n), ox_shape_any(n), ox_shape_any(n), ox_shape_any(n)};
    dims[0] = rois >= 0 ? ox_shape_dims(n, 1)[0] : dims[0];
    dims[1] = rank >= 0 ? ox_shape_dims(n, 0)[1] : dims[1];
    for (int k = 0; k < 2 && pooled != NULL; k++) {
        dims[2 + k] = ox_dim_of(pooled[k]);
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), 4, dims);
}
