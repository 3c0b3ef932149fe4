/* The second order of a Softmax that gives probabilities: y_i = sigmoid(u_i), u_i = z_i - log(sum
 * of e^z_k over the others). With weights w_ik of the others, which add up to 1,
 *
 *     g_i = d_i - sum over the others (w_ik d_k),   V_ui = V_i + sum over the others (w_ik^2 V_k)
 *
 * and A of Sigmoid at u_i, B_i = (dy_i - A_i g_i)/V_ui, which closes the sum whatever w is. Up to
 * MOST_EXACT results w_ik are the shares of the rule of ReduceLogSumExp over the others, so that
 * g_i is the difference of u_i; beyond, where n^2 of them are too many, L_k/(S - L_i) of the
 * logarithmic means L of all, S = sum(L). Each probability is explained on its own: centring m, as
 * probabilities add up to 1, lets the errors of all into each. */
#include "rules/second.h"

#include <float.h>

enum { MOST_EXACT = 64 };

/* Weights of the others, [.., i, k]; or parts of them: `mean` [.., k], `rest` [.., i]. */
typedef struct links {
    ox_val weights, mean, rest, top;
} links;

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

/* log(1 - p) */
static ox_val log_of_others(ox_val p)
{
    return ox_unary("Log", ox_shift(ox_unary("Relu", others(p, is_largest(p))), OX_TINY));
}

/* log(p_k/(1 - p_i)), [.., i, k]; as low as can be for i itself. */
static ox_val among_others(ox_val l, ox_val rest, int64_t n)
{
    double *own = ox_arena_alloc(l->graph->arena, (size_t)(n * n), sizeof *own);
    for (int64_t i = 0; i < n; i++) {
        own[i * n + i] = -(double)FLT_MAX / 4;
    }
    ox_val none = ox_floats(l->graph, l->type, 2, (const int64_t[]){n, n}, own);
    return ox_add(ox_sub(ox_unsqueeze(l, -2), ox_unsqueeze(rest, -1)), none);
}

static links find_links(ox_val l, ox_val l0, ox_val rest, ox_val rest0)
{
    ox_dim n = l->dims[l->rank - 1];
    if (ox_dims_static(1, &n) && n.size <= MOST_EXACT) {
        ox_shares s = ox_shares_of(among_others(l, rest, n.size), among_others(l0, rest0, n.size));
        return (links){.weights = ox_div(s.mean, ox_shift(s.sum, OX_TINY))};
    }
    links w = {.mean = ox_shares_of(l, l0).mean};
    w.top = is_largest(w.mean);
    w.rest = ox_shift(others(w.mean, w.top), OX_TINY);
    return w;
}

static links squared(links w)
{
    if (w.weights != NULL) {
        return (links){.weights = ox_square(w.weights)};
    }
    return (links){.mean = ox_square(w.mean), .rest = ox_square(w.rest), .top = w.top};
}

/* sum over k of w_ik v_k, and the adjoint: sum over i of v_i w_ik. */
static ox_val gather(const links *w, ox_val v)
{
    if (w->weights != NULL) {
        return ox_squeeze(ox_matmul(w->weights, ox_unsqueeze(v, -1)), -1);
    }
    return ox_div(others(ox_mul(w->mean, v), w->top), w->rest);
}

static ox_val spread(const links *w, ox_val v)
{
    if (w->weights != NULL) {
        return ox_squeeze(ox_matmul(ox_unsqueeze(v, -2), w->weights), -2);
    }
    return ox_mul(w->mean, others(ox_div(v, w->rest), w->top));
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
    ox_val rest = log_of_others(p), rest0 = log_of_others(p0), d = ox_sub(r->x, r->x0);
    const links w = find_links(l, l0, rest, rest0), square = squared(w);
    ox_val g = ox_sub(d, gather(&w, d)), v = ox_add(r->v, gather(&square, r->v));
    ox_val a = slope_of_odds(ox_sub(l, rest), ox_sub(l0, rest0), p, p0, v);
    ox_val missing = ox_sub(ox_sub(p, p0), ox_mul(a, g));
    ox_val b = ox_div(missing, ox_shift(ox_unary("Relu", v), 1e-30));

    ox_val ma = ox_mul(r->m, a), mb = ox_mul(r->m, b);
    *second = ox_add(mb, spread(&square, mb));
    return ox_sub(ma, spread(&w, ma));
}
