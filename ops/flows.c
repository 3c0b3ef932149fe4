/* Rows of the flows, compiled once for each instruction set (see CMakeLists.txt).
 *
 * A slope takes its operands as v[0] = m, v[1] = x, v[2] = x0, ...; the forms are those of the
 * model-local functions, so that both round alike where a ratio of small differences is taken. */
#include "slopes.h"
#include "variant.h"

#define LITTLE 1.2345678e-30F /* a difference that is never met by chance */
#define NEAR 9.5e-7F /* the square of the difference below which slopes count, not ratios */

/* ---- parts --------------------------------------------------------------------------------- */

/* tanh(d)/d, d = (x - x0)/2 */
static inline vec half_tanh_ratio(vec x, vec x0)
{
    return vec_tanh_ratio(vec_add(vec_sub(half(x), half(x0)), vec_set(LITTLE)));
}

/* (dy dx + c mean f') / (dx^2 + c) of f' at both ends */
static inline vec smooth(vec x, vec x0, vec y, vec y0, vec f, vec f0)
{
    vec dx = vec_sub(x, x0), dy = vec_sub(y, y0), near = vec_set(NEAR);
    vec ends = vec_mul(vec_add(f, f0), vec_set(0.5F * NEAR));
    return vec_div(vec_fma(dy, dx, ends), vec_fma(dx, dx, near));
}

/* 1 where the mask holds, else 0. */
static inline vec indicator(vec_mask mask)
{
    return vec_select(mask, vec_set(1), vec_set(0));
}

static inline vec inverse(vec x)
{
    return vec_div(vec_set(1), x);
}

static inline vec one_minus(vec x)
{
    return vec_sub(vec_set(1), x);
}

/* abs dy / abs dx, `still` where x == x0 */
static inline vec ratio(vec x, vec x0, vec y, vec y0, vec still)
{
    vec dy = vec_abs(vec_sub(y, y0)), dx = vec_abs(vec_sub(x, x0)), tiny = vec_set(TINY);
    return vec_div(vec_fma(still, tiny, dy), vec_add(dx, tiny));
}

/* ---- straight pieces ----------------------------------------------------------------------- */

static inline vec slope_relu(const vec *v)
{
    return slope_of_relu(v[1], v[2]);
}

/* (P + alpha N)/(P + N) */
static inline vec slope_leaky_relu(const vec *v)
{
    vec zero = vec_set(0), up = vec_max(v[1], zero), up0 = vec_max(v[2], zero);
    vec down = vec_max(negative(v[1]), zero);
    vec down0 = vec_add(vec_max(negative(v[2]), zero), vec_set(TINY));
    vec weighted = vec_add(vec_fma(v[3], down, up), vec_fma(v[3], down0, up0));
    return vec_div(weighted, vec_add(vec_add(up, down), vec_add(up0, down0)));
}

#define slope_prelu slope_leaky_relu

static inline vec slope_prelu_slope(const vec *v)
{
    vec zero = vec_set(0);
    return mean(vec_min(v[1], zero), vec_min(v[2], zero));
}

static inline vec slope_abs(const vec *v)
{
    vec size = vec_add(vec_abs(v[1]), vec_add(vec_abs(v[2]), vec_set(TINY)));
    return vec_div(vec_add(v[1], v[2]), size);
}

/* Takes the bounds as v[5] and v[6]. */
static inline vec slope_clip(const vec *v)
{
    vec above = indicator(vec_less(v[5], v[1])), below = indicator(vec_less(v[1], v[6]));
    return ratio(v[1], v[2], v[3], v[4], vec_mul(above, below));
}

/* alpha times the slope of the cut to [0, 1] of z = alpha x + beta */
static inline vec slope_hard_sigmoid(const vec *v)
{
    vec z = vec_add(vec_mul(v[1], v[3]), v[4]), z0 = vec_add(vec_mul(v[2], v[3]), v[4]);
    vec y = clip(z, 0, 1), inside = indicator(vec_equal(y, z));
    return vec_mul(ratio(z, z0, y, clip(z0, 0, 1), inside), v[3]);
}

/* (c + 3 + x0 dc/d)/6, c being x cut to [-3, 3] */
static inline vec slope_hard_swish(const vec *v)
{
    vec c = clip(v[1], -3, 3), inside = indicator(vec_equal(c, v[1]));
    vec cut = ratio(v[1], v[2], c, clip(v[2], -3, 3), inside), sixth = vec_set(1.0F / 6);
    return vec_fma(cut, vec_mul(v[2], sixth), vec_mul(vec_add(c, vec_set(3)), sixth));
}

static inline vec slope_ceil(const vec *v)
{
    return ratio(v[1], v[2], v[3], v[4], vec_set(0));
}

#define slope_floor slope_ceil
#define slope_round slope_ceil
#define slope_sign slope_ceil

/* dy/d, 0 where d is 0. Takes m, y, y0, x, x0. */
static inline vec slope_step(const vec *v)
{
    vec d = vec_sub(v[3], v[4]), dy = vec_sub(v[1], v[2]);
    vec_mask still = vec_equal(v[3], v[4]);
    return vec_div(vec_select(still, vec_set(0), dy), vec_select(still, vec_set(1), d));
}

/* max(a, b) = b + relu(a - b) and min(a, b) = b - relu(b - a), as functions of a. */
static inline vec slope_lower_bound(const vec *v)
{
    return slope_of_relu(vec_sub(v[1], v[3]), vec_sub(v[2], v[3]));
}

static inline vec slope_upper_bound(const vec *v)
{
    return slope_of_relu(vec_sub(v[3], v[1]), vec_sub(v[3], v[2]));
}

static inline vec slope_max(const vec *v)
{
    vec slope = slope_of_relu(vec_sub(v[1], v[3]), vec_sub(v[2], v[3]));
    return mean(slope, slope_of_relu(vec_sub(v[1], v[4]), vec_sub(v[2], v[4])));
}

static inline vec slope_min(const vec *v)
{
    vec slope = slope_of_relu(vec_sub(v[3], v[1]), vec_sub(v[3], v[2]));
    return mean(slope, slope_of_relu(vec_sub(v[4], v[1]), vec_sub(v[4], v[2])));
}

/* ---- products ------------------------------------------------------------------------------ */

static inline vec slope_mul(const vec *v)
{
    return mean(v[1], v[2]);
}

static inline vec slope_dividend(const vec *v)
{
    vec a_half = vec_set(0.5F);
    return vec_add(vec_div(a_half, v[1]), vec_div(a_half, v[2]));
}

/* -(y/b0 + y0/b)/2 */
static inline vec divisor(vec y, vec y0, vec b, vec b0)
{
    vec a_half = vec_set(-0.5F);
    return vec_fma(y, vec_div(a_half, b0), vec_mul(y0, vec_div(a_half, b)));
}

static inline vec slope_divisor(const vec *v)
{
    return divisor(v[1], v[2], v[3], v[4]);
}

/* The same of m, a, a0, b, b0. */
static inline vec slope_divisor_of_exp(const vec *v)
{
    vec b = finite(v[3]), b0 = finite(v[4]);
    return divisor(vec_div(v[1], b), vec_div(v[2], b0), b, b0);
}

/* -a/b/b0 of m, a, b, b0 */
static inline vec slope_divide_constant(const vec *v)
{
    return vec_mul(vec_div(negative(v[1]), finite(v[2])), inverse(finite(v[3])));
}

/* abs dc (mid(a) - mid(b)) of m, c, c0, a, a0, b, b0 */
static inline vec slope_condition(const vec *v)
{
    vec gain = vec_sub(half(finite(v[3])), half(finite(v[5])));
    vec gain0 = vec_sub(half(finite(v[4])), half(finite(v[6])));
    return vec_mul(vec_abs(vec_sub(v[1], v[2])), vec_add(gain, gain0));
}

/* ---- powers -------------------------------------------------------------------------------- */

static inline vec slope_sqrt(const vec *v)
{
    return inverse(vec_add(v[3], vec_add(v[4], vec_set(1e-20F))));
}

static inline vec slope_reciprocal(const vec *v)
{
    return vec_mul(inverse(finite(v[1])), vec_div(vec_set(-1), finite(v[2])));
}

static inline vec slope_square(const vec *v)
{
    return vec_add(v[1], v[2]);
}

static inline vec slope_cube(const vec *v)
{
    return vec_fma(v[1], v[2], vec_fma(v[1], v[1], vec_mul(v[2], v[2])));
}

/* -1/(r r0 (r + r0)), r = sqrt x = x y */
static inline vec slope_inverse_root(const vec *v)
{
    vec r = vec_add(vec_mul(v[1], v[3]), vec_mul(v[2], v[4]));
    return vec_div(vec_mul(v[3], negative(v[4])), r);
}

/* As `smooth`, with distances measured by the lesser of abs x and abs x0, and f' = a y/x. */
static inline vec slope_power(const vec *v)
{
    vec size = vec_min(vec_abs(v[1]), vec_abs(v[2])), tiny = vec_set(TINY);
    vec near = vec_mul(vec_mul(size, size), vec_set(NEAR)), a = half(v[5]);
    vec dx = vec_sub(v[1], v[2]), dy = vec_sub(v[3], v[4]);
    vec f = vec_div(vec_mul(v[3], a), vec_add(v[1], tiny));
    vec f0 = vec_div(vec_mul(v[4], a), vec_add(v[2], tiny));
    vec above = vec_fma(dy, dx, vec_mul(near, vec_add(f, f0)));
    return vec_div(above, vec_fma(dx, dx, vec_add(near, tiny)));
}

/* (1 + a a0 - x x0)/((1 + a)(1 + a0)), the products over a + a0, a = abs x */
static inline vec slope_softsign(const vec *v)
{
    vec a = vec_abs(v[1]), a0 = vec_abs(v[2]), size = vec_add(a, vec_add(a0, vec_set(TINY)));
    vec both = vec_sub(vec_mul(vec_div(a, size), a0), vec_mul(vec_div(v[1], size), v[2]));
    vec one = vec_set(1), left = inverse(vec_add(a, one)), right = inverse(vec_add(a0, one));
    return vec_mul(vec_mul(vec_add(both, one), left), right);
}

/* ---- exponentials -------------------------------------------------------------------------- */

/* tanh(d)/d (1 - y y0) */
static inline vec slope_tanh(const vec *v)
{
    vec d = vec_add(vec_sub(v[1], v[2]), vec_set(LITTLE));
    return vec_mul(vec_tanh_ratio(d), one_minus(vec_mul(v[3], v[4])));
}

/* tanh(d/2)/d (y + y0), of e^x and what is like it */
static inline vec exp_slope(vec x, vec x0, vec y, vec y0)
{
    return vec_mul(half_tanh_ratio(x, x0), mean(y, y0));
}

static inline vec slope_exp(const vec *v)
{
    vec most = vec_set(LARGE);
    return exp_slope(finite(v[1]), finite(v[2]), vec_min(most, v[3]), vec_min(most, v[4]));
}

/* relu(x) + scale (e^u - 1), u = min(x, 0)/width: e + r (1 - e) */
static inline vec elu(vec x, vec x0, vec u, vec u0, vec gradient)
{
    vec e = vec_mul(exp_slope(u, u0, vec_exp(u), vec_exp(u0)), gradient);
    return vec_fma(slope_of_relu(x, x0), one_minus(e), e);
}

static inline vec slope_elu(const vec *v)
{
    vec zero = vec_set(0);
    return elu(v[1], v[2], vec_min(v[1], zero), vec_min(v[2], zero), v[3]);
}

static inline vec slope_selu(const vec *v)
{
    return vec_mul(slope_elu(v), v[4]);
}

static inline vec slope_celu(const vec *v)
{
    vec zero = vec_set(0);
    vec u = vec_div(vec_min(v[1], zero), v[3]), u0 = vec_div(vec_min(v[2], zero), v[3]);
    return elu(v[1], v[2], u, u0, vec_set(1));
}

/* tanh(d/2)/d (y + y0 - 2 y y0) */
static inline vec slope_sigmoid(const vec *v)
{
    vec rest = vec_sub(vec_set(0.5F), v[3]);
    return vec_mul(half_tanh_ratio(v[1], v[2]), vec_fma(v[4], rest, half(v[3])));
}

static inline vec slope_atan(const vec *v)
{
    vec one = vec_set(1);
    vec f = inverse(vec_fma(v[1], v[1], one)), f0 = inverse(vec_fma(v[2], v[2], one));
    return smooth(v[1], v[2], v[3], v[4], f, f0);
}

/* 2/sqrt(pi) e^(-x^2) */
static inline vec erf_end(vec x)
{
    return vec_mul(vec_exp(negative(vec_mul(x, x))), vec_set(1.1283791670955126F));
}

static inline vec slope_erf(const vec *v)
{
    return smooth(v[1], v[2], v[3], v[4], erf_end(v[1]), erf_end(v[2]));
}

static inline vec sigmoid(vec x)
{
    return inverse(vec_add(vec_set(1), vec_exp(negative(x))));
}

static inline vec slope_softplus(const vec *v)
{
    return smooth(v[1], v[2], v[3], v[4], sigmoid(v[1]), sigmoid(v[2]));
}

/* Phi(x) + x phi(x), where Phi = y/x spares the error function. */
static inline vec gelu_end(vec x, vec y)
{
    vec phi = vec_mul(vec_exp(vec_mul(vec_mul(x, x), vec_set(-0.5F))), vec_set(0.39894228F));
    vec near = vec_fma(x, vec_set(0.39894228F), vec_set(0.5F));
    vec_mask small = vec_less(vec_abs(x), vec_set(1e-4F));
    return vec_fma(x, phi, vec_select(small, near, vec_div(y, x)));
}

static inline vec slope_gelu(const vec *v)
{
    return smooth(v[1], v[2], v[3], v[4], gelu_end(v[1], v[3]), gelu_end(v[2], v[4]));
}

/* y = x s, s = 1/(1 + e), e = e^-2u, u = k x + k c x^3: s + 2 x s^2 e u' */
static inline vec gelu_tanh_end(vec x)
{
    const float k = 0.79788456F, c = 0.044715F;
    x = clip(x, -40, 40);
    vec square = vec_mul(x, x), twice = vec_mul(x, vec_set(-2 * k));
    vec z = vec_mul(twice, vec_fma(square, vec_set(c), vec_set(1)));
    vec e = vec_exp(vec_min(vec_set(40), z)), s = inverse(vec_add(vec_set(1), e));
    vec inner = vec_mul(twice, vec_fma(square, vec_set(3 * c), vec_set(1)));
    return vec_mul(s, vec_sub(vec_set(1), vec_mul(inner, vec_mul(s, e))));
}

static inline vec slope_gelu_tanh(const vec *v)
{
    return smooth(v[1], v[2], v[3], v[4], gelu_tanh_end(v[1]), gelu_tanh_end(v[2]));
}

/* y = x t, t = tanh(log(1 + e)) = n/(n + 2), n = e (e + 2), e = e^x: t + 4 x e (1 + e)/(n + 2)^2 */
static inline vec mish_end(vec x)
{
    x = clip(x, -40, 20);
    vec e = vec_exp(x), n = vec_mul(e, vec_add(e, vec_set(2)));
    vec q = inverse(vec_add(n, vec_set(2))), rest = vec_mul(vec_mul(e, q), vec_mul(x, q));
    return vec_fma(vec_mul(rest, vec_set(4)), vec_add(e, vec_set(1)), vec_mul(n, q));
}

static inline vec slope_mish(const vec *v)
{
    return smooth(v[1], v[2], v[3], v[4], mish_end(v[1]), mish_end(v[2]));
}

/* Needs no y and y0, which take longer to read than it takes to do without them. */
static inline vec slope_swish(const vec *v)
{
    return slope_of_swish(vec_mul(v[1], v[5]), vec_mul(v[2], v[5]));
}

/* ---- rows ---------------------------------------------------------------------------------- */

/* Nothing that a row reads is written before it is read: out may be any of the operands. */
#if VEC_WIDTH == 1 && !defined(__clang__)
#define INDEPENDENT _Pragma("GCC ivdep")
#else
#define INDEPENDENT
#endif

#define ROW(id, operands, result)                                                                  \
    static void row_##id(size_t count, float *out, const float *const *in)                         \
    {                                                                                              \
        const float *p[operands];                                                                  \
        memcpy(p, in, sizeof p);                                                                   \
        size_t i = 0;                                                                              \
        INDEPENDENT                                                                                \
        for (; i + VEC_WIDTH <= count; i += VEC_WIDTH) {                                           \
            vec v[operands];                                                                       \
            for (int k = 0; k < operands; k++) {                                                   \
                v[k] = vec_load(p[k] + i);                                                         \
            }                                                                                      \
            vec_store(out + i, result);                                                            \
        }                                                                                          \
        if (i < count) {                                                                           \
            vec v[operands];                                                                       \
            for (int k = 0; k < operands; k++) {                                                   \
                v[k] = vec_load_part(p[k] + i, count - i);                                         \
            }                                                                                      \
            vec_store_part(out + i, result, count - i);                                            \
        }                                                                                          \
    }
#define FLOW(v_, id, name, operands) ROW(id, operands, vec_mul(v[0], slope_##id(v)))

OPS_FLOWS(FLOW, 0)
ROW(add, 2, vec_add(v[0], v[1]))
ROW(add_product, 4, vec_fma(v[0], vec_sub(v[1], v[2]), v[3]))

#define ENTRY(v, id, name, operands) row_##id,
#define AXIS_ENTRY(v, id, name, operands) OPS_VARIANT(row_##id),

const ops_isa OPS_VARIANT(ops) = {
    OPS_QUOTE(OPS_ISA), {OPS_FLOWS(ENTRY, 0) OPS_AXES(AXIS_ENTRY, 0) OPS_PARTS(ENTRY, 0)}};
