/* Model-local functions: the body of one, with its names made unique and its attributes taken
 * from the call. Subgraphs inside it are copied for that. */
#include "model/proto.h"

#include <string.h>

#include "model/scope.h"

typedef struct call {
    const ox_model *model;
    ox_graph *graph;
    const Onnx__FunctionProto *function;
    const ox_node *node;
    const char *prefix;
    const char *label; /* of the body's node at work */
} call;

/* A name for something of the body that is not in use yet. */
static const char *fresh_name(const call *c, const char *name)
{
    return ox_graph_fresh_name(c->graph, ox_arena_format(c->graph->arena, "%s%s", c->prefix, name));
}

static const ox_binding *lookup(const call *c, const ox_scope *s, const char *name)
{
    const ox_binding *b = ox_scope_find(s, name);
    if (b == NULL) {
        ox_fail(c->graph->arena, OX_INVALID, "%s: \"%s\" is not defined before it", c->label, name);
    }
    return b;
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

/* ---- attributes ------------------------------------------------------------------------- */

static Onnx__GraphProto *copy_graph(const call *c, const ox_scope *around,
                                    const Onnx__GraphProto *from);

/* An attribute whose subgraphs have the names that they have outside. */
static const Onnx__AttributeProto *copy_attribute(const call *c, const ox_scope *s,
                                                  const Onnx__AttributeProto *from)
{
    if (from->g == NULL && from->n_graphs == 0) {
        return from;
    }
    ox_arena *a = c->graph->arena;
    Onnx__AttributeProto *p = ox_proto_copy(a, from);
    p->g = from->g == NULL ? NULL : copy_graph(c, s, from->g);
    p->graphs = ox_arena_alloc(a, from->n_graphs, sizeof *p->graphs);
    for (size_t i = 0; i < from->n_graphs; i++) {
        p->graphs[i] = copy_graph(c, s, from->graphs[i]);
    }
    return p;
}

/* The attribute as the body's node gets it. False: left out, since it refers to an attribute
 * that neither the call nor the function gives. */
static bool resolve(const call *c, const ox_scope *s, const Onnx__AttributeProto *p, ox_attr *out)
{
    ox_arena *a = c->graph->arena;
    const char *ref = ox_proto_text(p->ref_attr_name);
    if (ref[0] == '\0') {
        *out = ox_proto_read_attr(a, copy_attribute(c, s, p), c->label);
        return true;
    }
    const ox_attr *given = ox_node_attr(c->node, ref);
    if (given != NULL) {
        *out = *given;
        out->name = ox_proto_text(p->name);
        return true;
    }
    for (size_t i = 0; i < c->function->n_attribute_proto; i++) {
        const Onnx__AttributeProto *standard = c->function->attribute_proto[i];
        if (strcmp(ox_proto_text(standard->name), ref) == 0) {
            *out = ox_proto_read_attr(a, standard, c->label);
            out->name = ox_proto_text(p->name);
            return true;
        }
    }
    return false;
}

/* ---- subgraphs -------------------------------------------------------------------------- */

static const char *define(const call *c, ox_scope *s, const char *name)
{
    name = ox_proto_text(name);
    if (name[0] == '\0') {
        return "";
    }
    const ox_binding *b = ox_scope_add(s, name, fresh_name(c, name), NULL);
    if (b == NULL) {
        ox_fail(c->graph->arena, OX_INVALID, "%s: \"%s\" is defined twice", c->label, name);
    }
    return b->to;
}

/* protobuf-c has no const; nothing writes through these. */
static char *use(const call *c, const ox_scope *s, const char *name)
{
    name = ox_proto_text(name);
    const char *to = name[0] == '\0' ? "" : lookup(c, s, name)->to;
    return (char *)(uintptr_t)to;
}

static Onnx__NodeProto *copy_node(const call *c, ox_scope *s, const Onnx__NodeProto *from)
{
    ox_arena *a = c->graph->arena;
    ox_budget_spend(a, OX_COST_NODES, 1);
    Onnx__NodeProto *n = ox_proto_copy(a, from);
    n->input = ox_arena_alloc(a, from->n_input, sizeof *n->input);
    n->output = ox_arena_alloc(a, from->n_output, sizeof *n->output);
    n->attribute = ox_arena_alloc(a, from->n_attribute, sizeof *n->attribute);
    n->n_attribute = 0;
    for (size_t i = 0; i < from->n_input; i++) {
        n->input[i] = use(c, s, from->input[i]);
    }
    for (size_t i = 0; i < from->n_attribute; i++) {
        ox_attr attr;
        if (resolve(c, s, from->attribute[i], &attr)) {
            n->attribute[n->n_attribute++] = ox_proto_write_attr(a, &attr);
        }
    }
    for (size_t i = 0; i < from->n_output; i++) {
        n->output[i] = (char *)(uintptr_t)define(c, s, from->output[i]);
    }
    ox_check_proto(c->model, n, version_of(c, ox_proto_domain(n->domain)), c->label, true);
    return n;
}

typedef enum naming { DEFINE, USE, USE_IF_THERE } naming;

/* Copies descriptions under their new names; of values that are gone they are left out. */
static size_t copy_infos(const call *c, ox_scope *s, size_t count, Onnx__ValueInfoProto ***infos,
                         naming how)
{
    ox_arena *a = c->graph->arena;
    Onnx__ValueInfoProto **copies = ox_arena_alloc(a, count, sizeof *copies);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        const char *name = ox_proto_text((*infos)[i]->name);
        if (how == USE_IF_THERE && ox_scope_find(s, name) == NULL) {
            continue;
        }
        copies[kept] = ox_proto_copy(a, (*infos)[i]);
        copies[kept++]->name =
            how == DEFINE ? (char *)(uintptr_t)define(c, s, name) : use(c, s, name);
    }
    *infos = copies;
    return kept;
}

static Onnx__GraphProto *copy_graph(const call *c, const ox_scope *around,
                                    const Onnx__GraphProto *from)
{
    ox_arena *a = c->graph->arena;
    ox_scope s = {.outer = around, .names.arena = a};
    Onnx__GraphProto *g = ox_proto_copy(a, from);
    g->n_input = copy_infos(c, &s, from->n_input, &g->input, DEFINE);
    g->initializer = ox_arena_alloc(a, from->n_initializer, sizeof *g->initializer);
    for (size_t i = 0; i < from->n_initializer; i++) {
        const char *name = ox_proto_text(from->initializer[i]->name);
        ox_scope inner = {.names = s.names}; /* initializers may be listed as inputs, too */
        const ox_binding *b = ox_scope_find(&inner, name);
        g->initializer[i] = ox_proto_copy(a, from->initializer[i]);
        g->initializer[i]->name = (char *)(uintptr_t)(b != NULL ? b->to : define(c, &s, name));
    }
    g->node = ox_arena_alloc(a, from->n_node, sizeof *g->node);
    for (size_t i = 0; i < from->n_node; i++) {
        g->node[i] = copy_node(c, &s, from->node[i]);
    }
    g->n_output = copy_infos(c, &s, from->n_output, &g->output, USE);
    g->n_value_info = copy_infos(c, &s, from->n_value_info, &g->value_info, USE_IF_THERE);
    g->n_quantization_annotation = 0; /* they are about tensors by their former names */
    return g;
}

/* ---- the body --------------------------------------------------------------------------- */

static void inline_node(call *c, ox_scope *s, const Onnx__NodeProto *p, size_t index)
{
    ox_graph *g = c->graph;
    ox_arena *a = g->arena;
    c->label =
        ox_arena_format(a, "function %s, node %zu \"%s\" (%s)", ox_proto_text(c->function->name),
                        index, ox_proto_text(p->name), ox_proto_text(p->op_type));
    const char *name = ox_proto_text(p->name);
    ox_attr *attrs = ox_arena_alloc(a, p->n_attribute, sizeof *attrs);
    ox_node n = ox_proto_node(g, p);
    n.name = name[0] == '\0' ? "" : ox_arena_format(a, "%s%s", c->prefix, name);
    n.attrs = attrs;
    n.original = c->node->original;
    n.index = c->node->index;
    if (n.op[0] == '\0') {
        ox_fail(a, OX_INVALID, "%s has no operator", c->label);
    }
    for (size_t i = 0; i < p->n_input; i++) {
        const char *input = p->input[i];
        n.inputs[i] = input[0] == '\0' ? NULL : lookup(c, s, input)->value;
    }
    for (size_t i = 0; i < p->n_attribute; i++) {
        n.attr_count += resolve(c, s, p->attribute[i], &attrs[n.attr_count]);
    }
    for (size_t i = 0; i < p->n_output; i++) {
        const char *output = p->output[i];
        ox_val v = output[0] == '\0'
                       ? ox_graph_value(g, "", OX_NONE, -1, NULL)
                       : ox_graph_fresh_value(g, ox_arena_format(a, "%s%s", c->prefix, output));
        if (output[0] != '\0' && ox_scope_add(s, output, v->name, v) == NULL) {
            ox_fail(a, OX_INVALID, "%s: \"%s\" is defined twice", c->label, output);
        }
        n.outputs[i] = v;
    }
    ox_check_node(c->model, &n, version_of(c, n.domain), c->label);
    ox_graph_append(g, &n);
}

ox_val *ox_model_inline(ox_model *m, ox_graph *g, const ox_local_function *f, const ox_node *node,
                        const char *prefix, size_t *output_count)
{
    const Onnx__FunctionProto *p = f->proto;
    ox_budget_spend(g->arena, OX_COST_NODES, p->n_node);
    call c = {.model = m, .graph = g, .function = p, .node = node, .prefix = prefix, .label = ""};
    c.label = ox_arena_format(g->arena, "function %s", f->name);
    ox_scope s = {.names.arena = g->arena};
    if (node->input_count > p->n_input) {
        ox_fail(g->arena, OX_INVALID, "%s: the function has %zu inputs, the call %zu",
                ox_node_label(node), p->n_input, node->input_count);
    }
    for (size_t i = 0; i < p->n_input; i++) {
        ox_val v = ox_node_input(node, i);
        if (ox_scope_add(&s, p->input[i], v == NULL ? "" : v->name, v) == NULL) {
            ox_fail(g->arena, OX_INVALID, "%s: input \"%s\" is listed twice", c.label, p->input[i]);
        }
    }
    for (size_t i = 0; i < p->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *import = p->opset_import[i];
        if (ox_model_opset(m, import->domain) == 0) {
            ox_model_set_opset(m, import->domain, import->version);
        }
    }
    for (size_t i = 0; i < p->n_node; i++) {
        inline_node(&c, &s, p->node[i], i);
    }
    ox_val *outputs = ox_arena_alloc(g->arena, p->n_output, sizeof *outputs);
    c.label = ox_arena_format(g->arena, "function %s, its end", f->name);
    for (size_t i = 0; i < p->n_output; i++) {
        outputs[i] = lookup(&c, &s, p->output[i])->value;
    }
    *output_count = p->n_output;
    return outputs;
}
