/* Multipliers of a Softmax and its relatives, along the last axis, by the logarithmic means L of
 * both sides' probabilities. docs/rules.md. */
#include "rules/rules.h"

#include <float.h>

/* Log-softmax, halved. Masks of -inf would leave nothing of a difference; masks
 * of the lowest number keep theirs, since what made them may be the lowest number times something.
 */
static ox_val half(ox_val l)
{
    double lowest = l->type == OX_DOUBLE ? -DBL_MAX : -(double)FLT_MAX;
    return ox_scale(ox_max(l, ox_number(l, lowest)), 0.5);
}

/* Written out for other runtimes: tract (0.23) takes the logarithm of what Softmax makes, which is
 * -inf where that is 0. */
ox_val ox_log_softmax(ox_val x)
{
    const int64_t last = -1;
    ox_attr axis = ox_attr_int("axis", -1);
    if (!ox_graph_outermost(x->graph)->elsewhere) {
        return ox_graph_emit(x->graph, "LogSoftmax", 1, &x, 1, &axis);
    }
    ox_val d = ox_sub(x, ox_reduce("ReduceMax", x, 1, &last, true));
    return ox_sub(d, ox_log(ox_sum(ox_exp(d), -1, true)));
}

/* The logarithmic means L = dy/dl of both sides' probabilities y, where l = log y: with dy =
 * tanh(dl/2) (y + y0) a form in which nothing cancels. The number that keeps 0/0 away changes
 * nothing unless dl/2 is exactly its negative. Takes l/2, gives (y + y0)/2 as well. */
static ox_val mean_of_halves(ox_val l, ox_val l0, ox_val *middle)
{
    ox_val d = ox_apart_from_zero(ox_sub(l, l0), 1.2345678e-30);
    ox_val y = ox_exp(ox_scale(l, 2)), y0 = ox_exp(ox_scale(l0, 2));
    *middle = ox_add(ox_scale(y, 0.5), ox_scale(y0, 0.5));
    return ox_mul(ox_div(ox_tanh(d), d), *middle);
}

static ox_val logarithmic_mean(ox_val l, ox_val l0)
{
    ox_val half_l = half(l), half_l0 = half(l0), middle;
    return mean_of_halves(half_l, half_l0, &middle);
}

/* L (m - sum(m L)/sum(L)) */
static ox_val around_level(ox_val m, ox_val mean, ox_val sum)
{
    ox_val level = ox_div(ox_sum(ox_mul(m, mean), -1, true), sum);
    return ox_mul(mean, ox_sub(m, level));
}

ox_shares ox_shares_of(ox_val l, ox_val l0)
{
    ox_shares s = {0};
    ox_val half_l = half(l), half_l0 = half(l0);
    s.mean = mean_of_halves(half_l, half_l0, &s.middle);
    s.sum = ox_sum(s.mean, -1, true);
    return s;
}

ox_val ox_around_level(ox_val m, const ox_shares *s)
{
    return around_level(m, s->mean, s->sum);
}

/* Bodies take m, l, l0. */
static ox_val softmax_body(const ox_val *in, const void *user)
{
    (void)user;
    ox_val mean = logarithmic_mean(in[1], in[2]);
    return around_level(in[0], mean, ox_sum(mean, -1, true));
}

ox_val ox_softmax_flow(ox_val m, ox_val l, ox_val l0)
{
    return ox_call("SoftmaxScoresFlow", softmax_body, NULL, 3, (ox_val[]){m, l, l0});
}

static ox_val log_softmax_body(const ox_val *in, const void *user)
{
    (void)user;
    ox_val mean = logarithmic_mean(in[1], in[2]);
    ox_val share = ox_div(mean, ox_sum(mean, -1, true));
    return ox_sub(in[0], ox_mul(share, ox_sum(in[0], -1, true)));
}

static ox_val log_sum_exp_body(const ox_val *in, const void *user)
{
    (void)user;
    ox_val mean = logarithmic_mean(in[1], in[2]);
    return ox_mul(in[0], ox_div(mean, ox_sum(mean, -1, true)));
}

ox_val ox_log_softmax_flow(ox_val m, ox_val l, ox_val l0)
{
    return ox_call("LogSoftmaxScoresFlow", log_softmax_body, NULL, 3, (ox_val[]){m, l, l0});
}

ox_val ox_log_sum_exp_flow(ox_val m, ox_val l, ox_val l0)
{
    return ox_call("LogSumExpScoresFlow", log_sum_exp_body, NULL, 3, (ox_val[]){m, l, l0});
}
