/* Operators on images that pick and add: MaxUnpool, Col2Im, CenterCropPad, LpPool; and convolutions
 * whose filters vary, as products of matrices. */
#include "rules/decompose.h"
#include "rules/move.h"
#include "rules/spatial.h"

#include <string.h>

#include "shape/shape.h"

enum { MAX_AXES = OX_SPATIAL_AXES };

/* ---- windows as columns ---------------------------------------------------------------------- */

/* What the windows along the last axes read: [.., in..] to [.., kernel.., out..]. */
static ox_val columns(ox_val v, int axes, const ox_window *w)
{
    int first = v->rank - axes, order[OX_MAX_RANK];
    int64_t before[MAX_AXES] = {0}, after[MAX_AXES] = {0};
    ox_dim dims[OX_MAX_RANK];
    if (axes == 0) {
        ox_fail(v->graph->arena, OX_INVALID, "%s: no spatial axes", v->graph->scope);
    }
    for (int k = 0; k < axes; k++) {
        int64_t length = (w[k].out - 1) * w[k].stride + w[k].extent;
        before[k] = w[k].begin;
        after[k] = length - w[k].in - w[k].begin;
    }
    v = ox_pad(v, axes, before, after);
    memcpy(dims, v->dims, (size_t)first * sizeof *dims);
    for (int k = 0; k < axes; k++) {
        size_t count = (size_t)(w[k].kernel * w[k].out);
        int64_t *index = ox_arena_alloc(v->graph->arena, count, sizeof *index);
        for (size_t i = 0; i < count; i++) {
            int64_t tap = (int64_t)i / w[k].out, place = (int64_t)i % w[k].out;
            index[i] = tap * w[k].dilation + place * w[k].stride;
        }
        v = ox_gather(v, ox_ints(v->graph, count, index), k - axes);
        dims[first + 2 * k] = ox_dim_of(w[k].kernel);
        dims[first + 2 * k + 1] = ox_dim_of(w[k].out);
    }
    for (int d = 0; d < first + 2 * axes; d++) {
        int k = (d - first) % axes;
        order[d] = d < first ? d : first + 2 * k + (d - first) / axes;
    }
    return ox_transpose(ox_reshape(v, first + 2 * axes, dims), order);
}

/* ---- MaxUnpool ------------------------------------------------------------------------------- */

/* x[i] went to place index[i] of the whole output. */
void flow_max_unpool(ox_ctx *c)
{
    ox_need_fixed(c, 1);
    ox_val y = c->node->outputs[0];
    if (y->rank < 0) {
        ox_shape_fail(c->node);
    }
    ox_dim all = ox_val_size(y);
    ox_send(c, 0, ox_gather(ox_with_lead(c, c->m, 1, &all), ox_x(c, 1), -1));
}

/* ---- Col2Im ---------------------------------------------------------------------------------- */

/* Blocks added up to an image: each block gets what it was added to. */
void flow_col2im(ox_ctx *c)
{
    size_t axes = 0, blocks = 0;
    const int64_t *image = ox_known_ints(c, 1, &axes), *block = ox_known_ints(c, 2, &blocks);
    const ox_val x = c->node->inputs[0];
    ox_dim sizes[MAX_AXES];
    if (axes < 1 || axes > MAX_AXES || blocks != axes || x->rank != 3) {
        ox_rule_fail(c, "no rule for its number of axes");
    }
    for (size_t k = 0; k < axes; k++) {
        sizes[k] = ox_dim_of(block[k]);
    }
    ox_window *w = ox_windows_read(c->node, (int)axes, sizes);
    for (size_t k = 0; k < axes; k++) {
        w[k].in = image[k];
        ox_window_check(c, &w[k]);
        int64_t room = w[k].in + w[k].begin + w[k].end - w[k].extent;
        w[k].out = room < 0 ? 0 : room / w[k].stride + 1;
    }
    ox_send(c, 0, ox_with_lead(c, columns(c->m, (int)axes, w), 3, x->dims));
}

/* ---- CenterCropPad --------------------------------------------------------------------------- */

void decompose_center_crop_pad(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0), y = n->outputs[0];
    for (int d = 0; d < x->rank; d++) {
        if (y->rank != x->rank || ox_dim_equal(x->dims[d], y->dims[d])) {
            continue;
        }
        int64_t room = ox_made_size(n, y, d) - ox_made_size(n, x, d);
        int64_t before = room / 2; /* rounds toward 0, also when it crops */
        x = ox_pad_axis(x, d - x->rank, before, room - before);
    }
    outputs[0] = x;
}

/* ---- LpPool ---------------------------------------------------------------------------------- */

/* abs x^p */
static ox_val raised(ox_val x, int64_t p)
{
    return p == 1   ? ox_abs(x)
           : p == 2 ? ox_square(x)
                    : ox_binary("Pow", ox_abs(x), ox_number(x, (double)p));
}

/* s^(1/p), where s is the sum of raised numbers; the slope at 0 stays finite. */
static ox_val rooted(ox_val s, int64_t p)
{
    s = p == 1 ? s : ox_shift(s, 1e-30);
    return p == 1 ? s : p == 2 ? ox_sqrt(s) : ox_binary("Pow", s, ox_number(s, 1 / (double)p));
}

static int64_t power_of(const ox_node *n)
{
    int64_t p = ox_node_int(n, "p", 2);
    if (p < 1) {
        ox_made_fail(n, "its p is less than 1");
    }
    return p;
}

void decompose_lp_pool(const ox_node *n, ox_val *outputs)
{
    ox_ctx c = {.g = n->graph, .node = n};
    int axes = ox_spatial_axes(&c);
    const ox_window *w = ox_windows(&c, NULL);
    ox_val x = ox_made_ranked(n, 0), y = n->outputs[0];
    int64_t p = power_of(n), before[MAX_AXES], after[MAX_AXES], strides[MAX_AXES];
    int64_t dilations[MAX_AXES], dims[MAX_AXES + 2] = {1, 1}, taps = 1;
    ox_dim planes[MAX_AXES + 2] = {ox_dim_mul(x->graph, x->dims[0], x->dims[1]), ox_dim_of(1)};
    for (int k = 0; k < axes; k++) {
        before[k] = w[k].begin;
        after[k] = (w[k].out - 1) * w[k].stride + w[k].extent - w[k].in - w[k].begin;
        strides[k] = w[k].stride;
        dilations[k] = w[k].dilation;
        dims[k + 2] = w[k].kernel;
        planes[k + 2] = x->dims[k + 2];
        if (!ox_int_mul(taps, w[k].kernel, &taps)) {
            ox_made_fail(n, "its window is too large");
        }
    }
    double *ones = ox_arena_alloc(x->graph->arena, (size_t)taps, sizeof *ones);
    for (int64_t i = 0; i < taps; i++) {
        ones[i] = 1;
    }
    ox_val in = ox_pad(ox_reshape(raised(x, p), axes + 2, planes), axes, before, after);
    ox_attr attrs[] = {ox_attr_ints("strides", (size_t)axes, strides),
                       ox_attr_ints("dilations", (size_t)axes, dilations)};
    ox_val both[] = {in, ox_floats(x->graph, x->type, axes + 2, dims, ones)};
    ox_val sum = ox_graph_emit(x->graph, "Conv", 2, both, 2, attrs);
    outputs[0] = rooted(ox_reshape(sum, y->rank, y->dims), p);
}

void decompose_global_lp_pool(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0);
    int64_t axes[OX_MAX_RANK], p = power_of(n);
    for (int d = 2; d < x->rank; d++) {
        axes[d - 2] = d - x->rank;
    }
    if (x->rank < 3) {
        ox_made_fail(n, "it has no spatial axes");
    }
    ox_val sum = ox_reduce("ReduceSum", raised(x, p), (size_t)x->rank - 2, axes, true);
    outputs[0] = rooted(sum, p);
}

/* ---- convolutions whose filters vary --------------------------------------------------------- */

/* y = W columns(x): a product of two operands. */
void decompose_conv(const ox_node *n, ox_val *outputs)
{
    if (!ox_input_varies(n, 1)) {
        return;
    }
    ox_ctx c = {.g = n->graph, .node = n};
    int axes = ox_spatial_axes(&c);
    ox_val x = ox_made_ranked(n, 0), w = ox_made_ranked(n, 1), bias = ox_made_input(n, 2);
    ox_val y = n->outputs[0];
    int64_t groups = ox_node_int(n, "group", 1), filters = ox_made_size(n, w, 0);
    int64_t depth = ox_made_count(n, w, 1);
    if (groups < 1 || filters % groups != 0 || w->rank != axes + 2) {
        ox_made_fail(n, "group does not divide the channels");
    }
    const ox_dim places = ox_dim_of(ox_made_count(n, y, 2));
    const ox_dim matrix[] = {ox_dim_of(groups), ox_dim_of(filters / groups), ox_dim_of(depth)};
    const ox_dim column[] = {x->dims[0], ox_dim_of(groups), ox_dim_of(depth), places};
    ox_val taken = ox_reshape(columns(x, axes, ox_windows(&c, w)), 4, column);
    ox_val sum = ox_reshape(ox_matmul(ox_reshape(w, 3, matrix), taken), y->rank, y->dims);
    outputs[0] = ox_made_plus(sum, bias == NULL ? NULL : ox_made_column(bias, axes));
}

/* Every x sends W x to the window around it, and windows are added up: a product and Col2Im. */
void decompose_conv_transpose(const ox_node *n, ox_val *outputs)
{
    if (!ox_input_varies(n, 1)) {
        return;
    }
    ox_ctx c = {.g = n->graph, .node = n};
    int axes = ox_spatial_axes(&c);
    ox_val x = ox_made_ranked(n, 0), w = ox_made_ranked(n, 1), bias = ox_made_input(n, 2);
    ox_val y = n->outputs[0];
    int64_t groups = ox_node_int(n, "group", 1), channels = ox_made_size(n, w, 0);
    int64_t width = ox_made_count(n, w, 1), full[MAX_AXES], block[MAX_AXES];
    int64_t strides[MAX_AXES], dilations[MAX_AXES], before[MAX_AXES], after[MAX_AXES];
    const ox_window *at = ox_windows(&c, w);
    if (groups < 1 || channels % groups != 0 || w->rank != axes + 2 ||
        ox_node_attr(n, "output_shape") != NULL ||
        strncmp(ox_node_string(n, "auto_pad", "NOTSET"), "SAME", 4) == 0) {
        ox_made_fail(n, "no rule for filters that vary with this padding");
    }
    for (int k = 0; k < axes; k++) {
        block[k] = at[k].kernel;
        strides[k] = at[k].stride;
        dilations[k] = at[k].dilation;
        full[k] = (at[k].in - 1) * at[k].stride + at[k].extent;
        before[k] = -at[k].begin;
        after[k] = at[k].out - full[k] + at[k].begin;
    }
    const ox_dim places = ox_dim_of(ox_made_count(n, x, 2));
    const ox_dim matrix[] = {ox_dim_of(groups), ox_dim_of(channels / groups), ox_dim_of(width)};
    const ox_dim grouped[] = {x->dims[0], ox_dim_of(groups), ox_dim_of(channels / groups), places};
    const ox_dim flat[] = {x->dims[0], ox_dim_of(groups * width), places};
    ox_val sent = ox_matmul(ox_swap_last(ox_reshape(w, 3, matrix)), ox_reshape(x, 4, grouped));
    ox_val in[] = {ox_reshape(sent, 3, flat), ox_ints(x->graph, (size_t)axes, full),
                   ox_ints(x->graph, (size_t)axes, block)};
    ox_attr attrs[] = {ox_attr_ints("strides", (size_t)axes, strides),
                       ox_attr_ints("dilations", (size_t)axes, dilations)};
    ox_val sum = ox_pad(ox_graph_emit(x->graph, "Col2Im", 3, in, 2, attrs), axes, before, after);
    outputs[0] = ox_made_plus(ox_reshape(sum, y->rank, y->dims),
                              bias == NULL ? NULL : ox_made_column(bias, axes));
}
