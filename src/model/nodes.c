/* ox_nodes: the nodes of a model as the public header shows them. */
#include "base/check.h"
#include "graph/body.h"
#include "model/model.h"

typedef struct listing {
    const ox_model *model;
    ox_arena *arena;
    ox_node_list *list;
    const char **next; /* where the name of the next input goes; NULL: they are only counted */
    size_t count;
} listing;

static void take(void *user, ox_val v)
{
    listing *l = user;
    if (l->next != NULL) {
        l->next[l->count] = v == NULL ? "" : v->name;
    }
    l->count++;
}

static void take_inputs(listing *l, const ox_node *n)
{
    l->count = 0;
    for (size_t i = 0; i < n->input_count; i++) {
        take(l, n->inputs[i]);
    }
    ox_body_visit_captured(n, take, l);
}

static void fill(listing *l, const ox_node *n, ox_node_info *info)
{
    l->next = NULL;
    take_inputs(l, n);
    const char **inputs = ox_arena_alloc(l->arena, l->count, sizeof *inputs);
    const char **outputs = ox_arena_alloc(l->arena, n->output_count, sizeof *outputs);
    l->next = inputs;
    take_inputs(l, n);
    for (size_t i = 0; i < n->output_count; i++) {
        outputs[i] = n->outputs[i]->name;
    }
    *info = (ox_node_info){.index = n->index,
                           .name = n->name,
                           .op = n->op,
                           .domain = n->domain,
                           .inputs = inputs,
                           .input_count = l->count,
                           .outputs = outputs,
                           .output_count = n->output_count};
}

static void list_all(void *user)
{
    listing *l = user;
    const ox_graph *g = l->model->graph;
    ox_node_info *nodes = ox_arena_alloc(l->arena, g->node_count, sizeof *nodes);
    l->list = ox_arena_alloc(l->arena, 1, sizeof *l->list);
    for (size_t i = 0; i < g->node_count; i++) {
        fill(l, g->nodes[i], &nodes[i]);
    }
    *l->list = (ox_node_list){.nodes = nodes, .count = g->node_count, .memory = l->arena};
}

ox_node_list *ox_nodes(const ox_model *model, ox_error *err)
{
    if (!ox_check_given("model", model, err)) {
        return NULL;
    }
    listing l = {.model = model, .arena = ox_arena_new()};
    if (l.arena == NULL) {
        ox_error_set(err, OX_MEMORY, "out of memory");
        return NULL;
    }
    if (!ox_arena_try(l.arena, list_all, &l, err)) {
        ox_arena_free(l.arena);
        return NULL;
    }
    return l.list;
}

void ox_nodes_free(ox_node_list *list)
{
    if (list != NULL) {
        ox_arena_free(list->memory);
    }
}
