/* What must be left alone for ONNX Runtime to predict as it does without us. It computes
 * DequantizeLinear, operators, QuantizeLinear in integers, where these may saturate, but only while
 * nothing else reads a value between, or the integers. So nothing of ours reads such values, which
 * are called fusible: explain/branch.c computes them once more. */
#include <string.h>

#include "explain/explain.h"

static bool has_subgraph(const ox_node *n)
{
    for (size_t i = 0; i < n->attr_count; i++) {
        if (n->attrs[i].kind == OX_ATTR_GRAPH) {
            return true;
        }
    }
    return false;
}

/* Of a value that depends on inputs only those count that do: with constants alone nothing is
 * computed in integers. */
bool ox_is_fusible(ox_explain_state *s, ox_val v)
{
    const ox_node *n = v->node;
    bool depends = ox_side_of(s, v)->depends;
    if (n->parts != NULL) {
        return ox_side_of(s, n->parts[v->output])->fusible;
    }
    if (strcmp(n->op, "DequantizeLinear") == 0) {
        return true;
    }
    for (size_t i = 0; i < n->input_count && !has_subgraph(n); i++) {
        const ox_side *in = n->inputs[i] == NULL ? NULL : ox_side_of(s, n->inputs[i]);
        if (in != NULL && in->fusible && (in->depends || !depends)) {
            return true;
        }
    }
    return false;
}

void ox_mark_fusible(ox_explain_state *s)
{
    const ox_graph *g = s->g;
    for (size_t i = 0; i < g->node_count; i++) {
        const ox_node *n = g->nodes[i];
        ox_val q = strcmp(n->op, "DequantizeLinear") == 0 ? ox_node_input(n, 0) : NULL;
        if (q != NULL && q->node != NULL && strcmp(q->node->op, "QuantizeLinear") == 0) {
            ox_side_of(s, q)->fusible = true;
        }
    }
    for (size_t i = 0; i < g->node_count; i++) { /* in topological order */
        for (size_t k = 0; k < g->nodes[i]->output_count; k++) {
            ox_val v = g->nodes[i]->outputs[k];
            ox_side *side = ox_side_of(s, v);
            side->fusible = side->fusible || ox_is_fusible(s, v);
        }
    }
}
