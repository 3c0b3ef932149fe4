/* Bodies of If, Loop and Scan, put node by node into the graph around them: their inputs are values
 * of that graph already, and so are those that they use from outside; initializers become constants
 * of it. */
#include <string.h>

#include "lift/control.h"

static const ox_graph *body_of(const ox_node *n, const char *name)
{
    const ox_attr *a = ox_node_attr(n, name);
    if (a == NULL || a->graph == NULL) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: has no subgraph %s", ox_node_label(n), name);
    }
    return a->graph;
}

/* Bodies are gone through once per step of a loop. */
static ox_val constant_of(const ox_control *c, ox_val initializer)
{
    ox_map *known = &c->budget->constants;
    ox_val v = ox_map_find(known, initializer);
    if (v == initializer) {
        v = ox_graph_constant(c->node->graph, NULL, initializer->constant);
        ox_map_add(known, initializer, v);
    }
    return v;
}

typedef struct pass {
    const ox_control *control;
    ox_control_visit visit;
    void *user;
} pass;

static void visit_node(void *user, ox_node *n, const ox_node *from, const ox_map *map)
{
    const pass *p = user;
    const ox_node *around = p->control->node;
    const char *name = from->name;
    name = name[0] == '\0' && from->output_count > 0 ? from->outputs[0]->name : name;
    n->graph = around->graph;
    n->name = ox_arena_format(n->graph->arena, "%s/%s", around->name, name);
    n->original = false;
    p->visit(p->user, n, map);
}

ox_val *ox_control_put(const ox_control *c, const char *name, ox_control_visit visit, void *user,
                       size_t input_count, const ox_val *inputs, size_t *output_count)
{
    ox_arena *a = c->node->graph->arena;
    const ox_graph *body = body_of(c->node, name);
    ox_map map = {.around = c->around, .values.arena = a};
    size_t formal = 0;
    for (size_t i = 0; i < body->value_count; i++) {
        ox_val v = body->values[i];
        if (v->constant != NULL && v->node == NULL && v->outer == NULL) {
            ox_map_add(&map, v, constant_of(c, v));
        }
    }
    for (size_t i = 0; i < body->input_count; i++) {
        ox_val v = body->inputs[i];
        if (v->constant == NULL && formal < input_count) {
            ox_map_add(&map, v, inputs[formal]);
        }
        formal += v->constant == NULL;
    }
    if (formal != input_count) {
        ox_fail(a, OX_INVALID, "%s: its subgraph takes %zu inputs, not %zu", ox_node_label(c->node),
                formal, input_count);
    }
    pass p = {c, visit, user};
    ox_body_each(body, &map, visit_node, &p);
    ox_val *outputs = ox_arena_alloc(a, body->output_count, sizeof *outputs);
    for (size_t i = 0; i < body->output_count; i++) {
        ox_val v = body->outputs[i];
        outputs[i] = v == NULL ? NULL : ox_map_find(&map, v);
    }
    *output_count = body->output_count;
    return outputs;
}

int ox_control_rank(const ox_control *c, const char *name, size_t input)
{
    const ox_graph *body = body_of(c->node, name);
    return input < body->input_count && body->inputs[input]->rank == 1;
}
