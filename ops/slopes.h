#ifndef OPS_SLOPES_H
#define OPS_SLOPES_H
#include "vec_math.h"
#include <math.h>
static inline vec slope_of_relu(vec x, vec x0)
{
    vec above = vec_max(vec_max(x, vec_set(0)), x0);
    vec below = vec_min(vec_min(x, vec_set(-1e-37F)), x0);
    return vec_div(above, vec_sub(above, below));
}
static inline vec half_of(vec a)
{
    return vec_mul(a, vec_set(0.5F));
}
static inline vec slope_of_swish(vec x, vec x0)
{
    vec d = vec_sub(x, x0), h = half_of(d), one = vec_set(1);
    vec most = vec_set(40);
    vec e = vec_exp(vec_min(most, vec_sub(vec_set(0), x)));
    vec e0 = vec_exp(vec_min(most, vec_sub(vec_set(0), x0)));
    vec sum = vec_add(e, e0), both = vec_mul(vec_add(one, e), vec_add(one, e0));
    vec near = vec_mul(half_of(sum), vec_tanh_near(vec_mul(h, h)));
    vec far = vec_div(vec_sub(e0, e), d);
    vec ds = vec_select(vec_less(vec_abs(h), vec_set(0.625F)), near, far);
    return vec_div(vec_fma(half_of(vec_add(x, x0)), ds, vec_fma(sum, vec_set(0.5F), one)), both);
}
#endif
