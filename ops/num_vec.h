/* Slopes of vectors: the words of rules/slopes.inc over vec.h. Kernels and the model-local
 * functions so have one form, and round alike where a ratio of small differences is taken. */
#ifndef OPS_NUM_VEC_H
#define OPS_NUM_VEC_H

#include "base/ours.h"
#include "vec_math.h"

#include <float.h>
#include <math.h>

typedef vec num;

#include "num_pair.h"

#define num_add vec_add
#define num_sub vec_sub
#define num_mul vec_mul
#define num_div vec_div
#define num_min vec_min
#define num_max vec_max
#define num_abs vec_abs
#define num_exp vec_exp
#define num_sqrt vec_sqrt
#define num_inverse_root(a) num_inverse(vec_sqrt(a))
#define num_epsilon(x) ((double)FLT_EPSILON)
#define num_tanh_ratio vec_tanh_ratio
#define num_fma vec_fma
#define num_of(n) vec_set((float)(n))
#define num_like(x, n) num_of(n)
#define num_near(x) OX_NEAR
#define num_scale(a, factor) vec_mul(a, num_of(factor))
#define num_shift(a, term) vec_add(a, num_of(term))
#define num_apart num_shift
#define num_square(a) vec_mul(a, a)
#define num_square_shift(a, term) vec_fma(a, a, num_of(term))
#define num_plus(c, a, b) vec_fma(a, b, c)
#define num_one_minus(a) vec_sub(num_of(1), a)
#define num_neg(a) vec_sub(num_of(0), a)
#define num_relu(a) vec_max(a, num_of(0))
#define num_inverse(a) vec_div(num_of(1), a)
#define num_clip(a, least, most) vec_max(num_of(least), vec_min(num_of(most), a))
#define num_finite(a) num_clip(a, -OX_LARGE, OX_LARGE)
#define num_below_infinity(a) vec_min(num_of(OX_LARGE), a)
#define num_mean(a, b) vec_add(num_scale(a, 0.5), num_scale(b, 0.5))
#define num_mean_times(a, b, weight) num_scale(vec_add(a, b), 0.5 * (weight))
#define num_single(a) (a)
#define num_sigmoid(a) num_inverse(vec_add(num_of(1), vec_exp(num_neg(a))))
#define num_less(a, b) vec_select(vec_less(a, b), num_of(1), num_of(0))
#define num_greater(a, b) num_less(b, a)
#define num_equal(a, b) num_if_equal(a, b, num_of(1), num_of(0))
#define num_if_equal(a, b, then, otherwise) vec_select(vec_equal(a, b), then, otherwise)

/* Vectors have no erf, but e^x. Of tanh f' comes with one quotient so, and no 1 - t^2
 * that cancels. */
#define OX_OWN_ENDS

/* Phi(x) + x phi(x), where Phi = y/x spares the error function. */
static inline num gelu_end(num x, num y)
{
    num phi = num_scale(vec_exp(num_scale(num_square(x), -0.5)), 0.39894228);
    num near = vec_fma(x, num_of(0.39894228), num_of(0.5));
    vec_mask small = vec_less(vec_abs(x), num_of(1e-4));
    return vec_fma(x, phi, vec_select(small, near, vec_div(y, x)));
}

/* y = x s, s = 1/(1 + e), e = e^-2u, u = k x + k c x^3: s + 2 x s^2 e u' */
static inline num gelu_tanh_end(num x)
{
    const double k = 0.79788456080286536, c = 0.044715;
    x = num_clip(x, -40, 40);
    num square = num_square(x), twice = num_scale(x, -2 * k);
    num z = num_mul(twice, vec_fma(square, num_of(c), num_of(1)));
    num e = vec_exp(vec_min(num_of(40), z)), s = num_inverse(vec_add(num_of(1), e));
    num inner = num_mul(twice, vec_fma(square, num_of(3 * c), num_of(1)));
    return num_mul(s, num_one_minus(num_mul(inner, num_mul(s, e))));
}

/* y = x t, t = tanh(log(1 + e)) = n/(n + 2), n = e (e + 2), e = e^x: t + 4 x e (1 + e)/(n + 2)^2 */
static inline num mish_end(num x)
{
    x = num_clip(x, -40, 20);
    num e = vec_exp(x), n = num_mul(e, num_shift(e, 2));
    num q = num_inverse(num_shift(n, 2)), rest = num_mul(num_mul(e, q), num_mul(x, q));
    return vec_fma(num_scale(rest, 4), num_shift(e, 1), num_mul(n, q));
}

/* tanh, of which nothing is left of 1 beyond 20. */
static inline num num_tanh(num x)
{
    x = num_clip(x, -20, 20);
    return num_mul(x, vec_tanh_ratio(x));
}

/* e^-x, as swish_beside takes it of either side: beyond -40 s is as good as 0. */
static inline num swish_down(num x)
{
    return vec_exp_down(num_clip(x, -40, 104));
}

/* Of x s, s = 1/(1 + e), e = e^-x: s s0 (1 + (e + e0)/2 + (x + x0)/2 (e0 - e)/d), d = x - x0, where
 * the quotient cancels (e + e0) tanh(d/2)/d in its place: two e^x in place of three. Where both are
 * beyond -100 nothing is left of it. */
static inline num swish_beside(num x, num e, num x0)
{
    num e0 = swish_down(x0);
    num both = num_mul(num_shift(e, 1), num_shift(e0, 1)), ends = num_add(e, e0);
    x = num_finite(x);
    x0 = num_finite(x0);
    num d = num_sub(x, x0), sum = num_add(x, x0), middle = vec_max(sum, num_of(-200));
    num near = vec_fma(middle, vec_quarter_tanh(num_square(d)), num_of(0.5));
    near = vec_fma(ends, near, num_of(1));
    num steep = num_div(num_sub(e0, e), num_add(d, d));
    num far = vec_fma(sum, steep, vec_fma(ends, num_of(0.5), num_of(1)));
    return num_div(vec_select(vec_less(num_abs(d), num_of(0.6)), near, far), both);
}

static inline num swish_of(num x, num x0)
{
    return swish_beside(x, swish_down(x), x0);
}

/* The same and width s (1 - s), of which the slope is width (1 - s - s0) ds/d, with ds/d =
 * s s0 (e0 - e)/d. */
static inline num widened_swish_of(num x, num x0, num width)
{
    num most = num_of(40);
    num e = vec_exp(vec_min(most, num_neg(x))), e0 = vec_exp(vec_min(most, num_neg(x0)));
    num sum = num_scale(num_add(e, e0), 0.5);
    num inverse = num_inverse(num_mul(num_shift(e, 1), num_shift(e0, 1)));
    x = num_finite(x);
    x0 = num_finite(x0);
    num d = num_sub(x, x0), h = num_scale(d, 0.5), middle = num_mean(x, x0);
    num more = num_mul(width, num_mul(num_shift(num_mul(e, e0), -1), inverse));
    num near = num_mul(sum, vec_tanh_near(num_square(h))), far = num_div(num_sub(e0, e), d);
    near = num_mul(near, num_add(num_clip(middle, -100, 100), more));
    far = num_mul(num_add(middle, more), far);
    num ds = vec_select(vec_less(num_abs(h), num_of(0.625)), near, far);
    return num_mul(num_add(ds, num_shift(sum, 1)), inverse);
}

#include "rules/slopes.inc"

#endif
