/* What is done to protobuf messages by all files of the model: making and copying, reading a node,
 * and walking through the graphs that lie in a node's attributes. */
#include "model/proto.h"

#include <string.h>

/* ---- small things ----------------------------------------------------------------------- */

const char *ox_proto_text(const char *text)
{
    return text == NULL ? "" : text;
}

const char *ox_proto_domain(const char *domain)
{
    return domain == NULL || strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

void *ox_proto_new(ox_arena *a, const ProtobufCMessageDescriptor *descriptor)
{
    void *message = ox_arena_alloc(a, 1, descriptor->sizeof_message);
    descriptor->message_init(message);
    return message;
}

void *ox_proto_copy(ox_arena *a, const void *message)
{
    const ProtobufCMessage *base = message;
    return ox_arena_copy(a, message, 1, base->descriptor->sizeof_message);
}

/* ---- nodes ------------------------------------------------------------------------------ */

ox_node ox_proto_node(ox_graph *g, const Onnx__NodeProto *p)
{
    return (ox_node){
        .graph = g,
        .op = ox_proto_text(p->op_type),
        .domain = ox_proto_domain(p->domain),
        .name = ox_proto_text(p->name),
        .input_count = p->n_input,
        .output_count = p->n_output,
        .inputs = ox_arena_alloc(g->arena, p->n_input, sizeof(ox_val)),
        .outputs = ox_arena_alloc(g->arena, p->n_output, sizeof(ox_val)),
        .proto = p,
    };
}

/* ---- graphs inside ---------------------------------------------------------------------- */

size_t ox_proto_graph_count(const Onnx__AttributeProto *p)
{
    return p == NULL ? 0 : (p->g != NULL) + p->n_graphs;
}

Onnx__GraphProto *ox_proto_graph(const Onnx__AttributeProto *p, size_t i)
{
    return p->g == NULL ? p->graphs[i] : i == 0 ? p->g : p->graphs[i - 1];
}

/* As deep as the file's messages lie in each other, which reading has gone through. */
void ox_proto_walk_graph(const ox_proto_walk *w, const Onnx__GraphProto *g)
{
    if (w->enter != NULL) {
        w->enter(w->user, g);
    }
    for (size_t i = 0; i < g->n_node; i++) {
        const Onnx__NodeProto *n = g->node[i];
        if (w->node != NULL) {
            w->node(w->user, n);
        }
        for (size_t k = 0; k < n->n_attribute; k++) {
            ox_proto_walk_attribute(w, n->attribute[k]);
        }
        if (w->after != NULL) {
            w->after(w->user, n);
        }
    }
    if (w->leave != NULL) {
        w->leave(w->user, g);
    }
}

void ox_proto_walk_attribute(const ox_proto_walk *w, const Onnx__AttributeProto *p)
{
    for (size_t i = 0; i < ox_proto_graph_count(p); i++) {
        ox_proto_walk_graph(w, ox_proto_graph(p, i));
    }
}

void ox_proto_walk_node(const ox_proto_walk *w, const ox_node *n)
{
    for (size_t i = 0; i < n->attr_count; i++) {
        ox_proto_walk_attribute(w, n->attrs[i].proto);
    }
}
