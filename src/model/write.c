/* From the graph back to protobuf structures. What was read is taken over shallowly, with what the
 * graph does not know of (doc strings, metadata, unknown fields); weights are never copied. */
#include "model/proto.h"

#include <string.h>

typedef struct writer {
    ox_arena *a;
    const ox_model *m;
    ox_file *out;
    Onnx__GraphProto *main;
    size_t at; /* the node of the main graph that is written, counted from 1 */
} writer;

/* ---- tensors and attributes ------------------------------------------------------------- */

static bool is_empty(const ox_const *c)
{
    for (int i = 0; i < c->rank; i++) {
        if (c->dims[i] == 0) {
            return true;
        }
    }
    return false;
}

static void write_texts(ox_arena *a, Onnx__TensorProto *t, const char *const *texts, size_t count)
{
    t->string_data = ox_arena_alloc(a, count, sizeof *t->string_data);
    t->n_string_data = count;
    for (size_t i = 0; i < count; i++) {
        t->string_data[i].len = strlen(texts[i]);
        t->string_data[i].data = (uint8_t *)TEXT(texts[i]);
    }
}

static Onnx__TensorProto *write_tensor(ox_arena *a, const ox_const *c, const char *name)
{
    if (c->data == NULL && c->proto == NULL && !is_empty(c)) {
        ox_fail(a, OX_INVALID, "constant \"%s\" has no contents", ox_proto_text(name));
    }
    Onnx__TensorProto *t = c->proto != NULL ? ox_proto_copy(a, c->proto)
                                            : ox_proto_new(a, &onnx__tensor_proto__descriptor);
    t->name = name == NULL ? t->name : TEXT(name);
    t->n_dims = (size_t)c->rank;
    t->dims = ox_arena_copy(a, c->dims, (size_t)c->rank, sizeof *t->dims);
    t->has_data_type = true;
    t->data_type = (int32_t)c->type;
    if (c->type == OX_STRING && c->proto == NULL) {
        write_texts(a, t, c->data, c->size / sizeof(char *));
    } else if (c->type != OX_STRING) {
        t->has_raw_data = true;
        t->raw_data.len = c->size;
        t->raw_data.data = (uint8_t *)(uintptr_t)c->data;
    }
    return t;
}

static void write_strings(ox_arena *a, const ox_attr *attr, Onnx__AttributeProto *p)
{
    p->n_strings = attr->count;
    p->strings = ox_arena_alloc(a, attr->count, sizeof *p->strings);
    for (size_t i = 0; i < attr->count; i++) {
        p->strings[i].len = strlen(attr->strings[i]);
        p->strings[i].data = (uint8_t *)TEXT(attr->strings[i]);
    }
}

static Onnx__AttributeProto *write_attr(ox_arena *a, const ox_attr *attr)
{
    Onnx__AttributeProto *p = attr->proto != NULL
                                  ? ox_proto_copy(a, attr->proto)
                                  : ox_proto_new(a, &onnx__attribute_proto__descriptor);
    p->name = TEXT(attr->name);
    if (attr->kind != OX_ATTR_OTHER) {
        p->has_type = true;
        p->type = (Onnx__AttributeProto__AttributeType)attr->kind;
    }
    switch (attr->kind) {
    case OX_ATTR_FLOAT:
        p->has_f = true;
        p->f = attr->f;
        break;
    case OX_ATTR_INT:
        p->has_i = true;
        p->i = attr->i;
        break;
    case OX_ATTR_STRING:
        p->has_s = true;
        p->s.len = attr->count;
        p->s.data = (uint8_t *)TEXT(attr->s);
        break;
    case OX_ATTR_TENSOR: p->t = write_tensor(a, attr->tensor, NULL); break;
    case OX_ATTR_FLOATS:
        p->n_floats = attr->count;
        p->floats = (float *)(uintptr_t)attr->floats;
        break;
    case OX_ATTR_INTS:
        p->n_ints = attr->count;
        p->ints = (int64_t *)(uintptr_t)attr->ints;
        break;
    case OX_ATTR_STRINGS:
        if (attr->proto == NULL) {
            write_strings(a, attr, p);
        }
        break;
    default: break; /* as in the proto */
    }
    return p;
}

static void place(writer *w, Onnx__TensorProto *t, Onnx__GraphProto *graph, const char *name)
{
    ox_file *out = w->out;
    out->tensors = ox_arena_grow(w->a, out->tensors, out->tensor_count, sizeof *out->tensors);
    out->tensors[out->tensor_count++] = (ox_placed){t, graph, name, w->at};
}

/* ---- values ----------------------------------------------------------------------------- */

static Onnx__ValueInfoProto **write_values(const writer *w, size_t count, const ox_val *values)
{
    Onnx__ValueInfoProto **infos = ox_arena_alloc(w->a, count, sizeof(Onnx__ValueInfoProto *));
    for (size_t i = 0; i < count; i++) {
        infos[i] =
            ox_proto_write_value(w->a, w->m, values[i], ox_model_hint(w->m, values[i]->name));
    }
    return infos;
}

/* ---- nodes ------------------------------------------------------------------------------ */

static Onnx__GraphProto *write_body(writer *w, const ox_graph *g);
static Onnx__GraphProto *write_body_read(writer *w, const ox_graph *g);

static void write_bodies(writer *w, const ox_attr *from, Onnx__AttributeProto *p)
{
    if (from->graph != NULL) {
        p->g = from->graph->proto != NULL ? write_body_read(w, from->graph)
                                          : write_body(w, from->graph);
    } else if (from->kind == OX_ATTR_GRAPHS) {
        p->n_graphs = from->count;
        p->graphs = ox_arena_alloc(w->a, from->count, sizeof *p->graphs);
        for (size_t i = 0; i < from->count; i++) {
            p->graphs[i] = write_body_read(w, from->graphs[i]);
        }
    }
}

static char **write_names(const writer *w, size_t count, const ox_val *values)
{
    char **names = ox_arena_alloc(w->a, count, sizeof *names);
    for (size_t i = 0; i < count; i++) {
        names[i] = TEXT(values[i] == NULL ? "" : ox_body_origin(values[i])->name);
    }
    return names;
}

static Onnx__NodeProto *write_node(writer *w, const ox_graph *g, const ox_node *n)
{
    ox_arena *a = w->a;
    Onnx__NodeProto *p = n->proto != NULL ? ox_proto_copy(a, n->proto)
                                          : ox_proto_new(a, &onnx__node_proto__descriptor);
    p->op_type = TEXT(n->op);
    bool as_read = g->proto != NULL; /* "" where it was written */
    if (!as_read || strcmp(ox_proto_text(p->name), n->name) != 0) {
        p->name = n->name[0] == '\0' ? NULL : TEXT(n->name);
    }
    if (!as_read || strcmp(ox_proto_domain(p->domain), n->domain) != 0) {
        p->domain = n->domain[0] == '\0' ? NULL : TEXT(n->domain);
    }
    p->n_input = n->input_count;
    p->input = write_names(w, n->input_count, n->inputs);
    p->n_output = n->output_count;
    p->output = write_names(w, n->output_count, n->outputs);
    p->n_attribute = n->attr_count;
    p->attribute = ox_arena_alloc(a, n->attr_count, sizeof *p->attribute);
    for (size_t i = 0; i < n->attr_count; i++) {
        Onnx__AttributeProto *attr = write_attr(a, &n->attrs[i]);
        write_bodies(w, &n->attrs[i], attr);
        if (attr->t != NULL && strcmp(n->op, "Constant") == 0 && n->domain[0] == '\0' &&
            g == w->m->graph) {
            place(w, attr->t, w->main, n->outputs[0]->name);
        }
        p->attribute[i] = attr;
    }
    return p;
}

static Onnx__NodeProto **write_nodes(writer *w, const ox_graph *g)
{
    Onnx__NodeProto **nodes = ox_arena_alloc(w->a, g->node_count, sizeof(Onnx__NodeProto *));
    for (size_t i = 0; i < g->node_count; i++) {
        w->at = g == w->m->graph ? i + 1 : w->at;
        nodes[i] = write_node(w, g, g->nodes[i]);
    }
    return nodes;
}

/* ---- graphs ----------------------------------------------------------------------------- */

static bool is_initializer(const ox_value *v)
{
    return v->constant != NULL && v->node == NULL && v->outer == NULL && !v->is_input;
}

static void fill_graph(writer *w, const ox_graph *g, Onnx__GraphProto *p)
{
    p->name = TEXT(g->name);
    p->n_input = g->input_count;
    p->input = write_values(w, g->input_count, g->inputs);
    p->n_output = g->output_count;
    p->output = write_values(w, g->output_count, g->outputs);
    p->initializer = ox_arena_alloc(w->a, g->value_count, sizeof *p->initializer);
    p->n_initializer = 0;
    for (size_t i = 0; i < g->value_count; i++) {
        const ox_value *v = g->values[i];
        if (is_initializer(v)) {
            Onnx__TensorProto *t = write_tensor(w->a, v->constant, v->name);
            place(w, t, p, v->name);
            p->initializer[p->n_initializer++] = t;
        }
    }
    p->n_node = g->node_count;
    p->node = write_nodes(w, g);
}

static Onnx__GraphProto *write_body(writer *w, const ox_graph *g)
{
    Onnx__GraphProto *p = ox_proto_new(w->a, &onnx__graph_proto__descriptor);
    fill_graph(w, g, p);
    return p;
}

/* A function has no initializers: its constants are nodes. So are those that were added to a body
 * that was read. */
static Onnx__NodeProto *constant_node(const writer *w, const ox_value *v)
{
    Onnx__AttributeProto *value = ox_proto_new(w->a, &onnx__attribute_proto__descriptor);
    value->name = TEXT("value");
    value->has_type = true;
    value->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR;
    value->t = write_tensor(w->a, v->constant, NULL);
    Onnx__NodeProto *p = ox_proto_new(w->a, &onnx__node_proto__descriptor);
    p->op_type = TEXT("Constant");
    p->n_output = 1;
    p->output = ox_arena_alloc(w->a, 1, sizeof *p->output);
    p->output[0] = TEXT(v->name);
    p->n_attribute = 1;
    p->attribute = ox_arena_alloc(w->a, 1, sizeof *p->attribute);
    p->attribute[0] = value;
    return p;
}

static Onnx__NodeProto **write_body_nodes(writer *w, const ox_graph *body, size_t *count)
{
    size_t most = body->value_count + body->node_count;
    Onnx__NodeProto **nodes = ox_arena_alloc(w->a, most, sizeof(Onnx__NodeProto *));
    *count = 0;
    for (size_t i = 0; i < body->value_count; i++) {
        if (is_initializer(body->values[i]) &&
            (body->proto == NULL || body->values[i]->base != NULL)) {
            nodes[(*count)++] = constant_node(w, body->values[i]);
        }
    }
    for (size_t i = 0; i < body->node_count; i++) {
        nodes[(*count)++] = write_node(w, body, body->nodes[i]);
    }
    return nodes;
}

/* How the file describes values, under the names that they have now; without those that are
 * gone. */
static size_t write_infos(const writer *w, size_t count, Onnx__ValueInfoProto *const *from,
                          const ox_val *values, Onnx__ValueInfoProto ***to)
{
    size_t kept = 0;
    *to = ox_arena_alloc(w->a, count, sizeof **to);
    for (size_t i = 0; i < count; i++) {
        const char *name = values[i] == NULL ? NULL : ox_body_origin(values[i])->name;
        if (name != NULL && strcmp(ox_proto_text(from[i]->name), name) == 0) {
            (*to)[kept++] = from[i];
        } else if (name != NULL) {
            (*to)[kept] = ox_proto_copy(w->a, from[i]);
            (*to)[kept++]->name = TEXT(name);
        }
    }
    return kept;
}

/* A body of the model that was read. */
static Onnx__GraphProto *write_body_read(writer *w, const ox_graph *g)
{
    const Onnx__GraphProto *from = g->proto;
    Onnx__GraphProto *p = ox_proto_copy(w->a, from);
    p->n_input = write_infos(w, from->n_input, from->input, g->inputs, &p->input);
    p->n_output = write_infos(w, from->n_output, from->output, g->outputs, &p->output);
    p->n_value_info =
        write_infos(w, from->n_value_info, from->value_info, g->infos, &p->value_info);
    p->initializer = ox_arena_alloc(w->a, g->value_count, sizeof *p->initializer);
    p->n_initializer = 0;
    for (size_t i = 0; i < g->value_count; i++) {
        const ox_value *v = g->values[i];
        if (is_initializer(v) && v->base == NULL) {
            p->initializer[p->n_initializer++] = write_tensor(w->a, v->constant, v->name);
        }
    }
    p->node = write_body_nodes(w, g, &p->n_node);
    return p;
}

/* What is known of every inner value. */
static void describe_all(writer *w, const ox_graph *g, Onnx__GraphProto *p)
{
    p->value_info = ox_arena_alloc(w->a, g->value_count, sizeof *p->value_info);
    p->n_value_info = 0;
    ox_table outputs = {.arena = w->a};
    for (size_t i = 0; i < g->output_count; i++) {
        ox_index_add(&outputs, g->outputs[i]->name, i);
    }
    for (size_t i = 0; i < g->value_count; i++) {
        ox_val v = g->values[i];
        bool output = ox_index_find(&outputs, v->name) != SIZE_MAX;
        if (v->node != NULL && !output && v->type != OX_NONE && v->rank >= 0) {
            p->value_info[p->n_value_info++] = ox_proto_write_value(w->a, w->m, v, NULL);
        }
    }
}

/* The main graph. Descriptions of inner values are kept for those that are still there. */
static Onnx__GraphProto *write_main(writer *w, const Onnx__GraphProto *from)
{
    const ox_graph *g = w->m->graph;
    Onnx__GraphProto *p = from != NULL ? ox_proto_copy(w->a, from)
                                       : ox_proto_new(w->a, &onnx__graph_proto__descriptor);
    w->main = p;
    fill_graph(w, g, p);
    size_t count = p->n_value_info;
    p->value_info = ox_arena_alloc(w->a, count, sizeof *p->value_info);
    p->n_value_info = 0;
    for (size_t i = 0; i < count; i++) {
        ox_val v = ox_graph_find(g, ox_proto_text(from->value_info[i]->name));
        if (v != NULL && (v->node != NULL || v->constant != NULL)) {
            p->value_info[p->n_value_info++] =
                ox_proto_write_value(w->a, w->m, v, from->value_info[i]);
        }
    }
    if (g->described) {
        describe_all(w, g, p);
    }
    return p;
}

/* ---- functions -------------------------------------------------------------------------- */

typedef struct name_list {
    char **names;
    size_t count;
    ox_table index;
} name_list;

static void add_name(ox_arena *a, name_list *list, const char *name)
{
    list->index.arena = a;
    if (ox_index_find(&list->index, name) != SIZE_MAX) {
        return;
    }
    ox_index_add(&list->index, name, list->count);
    list->names = ox_arena_grow(a, list->names, list->count, sizeof *list->names);
    list->names[list->count++] = TEXT(name);
}

typedef struct kernel_names {
    ox_arena *a;
    name_list list;
} kernel_names;

static Onnx__OperatorSetIdProto *write_import(const writer *w, const char *domain)
{
    Onnx__OperatorSetIdProto *p = ox_proto_new(w->a, &onnx__operator_set_id_proto__descriptor);
    int64_t version = ox_model_opset(w->m, domain);
    p->domain = TEXT(domain);
    p->has_version = true;
    p->version = version > 0 ? version : 1;
    return p;
}

static Onnx__OperatorSetIdProto **write_imports(const writer *w, const name_list *domains)
{
    Onnx__OperatorSetIdProto **all = ox_arena_alloc(w->a, domains->count, sizeof *all);
    for (size_t i = 0; i < domains->count; i++) {
        all[i] = write_import(w, domains->names[i]);
    }
    return all;
}

static Onnx__FunctionProto *write_function(writer *w, const ox_function *f)
{
    const ox_graph *body = f->body;
    Onnx__FunctionProto *p = ox_proto_new(w->a, &onnx__function_proto__descriptor);
    p->name = TEXT(f->name);
    p->domain = TEXT("onnxexplainer");
    p->n_input = body->input_count;
    p->input = write_names(w, body->input_count, body->inputs);
    p->n_output = body->output_count;
    p->output = write_names(w, body->output_count, body->outputs);
    name_list domains = {.count = 0};
    add_name(w->a, &domains, "");
    for (size_t i = 0; i < body->node_count; i++) {
        add_name(w->a, &domains, body->nodes[i]->domain);
    }
    p->n_opset_import = domains.count;
    p->opset_import = write_imports(w, &domains);
    p->node = write_body_nodes(w, body, &p->n_node);
    return p;
}

typedef struct local_calls {
    const ox_model *model;
    bool any;
} local_calls;

static void note_local(void *user, Onnx__NodeProto *n)
{
    local_calls *c = user;
    const char *domain = ox_proto_domain(n->domain), *op = ox_proto_text(n->op_type);
    c->any = c->any || ox_model_local(c->model, domain, op) != NULL;
}

static bool calls_locals(const ox_model *m, Onnx__GraphProto *g)
{
    local_calls c = {.model = m};
    const ox_proto_walk walk = {.node = note_local, .user = &c};
    ox_proto_walk_graph(&walk, g);
    return c.any;
}

/* Ours, and those of the model that was read as long as one of them is called. */
static void write_functions(writer *w, Onnx__ModelProto *p)
{
    const ox_model *m = w->m;
    const ox_graph *g = m->graph;
    size_t locals = m->local_count > 0 && calls_locals(m, p->graph) ? m->local_count : 0;
    p->functions = ox_arena_alloc(w->a, locals + g->function_count, sizeof *p->functions);
    p->n_functions = locals + g->function_count;
    for (size_t i = 0; i < locals; i++) {
        p->functions[i] = (Onnx__FunctionProto *)(uintptr_t)m->locals[i].proto;
    }
    for (size_t i = 0; i < g->function_count; i++) {
        p->functions[locals + i] = write_function(w, &g->functions[i]);
    }
}

/* ---- models ----------------------------------------------------------------------------- */

static const char KERNELS[] = "onnxexplainer.kernels";

static void note_kernel(void *user, Onnx__NodeProto *n)
{
    kernel_names *k = user;
    if (strcmp(ox_proto_domain(n->domain), "onnxexplainer") == 0) {
        add_name(k->a, &k->list, ox_proto_text(n->op_type));
    }
}

/* The names of our functions that the graph uses, "A,B": a session takes the kernels of these. */
static const char *list_kernels(ox_arena *a, Onnx__GraphProto *g)
{
    kernel_names k = {.a = a};
    const ox_proto_walk walk = {.node = note_kernel, .user = &k};
    ox_proto_walk_graph(&walk, g);
    size_t size = 1;
    for (size_t i = 0; i < k.list.count; i++) {
        size += strlen(k.list.names[i]) + 1;
    }
    char *text = ox_arena_alloc(a, size, 1), *at = text;
    for (size_t i = 0; i < k.list.count; i++) {
        size_t length = strlen(k.list.names[i]);
        *at = ',';
        at += i > 0;
        memcpy(at, k.list.names[i], length);
        at += length;
    }
    *at = '\0';
    return text;
}

static void add_property(ox_arena *a, Onnx__ModelProto *p, const char *key, const char *value)
{
    Onnx__StringStringEntryProto *entry =
        ox_proto_new(a, &onnx__string_string_entry_proto__descriptor);
    entry->key = TEXT(key);
    entry->value = TEXT(value);
    p->metadata_props[p->n_metadata_props++] = entry;
}

static void write_properties(ox_arena *a, const ox_model *m, Onnx__ModelProto *p)
{
    p->n_metadata_props = 0;
    p->metadata_props = ox_arena_alloc(a, m->property_count + 1, sizeof *p->metadata_props);
    for (size_t i = 0; i < m->property_count; i++) {
        if (strcmp(m->properties[i].key, KERNELS) != 0) { /* of what was read */
            add_property(a, p, m->properties[i].key, m->properties[i].value);
        }
    }
    const char *kernels = list_kernels(a, p->graph);
    if (kernels[0] != '\0') {
        add_property(a, p, KERNELS, kernels);
    }
}

void ox_model_build(ox_arena *a, const ox_model *m, ox_file *out)
{
    writer w = {.a = a, .m = m, .out = out};
    const Onnx__ModelProto *from = m->proto;
    Onnx__ModelProto *p =
        from != NULL ? ox_proto_copy(a, from) : ox_proto_new(a, &onnx__model_proto__descriptor);
    *out = (ox_file){.proto = p};
    p->has_ir_version = true;
    /* Before, initializers had to be inputs. */
    p->ir_version = m->ir_version < 4 ? 4 : m->ir_version;
    name_list domains = {.count = 0};
    for (size_t i = 0; i < m->opset_count; i++) {
        add_name(a, &domains, m->opsets[i].domain);
    }
    if (m->graph->function_count > 0) {
        add_name(a, &domains, "onnxexplainer");
    }
    p->n_opset_import = domains.count;
    p->opset_import = write_imports(&w, &domains);
    p->graph = write_main(&w, from == NULL ? NULL : from->graph);
    write_properties(a, m, p);
    write_functions(&w, p);
}
