/* The table of operators and of functions of ours that have a blocked form. */
#include <stdlib.h>
#include <string.h>

#include "tune/tune.h"

/* `finite`: of small operands of any value, zeros among them, the result is finite. What is not may
 * not see padded channels, where a filter's 0 would not make it vanish. It counts for what takes
 * blocks element by element (layout_elementwise). */
typedef struct row {
    const char *op;
    ox_layout layout;
    bool finite;
} row;

/* Of ONNX's own domain. */
static const row operators[] = {
    {"Abs", layout_elementwise, true},
    {"Add", layout_add, true},
    {"AveragePool", layout_pool, true},
    {"BatchNormalization", layout_batch_normalization, true},
    {"Concat", layout_concat, true},
    {"Conv", layout_conv, true},
    {"Div", layout_elementwise, false},
    {"Elu", layout_elementwise, true},
    {"Expand", layout_expand, true},
    {"GlobalAveragePool", layout_pool, true},
    {"GlobalMaxPool", layout_pool, true},
    {"HardSigmoid", layout_elementwise, true},
    {"HardSwish", layout_elementwise, true},
    {"LeakyRelu", layout_elementwise, true},
    {"Max", layout_elementwise, true},
    {"MaxPool", layout_pool, true},
    {"Min", layout_elementwise, true},
    {"Mul", layout_mul, true},
    {"Neg", layout_elementwise, true},
    {"ReduceSum", layout_reduce_sum, true},
    {"Relu", layout_elementwise, true},
    {"Reshape", layout_reshape, true},
    {"Resize", layout_resize, true},
    {"Shape", layout_shape, true},
    {"Sigmoid", layout_elementwise, true},
    {"Slice", layout_slice, true},
    {"Softplus", layout_elementwise, true},
    {"Sub", layout_elementwise, true},
    {"Sum", layout_elementwise, true},
    {"Tanh", layout_elementwise, true},
    {"Unsqueeze", layout_reshape, true},
};

/* `<op>Flow`, and `<op>SumFlow` where there is one. Those without a layout look at more than one
 * element; one that is not here stays as it is. */
static const row flows[] = {
    {"Abs", layout_flow, true},
    {"Acos", layout_flow, false},
    {"Acosh", layout_flow, false},
    {"Asin", layout_flow, false},
    {"Asinh", layout_flow, true},
    {"Atan", layout_flow, true},
    {"Atanh", layout_flow, false},
    {"Ceil", layout_flow, true},
    {"Celu", layout_flow, true},
    {"Clip", layout_flow, true},
    {"Condition", layout_flow, true},
    {"Cos", layout_flow, true},
    {"Cosh", layout_flow, true},
    {"Cube", layout_flow, true},
    {"DivideConstant", layout_flow, false},
    {"Dividend", layout_flow, false},
    {"Divisor", layout_flow, false},
    {"DivisorOfExp", layout_flow, false},
    {"Elu", layout_flow, true},
    {"Erf", layout_flow, true},
    {"Exp", layout_flow, true},
    {"Floor", layout_flow, true},
    {"Gelu", layout_flow, true},
    {"GeluTanh", layout_flow, true},
    {"Hardmax", NULL, false},
    {"HardSigmoid", layout_flow, true},
    {"HardSwish", layout_flow, true},
    {"InverseRoot", layout_flow, false},
    {"LeakyRelu", layout_flow, true},
    {"Log", layout_flow, false},
    {"LogSoftmax", NULL, false},
    {"LogSumExp", NULL, false},
    {"LowerBound", layout_flow, true},
    {"Max", layout_flow, true},
    {"Mean", NULL, false},
    {"Min", layout_flow, true},
    {"Mish", layout_flow, true},
    {"Mul", layout_mul_flow, true},
    {"PowBase", layout_flow, false},
    {"Power", layout_flow, false},
    {"PowExponent", layout_flow, false},
    {"PRelu", layout_flow, true},
    {"PReluSlope", layout_flow, true},
    {"Reciprocal", layout_flow, false},
    {"Relu", layout_flow, true},
    {"Round", layout_flow, true},
    {"Selu", layout_flow, true},
    {"Shrink", layout_flow, true},
    {"Sigmoid", layout_flow, true},
    {"Sign", layout_flow, true},
    {"Sin", layout_flow, true},
    {"Sinh", layout_flow, true},
    {"Softmax", NULL, false},
    {"Softplus", layout_flow, true},
    {"Softsign", layout_flow, true},
    {"Sqrt", layout_flow, false},
    {"Square", layout_flow, true},
    {"Step", layout_flow, true},
    {"Swish", layout_flow, true},
    {"Tan", layout_flow, true},
    {"Tanh", layout_flow, true},
    {"ThresholdedRelu", layout_flow, true},
    {"UpperBound", layout_flow, true},
    {"Winner", layout_winner_flow, true},
};

static const row *find(const row *table, size_t count, const char *op, size_t length)
{
    for (size_t i = 0; i < count; i++) {
        if (strncmp(table[i].op, op, length) == 0 && table[i].op[length] == '\0') {
            return &table[i];
        }
    }
    return NULL;
}

static bool ends(const char *op, size_t length, const char *with)
{
    size_t own = strlen(with);
    return length > own && strncmp(op + length - own, with, own) == 0;
}

/* The row of `<op>Flow` or `<op>SumFlow`; the phases of strided convolutions have one for all. */
static const row *find_ours(const char *op)
{
    static const row phases = {"", layout_phases, true};
    size_t length = strlen(op), count = sizeof flows / sizeof flows[0];
    if (strncmp(op, "Interleave", 10) == 0 || strncmp(op, "Spread", 6) == 0) {
        return &phases;
    }
    if (!ends(op, length, "Flow")) {
        return NULL;
    }
    length -= strlen("Flow");
    const row *found = find(flows, count, op, length);
    bool sum = found == NULL && ends(op, length, "Sum");
    return sum ? find(flows, count, op, length - strlen("Sum")) : found;
}

static const row *find_row(const ox_node *n)
{
    return strcmp(n->domain, "onnxexplainer") == 0 ? find_ours(n->op)
           : n->domain[0] == '\0'
               ? find(operators, sizeof operators / sizeof operators[0], n->op, strlen(n->op))
               : NULL;
}

ox_layout ox_tune_find(const ox_node *n)
{
    const row *r = find_row(n);
    return r == NULL ? NULL : r->layout;
}

bool ox_tune_finite(const ox_node *n)
{
    const row *r = find_row(n);
    return r != NULL && r->finite;
}
