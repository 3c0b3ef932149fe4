/* Slopes of doubles, one at a time, for the naive twins: the words of rules/slopes.inc. What a twin
 * shows is that vectors compute the formulas; that these are right is for the rules' tests. */
#ifndef OPS_NUM_DOUBLE_H
#define OPS_NUM_DOUBLE_H

#include "base/ours.h"

#include <float.h>
#include <math.h>

typedef double num;

#include "num_pair.h"

#define num_add(a, b) ((a) + (b))
#define num_sub(a, b) ((a) - (b))
#define num_mul(a, b) ((a) * (b))
#define num_div(a, b) ((a) / (b))
#define num_min fmin
#define num_max fmax
#define num_abs fabs
#define num_exp exp
#define num_sqrt sqrt
#define num_inverse_root(a) (1 / sqrt(a))
#define num_epsilon(x) ((double)FLT_EPSILON)
#define num_tanh tanh
#define num_erf erf
#define num_tanh_ratio(d) (tanh(d) / (d))
#define num_fma(a, b, c) ((a) * (b) + (c))
#define num_like(x, n) ((double)(n))
#define num_near(x) OX_NEAR
#define num_scale(a, factor) ((a) * (factor))
#define num_shift(a, term) ((a) + (term))
#define num_apart num_shift
#define num_square(a) ((a) * (a))
#define num_square_shift(a, term) ((a) * (a) + (term))
#define num_plus(c, a, b) ((c) + (a) * (b))
#define num_one_minus(a) (1 - (a))
#define num_neg(a) (-(a))
#define num_relu(a) fmax(a, 0)
#define num_inverse(a) (1 / (a))
#define num_finite(a) num_clip(a, -OX_LARGE, OX_LARGE)
#define num_below_infinity(a) fmin(OX_LARGE, a)
#define num_mean(a, b) (((a) + (b)) / 2)
#define num_mean_times(a, b, weight) (((a) + (b)) / 2 * (weight))
#define num_single(a) ((double)(float)(a))
#define num_sigmoid(a) (1 / (1 + exp(-(a))))
#define num_softplus(a) log1p(exp(a))
#define num_less(a, b) ((double)((a) < (b)))
#define num_greater(a, b) ((double)((a) > (b)))
#define num_equal(a, b) ((double)((a) == (b)))
#define num_if_equal(a, b, then, otherwise) ((a) == (b) ? (then) : (otherwise))

static inline num num_clip(num a, num least, num most)
{
    return a < least ? least : a > most ? most : a; /* NaN stays */
}

#include "rules/slopes.inc"

#endif
