/* Reading: bytes to protobuf structures in the model's arena, and these to a graph. Everything is
 * checked on the way, for a file may hold anything: sizes, names, the order of nodes. */
#include "base/check.h"
#include "model/proto.h"

#include <inttypes.h>
#include <string.h>

#include "shape/shape.h"

enum { OLDEST_IR = 3, NEWEST_IR = 14, MAX_NESTING = 100, MAX_MERGED = 4 };
enum { MAX_NUMBER = (1 << 29) - 1 }; /* of a field */

/* ---- the wire format -------------------------------------------------------------------- */

typedef struct bytes {
    const uint8_t *at, *end;
} bytes;

static bool read_varint(bytes *b, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 70 && b->at < b->end; shift += 7) {
        uint8_t byte = *b->at++;
        *out |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
        if ((byte & 0x80) == 0) {
            return true;
        }
    }
    return false;
}

typedef enum scan_result { SCAN_GOOD, SCAN_DAMAGED, SCAN_NESTED, SCAN_MERGED } scan_result;

/* Walks through the fields of a message: whether they end where they should, and whether messages
 * nest no deeper than a parser's stack allows. A message that comes in parts is put together once
 * per part, all of it, so that there may be few parts. Costs nothing beside parsing, as it steps
 * over everything but messages. */
static scan_result scan(const ProtobufCMessageDescriptor *d, bytes b, int depth)
{
    if (depth > MAX_NESTING) {
        return SCAN_NESTED;
    }
    unsigned parts = 0;
    while (b.at < b.end) {
        uint64_t key, length = 0;
        if (!read_varint(&b, &key)) {
            return SCAN_DAMAGED;
        }
        unsigned wire = key & 7;
        uint64_t number = key >> 3;
        bool known = wire == 2   ? read_varint(&b, &length)
                     : wire == 0 ? read_varint(&b, &key)
                                 : wire == 1 || wire == 5;
        length = wire == 1 ? 8 : wire == 5 ? 4 : length;
        known = known && number > 0 && number <= MAX_NUMBER;
        if (!known || length > (uint64_t)(b.end - b.at)) {
            return SCAN_DAMAGED;
        }
        const ProtobufCFieldDescriptor *f =
            wire == 2 ? protobuf_c_message_descriptor_get_field(d, (unsigned)number) : NULL;
        if (f != NULL && f->type == PROTOBUF_C_TYPE_MESSAGE) {
            parts += f->label != PROTOBUF_C_LABEL_REPEATED;
            if (parts > d->n_fields + MAX_MERGED) {
                return SCAN_MERGED;
            }
            bytes inner = {b.at, b.at + length};
            scan_result result = scan(f->descriptor, inner, depth + 1);
            if (result != SCAN_GOOD) {
                return result;
            }
        }
        b.at += length;
    }
    return SCAN_GOOD;
}

typedef struct memory {
    ox_arena *arena;
    bool out;
} memory;

static void *allocate(void *user, size_t size)
{
    memory *m = user;
    void *p = ox_arena_try_alloc(m->arena, size);
    m->out = m->out || p == NULL;
    return p;
}

static void release(void *user, void *p)
{
    (void)user;
    (void)p;
}

static Onnx__ModelProto *parse(ox_arena *a, const void *data, size_t size)
{
    const uint8_t *start = data;
    /* The first field of every ONNX file is its IR version. */
    bool looks_right = size >= 2 && start[0] == 0x08 && start[1] > 0 && start[1] < 0x80;
    const char *problem = looks_right ? "truncated or damaged ONNX model" : "not an ONNX model";
    scan_result result = SCAN_DAMAGED;
    if (size > 0) {
        result = scan(&onnx__model_proto__descriptor, (bytes){start, start + size}, 0);
    }
    if (result != SCAN_GOOD) {
        ox_fail(a, OX_INVALID, "%s",
                result == SCAN_NESTED   ? "subgraphs nest too deeply"
                : result == SCAN_MERGED ? "a message comes in too many parts"
                                        : problem);
    }
    memory m = {a, false};
    ProtobufCAllocator allocator = {allocate, release, &m};
    Onnx__ModelProto *p = onnx__model_proto__unpack(&allocator, size, data);
    if (m.out) {
        ox_arena_exhausted(a);
    }
    if (p == NULL || p->graph == NULL) {
        ox_fail(a, OX_INVALID, "%s", problem);
    }
    if (!p->has_ir_version || p->ir_version < OLDEST_IR || p->ir_version > NEWEST_IR) {
        ox_fail(a, OX_UNSUPPORTED, "IR version %" PRId64 " is not supported (%d to %d are)",
                p->ir_version, OLDEST_IR, NEWEST_IR);
    }
    if (p->n_opset_import == 0) {
        ox_fail(a, OX_INVALID, "%s: no operator set is imported", problem);
    }
    return p;
}

/* ---- values ----------------------------------------------------------------------------- */

static const char *named(ox_arena *a, const char *name, const char *what, size_t index)
{
    if (name == NULL || name[0] == '\0') {
        ox_fail(a, OX_INVALID, "%s %zu has no name", what, index);
    }
    return name;
}

static void read_initializers(ox_graph *g, const Onnx__GraphProto *p)
{
    for (size_t i = 0; i < p->n_initializer; i++) {
        const Onnx__TensorProto *t = p->initializer[i];
        const char *name = named(g->arena, t->name, "initializer", i);
        ox_graph_constant(g, name, ox_proto_const(g->arena, t));
    }
}

/* Inputs that are initializers are constants. */
static void read_inputs(ox_graph *g, const Onnx__GraphProto *p)
{
    for (size_t i = 0; i < p->n_input; i++) {
        const char *name = named(g->arena, p->input[i]->name, "input", i);
        ox_val v = ox_graph_find(g, name);
        if (v == NULL || v->constant == NULL) {
            ox_proto_describe(ox_graph_input(g, name, OX_NONE, -1, NULL), p->input[i]);
        }
    }
}

/* ---- nodes ------------------------------------------------------------------------------ */

static ox_attr *read_attributes(ox_arena *a, const Onnx__NodeProto *p, const char *label)
{
    ox_attr *attrs = ox_arena_alloc(a, p->n_attribute, sizeof *attrs);
    for (size_t i = 0; i < p->n_attribute; i++) {
        const Onnx__AttributeProto *attr = p->attribute[i];
        if (ox_proto_text(attr->ref_attr_name)[0] != '\0') {
            ox_fail(a, OX_INVALID,
                    "%s: attribute \"%s\" refers to that of a function, outside "
                    "of any",
                    label, ox_proto_text(attr->name));
        }
        attrs[i] = ox_proto_read_attr(a, attr, label);
    }
    return attrs;
}

static void read_node(const ox_model *m, const Onnx__NodeProto *p, size_t index)
{
    ox_graph *g = m->graph;
    ox_arena *a = m->arena;
    ox_node n = ox_proto_node(g, p);
    n.original = true;
    n.index = index;
    const char *label = ox_node_label(&n);
    if (n.op[0] == '\0') {
        ox_fail(a, OX_INVALID, "%s has no operator", label);
    }
    ox_budget_at_text(a, label);
    ox_attr *attrs = read_attributes(a, p, label);
    n.attrs = attrs;
    n.attr_count = p->n_attribute;
    ox_check_proto(m, p, ox_model_opset(m, n.domain), label, false);
    for (size_t i = 0; i < p->n_input; i++) {
        const char *name = p->input[i];
        n.inputs[i] = name[0] == '\0' ? NULL : ox_graph_find(g, name);
        if (n.inputs[i] == NULL && name[0] != '\0') {
            ox_fail(a, OX_INVALID, "%s: input \"%s\" is not defined before it", label, name);
        }
    }
    ox_model_read_bodies(m, &n, attrs, label);
    for (size_t i = 0; i < p->n_output; i++) {
        if (p->output[i][0] != '\0' && ox_graph_find(g, p->output[i]) != NULL) {
            ox_fail(a, OX_INVALID, "%s: output \"%s\" is defined already", label, p->output[i]);
        }
        n.outputs[i] = ox_graph_value(g, p->output[i], OX_NONE, -1, NULL);
    }
    ox_graph_append(g, &n);
}

static void read_outputs(ox_graph *g, const Onnx__GraphProto *p)
{
    for (size_t i = 0; i < p->n_output; i++) {
        const char *name = named(g->arena, p->output[i]->name, "output", i);
        ox_val v = ox_graph_find(g, name);
        if (v == NULL) {
            ox_fail(g->arena, OX_INVALID, "output \"%s\" is not defined by any node", name);
        }
        if (v->needed) {
            ox_fail(g->arena, OX_INVALID, "output \"%s\" is listed twice", name);
        }
        v->needed = true;
        ox_proto_describe(v, p->output[i]);
        ox_graph_output(g, v, name);
    }
    for (size_t i = 0; i < g->output_count; i++) {
        g->outputs[i]->needed = false;
    }
    if (p->n_output == 0) {
        ox_fail(g->arena, OX_INVALID, "the model has no outputs");
    }
}

static void read_graph(ox_model *m, const Onnx__GraphProto *p)
{
    ox_graph *g = m->graph = ox_graph_new(m->arena, ox_shape_infer, ox_proto_text(p->name));
    read_initializers(g, p);
    read_inputs(g, p);
    for (size_t i = 0; i < p->n_node; i++) {
        read_node(m, p->node[i], i);
    }
    read_outputs(g, p);
    for (size_t i = 0; i < p->n_value_info; i++) {
        ox_val v = ox_graph_find(g, ox_proto_text(p->value_info[i]->name));
        if (v != NULL) {
            ox_proto_describe(v, p->value_info[i]);
        }
    }
    for (size_t i = 0; i < g->node_count; i++) {
        ox_body_take_names(g, g->nodes[i]);
    }
}

/* ---- models ----------------------------------------------------------------------------- */

static void add_hints(ox_model *m, size_t count, Onnx__ValueInfoProto *const *infos)
{
    for (size_t i = 0; i < count; i++) {
        const char *name = ox_proto_text(infos[i]->name);
        if (name[0] != '\0' && ox_model_hint(m, name) == NULL) {
            ox_table_add(&m->hints, ox_hash_string(name), infos[i]);
        }
    }
}

static void read_header(ox_model *m, const Onnx__ModelProto *p)
{
    ox_arena *a = m->arena;
    for (size_t i = 0; i < p->n_opset_import; i++) {
        const char *domain = ox_proto_domain(p->opset_import[i]->domain);
        int64_t version = p->opset_import[i]->version, before = ox_model_opset(m, domain);
        if (version <= 0 || (before != 0 && before != version)) {
            ox_fail(a, OX_INVALID,
                    "operator set \"%s\" is imported as version %" PRId64 " and %" PRId64, domain,
                    version, before);
        }
        ox_model_set_opset(m, domain, version);
    }
    for (size_t i = 0; i < p->n_metadata_props; i++) {
        const Onnx__StringStringEntryProto *entry = p->metadata_props[i];
        ox_model_set_property(m, ox_proto_text(entry->key), ox_proto_text(entry->value));
    }
    m->ir_version = p->ir_version;
    m->local_count = p->n_functions;
    m->locals = ox_arena_alloc(a, p->n_functions, sizeof *m->locals);
    for (size_t i = 0; i < p->n_functions; i++) {
        const Onnx__FunctionProto *f = p->functions[i];
        m->locals[i] = (ox_local_function){
            .domain = ox_proto_domain(f->domain),
            .name = named(a, f->name, "function", i),
            .overload = ox_proto_text(f->overload),
            .proto = f,
        };
        ox_model_add_local(m, &m->locals[i]);
    }
}

typedef struct job {
    ox_model *m;
    const void *data;
    size_t size;
    const char *folder, *home;
    uint64_t limit;
} job;

static void read_model(void *user)
{
    job *j = user;
    ox_model *m = j->m;
    ox_budget_limit(m->arena, j->limit);
    ox_budget_bring(m->arena, j->size);
    Onnx__ModelProto *p = parse(m->arena, j->data, j->size);
    m->proto = p;
    ox_model_settle(m, p, j->folder, j->home);
    ox_proto_sort(m->arena, p->graph);
    add_hints(m, p->graph->n_input, p->graph->input);
    add_hints(m, p->graph->n_output, p->graph->output);
    read_header(m, p);
    read_graph(m, p->graph);
    ox_model_publish(m);
}

ox_model *ox_parse_linked(const void *data, size_t size, const char *folder, const char *home,
                          uint64_t limit, ox_error *err)
{
    if (size > 0 && !ox_check_given("data", data, err)) {
        return NULL;
    }
    job j = {ox_model_new(err), data, size, folder, home, limit};
    if (j.m != NULL && !ox_arena_try(j.m->arena, read_model, &j, err)) {
        ox_free(j.m);
        return NULL;
    }
    return j.m;
}

ox_model *ox_parse(const void *data, size_t size, const char *folder, ox_error *err)
{
    return ox_parse_linked(data, size, folder, NULL, 0, err);
}

ox_model *ox_parse_limited(const void *data, size_t size, const char *folder, uint64_t limit,
                           ox_error *err)
{
    return ox_parse_linked(data, size, folder, NULL, limit, err);
}
