/* Model-local functions: the nodes of one put into the graph of a call, with its names made unique
 * and its attributes taken from the call. */
#include "model/proto.h"

#include <string.h>

typedef struct call {
    ox_model *model;
    ox_graph *graph;
    const Onnx__FunctionProto *function;
    const ox_function_body *body;
    const ox_node *node;
    const char *prefix;
    const char *label;           /* of the body's node at work */
    const ox_body_copier copier; /* of the bodies in it */
} call;

/* A name for something of the body that is not in use yet. */
static const char *fresh_name(void *user, const char *name)
{
    const call *c = user;
    return ox_graph_fresh_name(c->graph, ox_arena_format(c->graph->arena, "%s%s", c->prefix, name));
}

/* The version of a domain that the function imports, else the model. */
static int64_t version_of(const call *c, const char *domain)
{
    for (size_t i = 0; i < c->function->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *import = c->function->opset_import[i];
        if (strcmp(ox_proto_domain(import->domain), domain) == 0) {
            return import->version;
        }
    }
    return ox_model_opset(c->model, domain);
}

/* What an attribute of the call, or the function's own, is; NULL where neither has it. */
static const ox_attr *given_attribute(void *user, const ox_attr *attr)
{
    const call *c = user;
    const ox_attr *given = ox_node_attr(c->node, attr->ref);
    for (size_t i = 0; given == NULL && i < c->body->default_count; i++) {
        const ox_attr *standard = &c->body->defaults[i];
        given = strcmp(standard->name, attr->ref) == 0 ? standard : NULL;
    }
    return given;
}

static void check_inside(void *user, const ox_node *n)
{
    const call *c = user;
    ox_budget_spend(c->graph->arena, OX_COST_NODES, 1);
    ox_check_node(c->model, n, version_of(c, n->domain), c->label, true);
}

/* Annotations are about tensors by their former names. */
static const void *without_annotations(void *user, const ox_graph *from)
{
    const call *c = user;
    Onnx__GraphProto *p = ox_proto_copy(c->graph->arena, from->proto);
    p->n_quantization_annotation = 0;
    return p;
}

static void inline_node(void *user, ox_node *n, const ox_node *from, const ox_map *map)
{
    call *c = user;
    ox_graph *g = c->graph;
    ox_arena *a = g->arena;
    c->label = ox_proto_function_label(a, c->function, from->index);
    if (n->op[0] == '\0') {
        ox_fail(a, OX_INVALID, "%s has no operator", c->label);
    }
    n->graph = g;
    n->name = n->name[0] == '\0' ? "" : ox_arena_format(a, "%s%s", c->prefix, n->name);
    n->original = c->node->original;
    n->index = c->node->index;
    ox_body_copy_attrs(&c->copier, g, map, n);
    for (size_t i = 0; i < n->output_count; i++) {
        const char *name = from->outputs[i]->name;
        n->outputs[i] = name[0] == '\0'
                            ? ox_graph_value(g, "", OX_NONE, -1, NULL)
                            : ox_graph_fresh_value(g, ox_arena_format(a, "%s%s", c->prefix, name));
    }
    ox_check_node(c->model, n, version_of(c, n->domain), c->label, false);
    ox_graph_append(g, n);
}

/* Read when it is called first. */
static const ox_function_body *body_of(ox_model *m, const ox_local_function *f)
{
    uint64_t hash = ox_hash(0, &f, sizeof f);
    size_t at = OX_TABLE_START;
    for (const ox_function_body *b; (b = ox_table_next(&m->function_bodies, hash, &at)) != NULL;) {
        if (b->function == f) {
            return b;
        }
    }
    ox_function_body *b = ox_model_read_function(m, f);
    ox_table_add(&m->function_bodies, hash, b);
    return b;
}

ox_val *ox_model_inline(ox_model *m, ox_graph *g, const ox_local_function *f, const ox_node *node,
                        const char *prefix, size_t *output_count)
{
    const Onnx__FunctionProto *p = f->proto;
    ox_budget_spend(g->arena, OX_COST_NODES, p->n_node);
    const ox_function_body *body = body_of(m, f);
    call c = {
        m,    g,      p,  body,
        node, prefix, "", {fresh_name, given_attribute, check_inside, without_annotations, &c}};
    ox_map map = {.values.arena = g->arena};
    if (node->input_count > p->n_input) {
        ox_fail(g->arena, OX_INVALID, "%s: the function has %zu inputs, the call %zu",
                ox_node_label(node), p->n_input, node->input_count);
    }
    for (size_t i = 0; i < p->n_input; i++) {
        ox_map_add(&map, body->graph->inputs[i], ox_node_input(node, i));
    }
    for (size_t i = 0; i < p->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *import = p->opset_import[i];
        if (ox_model_opset(m, import->domain) == 0) {
            ox_model_set_opset(m, import->domain, import->version);
        }
    }
    ox_body_each(body->graph, &map, inline_node, &c);
    ox_val *outputs = ox_arena_alloc(g->arena, p->n_output, sizeof *outputs);
    for (size_t i = 0; i < p->n_output; i++) {
        ox_val v = body->graph->outputs[i];
        outputs[i] = v == NULL ? NULL : ox_map_find(&map, v);
    }
    *output_count = p->n_output;
    return outputs;
}
