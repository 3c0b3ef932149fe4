/* Slopes of elementwise operators that are curved. */
#include "rules/unary.h"

/* ---- parts ------------------------------------------------------------------------------- */

/* (x - x0) factor + a little: the sum is 0 only where the difference is exactly minus that little,
 * which takes two different numbers below 1e-22. */
static ox_val distance(ox_val x, ox_val x0, double factor)
{
    ox_val d = factor == 1 ? ox_sub(x, x0) : ox_sub(ox_scale(x, factor), ox_scale(x0, factor));
    return ox_shift(d, 1.2345678e-30);
}

/* tanh(d)/d of d = (x - x0) factor. */
static ox_val tanh_ratio(ox_val x, ox_val x0, double factor)
{
    ox_val d = distance(x, x0, factor);
    return ox_div(ox_tanh(d), d);
}

/* sin(d)/d of d = (x - x0) factor. */
static ox_val sin_ratio(ox_val x, ox_val x0, double factor)
{
    ox_val d = distance(x, x0, factor);
    return ox_div(ox_unary("Sin", d), d);
}

/* The distance c at which the ratio of differences and the slopes at both ends weigh the same,
 * squared: c = 4 sqrt(epsilon). */
static double near_squared(ox_val x)
{
    return x->type == OX_DOUBLE ? 1.8e-15 : 9.5e-7;
}

/* Of an f without a closed form: the ratio dy/dx, weighted by dx^2, and the mean of f' at both
 * ends, weighted by c^2. Both lie between the least and the greatest f', and so does this. The
 * rounding of y is at worst divided by 2c; the mean of f' is off by f''' dx^2/12, of which its
 * weight leaves at most f''' c^2/12. So m dx is off by some epsilon max(1, abs y), as m dy is
 * anyway, and the slope by some epsilon/(2c): measured 1e-4 max(1, abs y) for floats where abs dx
 * is near c = 1e-3. */
static ox_val smooth(const ox_pair *p, ox_val f, ox_val f0)
{
    double near = near_squared(p->x);
    ox_val dx = ox_sub(p->x, p->x0), dy = ox_sub(p->y, p->y0);
    ox_val ends = ox_add(ox_scale(f, 0.5 * near), ox_scale(f0, 0.5 * near));
    return ox_div(ox_add(ox_mul(dy, dx), ends), ox_shift(ox_square(dx), near));
}

/* ---- exponentials and their inverses ----------------------------------------------------- */

/* dy = tanh(d) (1 - y y0) */
ox_val slope_tanh(const ox_pair *p)
{
    return ox_mul(tanh_ratio(p->x, p->x0, 1), ox_one_minus(ox_mul(p->y, p->y0)));
}

/* dy = tanh(d/2) (y + y0 - 2 y y0) */
ox_val slope_sigmoid(const ox_pair *p)
{
    ox_val half = ox_scale(p->y, 0.5), rest = ox_sub(ox_number(p->y, 0.5), p->y);
    return ox_mul(tanh_ratio(p->x, p->x0, 0.5), ox_add(ox_mul(p->y0, rest), half));
}

/* Of e^x, and with other sums in place of y + y0: dy = tanh(d/2) (y + y0). */
static ox_val exp_slope(ox_val x, ox_val x0, ox_val y, ox_val y0)
{
    return ox_mul(tanh_ratio(x, x0, 0.5), ox_mean(y, y0));
}

/* Masks of -inf would leave nothing of a difference; e^x that overflows is the infinity of which
 * 1/(1 + e^x) makes 0 again. */
ox_val slope_exp(const ox_pair *p)
{
    ox_val most = ox_number(p->y, ox_huge(p->y->type));
    ox_val y = ox_min(p->y, most), y0 = ox_min(p->y0, most);
    return exp_slope(ox_finite(p->x), ox_finite(p->x0), y, y0);
}

ox_val slope_sinh(const ox_pair *p)
{
    return exp_slope(p->x, p->x0, ox_unary("Cosh", p->x), ox_unary("Cosh", p->x0));
}

ox_val slope_cosh(const ox_pair *p)
{
    return exp_slope(p->x, p->x0, ox_unary("Sinh", p->x), ox_unary("Sinh", p->x0));
}

/* relu(x) + scale (e^(min(x, 0)/width) - 1): r + (1 - r) scale/width e', where r is the slope of
 * relu and e' that of e^(min(x, 0)/width). */
static ox_val elu_slope(const ox_pair *p, ox_val width, ox_val gradient)
{
    ox_val zero = ox_number(p->x, 0), u = ox_min(p->x, zero), u0 = ox_min(p->x0, zero);
    if (width != NULL) {
        u = ox_div(u, width);
        u0 = ox_div(u0, width);
    }
    ox_val r = slope_relu(p), e = exp_slope(u, u0, ox_exp(u), ox_exp(u0));
    e = gradient == NULL ? e : ox_mul(e, gradient);
    return ox_add(e, ox_mul(r, ox_one_minus(e)));
}

ox_val slope_elu(const ox_pair *p)
{
    return elu_slope(p, NULL, p->a);
}

ox_val slope_selu(const ox_pair *p)
{
    return ox_mul(elu_slope(p, NULL, p->a), p->b);
}

ox_val slope_celu(const ox_pair *p)
{
    return elu_slope(p, p->a, NULL);
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

/* ---- roots and quotients ------------------------------------------------------------------- */

/* The root of a normal number is above 1e-19: the addend matters where both sides are 0. */
ox_val slope_sqrt(const ox_pair *p)
{
    return ox_unary("Reciprocal", ox_add(p->y, ox_shift(p->y0, 1e-20)));
}

/* Through x, so that 1/infinity is no more 0 than slope_exp's infinity is one. */
ox_val slope_reciprocal(const ox_pair *p)
{
    ox_val y = ox_unary("Reciprocal", ox_finite(p->x));
    return ox_mul(y, ox_neg(ox_unary("Reciprocal", ox_finite(p->x0))));
}

/* -1/(r r0 (r + r0)) with r = sqrt x = x y. */
ox_val slope_inverse_root(const ox_pair *p)
{
    ox_val r = ox_mul(p->x, p->y), r0 = ox_mul(p->x0, p->y0);
    return ox_div(ox_mul(p->y, ox_neg(p->y0)), ox_add(r, r0));
}

ox_val slope_square(const ox_pair *p)
{
    return ox_add(p->x, p->x0);
}

/* x^2 + x x0 + x0^2 */
ox_val slope_cube(const ox_pair *p)
{
    ox_val squares = ox_add(ox_square(p->x), ox_square(p->x0));
    return ox_add(squares, ox_mul(p->x, p->x0));
}

/* As `smooth`, with distances measured by the lesser of abs x and abs x0, and f' = a y/x: powers
 * have no size of their own. */
ox_val slope_power(const ox_pair *p)
{
    ox_val size = ox_min(ox_abs(p->x), ox_abs(p->x0));
    ox_val near = ox_scale(ox_square(size), near_squared(p->x));
    ox_val dx = ox_sub(p->x, p->x0), dy = ox_sub(p->y, p->y0), half = ox_scale(p->a, 0.5);
    ox_val f = ox_div(ox_mul(p->y, half), ox_shift(p->x, OX_TINY));
    ox_val f0 = ox_div(ox_mul(p->y0, half), ox_shift(p->x0, OX_TINY));
    ox_val ends = ox_mul(near, ox_add(f, f0));
    ox_val weights = ox_add(ox_square(dx), ox_shift(near, OX_TINY));
    return ox_div(ox_add(ox_mul(dy, dx), ends), weights);
}

/* x/(1 + abs x): (1 + 2 a a0/(a + a0)) / ((1 + a)(1 + a0)) for different signs, a = abs x; for the
 * same sign without the quotient. */
ox_val slope_softsign(const ox_pair *p)
{
    ox_val a = ox_abs(p->x), a0 = ox_abs(p->x0), size = ox_add(a, ox_shift(a0, OX_TINY));
    ox_val both = ox_sub(ox_mul(ox_div(a, size), a0), ox_mul(ox_div(p->x, size), p->x0));
    ox_val inverse = ox_unary("Reciprocal", ox_shift(a, 1));
    ox_val inverse0 = ox_unary("Reciprocal", ox_shift(a0, 1));
    return ox_mul(ox_mul(ox_shift(both, 1), inverse), inverse0);
}

/* ---- circles and hyperbolas --------------------------------------------------------------- */

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

/* tan(dy/2) = d / (c + c0), c = sqrt(1 - x^2). Two neighbours at 1 have c = 3e-4: the addend only
 * matters where both sides are 1 or -1. */
ox_val slope_asin(const ox_pair *p)
{
    ox_val d = distance(p->x, p->x0, 1);
    ox_val c = ox_add(circle(p->x), ox_shift(circle(p->x0), 1e-12));
    return ox_scale(ox_div(ox_unary("Atan", ox_div(d, c)), d), 2);
}

ox_val slope_acos(const ox_pair *p)
{
    return ox_neg(slope_asin(p));
}

/* 1/(1 + x^2) */
static ox_val atan_slope(ox_val x)
{
    return ox_unary("Reciprocal", ox_shift(ox_square(x), 1));
}

ox_val slope_atan(const ox_pair *p)
{
    return smooth(p, atan_slope(p->x), atan_slope(p->x0));
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

/* sqrt((x - 1)(x + 1)); the addend as for asin. */
static ox_val hyperbola(ox_val x)
{
    return ox_sqrt(ox_mul(ox_shift(x, -1), ox_shift(x, 1)));
}

/* tanh(dy/2) = d / (s + s0), s = sqrt(x^2 - 1), and dy = log u with u = (x + s)/(x0 + s0). */
ox_val slope_acosh(const ox_pair *p)
{
    ox_val s = hyperbola(p->x), s0 = ox_shift(hyperbola(p->x0), 1e-12);
    ox_val u = ox_div(ox_add(p->x, s), ox_add(p->x0, s0));
    ox_val sum = ox_add(p->x0, s0);
    ox_val grown = ox_shift(ox_div(ox_add(p->x, p->x0), ox_add(s, s0)), 1);
    return ox_mul(log_ratio(u), ox_div(grown, sum));
}

/* ---- smooth steps --------------------------------------------------------------------------- */

/* 2/sqrt(pi) e^(-x^2) */
static ox_val erf_slope(ox_val x)
{
    return ox_scale(ox_exp(ox_neg(ox_square(x))), 1.1283791670955126);
}

ox_val slope_erf(const ox_pair *p)
{
    return smooth(p, erf_slope(p->x), erf_slope(p->x0));
}

ox_val slope_softplus(const ox_pair *p)
{
    return smooth(p, ox_unary("Sigmoid", p->x), ox_unary("Sigmoid", p->x0));
}

/* Phi(x) + x phi(x), where Phi is the normal distribution and phi its density */
static ox_val gelu_slope(ox_val x)
{
    ox_val z = ox_scale(x, 0.70710678118654752);
    ox_val phi = ox_scale(erf_slope(z), 0.5 * 0.70710678118654752);
    ox_val normal = ox_shift(ox_scale(ox_unary("Erf", z), 0.5), 0.5);
    return ox_add(normal, ox_mul(x, phi));
}

ox_val slope_gelu(const ox_pair *p)
{
    return smooth(p, gelu_slope(p->x), gelu_slope(p->x0));
}

/* x cut to where f' is neither 0 nor 1, so that powers of it do not overflow. */
static ox_val bent(ox_val x)
{
    return ox_clip(x, -40, 40);
}

/* y = x (1 + t)/2, t = tanh(k (x + e x^3)): (1 + t + x (1 - t^2) k (1 + 3 e x^2))/2 */
static ox_val gelu_tanh_slope(ox_val x)
{
    const double k = 0.79788456080286536, e = 0.044715;
    x = bent(x);
    ox_val square = ox_square(x);
    ox_val t = ox_tanh(ox_mul(ox_scale(x, k), ox_shift(ox_scale(square, e), 1)));
    ox_val inner = ox_mul(ox_scale(x, 0.5 * k), ox_shift(ox_scale(square, 3 * e), 1));
    return ox_add(ox_shift(ox_scale(t, 0.5), 0.5), ox_mul(inner, ox_one_minus(ox_square(t))));
}

ox_val slope_gelu_tanh(const ox_pair *p)
{
    return smooth(p, gelu_tanh_slope(p->x), gelu_tanh_slope(p->x0));
}

/* y = x t, t = tanh(softplus(x)): t + x (1 - t^2) sigmoid(x) */
static ox_val mish_slope(ox_val x)
{
    x = bent(x);
    ox_val t = ox_tanh(ox_unary("Softplus", x)), rest = ox_one_minus(ox_square(t));
    return ox_add(t, ox_mul(ox_mul(x, rest), ox_unary("Sigmoid", x)));
}

ox_val slope_mish(const ox_pair *p)
{
    return smooth(p, mish_slope(p->x), mish_slope(p->x0));
}

/* y = x s, s = sigmoid(z), z = alpha x: s0 + z ds/dz = s0 + tanh(d/2)/d (z s + s0 z (1 - 2 s)).
 * Takes no y0, which kernels divide by d. */
ox_val slope_swish(const ox_pair *p)
{
    ox_val z = ox_mul(p->x, p->a), z0 = ox_mul(p->x0, p->a);
    ox_val s = ox_unary("Sigmoid", z), s0 = ox_unary("Sigmoid", z0);
    ox_val rest = ox_mul(z, ox_sub(ox_number(z, 0.5), s)), half = ox_scale(ox_mul(z, s), 0.5);
    return ox_add(ox_mul(tanh_ratio(z, z0, 0.5), ox_add(ox_mul(s0, rest), half)), s0);
}
