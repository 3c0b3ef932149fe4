/* The second order of a Softmax that gives probabilities: y_i = sigmoid(u_i), u_i = z_i - log(sum
 * of e^z_k over the others). With the logarithmic means L of both sides' probabilities, S = sum(L)
 * and w_ik = L_k/(S - L_i),
 *
 *     g_i = d_i - sum over the others (w_ik d_k),   V_ui = V_i + sum over the others (w_ik^2 V_k)
 *
 * and A of Sigmoid at u_i, B_i = (dy_i - A_i g_i)/V_ui, which closes the sum whatever u is. As
 * probabilities add up to 1, m - sum(m L)/S takes the place of m. */
#include "rules/second.h"

/* Along the last axis, which of `top` is the largest: 1 there, else 0. */
static ox_val is_largest(ox_val v)
{
    int64_t last = -1;
    ox_val most = ox_reduce("ReduceMax", v, 1, &last, true);
    return ox_cast(ox_equal(v, most), v->type);
}

/* The sum of the others along the last axis. Where one is nearly all, the sum less that one would
 * cancel: those of the largest (`top`) are added up without it. */
static ox_val others(ox_val v, ox_val top)
{
    ox_val of_top = ox_mul(v, top), rest = ox_sub(v, of_top);
    ox_val sum_top = ox_sum(of_top, -1, true), sum_rest = ox_sum(rest, -1, true);
    ox_val at_top = ox_add(sum_rest, ox_sub(sum_top, of_top));
    ox_val elsewhere = ox_sub(ox_add(sum_rest, sum_top), rest);
    return ox_add(ox_mul(top, at_top), ox_mul(ox_one_minus(top), elsewhere));
}

/* log(p/(1 - p)) */
static ox_val log_odds(ox_val l, ox_val p)
{
    ox_val rest = ox_shift(ox_unary("Relu", others(p, is_largest(p))), OX_TINY);
    return ox_sub(l, ox_unary("Log", rest));
}

/* A of Sigmoid from one side's log-odds to the other's. */
static ox_val slope_of_odds(ox_val u, ox_val u0, ox_val p, ox_val p0, ox_val v)
{
    const ox_unit unit = {
        .name = "Sigmoid", .p = {.x = u, .x0 = u0, .y = p, .y0 = p0}, .y = p, .y0 = p0, .v = v};
    return ox_through_unit(&unit, ox_number(u, 1), NULL).m;
}

ox_val ox_probabilities(const ox_rows *r, ox_val *second)
{
    ox_val l = ox_log_softmax(r->x), l0 = ox_log_softmax(r->x0), p = ox_exp(l), p0 = ox_exp(l0);
    ox_shares shares = ox_shares_of(l, l0);
    ox_val mean = shares.mean, top = is_largest(mean);
    ox_val share = ox_shift(others(mean, top), OX_TINY), square = ox_square(share);
    ox_val d = ox_sub(r->x, r->x0), mean_square = ox_square(mean);
    ox_val g = ox_sub(d, ox_div(others(ox_mul(mean, d), top), share));
    ox_val v = ox_add(r->v, ox_div(others(ox_mul(mean_square, r->v), top), square));
    ox_val a = slope_of_odds(log_odds(l, p), log_odds(l0, p0), p, p0, v);
    ox_val missing = ox_sub(ox_sub(p, p0), ox_mul(a, g));
    ox_val b = ox_div(missing, ox_shift(ox_unary("Relu", v), 1e-30));

    ox_val level = ox_div(ox_sum(ox_mul(r->m, mean), -1, true), shares.sum);
    ox_val m = ox_sub(r->m, level), ma = ox_mul(m, a), mb = ox_mul(m, b);
    ox_val from_others = ox_mul(mean, others(ox_div(ma, share), top));
    *second = ox_add(mb, ox_mul(mean_square, others(ox_div(mb, square), top)));
    return ox_sub(ma, from_others);
}
