/* What must be left alone for ONNX Runtime to predict as it does without us. It computes
 * DequantizeLinear, operators, QuantizeLinear in integers, where these may saturate, but only while
 * nothing else reads a value between, or the integers. So nothing of ours reads such values, which
 * are called fusible: explain/branch.c computes them once more. */
#include "explain/fusible.h"

#include <string.h>

#include "rules/side.h"

void ox_mark_fusible(ox_explain_state *s)
{
    const ox_graph *g = s->g;
    for (size_t i = 0; i < g->node_count; i++) {
        const ox_node *n = g->nodes[i];
        ox_val q = strcmp(n->op, "DequantizeLinear") == 0 ? ox_node_input(n, 0) : NULL;
        if (q != NULL && q->node != NULL && strcmp(q->node->op, "QuantizeLinear") == 0) {
            ox_side_of(q)->fusible = true;
        }
    }
    for (size_t i = 0; i < g->node_count; i++) { /* in topological order */
        for (size_t k = 0; k < g->nodes[i]->output_count; k++) {
            ox_val v = g->nodes[i]->outputs[k];
            ox_side *side = ox_side_of(v);
            side->fusible = side->fusible || ox_side_fusible(v);
        }
    }
}
