/* Shape inference: looks the operator up. */
#include <string.h>

#include "base/operators.h"
#include "shape/shape.h"

void infer_nothing(ox_node *n)
{
    (void)n;
}

static void (*const inferences[])(ox_node *n) = {
#define OP(domain, op, shape, how, layout, ...) shape,
#define LIFTED(op, shape) shape,
#include "base/operators.inc"
};

void ox_shape_infer(ox_node *n)
{
    if (n->output_count == 0 || n->outputs[0] == NULL) {
        return;
    }
    int row = ox_operator_find(n->domain, n->op);
    if (row >= 0) {
        inferences[row](n);
        ox_shape_evaluate(n);
    } else if (strcmp(n->domain, "onnxexplainer") == 0) {
        ox_shape_ours(n);
    }
}
