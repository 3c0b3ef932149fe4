/* The table of operators that have a blocked form; functions of ours have theirs by kind. */
#include <stdlib.h>
#include <string.h>

#include "base/ours.h"
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

static const row *find_operator(const char *op)
{
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++) {
        if (strcmp(operators[i].op, op) == 0) {
            return &operators[i];
        }
    }
    return NULL;
}

/* Those that look at more than one element stay as they are. */
static ox_layout layout_of(const ox_ours *f)
{
    switch (f->kind) {
    case OX_OURS_ELEMENTS: return strcmp(f->name, "MulFlow") == 0 ? layout_mul_flow : layout_flow;
    case OX_OURS_WINNER: return layout_winner_flow;
    case OX_OURS_PHASES: return layout_phases;
    default: return NULL;
    }
}

ox_layout ox_tune_find(const ox_node *n)
{
    if (strcmp(n->domain, "onnxexplainer") == 0) {
        const ox_ours *f = ox_ours_find(n->op);
        return f == NULL ? NULL : layout_of(f);
    }
    const row *r = n->domain[0] == '\0' ? find_operator(n->op) : NULL;
    return r == NULL ? NULL : r->layout;
}

bool ox_tune_finite(const ox_node *n)
{
    if (strcmp(n->domain, "onnxexplainer") == 0) {
        const ox_ours *f = ox_ours_find(n->op);
        return f != NULL && f->finite;
    }
    const row *r = n->domain[0] == '\0' ? find_operator(n->op) : NULL;
    return r != NULL && r->finite;
}
