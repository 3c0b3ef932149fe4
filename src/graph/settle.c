/* The order and the names of added nodes, from what the graph computes alone. C leaves open which
 * argument of a call is evaluated first, so that rules, written as formulas, emit their nodes in
 * another order under another compiler; what is written has to be the same bytes all the same. */
#include <stdlib.h>
#include <string.h>

#include "graph/body.h"

typedef struct visit {
    ox_node *node;
    size_t next; /* input to look at; behind them, what a body captures */
} visit;

typedef struct order {
    ox_node **nodes; /* placed so far */
    visit *stack;
    size_t count, depth;
    size_t values; /* positions given out */
} order;

static void place_value(order *o, ox_val v)
{
    if (v->position == 0) {
        v->position = ++o->values;
    }
}

static void enter(order *o, ox_node *n)
{
    if (!n->placed) {
        n->placed = true; /* met again only by those that use it */
        o->stack[o->depth++] = (visit){n, 0};
    }
}

static void leave(order *o, ox_node *n)
{
    o->nodes[o->count++] = n;
    o->depth--;
    for (size_t i = 0; i < n->output_count; i++) {
        place_value(o, n->outputs[i]);
    }
}

/* Places the nodes that n needs, in the order of their inputs, and n behind them. */
static void reach(order *o, ox_node *n)
{
    enter(o, n);
    while (o->depth > 0) {
        visit *top = &o->stack[o->depth - 1];
        size_t count = top->node->input_count;
        if (top->next == count + top->node->captured_count) {
            leave(o, top->node);
            continue;
        }
        bool inside = top->next >= count;
        ox_val input =
            inside ? top->node->captured[top->next - count] : top->node->inputs[top->next];
        top->next++;
        if (input != NULL && input->graph != top->node->graph) {
            continue; /* what a body captures */
        }
        if (input != NULL && input->node != NULL) {
            enter(o, input->node);
        } else if (input != NULL) {
            place_value(o, input);
        }
    }
}

static int by_position(const void *left, const void *right)
{
    const ox_value *a = *(const ox_val *)left, *b = *(const ox_val *)right;
    return (a->position > b->position) - (a->position < b->position);
}

static int by_name(const void *left, const void *right)
{
    return strcmp(((const ox_function *)left)->name, ((const ox_function *)right)->name);
}

void ox_graph_sort(ox_graph *g)
{
    order o = {.count = 0};
    o.nodes = ox_arena_alloc(g->arena, g->node_count, sizeof *o.nodes);
    o.stack = ox_arena_alloc(g->arena, g->node_count, sizeof *o.stack);
    for (size_t i = 0; i < g->node_count; i++) {
        g->nodes[i]->placed = false;
    }
    for (size_t i = 0; i < g->value_count; i++) {
        ox_val v = g->values[i];
        v->position = 0;
        if (v->base == NULL && v->node == NULL) {
            place_value(&o, v);
        }
    }
    for (size_t i = 0; i < g->node_count; i++) {
        if (g->nodes[i]->original) {
            reach(&o, g->nodes[i]);
        }
    }
    for (size_t i = 0; i < g->output_count; i++) {
        if (g->outputs[i]->node != NULL) {
            reach(&o, g->outputs[i]->node);
        }
        place_value(&o, g->outputs[i]);
    }
    if (o.count > 0) {
        memcpy(g->nodes, o.nodes, o.count * sizeof *g->nodes);
    }
    g->node_count = o.count;
    if (g->value_count > 0) {
        qsort(g->values, g->value_count, sizeof(ox_val), by_position);
    }
    if (g->function_count > 0) {
        qsort(g->functions, g->function_count, sizeof *g->functions, by_name);
    }
}

/* New names for values whose names were made up, and for the nodes that are called like them. */
static void name_anew(ox_graph *g)
{
    for (size_t i = 0; i < g->value_count; i++) {
        ox_val v = g->values[i];
        bool shared = v->node != NULL && v->node->name == v->name;
        if (v->base != NULL) {
            ox_graph_rename(v);
        }
        if (shared) {
            v->node->name = v->name;
        }
    }
    for (size_t i = 0; i < g->node_count; i++) {
        const ox_node *n = g->nodes[i];
        for (size_t k = 0; k < n->attr_count; k++) {
            for (size_t b = 0; b < ox_attr_graph_count(&n->attrs[k]); b++) {
                ox_graph_sort(ox_attr_graph(&n->attrs[k], b));
                name_anew(ox_attr_graph(&n->attrs[k], b));
            }
        }
    }
}

void ox_graph_settle(ox_graph *g)
{
    ox_graph_sort(g);
    ox_graph_forget_names(g);
    name_anew(g);
}
