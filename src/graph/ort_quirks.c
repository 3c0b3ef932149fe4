/* Spellings that spare ONNX Runtime (1.32) what it fails at. */
#include <string.h>

#include "graph/build.h"

/* What a Transpose of float16 moved is cast before it: ONNX Runtime (1.32) crashes where it would
 * fuse the Transpose with a MatMul past the Cast. */
ox_val ox_cast(ox_val a, ox_type type)
{
    const ox_attr to = {.name = "to", .kind = OX_ATTR_INT, .i = type};
    const ox_node *n = a->node;
    if (a->type == type) {
        return a;
    }
    if (a->type == OX_FLOAT16 && n != NULL && strcmp(n->op, "Transpose") == 0) {
        ox_val from = ox_cast(n->inputs[0], type);
        return ox_graph_emit(a->graph, "Transpose", 1, &from, n->attr_count, n->attrs);
    }
    return ox_graph_emit(a->graph, "Cast", 1, &a, 1, &to);
}

ox_val ox_apart(ox_val a)
{
    bool int8 = a->node != NULL && a->node->moves_int8;
    return int8 ? ox_graph_emit(a->graph, "Sum", 1, &a, 0, NULL) : a;
}
