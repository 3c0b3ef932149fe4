/* The model object: making, copying and freeing it, and what the public header tells about it. */
#include "model/proto.h"
#include "shape/shape.h"

#include <assert.h>
#include <string.h>

/* ---- life ------------------------------------------------------------------------------- */

ox_model *ox_model_new(ox_error *err)
{
    ox_arena *a = ox_arena_new();
    ox_model *m = a == NULL ? NULL : ox_arena_try_alloc(a, sizeof *m);
    if (m == NULL) {
        ox_arena_free(a);
        ox_error_set(err, OX_MEMORY, "out of memory");
        return NULL;
    }
    memset(m, 0, sizeof *m);
    m->arena = a;
    atomic_init(&m->uses, 1);
    m->opset_index.arena = m->property_index.arena = a;
    m->local_table.arena = m->hints.arena = m->function_bodies.arena = a;
    return m;
}

void ox_free(ox_model *m)
{
    if (m == NULL || atomic_fetch_sub(&m->uses, 1) > 1) {
        return;
    }
    for (size_t i = 0; i < m->source_count; i++) {
        ox_free(m->sources[i]);
    }
    for (size_t i = 0; i < m->mapping_count; i++) {
        ox_os_unmap(m->mappings[i].data, m->mappings[i].size);
    }
    ox_arena_free(m->arena);
}

ox_model *ox_model_keep(const ox_model *m)
{
    ox_model *kept = (ox_model *)(uintptr_t)m;
    atomic_fetch_add(&kept->uses, 1);
    return kept;
}

void ox_model_share_weights(ox_model *to, ox_model *source)
{
    size_t i = to->source_count;
    to->sources = ox_arena_grow(to->arena, to->sources, i, sizeof *to->sources);
    to->sources[i] = ox_model_keep(source);
    to->source_count++;
}

static ox_val copy_value(ox_graph *g, const ox_value *from)
{
    ox_val v = ox_graph_value(g, from->name, from->type, from->rank, from->dims);
    v->elements = from->elements;
    v->constant = from->constant;
    v->keep = from->keep;
    return v;
}

/* The values of the source that bodies of the node use stand for those of the same name. */
static void copy_bodies(ox_graph *g, ox_node *like)
{
    static const ox_body_copier plain = {0};
    ox_map map = {.values.arena = g->arena};
    for (size_t i = 0; i < like->attr_count; i++) {
        for (size_t b = 0; b < ox_attr_graph_count(&like->attrs[i]); b++) {
            const ox_graph *body = ox_attr_graph(&like->attrs[i], b);
            for (size_t k = 0; k < body->value_count; k++) {
                ox_val outer = body->values[k]->outer;
                if (outer != NULL) {
                    ox_map_add(&map, outer, ox_graph_find(g, outer->name));
                }
            }
        }
    }
    ox_body_copy_attrs(&plain, g, &map, like);
}

static void copy_node(ox_graph *g, const ox_node *from)
{
    ox_node like = *from;
    like.inputs = ox_arena_alloc(g->arena, from->input_count, sizeof(ox_val));
    like.outputs = ox_arena_alloc(g->arena, from->output_count, sizeof(ox_val));
    for (size_t i = 0; i < from->input_count; i++) {
        ox_val v = from->inputs[i];
        like.inputs[i] = v == NULL ? NULL : ox_graph_find(g, v->name);
    }
    for (size_t i = 0; i < from->output_count; i++) {
        like.outputs[i] = copy_value(g, from->outputs[i]);
    }
    if (ox_node_has_body(from)) {
        copy_bodies(g, &like);
    }
    ox_graph_append(g, &like);
}

/* The source may be in use by others, so that its values cannot be marked: they are found by
 * name. */
static ox_graph *copy_graph(ox_arena *a, const ox_graph *from)
{
    ox_graph *g = ox_graph_new(a, ox_shape_infer, from->name);
    g->unknowns = from->unknowns;
    g->functions = ox_arena_copy(a, from->functions, from->function_count, sizeof *from->functions);
    g->function_count = from->function_count;
    for (size_t i = 0; i < from->input_count; i++) {
        const ox_value *v = from->inputs[i];
        ox_graph_input(g, v->name, v->type, v->rank, v->dims)->elements = v->elements;
    }
    for (size_t i = 0; i < from->value_count; i++) {
        const ox_value *v = from->values[i];
        if (!v->is_input && v->node == NULL) {
            copy_value(g, v);
        }
    }
    for (size_t i = 0; i < from->node_count; i++) {
        copy_node(g, from->nodes[i]);
    }
    for (size_t i = 0; i < from->output_count; i++) {
        const char *name = from->outputs[i]->name;
        ox_graph_output(g, ox_graph_find(g, name), name);
    }
    for (size_t i = 0; i < g->node_count; i++) {
        ox_body_take_names(g, g->nodes[i]);
    }
    for (size_t i = 0; i < g->function_count; i++) {
        const ox_graph *body = g->functions[i].body;
        for (size_t k = 0; k < body->value_count; k++) {
            ox_graph_take_name(g, body->values[k]->name);
        }
    }
    return g;
}

void ox_model_copy(ox_model *to, ox_model *source)
{
    assert(to->source_count == 0 && to->graph == NULL);
    ox_arena *a = to->arena;
    ox_budget_continue(a, source->arena);
    ox_model_share_weights(to, source);
    to->proto = source->proto;
    to->ir_version = source->ir_version;
    for (size_t i = 0; i < source->opset_count; i++) {
        ox_model_set_opset(to, source->opsets[i].domain, source->opsets[i].version);
    }
    for (size_t i = 0; i < source->property_count; i++) {
        ox_model_set_property(to, source->properties[i].key, source->properties[i].value);
    }
    to->local_count = source->local_count;
    to->locals = ox_arena_copy(a, source->locals, source->local_count, sizeof *to->locals);
    to->local_table = source->local_table; /* nothing is added to these any more */
    to->hints = source->hints;
    to->graph = copy_graph(a, source->graph);
    ox_model_publish(to);
}

/* ---- functions, opsets and properties --------------------------------------------------- */

static uint64_t hash_pair(const char *domain, const char *name)
{
    return ox_hash(ox_hash(0, domain, strlen(domain) + 1), name, strlen(name));
}

const ox_local_function *ox_model_local(const ox_model *m, const char *domain, const char *name)
{
    size_t at = OX_TABLE_START;
    uint64_t hash = hash_pair(domain, name);
    for (ox_local_function *f; (f = ox_table_next(&m->local_table, hash, &at)) != NULL;) {
        if (strcmp(f->domain, domain) == 0 && strcmp(f->name, name) == 0) {
            return f;
        }
    }
    return NULL;
}

void ox_model_add_local(ox_model *m, ox_local_function *f)
{
    if (ox_model_local(m, f->domain, f->name) == NULL) {
        ox_table_add(&m->local_table, hash_pair(f->domain, f->name), f);
    }
}

int64_t ox_model_opset(const ox_model *m, const char *domain)
{
    size_t i = ox_index_find(&m->opset_index, ox_proto_domain(domain));
    return i == SIZE_MAX ? 0 : m->opsets[i].version;
}

void ox_model_set_opset(ox_model *m, const char *domain, int64_t version)
{
    domain = ox_proto_domain(domain);
    size_t i = ox_index_find(&m->opset_index, domain);
    if (i == SIZE_MAX) {
        i = m->opset_count++;
        m->opsets = ox_arena_grow(m->arena, m->opsets, i, sizeof *m->opsets);
        m->opsets[i].domain = ox_arena_string(m->arena, domain);
        ox_index_add(&m->opset_index, m->opsets[i].domain, i);
    }
    m->opsets[i].version = version;
}

void ox_model_set_property(ox_model *m, const char *key, const char *value)
{
    size_t i = ox_index_find(&m->property_index, key);
    if (i == SIZE_MAX) {
        i = m->property_count++;
        m->properties = ox_arena_grow(m->arena, m->properties, i, sizeof *m->properties);
        m->properties[i].key = ox_arena_string(m->arena, key);
        ox_index_add(&m->property_index, m->properties[i].key, i);
    }
    m->properties[i].value = ox_arena_string(m->arena, value);
}

/* ---- symbols ---------------------------------------------------------------------------- */

const Onnx__ValueInfoProto *ox_model_hint(const ox_model *m, const char *name)
{
    uint64_t hash = ox_hash_string(name);
    size_t at = OX_TABLE_START;
    for (Onnx__ValueInfoProto *info; (info = ox_table_next(&m->hints, hash, &at)) != NULL;) {
        if (strcmp(info->name, name) == 0) {
            return info;
        }
    }
    return NULL;
}

/* The name that the description gives to a dimension of `v`. */
static const char *described(const Onnx__ValueInfoProto *info, ox_val v, int axis)
{
    const Onnx__TensorShapeProto *shape = ox_proto_shape(info);
    if (shape == NULL || v->rank < 0 || shape->n_dim != (size_t)v->rank) {
        return "";
    }
    const Onnx__TensorShapeProto__Dimension *d = shape->dim[axis];
    bool named = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
    return named ? ox_proto_text(d->dim_param) : "";
}

static bool is_batch(ox_dim d)
{
    return d.unknown == 0 && d.size == 1 && d.batch == 1 && d.refs == 0;
}

/* Whether an input or output of the model that was read has a dimension called `name`; with
 * name NULL, the first name of a batch dimension. */
static const char *find_symbol(const ox_model *m, const char *name)
{
    const ox_graph *g = m->graph;
    for (size_t i = 0; i < g->input_count + g->output_count; i++) {
        ox_val v = i < g->input_count ? g->inputs[i] : g->outputs[i - g->input_count];
        const Onnx__ValueInfoProto *info = ox_model_hint(m, v->name);
        for (int axis = 0; info != NULL && axis < v->rank; axis++) {
            const char *symbol = described(info, v, axis);
            bool found = name != NULL ? strcmp(symbol, name) == 0
                                      : is_batch(v->dims[axis]) && symbol[0] != '\0';
            if (found) {
                return symbol;
            }
        }
    }
    return NULL;
}

const char *ox_model_symbol(const ox_model *m, ox_val v, int axis, const Onnx__ValueInfoProto *info)
{
    ox_dim d = v->dims[axis];
    if (ox_dim_is_static(d)) {
        return "";
    }
    const char *symbol = described(info, v, axis);
    if (is_batch(d)) { /* one name, where the model that was read gave it several */
        return m->batch_symbol;
    }
    bool refs = ox_dim_equal(d, (ox_dim){.size = 1, .refs = 1});
    return symbol[0] == '\0' && refs ? m->refs_symbol : symbol;
}

/* ---- the public view -------------------------------------------------------------------- */

ox_value_info *ox_model_infos(const ox_model *m, size_t count, const ox_val *values)
{
    ox_arena *a = m->arena;
    ox_value_info *infos = ox_arena_alloc(a, count, sizeof *infos);
    for (size_t i = 0; i < count; i++) {
        ox_val v = values[i];
        const Onnx__ValueInfoProto *hint = ox_model_hint(m, v->name);
        size_t rank = v->rank < 0 ? 0 : (size_t)v->rank;
        int64_t *dims = ox_arena_alloc(a, rank, sizeof *dims);
        const char **symbols = ox_arena_alloc(a, rank, sizeof *symbols);
        for (size_t k = 0; k < rank; k++) {
            dims[k] = ox_dim_is_static(v->dims[k]) ? v->dims[k].size : -1;
            symbols[k] = ox_model_symbol(m, v, (int)k, hint);
        }
        infos[i] = (ox_value_info){
            .name = v->name,
            .type = v->type,
            .rank = v->rank,
            .dims = dims,
            .symbols = symbols,
        };
    }
    return infos;
}

static void find_symbols(ox_model *m)
{
    const char *batch = find_symbol(m, NULL);
    m->batch_symbol = batch != NULL ? batch : find_symbol(m, "N") == NULL ? "N" : "samples";
    m->refs_symbol = find_symbol(m, "R") == NULL ? "R" : "references";
}

void ox_model_publish(ox_model *m)
{
    find_symbols(m);
    m->inputs = ox_model_infos(m, m->graph->input_count, m->graph->inputs);
    m->outputs = ox_model_infos(m, m->graph->output_count, m->graph->outputs);
    m->input_index = (ox_table){.arena = m->arena};
    for (size_t i = 0; i < m->graph->input_count; i++) {
        ox_index_add(&m->input_index, m->inputs[i].name, i);
    }
}

const ox_value_info *ox_inputs(const ox_model *model, size_t *count)
{
    if (count != NULL) {
        *count = model == NULL ? 0 : model->graph->input_count;
    }
    return model == NULL ? NULL : model->inputs;
}

const ox_value_info *ox_outputs(const ox_model *model, size_t *count)
{
    if (count != NULL) {
        *count = model == NULL ? 0 : model->graph->output_count;
    }
    return model == NULL ? NULL : model->outputs;
}

int64_t ox_opset(const ox_model *model, const char *domain)
{
    return model == NULL ? 0 : ox_model_opset(model, domain == NULL ? "" : domain);
}

int64_t ox_ir_version(const ox_model *model)
{
    return model == NULL ? 0 : model->ir_version;
}

const char *ox_metadata(const ox_model *model, const char *key)
{
    size_t i = model == NULL || key == NULL ? SIZE_MAX : ox_index_find(&model->property_index, key);
    return i == SIZE_MAX ? NULL : model->properties[i].value;
}
