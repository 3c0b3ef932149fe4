/* Functions of vectors, to one or two units in the last place. Polynomials are minimax fits. */
#ifndef OPS_VEC_MATH_H
#define OPS_VEC_MATH_H

#include "vec.h"

/* a + b x, and so on from the highest coefficient down. */
VEC vec vec_step(vec sum, vec x, float coefficient)
{
    return vec_fma(sum, x, vec_set(coefficient));
}

/* 2^n e^r with x = n log 2 + r; 0 and infinity where it does not fit. */
VEC vec vec_exp(vec x)
{
    x = vec_min(vec_set(89.0F), vec_max(vec_set(-104.0F), x));
    vec n = vec_round(vec_mul(x, vec_set(1.44269504F)));
    vec r = vec_fma(n, vec_set(-0.693359375F), x); /* exact: log 2 to ten bits */
    r = vec_fma(n, vec_set(2.12194440e-4F), r);
    vec p = vec_set(1.381450370e-3F);
    p = vec_step(p, r, 8.368773325e-3F);
    p = vec_step(p, r, 4.166839284e-2F);
    p = vec_step(p, r, 1.666652018e-1F);
    p = vec_step(p, r, 4.999999342e-1F);
    p = vec_add(vec_fma(vec_mul(p, r), r, r), vec_set(1));
    return vec_scale(p, n);
}

/* e^-x of x in [-89, 104], to two units in the last place */
VEC vec vec_exp_down(vec x)
{
    vec n = vec_round(vec_mul(x, vec_set(-1.44269504F)));
    vec r = vec_fma(n, vec_set(-0.693359375F), vec_sub(vec_set(0), x));
    r = vec_fma(n, vec_set(2.12194440e-4F), r);
    vec p = vec_step(vec_set(8.31252e-3F), r, 4.189015e-2F);
    p = vec_step(p, r, 1.6667115e-1F);
    p = vec_step(p, r, 4.9999232e-1F);
    return vec_scale(vec_add(vec_fma(vec_mul(p, r), r, r), vec_set(1)), n);
}

/* tanh(d/2)/(2 d) for abs d < 0.6, of t = d^2 */
VEC vec vec_quarter_tanh(vec t)
{
    vec p = vec_step(vec_set(-1.96743e-4F), t, 2.08044250e-3F);
    p = vec_step(p, t, -2.08331631e-2F);
    return vec_step(p, t, 0.25F);
}

/* tanh(d)/d for abs d < 0.625, of t = d^2 */
VEC vec vec_tanh_near(vec t)
{
    vec p = vec_set(-5.717091523e-3F);
    p = vec_step(p, t, 2.065063423e-2F);
    p = vec_step(p, t, -5.374351477e-2F);
    p = vec_step(p, t, 1.333149153e-1F);
    p = vec_step(p, t, -3.333328394e-1F);
    return vec_step(p, t, 1);
}

/* tanh(d)/d = (1 - e)/(1 + e)/a, a = abs d, e = e^-2a */
VEC vec vec_tanh_ratio(vec d)
{
    vec a = vec_abs(d), one = vec_set(1), e = vec_exp(vec_mul(a, vec_set(-2)));
    vec far = vec_div(vec_sub(one, e), vec_mul(vec_add(one, e), a));
    return vec_select(vec_less(a, vec_set(0.625F)), vec_tanh_near(vec_mul(d, d)), far);
}

#endif
