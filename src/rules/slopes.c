/* Slopes of elementwise operators over values of a graph: those that kernels have, too, from
 * slopes.inc, and the others. */
#include "rules/second.h"

#include <float.h>
#include <math.h>

/* ---- the words of slopes.inc --------------------------------------------------------------- */

typedef ox_val num;
typedef ox_pair pair;
typedef ox_smoothed unit;
typedef ox_second flows;
#define SLOPE(id) ox_val slope_##id(const ox_pair *p)
#define UNIT(id) ox_smoothed unit_##id(const ox_pair *p, ox_val v)

#define num_like ox_number
#define num_add ox_add
#define num_sub ox_sub
#define num_mul ox_mul
#define num_div ox_div
#define num_min ox_min
#define num_max ox_max
#define num_abs ox_abs
#define num_neg ox_neg
#define num_exp ox_exp
#define num_tanh ox_tanh
#define num_scale ox_scale
#define num_shift ox_shift
#define num_apart ox_apart_from_zero
#define num_square ox_square
#define num_mean ox_mean
#define num_clip ox_clip
#define num_finite ox_finite
#define num_one_minus ox_one_minus
#define num_relu(a) ox_unary("Relu", a)
#define num_sqrt ox_sqrt
#define num_inverse(a) ox_unary("Reciprocal", a)
#define num_inverse_root(a) ox_unary("Reciprocal", ox_sqrt(a))
#define num_sigmoid(a) ox_unary("Sigmoid", a)
#define num_erf(a) ox_unary("Erf", a)
#define num_softplus(a) ox_unary("Softplus", a)
#define num_single(a) (a)
#define num_fma(a, b, c) ox_add(ox_mul(a, b), c)
#define num_plus(c, a, b) ox_add(c, ox_mul(a, b))
#define num_square_shift(a, term) ox_shift(ox_square(a), term)
#define num_greater(a, b) ox_indicator(ox_greater(a, b), a)
#define num_less(a, b) ox_indicator(ox_less(a, b), a)
#define num_equal(a, b) ox_indicator(ox_equal(a, b), b)
#define num_if_equal(a, b, then, otherwise) ox_where(ox_equal(a, b), then, otherwise)
#define num_below_infinity(a) ox_min(a, ox_number(a, ox_huge((a)->type)))

ox_val ox_one_minus(ox_val a)
{
    return ox_sub(ox_number(a, 1), a);
}

ox_val ox_indicator(ox_val condition, ox_val like)
{
    return ox_cast(condition, like->type);
}

ox_val ox_clip(ox_val x, double least, double greatest)
{
    ox_val in[] = {x, ox_number(x, least), ox_number(x, greatest)};
    return ox_graph_emit(x->graph, "Clip", 3, in, 0, NULL);
}

static ox_val num_tanh_ratio(ox_val d)
{
    return ox_div(ox_tanh(d), d);
}

static double num_near(ox_val like)
{
    return like->type == OX_DOUBLE ? OX_NEAR_DOUBLE : OX_NEAR;
}

static double num_epsilon(ox_val like)
{
    return like->type == OX_DOUBLE ? DBL_EPSILON : (double)FLT_EPSILON;
}

/* (f + f0)/2 times a weight, with one pass over the pairs. */
static ox_val num_mean_times(ox_val f, ox_val f0, double weight)
{
    return ox_add(ox_scale(f, 0.5 * weight), ox_scale(f0, 0.5 * weight));
}

#include "rules/slopes.inc"

ox_smoothed ox_unit_by_slope(const ox_pair *p, ox_val v, ox_val slope, ox_val dy)
{
    return by_slope(p, v, slope, dy);
}

/* Towards the straight path where V is not far above its rounding. B = (dy - A dx)/(V + rounding)
 * leaves dy - A dx there, which is small for the A of x and x0 alone. */
ox_val ox_sure_off(const ox_pair *p, ox_val v, ox_val off)
{
    ox_val known = ox_unary("Relu", v), least = ox_scale(rounding_of(p), 1000);
    return ox_mul(off, ox_div(known, ox_add(known, least)));
}

ox_second ox_unit_flows(const ox_pair *p, ox_val m, ox_val q, ox_smoothed u)
{
    return flows_of(p, m, q, u);
}

/* ---- straight pieces ----------------------------------------------------------------------- */

/* y = x s with the step s = (x > alpha): s + x0 ds/d. */
ox_val slope_thresholded_relu(const ox_pair *p)
{
    ox_val s = ox_indicator(ox_greater(p->x, p->a), p->x);
    ox_val s0 = ox_indicator(ox_greater(p->x0, p->a), p->x0);
    return ox_add(s, ox_mul(p->x0, step_ratio(p->x, p->x0, s, s0)));
}

/* The side of [-lambd, lambd] on which x lies: -1, 0 or 1. */
static ox_val side(ox_val x, ox_val lambd)
{
    return ox_sub(ox_indicator(ox_greater(x, lambd), x),
                  ox_indicator(ox_less(x, ox_neg(lambd)), x));
}

/* y = x s^2 - bias s with the steps s, the side of x: s^2 + (x0 (s + s0) - bias) ds/d. */
ox_val slope_shrink(const ox_pair *p)
{
    ox_val s = side(p->x, p->b), s0 = side(p->x0, p->b);
    ox_val jump = ox_sub(ox_mul(p->x0, ox_add(s, s0)), p->a);
    return ox_add(ox_abs(s), ox_mul(jump, step_ratio(p->x, p->x0, s, s0)));
}

/* ---- exponentials and their inverses ----------------------------------------------------- */

ox_val slope_sinh(const ox_pair *p)
{
    return exp_slope(p->x, p->x0, ox_unary("Cosh", p->x), ox_unary("Cosh", p->x0));
}

ox_val slope_cosh(const ox_pair *p)
{
    return exp_slope(p->x, p->x0, ox_unary("Sinh", p->x), ox_unary("Sinh", p->x0));
}

/* log(u)/(u - 1): the rounding of u does not matter, as it is the same above and below, and u is
 * either 1 or far enough from it for the tiny number to vanish. */
static ox_val log_ratio(ox_val u)
{
    return ox_div(ox_shift(ox_log(u), OX_TINY), ox_shift(ox_shift(u, -1), OX_TINY));
}

/* dy = log u and d = x0 (u - 1), u = x/x0. */
ox_val slope_log(const ox_pair *p)
{
    ox_val inverse = ox_unary("Reciprocal", p->x0);
    return ox_mul(log_ratio(ox_mul(p->x, inverse)), inverse);
}

/* dy = log(u)/2, u = (1 + x)(1 - x0) / ((1 - x)(1 + x0)), and u - 1 = 2d / ((1 - x)(1 + x0)). */
ox_val slope_atanh(const ox_pair *p)
{
    ox_val left = ox_unary("Reciprocal", ox_one_minus(p->x));
    ox_val right = ox_unary("Reciprocal", ox_shift(p->x0, 1));
    ox_val u = ox_mul(ox_mul(ox_shift(p->x, 1), left), ox_mul(ox_one_minus(p->x0), right));
    return ox_mul(log_ratio(u), ox_mul(left, right));
}

/* ---- circles and hyperbolas --------------------------------------------------------------- */

/* sin(d)/d of d = (x - x0) factor. */
static ox_val sin_ratio(ox_val x, ox_val x0, double factor)
{
    ox_val d = distance(x, x0, factor);
    return ox_div(ox_unary("Sin", d), d);
}

ox_val slope_sin(const ox_pair *p)
{
    return ox_mul(sin_ratio(p->x, p->x0, 0.5), ox_unary("Cos", ox_mean(p->x, p->x0)));
}

ox_val slope_cos(const ox_pair *p)
{
    ox_val sine = ox_unary("Sin", ox_neg(ox_mean(p->x, p->x0)));
    return ox_mul(sin_ratio(p->x, p->x0, 0.5), sine);
}

/* dy = sin(d) / (cos x cos x0) */
ox_val slope_tan(const ox_pair *p)
{
    ox_val inverse = ox_unary("Reciprocal", ox_unary("Cos", p->x));
    ox_val inverse0 = ox_unary("Reciprocal", ox_unary("Cos", p->x0));
    return ox_mul(ox_mul(sin_ratio(p->x, p->x0, 1), inverse), inverse0);
}

/* sqrt((1 - x)(1 + x)) */
static ox_val circle(ox_val x)
{
    return ox_sqrt(ox_mul(ox_one_minus(x), ox_shift(x, 1)));
}

/* The sum of both sides' roots, of which each is 0 at an end where the slope is infinite. The root
 * of the number next to there is at least that of epsilon, which the sum is where both sides are at
 * the same end, and x + x0 is 2 or -2: as steep as between neighbours, and no steeper. */
static ox_val roots(const ox_pair *p, ox_val root, ox_val root0)
{
    ox_val least = ox_scale(ox_abs(ox_mean(p->x, p->x0)), sqrt(num_epsilon(root)));
    return ox_max(ox_add(root, root0), least);
}

/* tan(dy/2) = d / (c + c0), c = sqrt(1 - x^2) */
ox_val slope_asin(const ox_pair *p)
{
    ox_val d = distance(p->x, p->x0, 1), c = roots(p, circle(p->x), circle(p->x0));
    return ox_scale(ox_div(ox_unary("Atan", ox_div(d, c)), d), 2);
}

ox_val slope_acos(const ox_pair *p)
{
    return ox_neg(slope_asin(p));
}

/* 1/sqrt(1 + x^2) */
static ox_val asinh_slope(ox_val x)
{
    return ox_unary("Reciprocal", ox_sqrt(ox_shift(ox_square(x), 1)));
}

ox_val slope_asinh(const ox_pair *p)
{
    return smooth(p, asinh_slope(p->x), asinh_slope(p->x0));
}

/* sqrt((x - 1)(x + 1)) */
static ox_val hyperbola(ox_val x)
{
    return ox_sqrt(ox_mul(ox_shift(x, -1), ox_shift(x, 1)));
}

/* tanh(dy/2) = d / (s + s0), s = sqrt(x^2 - 1), and dy = log u with u = (x + s)/(x0 + s0). */
ox_val slope_acosh(const ox_pair *p)
{
    ox_val s = hyperbola(p->x), s0 = hyperbola(p->x0), sum = ox_add(p->x0, s0);
    ox_val u = ox_div(ox_add(p->x, s), sum);
    ox_val grown = ox_shift(ox_div(ox_add(p->x, p->x0), roots(p, s, s0)), 1);
    return ox_mul(log_ratio(u), ox_div(grown, sum));
}
