/* Composite operators written as the ones that they are made of: normalisations and norms. What is
 * narrower than float32 is computed in float32. */
#include "rules/decompose.h"

#include "shape/shape.h"

/* The axes from `first` to the last, counted from the end. */
static const int64_t *axes_from(const ox_node *n, int first, int rank)
{
    int64_t *axes = ox_arena_alloc(n->graph->arena, (size_t)(rank - first) + 1, sizeof *axes);
    for (int d = first; d < rank; d++) {
        axes[d - first] = d - rank;
    }
    return axes;
}

/* scale [channels] with axes of length 1 for what comes after them. */
static ox_val per_channel(ox_val scale, int spatial)
{
    ox_dim *dims = ox_arena_alloc(scale->graph->arena, (size_t)spatial + 1, sizeof *dims);
    dims[0] = scale->dims[0];
    for (int d = 1; d <= spatial; d++) {
        dims[d] = ox_dim_of(1);
    }
    return ox_reshape(scale, spatial + 1, dims);
}

/* y scale + bias, each of which may be missing. */
static ox_val affine(ox_val y, ox_val scale, ox_val bias)
{
    y = scale == NULL ? y : ox_mul(y, scale);
    return bias == NULL ? y : ox_add(y, bias);
}

static ox_val mean(ox_val x, size_t count, const int64_t *axes)
{
    return ox_reduce("ReduceMean", x, count, axes, true);
}

/* (x - mean) / sqrt(variance + epsilon) */
static ox_val standardize(ox_val x, size_t count, const int64_t *axes, double epsilon)
{
    ox_val d = ox_sub(x, mean(x, count, axes));
    return ox_div(d, ox_sqrt(ox_shift(mean(ox_square(d), count, axes), epsilon)));
}

/* ---- normalisations ------------------------------------------------------------------------- */

void decompose_instance_normalization(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0), scale = ox_made_ranked(n, 1), bias = ox_made_ranked(n, 2);
    int spatial = x->rank - 2;
    if (spatial < 1) {
        ox_made_fail(n, "its input has no spatial axes");
    }
    double epsilon = ox_node_float(n, "epsilon", 1e-5);
    ox_val y = standardize(x, (size_t)spatial, axes_from(n, 2, x->rank), epsilon);
    outputs[0] =
        ox_made_result(n, 0, affine(y, per_channel(scale, spatial), per_channel(bias, spatial)));
}

void decompose_layer_normalization(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0);
    int axis = ox_shape_axis(n, ox_node_int(n, "axis", -1), x->rank);
    double epsilon = ox_node_float(n, "epsilon", 1e-5);
    ox_val y = standardize(x, (size_t)(x->rank - axis), axes_from(n, axis, x->rank), epsilon);
    outputs[0] = ox_made_result(n, 0, affine(y, ox_made_input(n, 1), ox_made_input(n, 2)));
}

/* x / sqrt(mean(x^2) + epsilon) */
void decompose_rms_normalization(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0);
    int axis = ox_shape_axis(n, ox_node_int(n, "axis", -1), x->rank);
    const int64_t *axes = axes_from(n, axis, x->rank);
    ox_val square = mean(ox_square(x), (size_t)(x->rank - axis), axes);
    double epsilon = ox_node_float(n, "epsilon", 1e-5);
    ox_val y = ox_div(x, ox_sqrt(ox_shift(square, epsilon)));
    outputs[0] = ox_made_result(n, 0, affine(y, ox_made_input(n, 1), NULL));
}

/* scale [groups] (up to opset 20) or [channels] as [channels]. */
static ox_val per_group(const ox_node *n, ox_val scale, int64_t groups, int64_t channels)
{
    if (ox_dim_is(scale->dims[0], channels)) {
        return scale;
    }
    if (!ox_dim_is(scale->dims[0], groups)) {
        ox_made_fail(n, "its scale fits neither its groups nor its channels");
    }
    const ox_dim repeated[] = {ox_dim_of(groups), ox_dim_of(channels / groups)};
    ox_dim all = ox_dim_of(channels);
    return ox_reshape(ox_expand(per_channel(scale, 1), 2, repeated), 1, &all);
}

void decompose_group_normalization(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0), scale = ox_made_ranked(n, 1), bias = ox_made_ranked(n, 2);
    int64_t groups = ox_node_int(n, "num_groups", 0);
    if (x->rank < 3 || !ox_dims_static(x->rank - 1, x->dims + 1) || groups < 1 ||
        x->dims[1].size % groups != 0 || scale->rank != 1 || bias->rank != 1) {
        ox_made_fail(n, "its shapes are not known or do not fit");
    }
    int64_t channels = x->dims[1].size, size = channels / groups;
    for (int d = 2; d < x->rank; d++) {
        if (!ox_int_mul(size, x->dims[d].size, &size)) {
            ox_made_fail(n, "its shape is too large");
        }
    }
    const ox_dim grouped[] = {x->dims[0], ox_dim_of(groups), ox_dim_of(size)};
    double epsilon = ox_node_float(n, "epsilon", 1e-5);
    ox_val y = standardize(ox_reshape(x, 3, grouped), 1, (const int64_t[]){-1}, epsilon);
    scale = per_channel(per_group(n, scale, groups, channels), x->rank - 2);
    bias = per_channel(per_group(n, bias, groups, channels), x->rank - 2);
    outputs[0] = ox_made_result(n, 0, affine(ox_reshape(y, x->rank, x->dims), scale, bias));
}

void decompose_mean_variance_normalization(const ox_node *n, ox_val *outputs)
{
    static const int64_t usual[] = {0, 2, 3};
    size_t count = 0;
    const int64_t *axes = ox_node_ints(n, "axes", &count);
    if (axes == NULL) {
        axes = usual;
        count = 3;
    }
    ox_val x = ox_made_ranked(n, 0), d = ox_sub(x, mean(x, count, axes));
    ox_val deviation = ox_sqrt(mean(ox_square(d), count, axes));
    outputs[0] = ox_made_result(n, 0, ox_div(d, ox_shift(deviation, 1e-9)));
}

void decompose_lp_normalization(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0);
    int64_t axis = ox_shape_axis(n, ox_node_int(n, "axis", -1), x->rank) - x->rank;
    bool absolute = ox_node_int(n, "p", 2) == 1;
    ox_val sum = ox_sum(absolute ? ox_abs(x) : ox_square(x), axis, true);
    ox_val zero = ox_equal(sum, ox_number(sum, 0)); /* where the norm is 0, so is the result */
    ox_val safe = ox_where(zero, ox_number(sum, 1), sum);
    outputs[0] = ox_made_result(n, 0, ox_div(x, absolute ? safe : ox_sqrt(safe)));
}

/* The mean of a over windows of `size` along the channels, zeros beyond them counted. */
static ox_val mean_over_channels(const ox_node *n, ox_val a, int64_t size)
{
    ox_dim pixels = ox_dim_of(1);
    for (int d = 2; d < a->rank; d++) {
        pixels = ox_dim_mul(a->graph, pixels, a->dims[d]);
    }
    if (size < 1 || a->rank < 2) {
        ox_made_fail(n, "its window is empty");
    }
    const ox_dim plane[] = {a->dims[0], ox_dim_of(1), a->dims[1], pixels};
    const int64_t kernel[] = {size, 1}, pads[] = {(size - 1) / 2, 0, size / 2, 0};
    ox_attr attrs[] = {ox_attr_ints("kernel_shape", 2, kernel), ox_attr_ints("pads", 4, pads),
                       ox_attr_int("count_include_pad", 1)};
    ox_val in = ox_reshape(a, 4, plane);
    return ox_reshape(ox_graph_emit(a->graph, "AveragePool", 1, &in, 3, attrs), a->rank, a->dims);
}

/* x / (bias + alpha/size sum over channels nearby of x^2)^beta */
void decompose_lrn(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0);
    ox_val square = mean_over_channels(n, ox_square(x), ox_node_int(n, "size", 1));
    double alpha = ox_node_float(n, "alpha", 1e-4), bias = ox_node_float(n, "bias", 1);
    ox_val size = ox_shift(ox_scale(square, alpha), bias);
    ox_val beta = ox_number(size, ox_node_float(n, "beta", 0.75));
    outputs[0] = ox_made_result(n, 0, ox_div(x, ox_binary("Pow", size, beta)));
}

/* ---- norms --------------------------------------------------------------------------------- */

/* The sum over the axes of node n, which is a Reduce operator. */
static ox_val sum_like(const ox_node *n, ox_val a)
{
    ox_attr attrs[] = {
        ox_attr_int("keepdims", ox_node_int(n, "keepdims", 1)),
        ox_attr_int("noop_with_empty_axes", ox_node_int(n, "noop_with_empty_axes", 0))};
    return ox_graph_emit(a->graph, "ReduceSum", 2, (ox_val[]){a, ox_node_input(n, 1)}, 2, attrs);
}

void decompose_reduce_l1(const ox_node *n, ox_val *outputs)
{
    outputs[0] = ox_made_result(n, 0, sum_like(n, ox_abs(ox_made_input(n, 0))));
}

void decompose_reduce_l2(const ox_node *n, ox_val *outputs)
{
    outputs[0] = ox_made_result(n, 0, ox_sqrt(sum_like(n, ox_square(ox_made_input(n, 0)))));
}

void decompose_reduce_sum_square(const ox_node *n, ox_val *outputs)
{
    outputs[0] = ox_made_result(n, 0, sum_like(n, ox_square(ox_made_input(n, 0))));
}

void decompose_reduce_log_sum(const ox_node *n, ox_val *outputs)
{
    outputs[0] = ox_made_result(n, 0, ox_log(sum_like(n, ox_made_input(n, 0))));
}

/* ---- products ------------------------------------------------------------------------------ */

/* The product along an axis, in pairs of halves, then of halves of these. */
static ox_val product(ox_val a, int64_t axis, int64_t size)
{
    while (size > 1) {
        int64_t half = size / 2;
        ox_val left = ox_slice(a, axis, 0, half, 1);
        ox_val parts[] = {ox_mul(left, ox_slice(a, axis, half, 2 * half, 1)), NULL};
        if (size % 2 == 1) {
            parts[1] = ox_slice(a, axis, size - 1, size, 1);
        }
        a = ox_concat(a->graph, size % 2 == 1 ? 2 : 1, parts, axis);
        size -= half;
    }
    return a;
}

void decompose_reduce_prod(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0), list = ox_node_input(n, 1);
    const ox_dim *axes = list == NULL ? NULL : ox_shape_elements(list);
    int64_t count = list == NULL ? 0 : axes == NULL ? -1 : ox_val_size(list).size;
    if (count < 0) {
        ox_made_fail(n, "its axes are not constant");
    }
    bool all = count == 0 && ox_node_int(n, "noop_with_empty_axes", 0) == 0;
    int64_t *squeezed = ox_arena_alloc(n->graph->arena, (size_t)x->rank + 1, sizeof *squeezed);
    size_t reduced = 0;
    for (int d = 0; d < x->rank; d++) {
        bool here = all;
        for (int64_t i = 0; i < count; i++) {
            here = here || axes[i].size == d || axes[i].size == d - x->rank;
        }
        if (here && (!ox_dim_is_static(x->dims[d]) || x->dims[d].size == 0)) {
            ox_shape_fail(n);
        }
        if (here) {
            x = product(x, d - x->rank, x->dims[d].size);
            squeezed[reduced++] = d;
        }
    }
    if (reduced > 0 && ox_node_int(n, "keepdims", 1) == 0) {
        x = ox_binary("Squeeze", x, ox_ints(x->graph, reduced, squeezed));
    }
    outputs[0] = ox_made_result(n, 0, x);
}
