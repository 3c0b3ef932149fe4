/* Shapes of operators on images: Resize, sampling, regions, blocks of pixels. */
#include "shape/shape.h"

#include <math.h>
#include <string.h>

/* Scales of Resize and Upsample: in the input, in older spellings in the attribute; NULL where they
 * are not known. */
static const double *read_scales(const ox_node *n, size_t input, size_t *count)
{
    const ox_attr *attr = ox_node_attr(n, "scales");
    if (ox_node_input(n, input) != NULL || attr == NULL || attr->kind != OX_ATTR_FLOATS) {
        return ox_shape_doubles(n, input, count);
    }
    double *scales = ox_arena_alloc(n->graph->arena, attr->count, sizeof *scales);
    for (size_t i = 0; i < attr->count; i++) {
        scales[i] = (double)attr->floats[i];
    }
    *count = attr->count;
    return scales;
}

/* floor(size * scale) in single precision, as the runtimes do it. */
static ox_dim scale_dim(const ox_node *n, ox_dim size, double scale)
{
    if (!(scale > 0)) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: a scale is %g", ox_node_label(n), scale);
    }
    if (!ox_dim_is_static(size)) {
        bool whole = scale == floor(scale) && scale < 1e6;
        return whole ? ox_shape_dim_times(n, size, ox_dim_of((int64_t)scale)) : ox_shape_any(n);
    }
    float scaled = (float)size.size * (float)scale;
    if (!(scaled < 1e15f)) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: a size is too large", ox_node_label(n));
    }
    return ox_dim_of((int64_t)floorf(scaled));
}

/* One scale for all axes, so that the result is not larger (smaller) than asked for. */
static void keep_aspect(const ox_node *n, const int *axes, size_t count, const ox_dim *sizes,
                        ox_dim *dims, bool larger)
{
    float scale = 0;
    bool known = true;
    for (size_t i = 0; i < count; i++) {
        ox_dim in = dims[axes[i]];
        known = known && ox_dim_is_static(in) && ox_dim_is_static(sizes[i]) && in.size > 0;
        float own = known ? (float)sizes[i].size / (float)in.size : 1;
        scale = i == 0 || (larger ? own > scale : own < scale) ? own : scale;
    }
    for (size_t i = 0; i < count; i++) {
        ox_dim *d = &dims[axes[i]];
        float size = known ? roundf(scale * (float)d->size) : 0;
        *d = known && size >= 0 && size < 1e15f ? ox_dim_of((int64_t)size) : ox_shape_any(n);
    }
}

/* Which axis each scale or size belongs to. */
static const int *resized_axes(const ox_node *n, int rank, size_t *count)
{
    size_t given = 0;
    const int64_t *axes = ox_node_ints(n, "axes", &given);
    *count = axes != NULL ? given : (size_t)rank;
    int *out = ox_arena_alloc(n->graph->arena, *count + 1, sizeof *out);
    for (size_t i = 0; i < *count; i++) {
        out[i] = axes != NULL ? ox_shape_axis(n, axes[i], rank) : (int)i;
    }
    return out;
}

static void check_count(const ox_node *n, const char *what, size_t count, size_t axes)
{
    if (count != axes) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: %zu %s for %zu axes", ox_node_label(n), count,
                what, axes);
    }
}

/* Resize at 11 and later: x, roi, scales, sizes; at 10 and Upsample: x, scales. */
void infer_resize(ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    if (rank < 0) {
        ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
        return;
    }
    size_t count = 0;
    size_t scale_count = 0;
    ox_dim *dims = ox_shape_copy(n, 0);
    const int *axes = resized_axes(n, rank, &count);
    ox_shape_list sizes = ox_shape_input_list(n, 3);
    const double *scales = read_scales(n, n->input_count <= 2 ? 1 : 2, &scale_count);
    const char *policy = ox_node_string(n, "keep_aspect_ratio_policy", "stretch");
    if (sizes.items != NULL && sizes.count > 0) {
        check_count(n, "sizes", sizes.count, count);
        if (strcmp(policy, "stretch") != 0) {
            keep_aspect(n, axes, count, sizes.items, dims, strcmp(policy, "not_smaller") == 0);
        } else {
            for (size_t i = 0; i < count; i++) {
                dims[axes[i]] = sizes.items[i];
            }
        }
    } else if (scales != NULL && scale_count > 0) {
        check_count(n, "scales", scale_count, count);
        for (size_t i = 0; i < count; i++) {
            dims[axes[i]] = scale_dim(n, dims[axes[i]], scales[i]);
        }
    } else {
        for (size_t i = 0; i < count; i++) {
            dims[axes[i]] = ox_shape_any(n);
        }
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
}

/* ---- sampling --------------------------------------------------------------------------- */

/* x [N, C, ...] at grid [N, ..., d]: [N, C, ...] of the grid. */
void infer_grid_sample(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 3, INT32_MAX);
    int grid = ox_shape_need(n, 1, 3, INT32_MAX);
    if (rank < 0 || grid < 0) {
        ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
        return;
    }
    ox_shape_need(n, 1, rank, rank);
    ox_dim *dims = ox_shape_copy(n, 0);
    for (int k = 2; k < rank; k++) {
        dims[k] = ox_shape_dims(n, 1)[k - 1];
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
}

/* theta [N, 2, 3] and size [N, C, H, W]: [N, H, W, 2]; the same in three dimensions. */
void infer_affine_grid(ox_node *n)
{
    ox_shape_list size = ox_shape_input_list(n, 1);
    if (size.items == NULL) {
        ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
        return;
    }
    int rank = (int)size.count;
    if (rank != 4 && rank != 5) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: %d sizes", ox_node_label(n), rank);
    }
    ox_dim dims[5] = {size.items[0], size.items[2], size.items[3]};
    dims[3] = rank == 5 ? size.items[4] : ox_dim_of(2);
    dims[4] = ox_dim_of(3);
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
}

/* x [N, C, H, W] with rois [K, 4]: [K, C, output_height, output_width]. */
void infer_roi_align(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 4, 4);
    int rois = ox_shape_need(n, 1, 2, 2);
    ox_dim dims[4] = {rois < 0 ? ox_shape_any(n) : ox_shape_dims(n, 1)[0],
                      rank < 0 ? ox_shape_any(n) : ox_shape_dims(n, 0)[1],
                      ox_dim_of(ox_node_int(n, "output_height", 1)),
                      ox_dim_of(ox_node_int(n, "output_width", 1))};
    ox_shape_set(n, 0, ox_shape_type(n, 0), 4, dims);
}

/* ---- blocks ----------------------------------------------------------------------------- */

static ox_dim divided(const ox_node *n, ox_dim size, int64_t by)
{
    ox_dim quotient;
    if (by > 0 && ox_dim_div(size, ox_dim_of(by), &quotient)) {
        return quotient;
    }
    if (ox_dim_is_static(size)) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: %lld is not a multiple of %lld", ox_node_label(n),
                (long long)size.size, (long long)by);
    }
    return ox_shape_any(n);
}

void infer_depth_to_space(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 4, 4);
    int64_t block = ox_shape_count_attr(n, "blocksize", 0);
    ox_dim *dims = NULL;
    if (rank >= 0) {
        dims = ox_shape_copy(n, 0);
        dims[1] = divided(n, dims[1], ox_shape_times(n, block, block));
        dims[2] = ox_shape_dim_times(n, dims[2], ox_dim_of(block));
        dims[3] = ox_shape_dim_times(n, dims[3], ox_dim_of(block));
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
}

void infer_space_to_depth(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 4, 4);
    int64_t block = ox_shape_count_attr(n, "blocksize", 0);
    ox_dim *dims = NULL;
    if (rank >= 0) {
        dims = ox_shape_copy(n, 0);
        dims[1] = ox_shape_dim_times(n, dims[1], ox_dim_of(ox_shape_times(n, block, block)));
        dims[2] = divided(n, dims[2], block);
        dims[3] = divided(n, dims[3], block);
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
}

/* x [N, C * block, L]: [N, C, ...image_shape]. */
void infer_col2im(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 3, 3);
    ox_shape_list image = ox_shape_input_list(n, 1);
    ox_shape_list block = ox_shape_input_list(n, 2);
    if (image.items == NULL) {
        ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
        return;
    }
    ox_dim *dims = ox_shape_room(n, (int)image.count + 2);
    dims[0] = dims[1] = ox_shape_any(n);
    if (rank >= 0) {
        dims[0] = ox_shape_dims(n, 0)[0];
    }
    if (rank >= 0 && block.items != NULL && block.fixed) {
        int64_t taps = 1;
        for (size_t i = 0; i < block.count; i++) {
            taps = ox_shape_times(n, taps, block.items[i].size);
        }
        dims[1] = divided(n, ox_shape_dims(n, 0)[1], taps);
    }
    for (size_t i = 0; i < image.count; i++) {
        dims[i + 2] = image.items[i];
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), (int)image.count + 2, dims);
}

void infer_center_crop_pad(ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    if (rank < 0) {
        ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
        return;
    }
    size_t count = 0;
    ox_dim *dims = ox_shape_copy(n, 0);
    const int *axes = resized_axes(n, rank, &count);
    ox_shape_list shape = ox_shape_input_list(n, 1);
    if (shape.items != NULL) {
        check_count(n, "sizes", shape.count, count);
    }
    for (size_t i = 0; i < count; i++) {
        dims[axes[i]] = shape.items != NULL ? shape.items[i] : ox_shape_any(n);
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
}

/* [height, width, channels] of a file. */
void infer_image_decoder(ox_node *n)
{
    bool gray = strcmp(ox_node_string(n, "pixel_format", "RGB"), "Grayscale") == 0;
    ox_dim dims[3] = {ox_shape_any(n), ox_shape_any(n), ox_dim_of(gray ? 1 : 3)};
    ox_shape_set(n, 0, OX_UINT8, 3, dims);
}
