/* The naive twins of the flows: one number at a time, in double precision, straight from the
 * formulas. ONNXEXPLAINER_ISA=naive runs them; tests compare. */
#include "ops.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>

#define TINY 1e-37
#define LITTLE 1.2345678e-30
#define LARGE 1e37
#define NEAR 9.5e-7

/* ---- parts --------------------------------------------------------------------------------- */

/* tanh(d)/d */
static double tanh_ratio(double d)
{
    return tanh(d + LITTLE) / (d + LITTLE);
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double clip(double x, double least, double greatest)
{
    return x < least ? least : x > greatest ? greatest : x;
}

static double finite(double x)
{
    return clip(x, -LARGE, LARGE);
}

/* Of v = m, x, x0, y, y0, and f' at both ends. */
static double smooth(const double *v, double f, double f0)
{
    double dx = v[1] - v[2], dy = v[3] - v[4];
    return (dy * dx + NEAR * (f + f0) / 2) / (dx * dx + NEAR);
}

static double ratio(double x, double x0, double y, double y0, bool still)
{
    return (fabs(y - y0) + (still ? TINY : 0)) / (fabs(x - x0) + TINY);
}

/* ---- straight pieces ----------------------------------------------------------------------- */

static double ramp(double x, double x0)
{
    double above = fmax(fmax(x, 0), x0), below = fmin(fmin(x, -TINY), x0);
    return above / (above - below);
}

static double slope_relu(const double *v)
{
    return ramp(v[1], v[2]);
}

static double slope_leaky_relu(const double *v)
{
    double up = fmax(v[1], 0) + fmax(v[2], 0), down = fmax(-v[1], 0) + fmax(-v[2], 0) + TINY;
    return (up + v[3] * down) / (up + down);
}

#define slope_prelu slope_leaky_relu

static double slope_prelu_slope(const double *v)
{
    return (fmin(v[1], 0) + fmin(v[2], 0)) / 2;
}

static double slope_abs(const double *v)
{
    return (v[1] + v[2]) / (fabs(v[1]) + fabs(v[2]) + TINY);
}

static double slope_clip(const double *v)
{
    return ratio(v[1], v[2], v[3], v[4], v[5] < v[1] && v[1] < v[6]);
}

/* z as the operator has it, in single precision: the slope jumps where z meets a bound. */
static double slope_hard_sigmoid(const double *v)
{
    float alpha = (float)v[3], beta = (float)v[4];
    float product = (float)v[1] * alpha, product0 = (float)v[2] * alpha;
    float z = product + beta, z0 = product0 + beta;
    return ratio(z, z0, clip(z, 0, 1), clip(z0, 0, 1), z >= 0 && z <= 1) * alpha;
}

static double slope_hard_swish(const double *v)
{
    double c = clip(v[1], -3, 3);
    return (c + 3 + v[2] * ratio(v[1], v[2], c, clip(v[2], -3, 3), c == v[1])) / 6;
}

static double slope_ceil(const double *v)
{
    return ratio(v[1], v[2], v[3], v[4], false);
}

#define slope_floor slope_ceil
#define slope_round slope_ceil
#define slope_sign slope_ceil

static double slope_step(const double *v)
{
    return v[3] == v[4] ? 0 : (v[1] - v[2]) / (v[3] - v[4]);
}

static double slope_lower_bound(const double *v)
{
    return ramp(v[1] - v[3], v[2] - v[3]);
}

static double slope_upper_bound(const double *v)
{
    return ramp(v[3] - v[1], v[3] - v[2]);
}

static double slope_max(const double *v)
{
    return (ramp(v[1] - v[3], v[2] - v[3]) + ramp(v[1] - v[4], v[2] - v[4])) / 2;
}

static double slope_min(const double *v)
{
    return (ramp(v[3] - v[1], v[3] - v[2]) + ramp(v[4] - v[1], v[4] - v[2])) / 2;
}

/* ---- products and powers ------------------------------------------------------------------- */

static double slope_mul(const double *v)
{
    return (v[1] + v[2]) / 2;
}

static double slope_dividend(const double *v)
{
    return (1 / v[1] + 1 / v[2]) / 2;
}

static double slope_divisor(const double *v)
{
    return -(v[1] / v[4] + v[2] / v[3]) / 2;
}

static double slope_divisor_of_exp(const double *v)
{
    return -(v[1] + v[2]) / finite(v[3]) / finite(v[4]) / 2;
}

static double slope_divide_constant(const double *v)
{
    return -v[1] / finite(v[2]) / finite(v[3]);
}

static double slope_condition(const double *v)
{
    double a = finite(v[3]) + finite(v[4]), b = finite(v[5]) + finite(v[6]);
    return fabs(v[1] - v[2]) * (a - b) / 2;
}

static double slope_sqrt(const double *v)
{
    return 1 / (v[3] + v[4] + 1e-20);
}

static double slope_reciprocal(const double *v)
{
    return -1 / finite(v[1]) / finite(v[2]);
}

static double slope_square(const double *v)
{
    return v[1] + v[2];
}

static double slope_cube(const double *v)
{
    return v[1] * v[1] + v[1] * v[2] + v[2] * v[2];
}

static double slope_inverse_root(const double *v)
{
    return -v[3] * v[4] / (v[1] * v[3] + v[2] * v[4]);
}

static double slope_power(const double *v)
{
    double dx = v[1] - v[2], dy = v[3] - v[4], size = fmin(fabs(v[1]), fabs(v[2]));
    double near = size * size * NEAR;
    double ends = v[5] / 2 * (v[3] / (v[1] + TINY) + v[4] / (v[2] + TINY));
    return (dy * dx + near * ends) / (dx * dx + near + TINY);
}

static double slope_softsign(const double *v)
{
    double a = fabs(v[1]), a0 = fabs(v[2]);
    return (1 + (a * a0 - v[1] * v[2]) / (a + a0 + TINY)) / (1 + a) / (1 + a0);
}

/* ---- smooth functions ---------------------------------------------------------------------- */

static double slope_tanh(const double *v)
{
    return tanh_ratio(v[1] - v[2]) * (1 - v[3] * v[4]);
}

static double slope_sigmoid(const double *v)
{
    return tanh_ratio((v[1] - v[2]) / 2) * (v[3] + v[4] - 2 * v[3] * v[4]) / 2;
}

static double slope_exp(const double *v)
{
    double sum = fmin(v[3], LARGE) + fmin(v[4], LARGE);
    return tanh_ratio((finite(v[1]) - finite(v[2])) / 2) * sum / 2;
}

/* Of relu(x) + scale (e^u - 1), u = min(x, 0)/width. */
static double elu(const double *v, double scale, double width)
{
    double u = fmin(v[1], 0) / width, u0 = fmin(v[2], 0) / width, r = ramp(v[1], v[2]);
    double e = tanh_ratio((u - u0) / 2) * (exp(u) + exp(u0)) / 2 * scale / width;
    return e + r * (1 - e);
}

static double slope_elu(const double *v)
{
    return elu(v, v[3], 1);
}

static double slope_selu(const double *v)
{
    return elu(v, v[3], 1) * v[4];
}

static double slope_celu(const double *v)
{
    return elu(v, v[3], v[3]);
}

static double slope_atan(const double *v)
{
    return smooth(v, 1 / (1 + v[1] * v[1]), 1 / (1 + v[2] * v[2]));
}

static double erf_end(double x)
{
    return 1.1283791670955126 * exp(-x * x);
}

static double slope_erf(const double *v)
{
    return smooth(v, erf_end(v[1]), erf_end(v[2]));
}

static double slope_softplus(const double *v)
{
    return smooth(v, sigmoid(v[1]), sigmoid(v[2]));
}

static double gelu_end(double x)
{
    return 0.5 + 0.5 * erf(x * 0.70710678118654752) + x * 0.3989422804014327 * exp(-x * x / 2);
}

static double slope_gelu(const double *v)
{
    return smooth(v, gelu_end(v[1]), gelu_end(v[2]));
}

static double gelu_tanh_end(double x)
{
    const double k = 0.79788456080286536, c = 0.044715;
    double t = tanh(k * (x + c * x * x * x));
    return (1 + t + x * (1 - t * t) * k * (1 + 3 * c * x * x)) / 2;
}

static double slope_gelu_tanh(const double *v)
{
    return smooth(v, gelu_tanh_end(clip(v[1], -40, 40)), gelu_tanh_end(clip(v[2], -40, 40)));
}

static double mish_end(double x)
{
    double t = tanh(log1p(exp(x)));
    return t + x * (1 - t * t) * sigmoid(x);
}

static double slope_mish(const double *v)
{
    return smooth(v, mish_end(clip(v[1], -40, 40)), mish_end(clip(v[2], -40, 40)));
}

static double swish_end(double x)
{
    double z = clip(x, -40, 40);
    return sigmoid(z) * (1 + z * (1 - sigmoid(z)));
}

/* The divided difference itself. */
static double swish(double x, double x0)
{
    double dx = x - x0, dy = x * sigmoid(x) - x0 * sigmoid(x0);
    return fabs(dx) < 1e-6 ? swish_end((x + x0) / 2) : dy / dx;
}

static double slope_swish(const double *v)
{
    return swish(v[1] * v[5], v[2] * v[5]);
}

/* ---- along an axis ------------------------------------------------------------------------- */

/* What log softmax takes off each number of x. */
static double level(size_t count, const float *x)
{
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < count; i++) {
        most = fmax(most, x[i]);
    }
    for (size_t i = 0; i < count; i++) {
        sum += exp(x[i] - most);
    }
    return most + log(sum);
}

/* L = dy/dl at i, where `off` is what log softmax takes off each side. */
static double mean(const float *const *in, size_t i, const double *off)
{
    double l = fmax(in[1][i] - off[0], -FLT_MAX), l0 = fmax(in[2][i] - off[1], -FLT_MAX);
    return tanh_ratio((l - l0) / 2) * (exp(l) + exp(l0)) / 2;
}

static double multiplier(const float *const *in, size_t i)
{
    return in[0][in[3] == NULL ? 0 : i];
}

/* Sums of one row: of L, m L and m. */
typedef struct sums {
    double off[2], mean, weighted, m;
} sums;

static sums add_up(size_t count, const float *const *in)
{
    sums s = {.off = {level(count, in[1]), level(count, in[2])}};
    for (size_t i = 0; i < count; i++) {
        double share = mean(in, i, s.off);
        s.mean += share;
        s.weighted += multiplier(in, i) * share;
        s.m += multiplier(in, i);
    }
    return s;
}

static void row_softmax(size_t count, float *out, const float *const *in)
{
    sums s = add_up(count, in);
    for (size_t i = 0; i < count; i++) {
        out[i] = (float)(mean(in, i, s.off) * (multiplier(in, i) - s.weighted / s.mean));
    }
}

static void row_log_softmax(size_t count, float *out, const float *const *in)
{
    sums s = add_up(count, in);
    for (size_t i = 0; i < count; i++) {
        out[i] = (float)(multiplier(in, i) - mean(in, i, s.off) * s.m / s.mean);
    }
}

static void row_log_sum_exp(size_t count, float *out, const float *const *in)
{
    sums s = add_up(count, in);
    for (size_t i = 0; i < count; i++) {
        out[i] = (float)(multiplier(in, i) * mean(in, i, s.off) / s.mean);
    }
}

/* ---- rows ---------------------------------------------------------------------------------- */

#define ROW(id, operands, result)                                                                  \
    static void row_##id(size_t count, float *out, const float *const *in)                         \
    {                                                                                              \
        for (size_t i = 0; i < count; i++) {                                                       \
            double v[operands];                                                                    \
            for (int k = 0; k < operands; k++) {                                                   \
                v[k] = in[k][i];                                                                   \
            }                                                                                      \
            out[i] = (float)(result);                                                              \
        }                                                                                          \
    }
#define FLOW(v_, id, name, operands) ROW(id, operands, v[0] * slope_##id(v))
#define ENTRY(v, id, name, operands) row_##id,

OPS_FLOWS(FLOW, 0)
ROW(add, 2, v[0] + v[1])
ROW(add_product, 4, v[0] * (v[1] - v[2]) + v[3])

const ops_isa ops_naive = {"naive", {OPS_FLOWS(ENTRY, 0) OPS_AXES(ENTRY, 0) OPS_PARTS(ENTRY, 0)}};
