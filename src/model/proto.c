/* What is done to protobuf messages by all files of the model: making and copying, reading a node,
 * and walking through the graphs that lie in a node's attributes. */
#include "model/proto.h"

#include <string.h>

#include "base/axis.h"

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

/* ---- tensors ---------------------------------------------------------------------------- */

ox_const *ox_proto_const(ox_arena *a, const Onnx__TensorProto *t)
{
    ox_const *c = ox_arena_alloc(a, 1, sizeof *c);
    *c = (ox_const){
        .type = (ox_type)t->data_type,
        .rank = (int)t->n_dims,
        .dims = t->dims,
        .data = t->has_raw_data ? t->raw_data.data : NULL,
        .size = t->raw_data.len,
        .proto = t,
    };
    return c;
}

const Onnx__TensorShapeProto *ox_proto_shape(const Onnx__ValueInfoProto *info)
{
    bool tensor = info != NULL && info->type != NULL &&
                  info->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    return tensor ? info->type->tensor_type->shape : NULL;
}

/* Names of dimensions are only hints, so that each becomes an unknown of its own. */
void ox_proto_describe(ox_val v, const Onnx__ValueInfoProto *info)
{
    ox_graph *g = v->graph;
    bool tensor =
        info->type != NULL && info->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    if (!tensor || v->rank >= 0) {
        return;
    }
    v->type = (ox_type)info->type->tensor_type->elem_type;
    const Onnx__TensorShapeProto *shape = ox_proto_shape(info);
    if (shape == NULL) {
        return;
    }
    if (shape->n_dim > OX_FILE_RANK) {
        ox_fail(g->arena, OX_INVALID, "value \"%s\" has %zu dimensions", v->name, shape->n_dim);
    }
    ox_dim *dims = ox_arena_alloc(g->arena, shape->n_dim, sizeof *dims);
    for (size_t i = 0; i < shape->n_dim; i++) {
        const Onnx__TensorShapeProto__Dimension *d = shape->dim[i];
        bool fixed = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE &&
                     d->dim_value >= 0;
        dims[i] = fixed ? ox_dim_of(d->dim_value) : ox_dim_unknown(g);
    }
    v->rank = (int)shape->n_dim;
    v->dims = dims;
}

/* ---- attributes ------------------------------------------------------------------------- */

static const char *read_string(ox_arena *a, ProtobufCBinaryData from)
{
    char *text = ox_arena_alloc(a, from.len + 1, 1);
    if (from.len > 0) {
        memcpy(text, from.data, from.len);
    }
    return text;
}

static const char *const *read_strings(ox_arena *a, const Onnx__AttributeProto *p)
{
    const char **strings = ox_arena_alloc(a, p->n_strings, sizeof *strings);
    for (size_t i = 0; i < p->n_strings; i++) {
        strings[i] = read_string(a, p->strings[i]);
    }
    return strings;
}

/* Files of IR versions before the field `type` leave it out. */
int ox_proto_kind(const Onnx__AttributeProto *p)
{
    return p->type != ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__UNDEFINED ? (int)p->type
           : p->has_f                                                  ? OX_ATTR_FLOAT
           : p->has_i                                                  ? OX_ATTR_INT
           : p->has_s                                                  ? OX_ATTR_STRING
           : p->t != NULL                                              ? OX_ATTR_TENSOR
           : p->g != NULL                                              ? OX_ATTR_GRAPH
           : p->n_floats > 0                                           ? OX_ATTR_FLOATS
           : p->n_ints > 0                                             ? OX_ATTR_INTS
           : p->n_strings > 0                                          ? OX_ATTR_STRINGS
                                                                       : OX_ATTR_OTHER;
}

ox_attr ox_proto_read_attr(ox_arena *a, const Onnx__AttributeProto *p, const char *label)
{
    ox_attr attr = {.name = ox_proto_text(p->name), .proto = p};
    bool complete = attr.name[0] != '\0';
    switch (ox_proto_kind(p)) {
    case OX_ATTR_FLOAT:
        attr.kind = OX_ATTR_FLOAT;
        attr.f = p->f;
        break;
    case OX_ATTR_INT:
        attr.kind = OX_ATTR_INT;
        attr.i = p->i;
        break;
    case OX_ATTR_STRING:
        attr.kind = OX_ATTR_STRING;
        attr.count = p->s.len;
        attr.s = read_string(a, p->s);
        break;
    case OX_ATTR_TENSOR:
        attr.kind = OX_ATTR_TENSOR;
        attr.tensor = p->t == NULL ? NULL : ox_proto_const(a, p->t);
        complete = complete && p->t != NULL;
        break;
    case OX_ATTR_GRAPH:
        attr.kind = OX_ATTR_GRAPH;
        complete = complete && p->g != NULL;
        break;
    case OX_ATTR_FLOATS:
        attr.kind = OX_ATTR_FLOATS;
        attr.count = p->n_floats;
        attr.floats = p->floats;
        break;
    case OX_ATTR_INTS:
        attr.kind = OX_ATTR_INTS;
        attr.count = p->n_ints;
        attr.ints = p->ints;
        break;
    case OX_ATTR_STRINGS:
        attr.kind = OX_ATTR_STRINGS;
        attr.count = p->n_strings;
        attr.strings = read_strings(a, p);
        break;
    default: attr.kind = OX_ATTR_OTHER;
    }
    if (!complete) {
        ox_fail(a, OX_INVALID, "%s: attribute \"%s\" is incomplete", label, attr.name);
    }
    return attr;
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

/* As deep as the file's messages lie in each other, which reading has gone through. */
void ox_proto_walk_graph(const ox_proto_walk *w, Onnx__GraphProto *g)
{
    if (w->enter != NULL) {
        w->enter(w->user, g);
    }
    for (size_t i = 0; i < g->n_node; i++) {
        ox_proto_walk_node(w, g->node[i]);
    }
    if (w->leave != NULL) {
        w->leave(w->user, g);
    }
}

void ox_proto_walk_node(const ox_proto_walk *w, Onnx__NodeProto *n)
{
    if (w->node != NULL) {
        w->node(w->user, n);
    }
    for (size_t i = 0; i < n->n_attribute; i++) {
        ox_proto_walk_attribute(w, n->attribute[i]);
    }
}

void ox_proto_walk_attribute(const ox_proto_walk *w, Onnx__AttributeProto *p)
{
    if (p->g != NULL) {
        ox_proto_walk_graph(w, p->g);
    }
    for (size_t i = 0; i < p->n_graphs; i++) {
        ox_proto_walk_graph(w, p->graphs[i]);
    }
}

/* ---- functions -------------------------------------------------------------------------- */

const char *ox_proto_function_label(ox_arena *a, const Onnx__FunctionProto *f, size_t node)
{
    const Onnx__NodeProto *p = f->node[node];
    return ox_arena_format(a, "function %s, node %zu \"%s\" (%s)", ox_proto_text(f->name), node,
                           ox_proto_text(p->name), ox_proto_text(p->op_type));
}
