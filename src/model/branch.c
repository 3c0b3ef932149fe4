/* Bodies of If, Loop and Scan, read node by node into the graph around them: its inputs are values
 * of that graph already, names from outside are found, initializers become constants. */
#include "model/proto.h"

#include <string.h>

#include "model/scope.h"

/* An initializer that was read before: bodies are read once per step of a loop. */
typedef struct initializer {
    const Onnx__TensorProto *proto;
    ox_val value;
} initializer;

static const Onnx__GraphProto *body_of(const ox_branch *b)
{
    const ox_attr *a = ox_node_attr(b->node, b->body);
    const Onnx__AttributeProto *p = a == NULL ? NULL : a->proto;
    if (p == NULL || p->g == NULL) {
        ox_fail(b->node->graph->arena, OX_INVALID, "%s: has no subgraph %s", ox_node_label(b->node),
                b->body);
    }
    return p->g;
}

static void define(const ox_branch *b, ox_scope *s, const char *name, ox_val v)
{
    name = ox_proto_text(name);
    if (name[0] != '\0' && ox_scope_add(s, name, name, v) == NULL) {
        ox_fail(b->node->graph->arena, OX_INVALID, "%s: its subgraph defines \"%s\" twice",
                ox_node_label(b->node), name);
    }
}

/* Inside, around, or in the graph itself. */
static ox_val lookup(const ox_branch *b, const ox_scope *s, const char *name)
{
    const ox_binding *binding = ox_scope_find(s, name);
    ox_val v = binding != NULL ? binding->value : ox_graph_find(b->node->graph, name);
    if (v == NULL) {
        ox_fail(b->node->graph->arena, OX_INVALID,
                "%s: its subgraph uses \"%s\", which is not defined before", ox_node_label(b->node),
                name);
    }
    return v;
}

static ox_val read_initializer(const ox_branch *b, const Onnx__TensorProto *t)
{
    ox_graph *g = b->node->graph;
    uint64_t hash = ox_hash(0, &t, sizeof t);
    size_t at = OX_TABLE_START;
    for (initializer *i; (i = ox_table_next(b->constants, hash, &at)) != NULL;) {
        if (i->proto == t) {
            return i->value;
        }
    }
    initializer *new = ox_arena_alloc(g->arena, 1, sizeof *new);
    *new = (initializer){t, ox_graph_constant(g, NULL, ox_proto_const(g->arena, t))};
    ox_table_add(b->constants, hash, new);
    return new->value;
}

static void read_node(const ox_branch *b, ox_scope *s, const Onnx__NodeProto *p)
{
    ox_graph *g = b->node->graph;
    ox_arena *a = g->arena;
    ox_attr *attrs = ox_arena_alloc(a, p->n_attribute, sizeof *attrs);
    const char *name = ox_proto_text(p->name);
    name = name[0] == '\0' && p->n_output > 0 ? ox_proto_text(p->output[0]) : name;
    ox_node n = ox_proto_node(g, p);
    n.name = ox_arena_format(a, "%s/%s", b->node->name, name);
    n.attr_count = p->n_attribute;
    n.attrs = attrs;
    const char *label = ox_node_label(&n);
    for (size_t i = 0; i < p->n_input; i++) {
        const char *input = ox_proto_text(p->input[i]);
        n.inputs[i] = input[0] == '\0' ? NULL : lookup(b, s, input);
    }
    for (size_t i = 0; i < p->n_attribute; i++) {
        if (ox_proto_text(p->attribute[i]->ref_attr_name)[0] != '\0') {
            ox_fail(a, OX_INVALID, "%s: attribute \"%s\" refers to that of a function", label,
                    ox_proto_text(p->attribute[i]->name));
        }
        attrs[i] = ox_proto_read_attr(a, p->attribute[i], label);
    }
    b->visit(b->user, &n, s);
    for (size_t i = 0; i < p->n_output; i++) {
        define(b, s, p->output[i], n.outputs[i]);
    }
}

ox_val *ox_model_branch(const ox_branch *b, size_t input_count, const ox_val *inputs,
                        size_t *output_count)
{
    ox_arena *a = b->node->graph->arena;
    const Onnx__GraphProto *p = body_of(b);
    ox_scope s = {.outer = b->around, .names.arena = a};
    size_t formal = 0;
    for (size_t i = 0; i < p->n_initializer; i++) {
        define(b, &s, p->initializer[i]->name, read_initializer(b, p->initializer[i]));
    }
    for (size_t i = 0; i < p->n_input; i++) {
        const ox_scope inner = {.names = s.names}; /* initializers may be listed as inputs, too */
        const char *name = ox_proto_text(p->input[i]->name);
        if (ox_scope_find(&inner, name) == NULL && formal < input_count) {
            define(b, &s, name, inputs[formal++]);
        }
    }
    if (formal < input_count || formal + p->n_initializer < p->n_input) {
        ox_fail(a, OX_INVALID, "%s: its subgraph takes %zu inputs, not %zu", ox_node_label(b->node),
                p->n_input, input_count);
    }
    for (size_t i = 0; i < p->n_node; i++) {
        read_node(b, &s, p->node[i]);
    }
    ox_val *outputs = ox_arena_alloc(a, p->n_output, sizeof *outputs);
    for (size_t i = 0; i < p->n_output; i++) {
        outputs[i] = lookup(b, &s, ox_proto_text(p->output[i]->name));
    }
    *output_count = p->n_output;
    return outputs;
}

int ox_model_branch_rank(const ox_branch *b, size_t input)
{
    const Onnx__GraphProto *p = body_of(b);
    const Onnx__TensorShapeProto *shape =
        input < p->n_input ? ox_proto_shape(p->input[input]) : NULL;
    return shape == NULL || shape->n_dim > 1 ? 0 : (int)shape->n_dim;
}
