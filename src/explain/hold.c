/* What keeps the sample's value on both sides: tensors inside that options.hold names, and what a
 * node draws at random, once in a run. No multiplier passes, and f of a reference is f with these
 * values. */
#include "explain/hold.h"

#include <string.h>

#include "base/names.h"
#include "explain/bind.h"
#include "rules/side.h"

bool ox_hold_names(const ox_options *o, const char *name)
{
    for (size_t i = 0; i < o->hold_count; i++) {
        if (strcmp(o->hold[i], name) == 0) {
            return true;
        }
    }
    return false;
}

void ox_hold_find(ox_explain_state *s, ox_binding *b)
{
    const ox_options *o = s->options;
    b->held = ox_arena_alloc(s->arena, o->hold_count, sizeof(ox_val));
    b->held_count = 0;
    for (size_t i = 0; i < o->hold_count; i++) {
        ox_val v = ox_graph_find(s->model->graph, o->hold[i]);
        if (v == NULL || v->constant != NULL) {
            ox_fail(s->arena, OX_ARGUMENT,
                    "the model has no input or tensor \"%s\" to hold, its inputs are %s",
                    o->hold[i],
                    ox_names_of(s->arena, s->model->inputs, s->model->graph->input_count));
        }
        b->held[b->held_count++] = v;
    }
}

bool ox_hold_is(const ox_explain_state *s, ox_val v)
{
    for (size_t i = 0; i < s->bind->held_count; i++) {
        if (s->bind->held[i] == v) {
            return true;
        }
    }
    return v->node != NULL && v->node->original && ox_draws(v->node);
}

bool ox_hold_any_draw(const ox_graph *g)
{
    for (size_t i = 0; i < g->node_count; i++) {
        const ox_node *n = g->nodes[i];
        if (n->original && ox_draws(n) && n->output_count > 0 && n->outputs[0]->needed) {
            return true;
        }
    }
    return false;
}
