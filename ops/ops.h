/* Kernels, one list of them for the registration, the instruction sets and the naive twins.
 *
 * A flow is the multiplier m times the slope of an elementwise operator. Its operands are m, x, x0
 * and what else the model-local function of the same name takes, in that order; all of them
 * broadcast. A kernel of a flow sees rows of `count` numbers of each operand, and may write over
 * any of them. */
#ifndef OPS_H
#define OPS_H

#include <stddef.h>

/* Flow of `<name>Flow` and `<name>SumFlow`, whose last operand is added to m: X(v, id, name,
 * operands). The formulas are those of docs/rules.md, spelled as in src/rules_*.c. */
#define OPS_FLOWS(X, v)                                                                            \
    X(v, relu, "Relu", 3)                                                                          \
    X(v, leaky_relu, "LeakyRelu", 4)                                                               \
    X(v, prelu, "PRelu", 4)                                                                        \
    X(v, prelu_slope, "PReluSlope", 3)                                                             \
    X(v, abs, "Abs", 3)                                                                            \
    X(v, clip, "Clip", 7)                                                                          \
    X(v, hard_sigmoid, "HardSigmoid", 5)                                                           \
    X(v, hard_swish, "HardSwish", 3)                                                               \
    X(v, step, "Step", 5)                                                                          \
    X(v, ceil, "Ceil", 5)                                                                          \
    X(v, floor, "Floor", 5)                                                                        \
    X(v, round, "Round", 5)                                                                        \
    X(v, sign, "Sign", 5)                                                                          \
    X(v, lower_bound, "LowerBound", 4)                                                             \
    X(v, upper_bound, "UpperBound", 4)                                                             \
    X(v, max, "Max", 5)                                                                            \
    X(v, min, "Min", 5)                                                                            \
    X(v, elu, "Elu", 4)                                                                            \
    X(v, selu, "Selu", 5)                                                                          \
    X(v, celu, "Celu", 4)                                                                          \
    X(v, tanh, "Tanh", 5)                                                                          \
    X(v, sigmoid, "Sigmoid", 5)                                                                    \
    X(v, exp, "Exp", 5)                                                                            \
    X(v, sqrt, "Sqrt", 5)                                                                          \
    X(v, reciprocal, "Reciprocal", 3)                                                              \
    X(v, square, "Square", 3)                                                                      \
    X(v, cube, "Cube", 3)                                                                          \
    X(v, inverse_root, "InverseRoot", 5)                                                           \
    X(v, power, "Power", 6)                                                                        \
    X(v, softsign, "Softsign", 3)                                                                  \
    X(v, atan, "Atan", 5)                                                                          \
    X(v, erf, "Erf", 5)                                                                            \
    X(v, softplus, "Softplus", 5)                                                                  \
    X(v, gelu, "Gelu", 5)                                                                          \
    X(v, gelu_tanh, "GeluTanh", 5)                                                                 \
    X(v, mish, "Mish", 5)                                                                          \
    X(v, swish, "Swish", 6)                                                                        \
    X(v, mul, "Mul", 3)                                                                            \
    X(v, dividend, "Dividend", 3)                                                                  \
    X(v, divisor, "Divisor", 5)                                                                    \
    X(v, divisor_of_exp, "DivisorOfExp", 5)                                                        \
    X(v, divide_constant, "DivideConstant", 4)                                                     \
    X(v, condition, "Condition", 7)

/* Flows along the last axis, of m, x and x0: `<name>Flow`. */
#define OPS_AXES(X, v)                                                                             \
    X(v, softmax, "Softmax", 3)                                                                    \
    X(v, log_softmax, "LogSoftmax", 3)                                                             \
    X(v, log_sum_exp, "LogSumExp", 3)

/* Rows without a function of their own: a + b, and a (b - c) + d. */
#define OPS_PARTS(X, v)                                                                            \
    X(v, add, "", 2)                                                                               \
    X(v, add_product, "", 4)

#define OPS_ID(v, id, name, operands) OPS_##id,
typedef enum ops_id {
    OPS_FLOWS(OPS_ID, 0) OPS_AXES(OPS_ID, 0) OPS_PARTS(OPS_ID, 0) OPS_COUNT
} ops_id;
#undef OPS_ID

#define OPS_MOST 8 /* operands of a row */

typedef void (*ops_row)(size_t count, float *out, const float *const *in);

/* The kernels for one instruction set. */
typedef struct ops_isa {
    const char *name;
    ops_row rows[OPS_COUNT];
} ops_isa;

extern const ops_isa ops_naive; /* double precision, straight from the formulas: what tests trust */
extern const ops_isa ops_plain;
extern const ops_isa ops_neon;
extern const ops_isa ops_avx2;
extern const ops_isa ops_avx512;

/* The best that the machine has, or the one that ONNXEXPLAINER_ISA names: naive, plain, neon, avx2
 * or avx512. A name that is not available here is passed over. isa.c */
const ops_isa *ops_isa_choose(void);

#endif
