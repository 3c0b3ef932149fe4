/* Rules of convolutions and of BatchNormalization: linear in the input, so the adjoint; and how
 * windows are read off a node. */
#include "rules/second.h"
#include "rules/spatial.h"

#include <string.h>

enum { MAX_AXES = OX_SPATIAL_AXES };

/* Far beyond any real window, and products of two still fit. */
static const int64_t MAX_NUMBER = INT64_C(1) << 30;

/* ---- windows ----------------------------------------------------------------------------- */

int ox_spatial_axes(ox_ctx *c)
{
    int rank = c->node->inputs[0]->rank;
    if (rank < 2 || rank - 2 > MAX_AXES) {
        ox_rule_fail(c, "the number of axes is not known, or too large");
    }
    return rank - 2;
}

void ox_window_check(ox_ctx *c, const ox_window *w)
{
    const int64_t numbers[] = {w->kernel, w->stride, w->dilation, w->begin, w->end, w->in, w->out};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (numbers[i] < (i < 3) || numbers[i] > MAX_NUMBER) {
            ox_rule_fail(c, "its window is not a sane one");
        }
    }
}

ox_window *ox_windows(ox_ctx *c, ox_val filters)
{
    int axes = ox_spatial_axes(c);
    ox_window *w = ox_windows_read(c->node, axes, filters == NULL ? NULL : filters->dims + 2);
    for (int k = 0; k < axes; k++) {
        w[k].in = ox_static_dim(c, 0, k - axes);
        w[k].out = ox_static_dim(c, -1, k - axes);
        ox_window_check(c, &w[k]);
        bool upper = w[k].mode == OX_PAD_UPPER, same = upper || w[k].mode == OX_PAD_LOWER;
        int64_t total = (w[k].out - 1) * w[k].stride + w[k].extent - w[k].in;
        if (same && total > 0) {
            w[k].begin = upper ? total / 2 : total - total / 2;
            w[k].end = total - w[k].begin;
        }
    }
    return w;
}

/* ---- rules ------------------------------------------------------------------------------- */

/* Input 1, whose shape has to be known. */
static ox_val filters_of(ox_ctx *c, int64_t group)
{
    if (ox_varies(c, 1)) {
        ox_rule_fail(c, "it has filters that depend on the input");
    }
    ox_val filters = ox_x(c, 1);
    if (filters->rank != ox_spatial_axes(c) + 2 || !ox_dims_static(filters->rank, filters->dims)) {
        ox_rule_fail(c, "the shape of its filters is not known");
    }
    if (group < 1 || filters->dims[0].size % group != 0) {
        ox_rule_fail(c, "group does not divide the channels");
    }
    return ox_own_filters(filters);
}

enum { SMALL = 1024 }; /* elements of filters of which all squares are taken */

static bool thin(ox_val filters, int64_t group)
{
    return group == 1 && ox_val_size(filters).size > SMALL;
}

/* The squares of filters [M, C, ...] as a product of one number an output, an input and a place,
 * [M, 1, ..], [C, 1, ..] and [1, 1, ...]: the sums over all else, over powers of the sum of all. */
typedef struct thin_filters {
    ox_val outputs, inputs, taps;
} thin_filters;

/* The sums over all axes but `axis`, along the first axis of `axes` + 1. */
static ox_val sums_along(ox_val squares, int axis, int axes)
{
    int64_t rest[MAX_AXES + 1];
    size_t count = 0;
    ox_dim dims[MAX_AXES + 1] = {squares->dims[axis]};
    for (int d = 0; d < squares->rank; d++) {
        if (d != axis) {
            rest[count++] = d;
        }
    }
    for (int d = 1; d <= axes; d++) {
        dims[d] = ox_dim_of(1);
    }
    return ox_reshape(ox_reduce("ReduceSum", squares, count, rest, true), axes + 1, dims);
}

static thin_filters thin_filters_of(ox_val filters)
{
    int axes = filters->rank - 2;
    ox_val squares = ox_square(filters), outputs = sums_along(squares, 0, axes);
    ox_val all = ox_shift(ox_sum(outputs, 0, true), OX_TINY);
    ox_val taps = ox_reduce("ReduceSum", squares, 2, (const int64_t[]){0, 1}, true);
    return (thin_filters){ox_div(outputs, all), sums_along(squares, 1, axes), ox_div(taps, all)};
}

/* The operator at hand over V, with squared filters. */
ox_val ox_variance_of_conv(ox_ctx *c)
{
    const ox_node *n = c->node;
    int64_t group = ox_node_int(n, "group", 1);
    bool forward = strcmp(n->op, "Conv") == 0;
    ox_ctx over = ox_over_variances(c);
    ox_val filters = filters_of(c, group), v = ox_variance(n->inputs[0]);
    bool one = forward && thin(filters, group);
    if (v == NULL) {
        return NULL;
    }
    thin_filters f = {NULL, NULL, ox_square(filters)};
    if (one) {
        f = thin_filters_of(filters);
        v = ox_channel_sum(v, f.inputs);
    }
    ox_val in[] = {ox_fold(&over, v), f.taps};
    ox_val y = ox_unfold(&over, ox_graph_emit(c->g, n->op, 2, in, n->attr_count, n->attrs), v);
    return one ? ox_mul(y, f.outputs) : y;
}

/* A bias that varies: the sum over all positions. It has no batch axis, so there must be none. */
static void send_bias(ox_ctx *c)
{
    if (!ox_varies(c, 2)) {
        return;
    }
    int axes = ox_spatial_axes(c);
    ox_dim batch = c->node->outputs[0]->dims[0];
    if (!ox_dim_is(batch, 1)) {
        ox_rule_fail(c, "it has a bias that depends on the input, for more than one sample");
    }
    int64_t summed[MAX_AXES + 1] = {-axes - 2};
    for (int k = 0; k < axes; k++) {
        summed[k + 1] = k - axes;
    }
    ox_send(c, 2, ox_reduce("ReduceSum", c->m, (size_t)axes + 1, summed, false));
}

/* ---- convolutions of what was padded ------------------------------------------------------- */

typedef struct margins {
    int64_t before[MAX_AXES], after[MAX_AXES];
} margins;

/* What a Pad puts around the spatial axes of the input, if it does nothing else. */
static bool find_margins(ox_ctx *c, int axes, margins *out)
{
    const ox_node *n = ox_maker_of(c->node->inputs[0]);
    ox_val pads = n == NULL || !ox_node_is(n, "Pad") ? NULL : ox_node_input(n, 1);
    int64_t count = axes + 2;
    if (pads == NULL || pads->elements == NULL || pads->rank != 1 ||
        !ox_dim_is(pads->dims[0], 2 * count) || ox_node_input(n, 3) != NULL ||
        ox_input_varies(n, 2) || strcmp(ox_node_string(n, "mode", "constant"), "constant") != 0) {
        return false;
    }
    for (int64_t i = 0; i < 2 * count; i++) {
        ox_dim d = pads->elements[i];
        bool spatial = i % count >= 2;
        if (!ox_dim_is_static(d) || d.size < 0 || d.size > MAX_NUMBER || (!spatial && d.size > 0)) {
            return false;
        }
        if (spatial) {
            (i < count ? out->before : out->after)[i % count - 2] = d.size;
        }
    }
    return true;
}

/* The windows over what is inside of the margins. */
static bool without_margins(int axes, const margins *around, ox_window *w)
{
    bool good = true;
    for (int k = 0; k < axes; k++) {
        w[k].in -= around->before[k] + around->after[k];
        w[k].begin += around->before[k];
        w[k].end += around->after[k];
        good = good && w[k].in > 0;
    }
    return good;
}

/* Where a Pad comes before, what its margins get is not computed: it goes nowhere. Zeros take its
 * place, which the rule of the Pad takes away again. */
void flow_conv(ox_ctx *c)
{
    int64_t group = ox_node_int(c->node, "group", 1);
    ox_val filters = filters_of(c, group), m = c->m;
    int axes = ox_spatial_axes(c);
    ox_window *w = ox_windows(c, filters);
    margins around = {{0}, {0}};
    bool padded = !ox_is_point(c->node->inputs[0]) && find_margins(c, axes, &around);
    if (padded && !without_margins(axes, &around, w)) {
        padded = false;
        w = ox_windows(c, filters);
    }
    if (c->squared && thin(filters, group)) {
        thin_filters f = thin_filters_of(filters);
        m = ox_unconvolve(c, ox_channel_sum(m, f.outputs), f.taps, 1, w);
        m = m == NULL ? NULL : ox_mul(m, f.inputs);
    } else {
        m = ox_unconvolve(c, m, ox_factor(c, filters), group, w);
    }
    if (m != NULL) {
        ox_send(c, 0, padded ? ox_pad(m, axes, around.before, around.after) : m);
    }
    send_bias(c);
}

/* Padding of ConvTranspose before the output, where output_shape or auto_pad leaves it to be
 * found: what makes the output `out` long, halved. */
static int64_t transposed_begin(const ox_window *w, int64_t extra, bool found)
{
    if (!found) {
        return w->begin;
    }
    int64_t full = (w->in - 1) * w->stride + w->extent + extra;
    int64_t total = full > w->out ? full - w->out : 0;
    return w->mode == OX_PAD_UPPER ? total / 2 : total - total / 2;
}

/* y[p s + t d - b] += W[t] x[p], so x[p] gets the convolution of m with the same filters. */
void flow_conv_transpose(ox_ctx *c)
{
    int64_t group = ox_node_int(c->node, "group", 1);
    ox_val filters = filters_of(c, group);
    int axes = filters->rank - 2;
    const ox_window *w = ox_windows(c, filters);
    const int64_t *extra = ox_window_numbers(c->node, "output_padding", (size_t)axes, 0);
    bool found = ox_node_attr(c->node, "output_shape") != NULL || w[0].mode == OX_PAD_UPPER ||
                 w[0].mode == OX_PAD_LOWER;
    int64_t pads[2 * MAX_AXES], strides[MAX_AXES], dilations[MAX_AXES];
    int64_t none[MAX_AXES] = {0}, cut[MAX_AXES];
    for (int k = 0; k < axes; k++) {
        int64_t begin = transposed_begin(&w[k], extra != NULL ? extra[k] : 0, found);
        int64_t end = (w[k].in - 1) * w[k].stride + w[k].extent - w[k].out - begin;
        pads[k] = begin;
        pads[axes + k] = end > 0 ? end : 0;
        cut[k] = end < 0 ? end : 0;
        strides[k] = w[k].stride;
        dilations[k] = w[k].dilation;
    }
    const ox_attr attrs[] = {
        ox_attr_ints("pads", 2 * (size_t)axes, pads),
        ox_attr_ints("strides", (size_t)axes, strides),
        ox_attr_ints("dilations", (size_t)axes, dilations),
        ox_attr_int("group", group),
    };
    ox_val in[] = {ox_pad(ox_fold(c, c->m), axes, none, cut), ox_factor(c, filters)};
    ox_send(c, 0, ox_unfold(c, ox_graph_emit(c->g, "Conv", 2, in, 4, attrs), c->m));
    send_bias(c);
}

/* scale / sqrt(var + epsilon), as it meets values and multipliers. */
static ox_val normalization_slope(ox_ctx *c)
{
    for (size_t i = 1; i < 5; i++) {
        if (ox_varies(c, i)) {
            ox_rule_fail(c, "it has parameters that depend on the input");
        }
    }
    int axes = ox_spatial_axes(c);
    ox_val scale = ox_x(c, 1), var = ox_x(c, 4);
    double epsilon = ox_node_float(c->node, "epsilon", 1e-5);
    ox_val slope = ox_div(scale, ox_sqrt(ox_shift(ox_cast(var, scale->type), epsilon)));
    if (axes > 0) {
        ox_dim dims[MAX_AXES + 1] = {slope->dims[0]};
        for (int k = 1; k <= axes; k++) {
            dims[k] = ox_dim_of(1);
        }
        slope = ox_reshape(slope, axes + 1, dims);
    }
    return ox_cast(slope, c->type);
}

/* y = (x - mean) * scale / sqrt(var + epsilon) + b, each per channel. Not for training, which
 * lift/respell.c refuses. */
void flow_batch_normalization(ox_ctx *c)
{
    ox_val slope = ox_factor(c, ox_cast(normalization_slope(c), c->m->type));
    ox_send(c, 0, c->squared ? ox_times_thin(c->m, slope) : ox_mul(c->m, slope));
}

ox_val ox_variance_of_normalization(ox_ctx *c)
{
    ox_val v = ox_variance(c->node->inputs[0]);
    return v == NULL ? NULL : ox_times_thin(v, ox_square(normalization_slope(c)));
}
