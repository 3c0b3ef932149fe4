/* Slopes that kernels of several files have, and what they are made of. */
#ifndef OPS_SLOPES_H
#define OPS_SLOPES_H

#include "vec_math.h"

#include <math.h>

#define TINY 1e-37F /* added to what may be 0 */
#define LARGE 1e37F /* stands for infinity where that would leave nothing of a difference */

static inline vec half(vec a)
{
    return vec_mul(a, vec_set(0.5F));
}

static inline vec mean(vec a, vec b)
{
    return vec_add(half(a), half(b));
}

static inline vec clip(vec x, float least, float greatest)
{
    return vec_max(vec_set(least), vec_min(vec_set(greatest), x));
}

static inline vec finite(vec x)
{
    return clip(x, -LARGE, LARGE);
}

static inline vec negative(vec x)
{
    return vec_sub(vec_set(0), x);
}

/* P/(P - M), P = max(relu x, x0), M = min(min(x, -tiny), x0) */
static inline vec slope_of_relu(vec x, vec x0)
{
    vec above = vec_max(vec_max(x, vec_set(0)), x0);
    vec below = vec_min(vec_min(x, vec_set(-TINY)), x0);
    return vec_div(above, vec_sub(above, below));
}

/* Of x s, s = 1/(1 + e), e = e^-x: mid(s) + mid(x) ds/d, with ds = s s0 (e0 - e), or
 * where that cancels ds/d = s s0 (e + e0) tanh(d/2)/d. Beyond -40 s is as good as 0; where both are
 * beyond 100 nothing is left of ds. */
static inline vec slope_of_swish(vec x, vec x0)
{
    vec one = vec_set(1), most = vec_set(40);
    vec e = vec_exp(vec_min(most, negative(x))), e0 = vec_exp(vec_min(most, negative(x0)));
    vec sum = half(vec_add(e, e0)), both = vec_mul(vec_add(one, e), vec_add(one, e0));
    x = finite(x);
    x0 = finite(x0);
    vec d = vec_sub(x, x0), h = half(d), middle = mean(x, x0);
    vec near = vec_mul(vec_mul(sum, vec_tanh_near(vec_mul(h, h))), clip(middle, -100, 100));
    vec far = vec_mul(middle, vec_div(vec_sub(e0, e), d));
    vec ds = vec_select(vec_less(vec_abs(h), vec_set(0.625F)), near, far);
    return vec_div(vec_add(ds, vec_add(sum, one)), both);
}

#endif
