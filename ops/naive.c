/* The naive twins of the flows: one number at a time, in double precision, straight from the
 * formulas. ONNXEXPLAINER_ISA=naive runs them; tests compare. */
#include "ops.h"

#include <math.h>

#define TINY 1e-37
#define LITTLE 1.2345678e-30

/* tanh(d)/d */
static double tanh_ratio(double d)
{
    return tanh(d + LITTLE) / (d + LITTLE);
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double slope_relu(const double *v)
{
    double above = fmax(fmax(v[1], 0), v[2]), below = fmin(fmin(v[1], -TINY), v[2]);
    return above / (above - below);
}

static double slope_mul(const double *v)
{
    return (v[1] + v[2]) / 2;
}

static double slope_sigmoid(const double *v)
{
    return tanh_ratio((v[1] - v[2]) / 2) * (v[3] + v[4] - 2 * v[3] * v[4]) / 2;
}

static double swish_end(double x, double alpha)
{
    double z = fmax(-40, fmin(40, x * alpha));
    return sigmoid(z) * (1 + z * (1 - sigmoid(z)));
}

static double slope_swish(const double *v)
{
    double z = v[1] * v[5], z0 = v[2] * v[5], s = sigmoid(z), s0 = sigmoid(z0);
    return s0 + tanh_ratio((z - z0) / 2) * (z * s + s0 * z * (1 - 2 * s)) / 2;
}

/* The divided difference itself. */
static double slope_swish_alone(const double *v)
{
    double dx = v[1] - v[2], dy = v[1] * sigmoid(v[1]) - v[2] * sigmoid(v[2]);
    return fabs(dx) < 1e-6 ? swish_end((v[1] + v[2]) / 2, 1) : dy / dx;
}

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
FLOW(0, swish_alone, "", 3)
ROW(add, 2, v[0] + v[1])
ROW(multiply, 2, v[0] * v[1])

const ops_isa ops_naive = {"naive", {OPS_FLOWS(ENTRY, 0) OPS_PARTS(ENTRY, 0)}};
