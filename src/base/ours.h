/* The functions of our own domain, a row each, from which the rules, the shapes, the layouts of
 * `tune`, the schemas and the kernels (ops/) have what they know of it: flows of elementwise
 * operators in base/flows.inc, the others here. cmake/schemas.py reads the rows, too. */
#ifndef OX_OURS_H
#define OX_OURS_H

#include <stdbool.h>

/* Flows along the last axis, of m and of l and l0, the logarithms of what Softmax makes of both
 * sides. X(id, name). */
#define OX_AXIS_FLOWS(X)                                                                           \
    X(softmax, "SoftmaxScores")                                                                    \
    X(log_softmax, "LogSoftmaxScores")                                                             \
    X(log_sum_exp, "LogSumExpScores")

/* Along the last axis, of m, d, d0 and numbers s and s0 of each row: d/s, where s is the root of
 * the mean of d^2; that where d is x less its mean, back to x. */
#define OX_NORM_FLOWS(X)                                                                           \
    X(root_norm, "RootNorm")                                                                       \
    X(layer_norm, "LayerNorm")

/* Units of the second order, which bend what comes in: m, Q, x, x0 become multipliers of x and of
 * its V. X(id, name, y, count): `<name>Unit` takes m, Q as two factors, x, x0, then y and y0 where
 * `y` is 1, V as two factors, then `count` parameters. unit_<id> stands in rules/units.inc; in
 * rules/smooth.c that of a plain one, which has no kernel. Of the third order x and x0 are moved
 * to the mean path, but not y and y0. */
#define OX_UNITS(X)                                                                                \
    X(abs, "Abs", 0, 0)                                                                            \
    X(celu, "Celu", 1, 1)                                                                          \
    X(clip, "Clip", 1, 2)                                                                          \
    X(elu, "Elu", 1, 1)                                                                            \
    X(hard_sigmoid, "HardSigmoid", 1, 2)                                                           \
    X(hard_swish, "HardSwish", 1, 0)                                                               \
    X(leaky_relu, "LeakyRelu", 0, 1)                                                               \
    X(prelu, "PRelu", 0, 1)                                                                        \
    X(relu, "Relu", 0, 0)                                                                          \
    X(relu_off, "ReluOff", 1, 0)                                                                   \
    X(selu, "Selu", 1, 2)                                                                          \
    X(sigmoid, "Sigmoid", 1, 0)                                                                    \
    X(softsign, "Softsign", 1, 0)                                                                  \
    X(swish, "Swish", 1, 1)                                                                        \
    X(tanh, "Tanh", 1, 0)
#define OX_PLAIN_UNITS(X)                                                                          \
    X(erf, "Erf", 1, 0)                                                                            \
    X(gelu, "Gelu", 1, 0)                                                                          \
    X(gelu_tanh, "GeluTanh", 1, 0)                                                                 \
    X(mish, "Mish", 1, 0)                                                                          \
    X(softplus, "Softplus", 1, 0)

/* How many operands a unit takes; `<name>SumUnit` takes two more, which are added to m and to Q. */
#define OX_UNIT_OPERANDS(y, count) (7 + 2 * (y) + (count))

/* All others but the kernels on blocks, which are `tune`'s. X(name, inputs, kind): inputs is 0
 * where nothing runs but the function. */
#define OX_OTHER_FUNCTIONS(X)                                                                      \
    X("AttentionFlow", 0, OX_OURS_ATTENTION)                                                       \
    X("ChannelSum", 2, OX_OURS_CHANNELS)                                                           \
    X("ChannelSumOfGains", 3, OX_OURS_CHANNELS)                                                    \
    X("ChannelSumOfReluGains", 3, OX_OURS_CHANNELS)                                                \
    X("ChannelSumOfMids", 3, OX_OURS_CHANNELS)                                                     \
    X("HardmaxFlow", 0, OX_OURS_ROWS)                                                              \
    X("Interleave", 0, OX_OURS_PHASES)                                                             \
    X("MeanFlow", 3, OX_OURS_MEAN)                                                                 \
    X("PowBaseFlow", 0, OX_OURS_ELEMENTS)                                                          \
    X("PowExponentFlow", 0, OX_OURS_ELEMENTS)                                                      \
    X("Rounded", 2, OX_OURS_OPAQUE)                                                                \
    X("Spread", 0, OX_OURS_PHASES)                                                                 \
    X("Sweep", 0, OX_OURS_OPAQUE)                                                                  \
    X("TreeFlow", 9, OX_OURS_TREES)                                                                \
    X("WinnerFlow", 5, OX_OURS_WINNER)

typedef enum ox_kind {
    OX_OURS_ELEMENTS,  /* element by element, with broadcasting */
    OX_OURS_UNIT,      /* the same, with two results */
    OX_OURS_ROWS,      /* the same, but that it looks along the last axis */
    OX_OURS_CHANNELS,  /* sums over the third axis from behind, which stays with length 1 */
    OX_OURS_MEAN,      /* the mean over the references */
    OX_OURS_WINNER,    /* winners among the last axis of x */
    OX_OURS_ATTENTION, /* products of matrices; their rank follows in the name */
    OX_OURS_PHASES,    /* of strided convolutions; numbers follow in the name */
    OX_OURS_TREES,     /* of leaves of trees */
    OX_OURS_OPAQUE,    /* its shape is told where it is made; more follows in the name */
} ox_kind;

/* The operands of TreeFlow, for some leaves L of D features at most, J ranges a feature, the
 * targets T that they add to and the columns C that they look at. Samples and references meet in
 * all pairs, for each of B. A path that has less features is filled up with ranges that hold all.
 */
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

/* The same, also of `<name>FlowDouble`, which takes doubles and has neither kernel nor plan. */
const ox_ours *ox_ours_find_any(const char *function);

/* How many operands a flow takes. */
#define OX_OPERANDS(y, count) (3 + 2 * (y) + (count))

/* Added to what may be 0: a normal number that vanishes beside everything above 1e-30. */
#define OX_TINY 1e-37

/* Stands for infinity where that would leave nothing of a difference, or 0 times infinity. */
#define OX_LARGE 1e37

/* The distance c at which the ratio of differences and the slopes at both ends weigh the same,
 * squared: c = 4 sqrt(epsilon). */
#define OX_NEAR 9.5e-7
#define OX_NEAR_DOUBLE 1.8e-15

#endif
