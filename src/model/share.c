/* Weights that a body has as well as the main graph: once in the file. */
#include "model/proto.h"

#include <string.h>

#include "base/table.h"

/* Smaller ones are not worth a node. */
enum { SHARED_BYTES = 1024, WORTH_SHARING = 1 << 20 };

static const ox_placed *find_outside(const ox_table *outside, uint64_t hash,
                                     const ProtobufCBinaryData *raw)
{
    size_t at = OX_TABLE_START;
    for (const ox_placed *p; (p = ox_table_next(outside, hash, &at)) != NULL;) {
        if (p->tensor->raw_data.data == raw->data && p->tensor->raw_data.len == raw->len) {
            return p;
        }
    }
    return NULL;
}

static bool same_dims(const Onnx__TensorProto *a, const Onnx__TensorProto *b)
{
    bool same = a->data_type == b->data_type && a->n_dims == b->n_dims;
    for (size_t i = 0; same && i < a->n_dims; i++) {
        same = a->dims[i] == b->dims[i];
    }
    return same;
}

/* For every tensor of a body that of the main graph with the same contents, NULL where there is
 * none that comes before the node around the body; and how many bytes these are. */
static const ox_placed **find_shared(ox_arena *a, const ox_file *file, size_t *bytes)
{
    ox_table outside = {.arena = a};
    const ox_placed **of = ox_arena_alloc(a, file->tensor_count, sizeof *of);
    *bytes = 0;
    for (int body = 0; body < 2; body++) {
        for (size_t i = 0; i < file->tensor_count; i++) {
            ox_placed *p = &file->tensors[i];
            const ProtobufCBinaryData *raw = &p->tensor->raw_data;
            if (!p->tensor->has_raw_data || raw->len < SHARED_BYTES ||
                (p->graph != file->proto->graph) != body) {
                continue;
            }
            uint64_t hash = ox_hash(0, &raw->data, sizeof raw->data);
            const ox_placed *other = find_outside(&outside, hash, raw);
            if (!body && other == NULL) {
                ox_table_add(&outside, hash, p);
            }
            if (body && other != NULL && other->at < p->at && same_dims(other->tensor, p->tensor) &&
                strcmp(other->name, p->name) != 0) {
                of[i] = other;
                *bytes += raw->len;
            }
        }
    }
    return of;
}

/* inside = Sum(outside). ONNX Runtime computes a sum of constants when it loads the model, which
 * makes an initializer of the body of it again; it has weights in its own layout only where they
 * are that. An Identity it would drop, and read what is outside. */
static Onnx__NodeProto *sum_node(ox_arena *a, const ox_placed *inside, const ox_placed *outside,
                                 size_t number)
{
    bool sums = inside->tensor->data_type == OX_FLOAT || inside->tensor->data_type == OX_DOUBLE;
    Onnx__NodeProto *n = ox_proto_new(a, &onnx__node_proto__descriptor);
    n->name = ox_arena_format(a, "onnxexplainer/weights/%zu", number);
    n->op_type = ox_arena_string(a, sums ? "Sum" : "Identity");
    n->n_input = n->n_output = 1;
    n->input = ox_arena_alloc(a, 1, sizeof *n->input);
    n->output = ox_arena_alloc(a, 1, sizeof *n->output);
    n->input[0] = ox_arena_string(a, outside->name);
    n->output[0] = ox_arena_string(a, inside->name);
    return n;
}

/* The initializers of one body, which are `tensors`: nodes before all others for those shared. */
static void share(ox_arena *a, Onnx__GraphProto *body, const ox_placed *tensors,
                  const ox_placed **of, size_t *number)
{
    size_t count = body->n_initializer, made = 0;
    Onnx__NodeProto **nodes = ox_arena_alloc(a, count + body->n_node, sizeof *nodes);
    body->n_initializer = 0;
    for (size_t i = 0; i < count; i++) {
        if (of[i] != NULL) {
            nodes[made++] = sum_node(a, &tensors[i], of[i], (*number)++);
        } else {
            body->initializer[body->n_initializer++] = tensors[i].tensor;
        }
    }
    for (size_t i = 0; i < body->n_node; i++) {
        nodes[made + i] = body->node[i];
    }
    body->node = nodes;
    body->n_node += made;
}

void ox_model_share(ox_arena *a, ox_file *file)
{
    size_t bytes = 0, number = 0;
    const ox_placed **of = find_shared(a, file, &bytes);
    if (bytes < WORTH_SHARING) {
        return;
    }
    for (size_t i = 0; i < file->tensor_count;) { /* those of one body follow each other */
        Onnx__GraphProto *body = file->tensors[i].graph;
        size_t count = body == file->proto->graph ? 1 : body->n_initializer;
        if (body != file->proto->graph) {
            share(a, body, &file->tensors[i], of + i, &number);
        }
        i += count;
    }
}
