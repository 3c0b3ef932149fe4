/* Variances and their multipliers as products of one number a channel and one a place, which
 * squares of rank one make, and sums over channels, which they take: what is only added up is not
 * written out before. */
#include <string.h>

#include "base/ours.h"
#include "rules/second.h"
#include "rules/unary.h"

/* The node of an operator that has been made for v alone, not one of the model; or NULL. */
static const ox_node *made_by(ox_val v, const char *op)
{
    const ox_node *n = v->node;
    return n != NULL && !n->original && strcmp(n->op, op) == 0 ? n : NULL;
}

/* One number for all places, which are the last `axes` axes. */
static bool is_thin(ox_val v, int axes)
{
    bool thin = v->rank >= 0;
    for (int d = 1; d <= axes && d <= v->rank; d++) {
        thin = thin && ox_dim_is(v->dims[v->rank - d], 1);
    }
    return thin;
}

enum { PLANES = 2 }; /* axes of places that kernels know */

bool ox_is_thin_product(ox_val v)
{
    const ox_node *n = made_by(v, "Mul");
    return n != NULL && v->rank > PLANES && is_thin(n->inputs[1], PLANES) &&
           n->inputs[0]->rank == v->rank;
}

ox_val ox_times_thin(ox_val v, ox_val factor)
{
    if (ox_is_thin_product(v) && is_thin(factor, PLANES)) {
        return ox_mul(v->node->inputs[0], ox_mul(v->node->inputs[1], factor));
    }
    return ox_mul(v, factor);
}

bool ox_split_thin(ox_val v, ox_val *whole, ox_val *thin)
{
    const ox_node *n = made_by(v, "Add");
    for (size_t i = 0; n != NULL && i < 2; i++) {
        const ox_node *e = made_by(n->inputs[i], "Expand");
        ox_val other = n->inputs[1 - i], of = e == NULL ? NULL : e->inputs[0];
        if (of != NULL && of->rank == v->rank && is_thin(of, PLANES) && other->rank == v->rank &&
            ox_dims_equal(v->rank, other->dims, v->dims)) {
            *whole = other;
            *thin = of;
            return true;
        }
    }
    return false;
}

/* ---- sums over channels -----------------------------------------------------------------------
 */

static ox_val sum_body(const ox_val *in, const void *user)
{
    (void)user;
    return ox_sum(ox_mul(in[0], in[1]), -1 - PLANES, true);
}

static ox_val sum_of_gains_body(const ox_val *in, const void *user)
{
    (void)user;
    return ox_sum(ox_mul(in[0], ox_square(ox_sub(in[1], in[2]))), -1 - PLANES, true);
}

static ox_val sum_of_relu_gains_body(const ox_val *in, const void *user)
{
    (void)user;
    ox_val gain = ox_sub(ox_unary("Relu", in[1]), ox_unary("Relu", in[2]));
    return ox_sum(ox_mul(in[0], ox_square(gain)), -1 - PLANES, true);
}

static ox_val sum_of_mids_body(const ox_val *in, const void *user)
{
    (void)user;
    return ox_sum(ox_mul(in[0], ox_square(ox_mean(in[1], in[2]))), -1 - PLANES, true);
}

/* Of the squares of what two operands make, times thin weights. */
static ox_val sum_of_squares(ox_val v, ox_val weights)
{
    static const struct {
        const char *square, *name;
        ox_val (*body)(const ox_val *in, const void *user);
    } table[] = {{"GainSquareFlow", "ChannelSumOfGains", sum_of_gains_body},
                 {"ReluGainSquareFlow", "ChannelSumOfReluGains", sum_of_relu_gains_body},
                 {"MulSquareFlow", "ChannelSumOfMids", sum_of_mids_body}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const ox_node *n = made_by(v, table[i].square);
        if (n != NULL && is_thin(n->inputs[0], PLANES)) {
            bool one = n->inputs[0]->rank == 0; /* the number 1 */
            ox_val all = one ? weights : ox_mul(n->inputs[0], weights);
            const ox_val in[] = {all, n->inputs[1], n->inputs[2]};
            return ox_call(table[i].name, table[i].body, NULL, 3, in);
        }
    }
    return NULL;
}

/* The sum of v times thin weights by what v is made of; NULL where that has to be written out. */
static ox_val sum_of_parts(ox_val v, ox_val weights, bool terms)
{
    const ox_node *n = made_by(v, "Add");
    if (terms && n != NULL) {
        ox_val a = sum_of_parts(n->inputs[0], weights, false);
        ox_val b = a == NULL ? NULL : sum_of_parts(n->inputs[1], weights, false);
        return b == NULL ? NULL : ox_add(a, b);
    }
    if (ox_is_thin_product(v)) {
        ox_val of = v->node->inputs[0], all = ox_mul(v->node->inputs[1], weights);
        return ox_dim_is(of->dims[of->rank - 1 - PLANES], 1)
                   ? ox_mul(of, ox_sum(all, -1 - PLANES, true))
                   : sum_of_parts(of, all, false);
    }
    return sum_of_squares(v, weights);
}

ox_val ox_channel_sum(ox_val v, ox_val weights)
{
    if (weights->rank != 1 + PLANES) {
        return ox_sum(ox_mul(v, weights), -weights->rank, true);
    }
    ox_val sum = sum_of_parts(v, weights, true);
    return sum != NULL ? sum : ox_call("ChannelSum", sum_body, NULL, 2, (ox_val[]){v, weights});
}
