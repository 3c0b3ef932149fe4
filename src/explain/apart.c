/* A model whose batch is 1 may be written for no other: constants have one row for the one sample,
 * and axes of length 1 are squeezed whichever they are. So only what is known to do with each of
 * several references what it does with one is let pass. */
#include "explain/apart.h"

#include <string.h>

#include "explain/bind.h"
#include "rules/rules.h"
#include "rules/side.h"
#include "shape/shape.h"

/* Operands meet by broadcasting, from the right: one row of a constant is for all references.
 * Beside those whose rule says that they work element by element. */
static const char *const ELEMENTWISE[] = {
    "Add",
    "And",
    "BiasGelu",
    "Cast",
    "Clip",
    "Div",
    "Dropout",
    "Equal",
    "FastGelu",
    "Greater",
    "GreaterOrEqual",
    "Identity",
    "Less",
    "LessOrEqual",
    "Max",
    "Mean",
    "Min",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "PRelu",
    "Pow",
    "QuickGelu",
    "Sub",
    "Sum",
    "Where",
    "Xor",
};

/* Their other operands are weights, positions or settings, which say nothing of samples. Whether
 * the batch axis is left alone shows in the shape, and where it is one of those that are mixed, in
 * explain/place.c. */
static const char *const OF_INPUT[] = {
    "AveragePool",
    "BatchNormalization",
    "Concat",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "DepthToSpace",
    "DequantizeLinear",
    "Einsum",
    "Expand",
    "Flatten",
    "FusedMatMul",
    "Gemm",
    "GlobalAveragePool",
    "GlobalLpPool",
    "GlobalMaxPool",
    "GroupNormalization",
    "Hardmax",
    "InstanceNormalization",
    "LRN",
    "LogSoftmax",
    "LpNormalization",
    "LpPool",
    "MatMul",
    "MatMulInteger",
    "MaxPool",
    "Pad",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Reshape",
    "Resize",
    "Softmax",
    "SpaceToDepth",
    "Split",
    "TopK",
    "Transpose",
    "Unsqueeze",
    "Upsample",
};

/* What makes sizes of sizes, the batch's among them. */
static const char *const OF_SIZES[] = {
    "Add", "Cast",  "Concat",  "ConstantOfShape", "Div",     "Expand",    "Gather", "Identity",
    "Mul", "Shape", "Reshape", "Slice",           "Squeeze", "Unsqueeze", "Sub",
};

/* What takes sizes, the batch's among them, beside values. */
static const char *const BY_SIZES[] = {"Expand", "Reshape", "Resize"};

static bool is_one_of(const ox_node *n, size_t count, const char *const *ops)
{
    for (size_t i = 0; i < count; i++) {
        if (ox_node_is(n, ops[i])) {
            return true;
        }
    }
    return false;
}

#define IS_ONE_OF(n, ops) is_one_of(n, sizeof(ops) / sizeof *(ops), ops)

static bool has_batch(ox_val v)
{
    for (int d = 0; d < v->rank; d++) {
        if (v->dims[d].batch > 0) {
            return true;
        }
    }
    return false;
}

/* Whether the operand is there and the same for each reference. */
static bool is_fixed(const ox_node *n, size_t i)
{
    ox_val v = ox_node_input(n, i);
    return v != NULL && !ox_side_of(v)->varies;
}

static bool any_input(const ox_node *n, size_t first)
{
    bool any = false;
    for (size_t i = first; i < n->input_count; i++) {
        any = any || n->inputs[i] != NULL;
    }
    return any;
}

/* Axes from `axis` on are normalised together. */
static bool normalises_samples(const ox_node *n)
{
    ox_val x = ox_node_input(n, 0);
    return x->rank < 1 ||
           ox_axis_front(ox_node_int(n, "axis", -1), x->rank) <= ox_side_of(x)->place.axis;
}

/* Operators of which some forms keep samples apart. */
static bool some_pass(const ox_node *n)
{
    if (ox_node_is(n, "LSTM") || ox_node_is(n, "GRU") || ox_node_is(n, "RNN")) {
        return ox_node_input(n, 4) == NULL && !is_fixed(n, 5) && !is_fixed(n, 6);
    }
    if (ox_node_is(n, "LayerNormalization") || ox_node_is(n, "RMSNormalization") ||
        ox_node_is(n, "SimplifiedLayerNormalization")) {
        return !normalises_samples(n);
    }
    if (ox_node_is(n, "SkipLayerNormalization")) {
        return !is_fixed(n, 0) && !is_fixed(n, 1);
    }
    if (ox_node_is(n, "Attention") && n->domain[0] != '\0') {
        return !any_input(n, 3);
    }
    if (ox_node_is(n, "MultiHeadAttention")) {
        return !is_fixed(n, 0) && !is_fixed(n, 1) && !is_fixed(n, 2) && !any_input(n, 4);
    }
    if (ox_node_is(n, "Gather")) { /* of samples, or of a table by them */
        ox_val x = n->inputs[0];
        bool along = ox_axis_front(ox_node_int(n, "axis", 0), x->rank) == ox_side_of(x)->place.axis;
        return is_fixed(n, 0) ? !has_batch(x) : is_fixed(n, 1) && !along;
    }
    if (ox_node_is(n, "Squeeze")) { /* of all axes of length 1: of the batch of one, too */
        return ox_node_input(n, 1) != NULL || ox_node_attr(n, "axes") != NULL;
    }
    if (ox_node_is(n, "Slice")) {
        size_t count = 0;
        ox_val given = ox_node_input(n, 4);
        const double *steps = given == NULL ? NULL : ox_numbers(given, &count);
        bool forward = given == NULL || steps != NULL;
        for (size_t i = 0; steps != NULL && i < count; i++) {
            forward = forward && steps[i] > 0;
        }
        return forward;
    }
    return false;
}

static bool of_samples(const ox_node *n)
{
    const ox_row *row = ox_rule_find(n->domain, n->op);
    bool elementwise = (row != NULL && row->rule == flow_unary) || IS_ONE_OF(n, ELEMENTWISE);
    for (size_t i = 0; i < n->input_count; i++) {
        ox_val v = n->inputs[i];
        if (v == NULL || ox_side_of(v)->varies) {
            continue;
        }
        if (ox_side_of(v)->counts && !(i > 0 && IS_ONE_OF(n, BY_SIZES))) {
            return false;
        }
        bool apart = !has_batch(v) && !ox_side_of(v)->of_held;
        if (!elementwise && !apart && !ox_node_is(n, "Concat") && !some_pass(n)) {
            return false;
        }
    }
    return elementwise || IS_ONE_OF(n, OF_INPUT) || some_pass(n);
}

static bool passes(const ox_node *n)
{
    bool varies = false, counts = false;
    if (ox_node_has_body(n)) {
        return false;
    }
    for (size_t i = 0; i < n->input_count; i++) {
        ox_val v = n->inputs[i];
        varies = varies || (v != NULL && ox_side_of(v)->varies);
        counts = counts || (v != NULL && (ox_side_of(v)->counts || has_batch(v)));
    }
    bool from = ox_node_is(n, "Shape") || !varies; /* of values, too, it is but sizes */
    return from ? !counts || IS_ONE_OF(n, OF_SIZES) : of_samples(n);
}

bool ox_keeps_apart(ox_explain_state *s)
{
    bool apart = s->bind->output_batch_axis == 0;
    for (size_t i = 0; i < s->bind->point_count; i++) {
        apart = apart && s->bind->points[i].batch_axis == 0;
    }
    for (size_t i = 0; apart && i < s->g->node_count; i++) {
        const ox_node *n = s->g->nodes[i];
        apart = !n->original || passes(n);
    }
    return apart;
}
