/* Bodies of If, Loop and Scan, lifted: read node by node into a graph that is only there for it, in
 * which nodes are respelled as in any other, and written back. What they use of the graphs around
 * is there as stand-ins of the same name. */
#include <string.h>

#include "model/proto.h"
#include "model/scope.h"

typedef struct body_lift {
    const ox_model *model;
    ox_graph *outer; /* the graph of the outermost node */
    ox_respell_node respell;
    void *user;
} body_lift;

static const Onnx__AttributeProto *lift_attribute(const body_lift *l, const ox_scope *around,
                                                  const Onnx__AttributeProto *from);

/* A value of the body under its own name, which is taken already. */
static ox_val stand_in(ox_graph *g, const char *name)
{
    ox_val v = ox_graph_value(g, "", OX_NONE, -1, NULL);
    v->name = name;
    v->is_input = true;
    v->needed = true;
    return v;
}

static ox_val lookup(const body_lift *l, ox_graph *g, ox_scope *s, const char *name)
{
    const ox_binding *b = ox_scope_find(s, name);
    const ox_val from = b != NULL ? b->value : ox_graph_find(l->outer, name);
    if (from != NULL && from->graph == g) {
        return from;
    }
    ox_val v = stand_in(g, name);
    if (from != NULL) {
        v->type = from->type;
        v->rank = from->rank;
        v->dims = from->dims;
        v->constant = from->constant;
        v->elements = from->elements;
    }
    ox_scope_add(s, name, name, v);
    return v;
}

static void lift_body_node(const body_lift *l, ox_graph *g, ox_scope *s, const Onnx__NodeProto *p)
{
    ox_arena *a = g->arena;
    ox_attr *attrs = ox_arena_alloc(a, p->n_attribute, sizeof *attrs);
    ox_node n = ox_proto_node(g, p);
    n.attr_count = p->n_attribute;
    n.attrs = attrs;
    for (size_t i = 0; i < p->n_input; i++) {
        const char *name = ox_proto_text(p->input[i]);
        n.inputs[i] = name[0] == '\0' ? NULL : lookup(l, g, s, name);
    }
    for (size_t i = 0; i < p->n_attribute; i++) {
        attrs[i] = ox_proto_read_attr(a, lift_attribute(l, s, p->attribute[i]), ox_node_label(&n));
    }
    for (size_t i = 0; i < p->n_output; i++) {
        n.outputs[i] = stand_in(g, ox_proto_text(p->output[i]));
        n.outputs[i]->is_input = false;
        n.outputs[i]->needed = n.outputs[i]->name[0] != '\0';
        ox_scope_add(s, n.outputs[i]->name, n.outputs[i]->name, n.outputs[i]);
    }
    l->respell(l->user, &n);
}

static const Onnx__GraphProto *lift_graph(const body_lift *l, const ox_scope *around,
                                          const Onnx__GraphProto *from)
{
    ox_arena *a = l->outer->arena;
    ox_graph *g = ox_graph_inside(l->outer, ox_proto_text(from->name));
    ox_scope s = {.outer = around, .names.arena = a};
    for (size_t i = 0; i < from->n_initializer; i++) {
        const ox_const *c = ox_proto_const(a, from->initializer[i]);
        ox_dim *dims = ox_arena_alloc(a, (size_t)c->rank, sizeof *dims);
        for (int d = 0; d < c->rank; d++) {
            dims[d] = ox_dim_of(c->dims[d]);
        }
        ox_val v = stand_in(g, ox_proto_text(from->initializer[i]->name));
        *v = (ox_value){.graph = g,
                        .name = v->name,
                        .type = c->type,
                        .rank = c->rank,
                        .dims = dims,
                        .constant = c,
                        .is_input = true,
                        .needed = true};
        ox_scope_add(&s, v->name, v->name, v);
    }
    for (size_t i = 0; i < from->n_input; i++) {
        ox_val v = stand_in(g, ox_proto_text(from->input[i]->name));
        ox_proto_describe(v, from->input[i]);
        ox_scope_add(&s, v->name, v->name, v);
    }
    for (size_t i = 0; i < from->n_node; i++) {
        lift_body_node(l, g, &s, from->node[i]);
    }
    Onnx__GraphProto *p = ox_proto_copy(a, from);
    p->node = ox_proto_write_nodes(a, l->model, g, &p->n_node);
    return p;
}

static const Onnx__AttributeProto *lift_attribute(const body_lift *l, const ox_scope *around,
                                                  const Onnx__AttributeProto *from)
{
    if (from->g == NULL) {
        return from;
    }
    Onnx__AttributeProto *p = ox_proto_copy(l->outer->arena, from);
    p->g = (Onnx__GraphProto *)(uintptr_t)lift_graph(l, around, from->g);
    return p;
}

void ox_model_lift_bodies(const ox_model *m, ox_node *n, ox_respell_node respell, void *user)
{
    ox_arena *a = n->graph->arena;
    const body_lift l = {m, n->graph, respell, user};
    ox_attr *attrs = ox_arena_copy(a, n->attrs, n->attr_count, sizeof *attrs);
    for (size_t i = 0; i < n->attr_count; i++) {
        if (attrs[i].proto != NULL) {
            attrs[i].proto = lift_attribute(&l, NULL, attrs[i].proto);
        }
    }
    n->attrs = attrs;
}
