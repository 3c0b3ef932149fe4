/* Pruning: what no output depends on is taken out of a graph. */
#include <string.h>

#include "graph/body.h"

static void find_calls(const ox_graph *g, ox_table *called)
{
    for (size_t i = 0; i < g->node_count; i++) {
        const ox_node *n = g->nodes[i];
        if (strcmp(n->domain, "onnxexplainer") == 0) {
            ox_index_add(called, n->op, i);
        }
        for (size_t k = 0; k < n->attr_count; k++) {
            for (size_t b = 0; b < ox_attr_graph_count(&n->attrs[k]); b++) {
                find_calls(ox_attr_graph(&n->attrs[k], b), called);
            }
        }
    }
}

static void prune_functions(ox_graph *g)
{
    size_t kept = 0;
    ox_table called = {.arena = g->arena};
    find_calls(g, &called);
    for (size_t i = 0; i < g->function_count; i++) {
        if (ox_index_find(&called, g->functions[i].name) != SIZE_MAX) {
            g->functions[kept++] = g->functions[i];
        }
    }
    g->function_count = kept;
}

static void mark_needed(void *user, ox_val v)
{
    (void)user;
    v->needed = true;
}

void ox_graph_prune(ox_graph *g)
{
    for (size_t i = 0; i < g->value_count; i++) {
        g->values[i]->needed = g->values[i]->keep;
    }
    for (size_t i = 0; i < g->output_count; i++) {
        g->outputs[i]->needed = true;
    }
    for (size_t i = g->node_count; i-- > 0;) {
        ox_node *n = g->nodes[i];
        n->needed = n->original;
        for (size_t k = 0; k < n->output_count; k++) {
            n->needed = n->needed || n->outputs[k]->needed;
        }
        for (size_t k = 0; n->needed && k < n->input_count; k++) {
            if (n->inputs[k] != NULL) {
                n->inputs[k]->needed = true;
            }
        }
        for (size_t k = 0; n->needed && k < n->captured_count; k++) {
            n->captured[k]->needed = true;
        }
        if (n->needed) {
            ox_body_visit_captured(n, mark_needed, NULL);
        }
    }
    size_t nodes = 0, values = 0;
    for (size_t i = 0; i < g->node_count; i++) {
        if (g->nodes[i]->needed) {
            g->nodes[nodes++] = g->nodes[i];
        }
    }
    for (size_t i = 0; i < g->value_count; i++) {
        ox_val v = g->values[i];
        v->gone = !v->needed && !v->is_input && (v->node == NULL || !v->node->needed);
        if (!v->gone) {
            g->values[values++] = v;
        }
    }
    g->node_count = nodes;
    g->value_count = values;
    g->unknown = (ox_table){.arena = g->arena};
    g->unknown_seen = 0;
    prune_functions(g);
}
