/* Which rules have a second order, and how V goes forward through them. */
#include "rules/second.h"

#include <string.h>

#include "rules/side.h"
#include "shape/shape.h"

/* ---- forward -------------------------------------------------------------------------------- */

static void set(ox_ctx *c, size_t k, ox_val v)
{
    ox_side_of(c->node->outputs[k])->variance = v;
}

/* The shape of variances of v: R in front, where variances of several references are there. */
static int variance_dims(ox_ctx *c, ox_val v, ox_val like, ox_dim *dims)
{
    int lead = c->sides->pairs_lead;
    if (v->rank < 0 || lead + v->rank > OX_MAX_RANK) {
        ox_shape_fail(c->node);
    }
    memcpy(dims, like->dims, (size_t)lead * sizeof *dims);
    memcpy(dims + lead, v->dims, (size_t)v->rank * sizeof *dims);
    return lead + v->rank;
}

/* `variance` in the whole shape of the result. */
static void set_whole(ox_ctx *c, ox_val variance)
{
    ox_dim dims[OX_MAX_RANK];
    int rank = variance_dims(c, c->node->outputs[0], variance, dims);
    set(c, 0, ox_expand(variance, rank, dims));
}

/* V of the operands one behind the other, of a node with some that varies. */
static ox_val any_variance(ox_ctx *c)
{
    ox_val v = NULL;
    for (size_t i = 0; v == NULL && i < c->node->input_count; i++) {
        v = ox_variance_of(c, i);
    }
    return v;
}

/* V of input i as that of samples, zeros where it has none. */
static ox_val pairs_or_zeros(ox_ctx *c, size_t i)
{
    ox_dim dims[OX_MAX_RANK];
    ox_val v = c->node->inputs[i], own = ox_varies(c, i) ? ox_variance(v) : NULL;
    if (own == NULL) {
        int rank = variance_dims(c, v, any_variance(c), dims);
        own = ox_zeros(c->g, c->type, rank, dims);
    }
    return c->sides->pairs(c, v, own);
}

const ox_node *ox_run_on_pairs(ox_ctx *c, const ox_val *in)
{
    const ox_node *n = c->node;
    ox_node *made = ox_graph_emit_node(c->g, n->domain, n->op, n->input_count, in, n->output_count,
                                       n->attr_count, n->attrs);
    for (size_t k = 0; k < n->output_count; k++) {
        ox_val v = made->outputs[k], y = n->outputs[k];
        if (v->rank < 0 && c->sides->pairs_lead == 0) {
            v->rank = y->rank;
            v->dims = y->dims;
        }
    }
    return made;
}

/* Data move, and are added up: as the operator does it. What pads is 0. */
static void forward_moved(ox_ctx *c)
{
    const ox_node *n = c->node;
    bool all = strcmp(n->op, "Concat") == 0, pad = strcmp(n->op, "Pad") == 0;
    ox_val *in = ox_arena_alloc(c->g->arena, n->input_count, sizeof *in);
    for (size_t i = 0; i < n->input_count; i++) {
        bool drop = n->inputs[i] == NULL || (pad && i == 2);
        in[i] = drop ? NULL : i == 0 || all ? pairs_or_zeros(c, i) : ox_x_raw(c, i);
    }
    const ox_node *made = ox_run_on_pairs(c, in);
    for (size_t k = 0; k < n->output_count; k++) {
        set(c, k, c->sides->unpairs(c, n->outputs[k], made->outputs[k]));
    }
}

/* In the order of memory. */
static void forward_reshaped(ox_ctx *c)
{
    ox_dim dims[OX_MAX_RANK];
    ox_val v = ox_variance(c->node->inputs[0]);
    int rank = variance_dims(c, c->node->outputs[0], v, dims);
    set(c, 0, ox_reshape(v, rank, dims));
}

static void forward_expanded(ox_ctx *c)
{
    set_whole(c, ox_variance_of(c, 0));
}

static void forward_identity(ox_ctx *c)
{
    set(c, 0, ox_cast(ox_variance(c->node->inputs[0]), c->type));
}

/* Whether input i is the same for a batch of pairs as for one of samples. */
static bool is_steady(ox_ctx *c, size_t i)
{
    ox_val v = c->node->inputs[i];
    const ox_dim *elements = v == NULL ? NULL : ox_shape_elements(v);
    size_t count = elements == NULL ? 0 : (size_t)ox_val_size(v).size;
    return v == NULL || c->sides->pairs_lead == 0 || !ox_side_of(v)->depends ||
           (elements != NULL && ox_dims_static(v->rank, v->dims) &&
            ox_dims_static((int)count, elements));
}

/* The only data of a move are input 0. */
static bool is_one(ox_ctx *c)
{
    for (size_t i = 1; i < c->node->input_count; i++) {
        if (ox_varies(c, i)) {
            return false;
        }
    }
    ox_val y = c->node->outputs[0];
    return ox_varies(c, 0) && ox_type_is_float(c->node->inputs[0]->type) &&
           ox_type_is_float(y->type) && y->rank >= 0;
}

static bool becomes_float(ox_ctx *c)
{
    return c->node->inputs[0]->type != OX_STRING && ox_type_is_float(c->node->outputs[0]->type);
}

static bool rounds(ox_ctx *c)
{
    return ox_varies(c, 0);
}

static bool moves(ox_ctx *c)
{
    for (size_t i = 1; i < c->node->input_count; i++) {
        if (!is_steady(c, i)) {
            return false;
        }
    }
    return is_one(c);
}

static bool moves_nearest(ox_ctx *c)
{
    return moves(c) && strcmp(ox_node_string(c->node, "mode", "nearest"), "nearest") == 0;
}

static bool always(ox_ctx *c)
{
    return ox_type_is_float(c->node->outputs[0]->type);
}

/* The sum of V over the operands, in the shape of the result, times `factor`. */
static void forward_sum_scaled(ox_ctx *c, double factor)
{
    ox_val sum = NULL;
    for (size_t i = 0; i < c->node->input_count; i++) {
        ox_val v = ox_variance_of(c, i);
        sum = v == NULL ? sum : sum == NULL ? v : ox_add(sum, v);
    }
    if (sum != NULL) {
        set_whole(c, factor == 1 ? sum : ox_scale(sum, factor));
    }
}

static void forward_sum(ox_ctx *c)
{
    forward_sum_scaled(c, 1);
}

static void forward_mean_of_operands(ox_ctx *c)
{
    double count = (double)c->node->input_count;
    forward_sum_scaled(c, 1 / (count * count));
}

/* Of a condition that does not vary. */
static bool chooses(ox_ctx *c)
{
    return !ox_varies(c, 0) && always(c);
}

static void forward_choice(ox_ctx *c)
{
    ox_val v[2], none = ox_number(any_variance(c), 0);
    for (size_t i = 0; i < 2; i++) {
        ox_val own = ox_variance_of(c, i + 1);
        v[i] = own == NULL ? none : own;
    }
    set_whole(c, ox_where(ox_x_raw(c, 0), v[0], v[1]));
}

static bool multiplies_matrices(ox_ctx *c)
{
    return c->node->inputs[0]->rank >= 2 && c->node->inputs[1]->rank >= 2;
}

static bool has_constant_filters(ox_ctx *c)
{
    return !ox_varies(c, 1) && !ox_varies(c, 2);
}

#define BY(name, of)                                                                               \
    static void name(ox_ctx *c)                                                                    \
    {                                                                                              \
        ox_val v = of(c);                                                                          \
        if (v != NULL) {                                                                           \
            set_whole(c, v);                                                                       \
        }                                                                                          \
    }
BY(forward_matmul, ox_variance_of_matmul)
BY(forward_gemm, ox_variance_of_gemm)
BY(forward_product, ox_variance_of_product)
BY(forward_conv, ox_variance_of_conv)
BY(forward_normalization, ox_variance_of_normalization)
BY(forward_average, ox_variance_of_average)
BY(forward_mean, ox_variance_of_mean)
BY(forward_pool, ox_variance_of_pool)
BY(forward_extremes, ox_variance_of_extremes)
BY(forward_rounded, ox_variance_of_rounded)
#undef BY

/* The linear rules. */
static const struct linear {
    ox_rule rule;
    bool (*fits)(ox_ctx *c);
    void (*forward)(ox_ctx *c);
} linear[] = {
    {flow_add, always, forward_sum},
    {flow_average_pool, always, forward_average},
    {flow_batch_normalization, always, forward_normalization},
    {flow_cast, becomes_float, forward_identity},
    {flow_concat, always, forward_moved},
    {flow_conv, has_constant_filters, forward_conv},
    {flow_conv_transpose, has_constant_filters, forward_conv},
    {flow_cumsum, moves, forward_moved},
    {flow_depth_to_space, moves, forward_moved},
    {flow_div, always, forward_product},
    {flow_expand, is_one, forward_expanded},
    {flow_gather, moves, forward_moved},
    {flow_gather_elements, moves, forward_moved},
    {flow_gemm, always, forward_gemm},
    {flow_global_average_pool, always, forward_average},
    {flow_global_max_pool, always, forward_pool},
    {flow_identity, is_one, forward_identity},
    {flow_matmul, multiplies_matrices, forward_matmul},
    {flow_max_pool, always, forward_pool},
    {flow_mean, always, forward_mean_of_operands},
    {flow_mul, always, forward_product},
    {flow_neg, always, forward_sum},
    {flow_pad, moves, forward_moved},
    {flow_reduce_extreme, ox_reduces_known_rows, forward_extremes},
    {flow_reduce_mean, always, forward_mean},
    {flow_reduce_sum, moves, forward_moved},
    {flow_reshape, is_one, forward_reshaped},
    {flow_resize, moves_nearest, forward_moved},
    {flow_reverse_sequence, moves, forward_moved},
    {flow_rounded, rounds, forward_rounded},
    {flow_scaler, always, forward_product},
    {flow_slice, moves, forward_moved},
    {flow_space_to_depth, moves, forward_moved},
    {flow_split, moves, forward_moved},
    {flow_sub, always, forward_sum},
    {flow_tile, moves, forward_moved},
    {flow_transpose, moves, forward_moved},
    {flow_trilu, moves, forward_moved},
    {flow_where, chooses, forward_choice},
};

static const struct linear *find(ox_rule rule)
{
    for (size_t i = 0; i < sizeof linear / sizeof *linear; i++) {
        if (linear[i].rule == rule) {
            return &linear[i];
        }
    }
    return NULL;
}

ox_role ox_second_role(ox_ctx *c, ox_rule rule)
{
    const struct linear *l = find(rule);
    bool product = rule == flow_mul || rule == flow_div;
    if (rule == flow_unary || rule == flow_clip || rule == flow_prelu ||
        (product && ox_is_activation(c)) || c->sides->probabilities == c->node) {
        return OX_ROLE_UNIT;
    }
    return l != NULL && l->fits(c) ? OX_ROLE_LINEAR : OX_ROLE_NEW_PLAYER;
}

void ox_second_forward(ox_ctx *c, ox_rule rule)
{
    if (any_variance(c) != NULL) { /* values of unknown rank have none */
        find(rule)->forward(c);
    }
}
