/* The naive twins of the flows: one number at a time, in double precision. ONNXEXPLAINER_ISA=naive
 * runs them; tests compare. */
#include "num_double.h"
#include "ops.h"

#include <float.h>
#include <math.h>

/* ---- along an axis ------------------------------------------------------------------------- */

static double share(size_t count, float *mean, float *middle, const float *l, const float *l0)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        double a = fmaxf(l[i], -FLT_MAX), b = fmaxf(l0[i], -FLT_MAX);
        double slope = exp_slope(a, b, exp(a), exp(b));
        mean[i] = (float)slope;
        middle[i] = (float)((exp(a) + exp(b)) / 2);
        sum += slope;
    }
    return sum;
}

static double multiplier(const float *const *in, size_t i)
{
    return in[0][in[4] == NULL ? 0 : i];
}

/* Sums of one row: of L, m L and m. */
typedef struct sums {
    double mean, weighted, m;
} sums;

static sums add_up(size_t count, const float *const *in)
{
    sums s = {0};
    for (size_t i = 0; i < count; i++) {
        s.mean += in[1][i];
        s.weighted += multiplier(in, i) * in[1][i];
        s.m += multiplier(in, i);
    }
    return s;
}

static void row_softmax(size_t count, float *out, const float *const *in)
{
    sums s = add_up(count, in);
    for (size_t i = 0; i < count; i++) {
        out[i] = (float)(in[1][i] * (multiplier(in, i) - s.weighted / s.mean));
    }
}

static void row_log_softmax(size_t count, float *out, const float *const *in)
{
    sums s = add_up(count, in);
    for (size_t i = 0; i < count; i++) {
        out[i] = (float)(multiplier(in, i) - in[1][i] * s.m / s.mean);
    }
}

static void row_log_sum_exp(size_t count, float *out, const float *const *in)
{
    sums s = add_up(count, in);
    for (size_t i = 0; i < count; i++) {
        out[i] = (float)(multiplier(in, i) * in[1][i] / s.mean);
    }
}

/* Of d/s through d and through s^2 = mean(d^2). */
static void norm_row(size_t count, float *out, const float *const *in, bool centred)
{
    double s = in[3][0], s0 = in[4][0], weighted = 0, mean = 0;
    for (size_t i = 0; i < count; i++) {
        weighted -= in[0][i] * ((double)in[1][i] + in[2][i]) / (2 * s * s0);
    }
    double through = weighted / (s + s0 + 1e-20) / (double)count;
    for (size_t i = 0; i < count; i++) {
        double direct = in[0][i] * (0.5 / s + 0.5 / s0);
        double u = direct + through * ((double)in[1][i] + in[2][i]);
        mean += u / (double)count;
        out[i] = (float)u;
    }
    for (size_t i = 0; centred && i < count; i++) {
        out[i] = (float)(out[i] - mean);
    }
}

static void row_root_norm(size_t count, float *out, const float *const *in)
{
    norm_row(count, out, in, false);
}

static void row_layer_norm(size_t count, float *out, const float *const *in)
{
    norm_row(count, out, in, true);
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
#define KERNEL_FLOW(id, name, y, count, ...)                                                       \
    ROW(id, OX_OPERANDS(y, count), v[0] * slope_##id(&OPS_PAIR(y, count)))
#define ENTRY(id, ...) row_##id,
#include "base/flows.inc"

#define UNIT_ROW(id, name, y, count_of)                                                            \
    static void unit_row_##id(size_t count, float *out, float *second, const float *const *in)     \
    {                                                                                              \
        for (size_t i = 0; i < count; i++) {                                                       \
            double v[OX_UNIT_OPERANDS(y, count_of)];                                               \
            for (int k = 0; k < OX_UNIT_OPERANDS(y, count_of); k++) {                              \
                v[k] = in[k][i];                                                                   \
            }                                                                                      \
            pair p = OPS_UNIT_PAIR(y, count_of);                                                   \
            unit u = unit_##id(&p, v[5 + 2 * (y)] * v[6 + 2 * (y)]);                               \
            flows f = flows_of(&p, v[0], v[1] * v[2], u);                                          \
            out[i] = (float)f.m;                                                                   \
            second[i] = (float)f.q;                                                                \
        }                                                                                          \
    }
#define UNIT_ENTRY(id, ...) unit_row_##id,
OX_UNITS(UNIT_ROW)

ROW(add, 2, v[0] + v[1])
ROW(add_product, 4, v[0] * (v[1] - v[2]) + v[3])
ROW(add_scaled, 3, v[0] * v[1] + v[2])
ROW(add_gain_square, 4, v[0] * num_square(v[1] - v[2]) + v[3])
ROW(add_relu_gain_square, 4, v[0] * num_square(num_relu(v[1]) - num_relu(v[2])) + v[3])
ROW(add_mid_square, 4, v[0] * num_square(num_mean(v[1], v[2])) + v[3])

const ops_isa ops_naive = {"naive",
                           {
#define KERNEL_FLOW ENTRY
#include "base/flows.inc"
                               OX_AXIS_FLOWS(ENTRY) OX_NORM_FLOWS(ENTRY) OPS_PARTS(ENTRY)},
                           {OX_UNITS(UNIT_ENTRY)},
                           share,
                           ops_attention_naive_room,
                           ops_attention_naive};
