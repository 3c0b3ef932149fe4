/* The table of operators that have a blocked form. */
#include <stdlib.h>
#include <string.h>

#include "tune.h"

typedef struct row {
    const char *domain, *op;
    ox_layout layout;
} row;

/* Sorted by operator. */
static const row rows[] = {
    {"", "Abs", layout_elementwise},       {"", "Add", layout_add},
    {"", "AveragePool", layout_pool},      {"", "BatchNormalization", layout_batch_normalization},
    {"", "Concat", layout_concat},         {"", "Conv", layout_conv},
    {"", "Div", layout_elementwise},       {"", "Elu", layout_elementwise},
    {"", "Expand", layout_expand},         {"", "GlobalAveragePool", layout_pool},
    {"", "GlobalMaxPool", layout_pool},    {"", "HardSigmoid", layout_elementwise},
    {"", "HardSwish", layout_elementwise}, {"", "LeakyRelu", layout_elementwise},
    {"", "Max", layout_elementwise},       {"", "MaxPool", layout_pool},
    {"", "Min", layout_elementwise},       {"", "Mul", layout_mul},
    {"", "Neg", layout_elementwise},       {"", "ReduceSum", layout_reduce_sum},
    {"", "Relu", layout_elementwise},      {"", "Reshape", layout_reshape},
    {"", "Resize", layout_resize},         {"", "Shape", layout_shape},
    {"", "Sigmoid", layout_elementwise},   {"", "Slice", layout_slice},
    {"", "Softplus", layout_elementwise},  {"", "Sub", layout_elementwise},
    {"", "Sum", layout_elementwise},       {"", "Tanh", layout_elementwise},
    {"", "Unsqueeze", layout_reshape},
};

/* Functions of ours that look at more than one element. */
static const char *const wide[] = {"HardmaxFlow", "LogSoftmaxFlow", "LogSumExpFlow",
                                   "MeanFlow",    "SoftmaxFlow",    "WinnerFlow"};

ox_layout ox_tune_find(const ox_node *n)
{
    size_t length = strlen(n->op);
    if (strcmp(n->domain, "onnxexplainer") == 0) {
        if (strcmp(n->op, "WinnerFlow") == 0) {
            return layout_winner_flow;
        }
        if (strncmp(n->op, "Interleave", 10) == 0 || strncmp(n->op, "Spread", 6) == 0) {
            return layout_phases;
        }
        bool flow = length > 4 && strcmp(n->op + length - 4, "Flow") == 0;
        for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++) {
            flow = flow && strcmp(n->op, wide[i]) != 0;
        }
        bool mul = strcmp(n->op, "MulFlow") == 0;
        return !flow ? NULL : mul ? layout_mul_flow : layout_flow;
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].domain, n->domain) == 0 && strcmp(rows[i].op, n->op) == 0) {
            return rows[i].layout;
        }
    }
    return NULL;
}
