/* The functions of our own domain, one row each, from which the rules, the shapes, the layouts of
 * `tune`, the schemas and the kernels (ops/) have what they know of it.
 *
 * Most are flows, m times the slope of an elementwise operator. The slope itself is slope_<id>: in
 * rules/slopes.inc where there is a kernel, else in rules/slopes.c.
 *
 * The function `<name>Flow` takes m, x, x0, then y and y0 where `y` is 1, then `count` parameters.
 * Of a standard operator's parameter there is the attribute's name, or NULL for an input, and what
 * it is where the node does not say. `finite`: of small operands of any value, zeros among them,
 * the slope is finite (others may not see padded channels).
 *
 * X(id, name, y, count, finite, parameters...). cmake/schemas.py reads the rows, too. */
#ifndef OX_OURS_H
#define OX_OURS_H

#include <stdbool.h>

/* Those that have a kernel. */
#define OX_KERNEL_FLOWS(X)                                                                         \
    X(abs, "Abs", 0, 0, 1, {0})                                                                    \
    X(atan, "Atan", 1, 0, 1, {0})                                                                  \
    X(ceil, "Ceil", 1, 0, 1, {0})                                                                  \
    X(celu, "Celu", 0, 1, 1, {"alpha", 1})                                                         \
    X(clip, "Clip", 1, 2, 1, {NULL, -DBL_MAX}, {NULL, DBL_MAX})                                    \
    X(condition, "Condition", 1, 2, 1, {0})                                                        \
    X(cube, "Cube", 0, 0, 1, {0})                                                                  \
    X(divide_constant, "DivideConstant", 0, 1, 0, {0})                                             \
    X(dividend, "Dividend", 0, 0, 0, {0})                                                          \
    X(divisor, "Divisor", 1, 0, 0, {0})                                                            \
    X(divisor_of_exp, "DivisorOfExp", 1, 0, 0, {0})                                                \
    X(elu, "Elu", 0, 1, 1, {"alpha", 1})                                                           \
    X(erf, "Erf", 1, 0, 1, {0})                                                                    \
    X(exp, "Exp", 1, 0, 1, {0})                                                                    \
    X(floor, "Floor", 1, 0, 1, {0})                                                                \
    X(gelu, "Gelu", 1, 0, 1, {0})                                                                  \
    X(gelu_tanh, "GeluTanh", 1, 0, 1, {0})                                                         \
    X(hard_sigmoid, "HardSigmoid", 0, 2, 1, {"alpha", 0.2}, {"beta", 0.5})                         \
    X(hard_swish, "HardSwish", 0, 0, 1, {0})                                                       \
    X(inverse_root, "InverseRoot", 1, 0, 0, {0})                                                   \
    X(leaky_relu, "LeakyRelu", 0, 1, 1, {"alpha", 0.01})                                           \
    X(lower_bound, "LowerBound", 0, 1, 1, {0})                                                     \
    X(max, "Max", 0, 2, 1, {0})                                                                    \
    X(min, "Min", 0, 2, 1, {0})                                                                    \
    X(mish, "Mish", 1, 0, 1, {0})                                                                  \
    X(mul, "Mul", 0, 0, 1, {0})                                                                    \
    X(power, "Power", 1, 1, 0, {NULL, 0})                                                          \
    X(prelu, "PRelu", 0, 1, 1, {0})                                                                \
    X(prelu_slope, "PReluSlope", 0, 0, 1, {0})                                                     \
    X(reciprocal, "Reciprocal", 0, 0, 0, {0})                                                      \
    X(relu, "Relu", 0, 0, 1, {0})                                                                  \
    X(round, "Round", 1, 0, 1, {0})                                                                \
    X(selu, "Selu", 0, 2, 1, {"alpha", 1.67326319217681884}, {"gamma", 1.05070102214813232})       \
    X(sigmoid, "Sigmoid", 1, 0, 1, {0})                                                            \
    X(sign, "Sign", 1, 0, 1, {0})                                                                  \
    X(softplus, "Softplus", 1, 0, 1, {0})                                                          \
    X(softsign, "Softsign", 0, 0, 1, {0})                                                          \
    X(sqrt, "Sqrt", 1, 0, 0, {0})                                                                  \
    X(square, "Square", 0, 0, 1, {0})                                                              \
    X(step, "Step", 1, 0, 1, {0})                                                                  \
    X(swish, "Swish", 1, 1, 1, {"alpha", 1})                                                       \
    X(tanh, "Tanh", 1, 0, 1, {0})                                                                  \
    X(upper_bound, "UpperBound", 0, 1, 1, {0})

/* Those that run as functions only. */
#define OX_PLAIN_FLOWS(X)                                                                          \
    X(acos, "Acos", 0, 0, 0, {0})                                                                  \
    X(acosh, "Acosh", 0, 0, 0, {0})                                                                \
    X(asin, "Asin", 0, 0, 0, {0})                                                                  \
    X(asinh, "Asinh", 1, 0, 1, {0})                                                                \
    X(atanh, "Atanh", 0, 0, 0, {0})                                                                \
    X(cos, "Cos", 0, 0, 1, {0})                                                                    \
    X(cosh, "Cosh", 0, 0, 1, {0})                                                                  \
    X(log, "Log", 0, 0, 0, {0})                                                                    \
    X(shrink, "Shrink", 0, 2, 1, {"bias", 0}, {"lambd", 0.5})                                      \
    X(sin, "Sin", 0, 0, 1, {0})                                                                    \
    X(sinh, "Sinh", 0, 0, 1, {0})                                                                  \
    X(tan, "Tan", 0, 0, 1, {0})                                                                    \
    X(thresholded_relu, "ThresholdedRelu", 0, 1, 1, {"alpha", 1})

/* Flows along the last axis, of m, x and x0. X(id, name). */
#define OX_AXIS_FLOWS(X)                                                                           \
    X(softmax, "Softmax")                                                                          \
    X(log_softmax, "LogSoftmax")                                                                   \
    X(log_sum_exp, "LogSumExp")

/* All others but the kernels on blocks, which are `tune`'s. X(name, inputs, kind): inputs is 0
 * where nothing runs but the function. */
#define OX_OTHER_FUNCTIONS(X)                                                                      \
    X("HardmaxFlow", 0, OX_OURS_ROWS)                                                              \
    X("Interleave", 0, OX_OURS_PHASES)                                                             \
    X("MeanFlow", 3, OX_OURS_MEAN)                                                                 \
    X("PowBaseFlow", 0, OX_OURS_ELEMENTS)                                                          \
    X("PowExponentFlow", 0, OX_OURS_ELEMENTS)                                                      \
    X("Rounded", 2, OX_OURS_OPAQUE)                                                                \
    X("Spread", 0, OX_OURS_PHASES)                                                                 \
    X("TreeFlow", 9, OX_OURS_TREES)                                                                \
    X("WinnerFlow", 5, OX_OURS_WINNER)

typedef enum ox_kind {
    OX_OURS_ELEMENTS, /* element by element, with broadcasting */
    OX_OURS_ROWS,     /* the same, but that it looks along the last axis */
    OX_OURS_MEAN,     /* the mean over the references */
    OX_OURS_WINNER,   /* winners among the last axis of x */
    OX_OURS_PHASES,   /* of strided convolutions; numbers follow in the name */
    OX_OURS_TREES,    /* of leaves of trees */
    OX_OURS_OPAQUE,   /* its shape is told where it is made */
} ox_kind;

/* The operands of TreeFlow, for some leaves L of D features at most, J ranges a feature, the
 * targets T that they add to and the columns C that they look at. Samples and references meet in
 * all pairs, for each of B. A path that has less features is filled up with ranges that hold all. */
enum {
    OX_TREE_ACC,     /* [] or [K, B, R, N, C]: what the result is added to */
    OX_TREE_M,       /* [K, B, R or 1, N, T] */
    OX_TREE_X,       /* [B, N, features] */
    OX_TREE_X0,      /* [B, R, features] */
    OX_TREE_BOUNDS,  /* [3, J, L D]: least, greatest, above 0 where NaN is inside */
    OX_TREE_VALUE,   /* [L, T] */
    OX_TREE_WEIGHTS, /* [3, D + 1, D + 1]: of a and b, for P and for M; the identity */
    OX_TREE_FEATURE, /* [L, D], int64 */
    OX_TREE_COLUMNS, /* [C], int64: features, rising */
    OX_TREE_INPUTS
};

/* Features on a path that the kernel has bits for. */
#define OX_TREE_SIDES 32

typedef struct ox_ours {
    const char *name;
    ox_kind kind;
    bool finite;
} ox_ours;

/* The row of a function, `<name>SumFlow` being as `<name>Flow`; NULL where there is none. */
const ox_ours *ox_ours_find(const char *function);

/* How many operands a flow takes. */
#define OX_OPERANDS(y, count) (3 + 2 * (y) + (count))

/* Added to what may be 0: a normal number that vanishes beside everything above 1e-30. */
#define OX_TINY 1e-37

/* Stands for infinity where that would leave nothing of a difference, or 0 times infinity. */
#define OX_LARGE 1e37
#define OX_LARGE_DOUBLE 1e300

/* The distance c at which the ratio of differences and the slopes at both ends weigh the same,
 * squared: c = 4 sqrt(epsilon). */
#define OX_NEAR 9.5e-7
#define OX_NEAR_DOUBLE 1.8e-15

#endif
