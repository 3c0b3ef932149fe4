/* The third order: where the values of the model are in the mean, when every other player is in. A
 * unit is nonlinear, so that the mean path of what it feeds is no straight line from the reference
 * to the sample, and A is taken along the path: at both sides moved by two thirds of how far it is
 * off in the middle, the mean of 4q(1 - q). B closes the sum whatever the path is, so that a poor
 * mean costs accuracy alone.
 *
 * Means go forward as the model goes: through linear operators and products by the operators
 * themselves, of a batch of all pairs; through units by the mean of their function over a normal
 * operand; of all others, which may be defined on a half line only, the path is straight. */
#include "rules/second.h"

#include <string.h>

#include "rules/side.h"

/* In the shape of result 0, R in front where variances have it. */
static int whole_dims(ox_ctx *c, ox_dim *dims)
{
    ox_val y = c->node->outputs[0], v = ox_variance(y);
    int lead = c->sides->pairs_lead;
    memcpy(dims, v->dims, (size_t)lead * sizeof *dims);
    memcpy(dims + lead, y->dims, (size_t)y->rank * sizeof *dims);
    return lead + y->rank;
}

static ox_val in_whole(ox_ctx *c, ox_val mean)
{
    ox_dim dims[OX_MAX_RANK];
    int rank = whole_dims(c, dims);
    return ox_expand(mean, rank, dims);
}

static bool bends_of_itself(ox_ctx *c)
{
    int varying = 0;
    for (size_t i = 0; i < c->node->input_count; i++) {
        varying += ox_varies(c, i);
    }
    return varying > 1;
}

/* Whether input i enters a batch of pairs as it is: it is the same for all samples. */
static bool enters(ox_ctx *c, size_t i)
{
    ox_val v = c->node->inputs[i];
    return v == NULL || ox_varies(c, i) || c->sides->pairs_lead == 0 || !ox_side_of(v)->depends;
}

/* The path of some operand is not straight, or that of the result would not be. */
static bool leaves_straight_line(ox_ctx *c, bool product)
{
    for (size_t i = 0; i < c->node->input_count; i++) {
        ox_val v = c->node->inputs[i];
        if (v != NULL && ox_varies(c, i) && ox_side_of(v)->mean != NULL) {
            return true;
        }
    }
    return product && bends_of_itself(c);
}

/* Operand i of a batch of pairs. */
static ox_val operand_of_pairs(ox_ctx *c, size_t i)
{
    ox_val v = c->node->inputs[i], own = NULL;
    if (v == NULL || !ox_varies(c, i)) {
        return v == NULL ? NULL : ox_x(c, i);
    }
    own = ox_side_of(v)->mean;
    if (own == NULL) {
        ox_val sample = c->sides->sample(c, v), reference = c->sides->reference(c, v);
        own = ox_mean(sample, reference);
    }
    return c->sides->pairs(c, v, ox_cast(own, c->type));
}

/* The node itself. */
static void run(ox_ctx *c)
{
    const ox_node *n = c->node;
    ox_val *in = ox_arena_alloc(c->g->arena, n->input_count, sizeof *in);
    for (size_t i = 0; i < n->input_count; i++) {
        if (!enters(c, i)) {
            return;
        }
    }
    for (size_t i = 0; i < n->input_count; i++) {
        in[i] = operand_of_pairs(c, i);
    }
    const ox_node *made = ox_run_on_pairs(c, in);
    for (size_t k = 0; k < n->output_count; k++) {
        ox_val y = n->outputs[k];
        if (ox_type_is_float(y->type)) {
            ox_side_of(y)->mean = c->sides->unpairs(c, y, made->outputs[k]);
        }
    }
}

/* The dividend by the mean of both inverses: an inverse is straight. */
static void divide(ox_ctx *c)
{
    ox_operand b = ox_operand_in(c, 1);
    ox_val inverse = ox_unary("Reciprocal", b.x);
    if (b.varies) {
        inverse = ox_mean(inverse, ox_unary("Reciprocal", b.x0));
    }
    ox_side_of(c->node->outputs[0])->mean = in_whole(c, ox_mul(ox_mean_of_input(c, 0), inverse));
}

static void reshape(ox_ctx *c)
{
    ox_dim dims[OX_MAX_RANK];
    int rank = whole_dims(c, dims);
    ox_val mean = ox_side_of(c->node->inputs[0])->mean;
    ox_side_of(c->node->outputs[0])->mean = ox_reshape(mean, rank, dims);
}

static bool is_number(ox_ctx *c, size_t i)
{
    ox_val v = c->node->inputs[i];
    return v == NULL || !ox_varies(c, i) || (ox_type_is_float(v->type) && !ox_stands_in(c, i));
}

static bool are_numbers(ox_ctx *c)
{
    for (size_t i = 0; i < c->node->input_count; i++) {
        if (!is_number(c, i)) {
            return false;
        }
    }
    return ox_type_is_float(c->node->outputs[0]->type);
}

static void through_linear(ox_ctx *c, ox_rule rule)
{
    ox_val y = c->node->outputs[0];
    bool product = rule == flow_mul || rule == flow_matmul || rule == flow_gemm || rule == flow_div;
    bool same = rule == flow_identity || rule == flow_cast || rule == flow_expand;
    if (rule == flow_rounded || ox_side_of(y)->mean != NULL || !leaves_straight_line(c, product)) {
        return; /* of trees of maxima it is found with V */
    }
    if (same) {
        ox_side_of(y)->mean = in_whole(c, ox_cast(ox_mean_of_input(c, 0), c->type));
    } else if (rule == flow_reshape) {
        reshape(c);
    } else if (rule == flow_div) {
        divide(c);
    } else {
        run(c);
    }
}

static ox_val of_unit(ox_ctx *c, ox_rule rule)
{
    if (rule == flow_prelu) {
        return ox_mean_of_prelu(c);
    }
    if (rule == flow_mul || rule == flow_div) {
        return ox_mean_of_activation(c);
    }
    bool one = !ox_varies(c, 1) && !ox_varies(c, 2) && rule != flow_softmax;
    return one ? ox_mean_of_unary(c) : NULL;
}

void ox_mean_forward(ox_ctx *c, ox_rule rule)
{
    ox_val y = c->node->outputs[0];
    if (!are_numbers(c) || ox_variance(y) == NULL) {
        return;
    }
    switch (ox_second_role(c, rule)) {
    case OX_ROLE_UNIT: ox_side_of(y)->mean = of_unit(c, rule); break;
    case OX_ROLE_LINEAR: through_linear(c, rule); break;
    case OX_ROLE_NEW_PLAYER:
        if (rule == flow_softmax && leaves_straight_line(c, true)) {
            run(c);
        }
        break;
    }
}
