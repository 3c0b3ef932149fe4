/* The way back from an explained model: the model that was explained, and its references. */
#include "explain/original.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

static const char OURS[] = "onnxexplainer.";

static const char *property_or(const ox_model *m, const char *key, const char *otherwise)
{
    const char *value = ox_metadata(m, key);
    return value != NULL ? value : otherwise;
}

/* Whether `name` is prefix, the name of a value, and `tail`. */
static bool is_of(const ox_model *m, const char *name, const char *tail)
{
    const char *prefix = property_or(m, "onnxexplainer.prefix", "");
    size_t head = strlen(prefix), length = strlen(name), end = strlen(tail);
    return length > head + end && strncmp(name, prefix, head) == 0 &&
           strcmp(name + length - end, tail) == 0;
}

/* Outputs of the original come first, and no name of ours is among them. */
static size_t count_original(const ox_model *m)
{
    const ox_graph *g = m->graph;
    size_t count = 0;
    while (count < g->output_count && !is_of(m, g->outputs[count]->name, "_shap")) {
        count++;
    }
    return count;
}

static bool is_target(const ox_model *m, const char *name)
{
    const char *prefix = property_or(m, "onnxexplainer.prefix", "");
    size_t head = strlen(prefix);
    return strncmp(name, prefix, head) == 0 && strcmp(name + head, "shap_target_input") == 0;
}

static bool is_our_input(const ox_model *m, const char *name)
{
    const char *from = property_or(m, "onnxexplainer.references", "");
    return ((strcmp(from, "input") == 0 || strcmp(from, "paired") == 0) &&
            is_of(m, name, "_references")) ||
           is_target(m, name);
}

/* Leaves only what the outputs need, the rest of the original's own included. */
static void prune_all(ox_graph *g)
{
    for (size_t i = 0; i < g->node_count; i++) {
        g->nodes[i]->original = false;
    }
    for (size_t i = 0; i < g->value_count; i++) {
        g->values[i]->keep = false;
    }
    ox_graph_prune(g);
    for (size_t i = 0; i < g->node_count; i++) {
        g->nodes[i]->original = true;
    }
}

static void drop_properties(ox_model *m)
{
    size_t count = m->property_count;
    const ox_property *all = m->properties;
    m->properties = NULL;
    m->property_count = 0;
    m->property_index = (ox_table){.arena = m->arena};
    for (size_t i = 0; i < count; i++) {
        if (strncmp(all[i].key, OURS, strlen(OURS)) != 0) {
            ox_model_set_property(m, all[i].key, all[i].value);
        }
    }
}

/* Our domain, with its functions. */
static void drop_functions(ox_model *m)
{
    size_t opsets = m->opset_count, locals = 0;
    const ox_import *all = m->opsets;
    m->opsets = NULL;
    m->opset_count = 0;
    m->opset_index = (ox_table){.arena = m->arena};
    for (size_t i = 0; i < opsets; i++) {
        if (strcmp(all[i].domain, "onnxexplainer") != 0) {
            ox_model_set_opset(m, all[i].domain, all[i].version);
        }
    }
    if (m->opset_count == 0) {
        ox_fail(m->arena, OX_INVALID, "the model imports no operator set but ours");
    }
    for (size_t i = 0; i < m->local_count; i++) {
        if (strcmp(m->locals[i].domain, "onnxexplainer") != 0) {
            m->locals[locals++] = m->locals[i];
        }
    }
    m->local_count = locals;
}

static void strip(ox_model *m)
{
    ox_graph *g = m->graph;
    size_t inputs = 0;
    g->output_count = count_original(m);
    if (g->output_count == 0) {
        ox_fail(m->arena, OX_INVALID, "the model has no output before our own");
    }
    for (size_t i = 0; i < g->input_count; i++) {
        if (!is_our_input(m, g->inputs[i]->name)) {
            g->inputs[inputs++] = g->inputs[i];
        }
    }
    g->input_count = inputs;
    prune_all(g);
    drop_properties(m);
    drop_functions(m);
    ox_model_publish(m);
}

typedef struct job {
    ox_model *made;
    const ox_model *explained;
    ox_tensor *tensors; /* of references */
    size_t room, count;
} job;

static void take_original(void *user)
{
    job *j = user;
    ox_model_copy(j->made, (ox_model *)(uintptr_t)j->explained);
    strip(j->made);
}

static bool check_explained(const ox_model *m, ox_error *err)
{
    if (!ox_check_given("explained", m, err)) {
        return false;
    }
    return ox_metadata(m, "onnxexplainer.version") != NULL ||
           ox_error_set(err, OX_ARGUMENT, "the model is not one that explain has made");
}

ox_model *ox_original(const ox_model *explained, ox_error *err)
{
    job j = {.explained = explained};
    j.made = check_explained(explained, err) ? ox_model_new(err) : NULL;
    if (j.made == NULL) {
        return NULL;
    }
    if (!ox_arena_try(j.made->arena, take_original, &j, err)) {
        ox_free(j.made);
        return NULL;
    }
    return j.made;
}

/* ---- references ------------------------------------------------------------------------- */

const char *ox_references_scope(ox_arena *a, const char *input)
{
    return ox_arena_format(a, "onnxexplainer/references/%s", input);
}

/* References as they were given: R along an axis of an input's shape, or of one in front. */
typedef struct given {
    const ox_const *data;
    int rank, axis;
    int64_t dims[OX_MAX_RANK]; /* with what fills up the last step */
} given;

/* The shape of x without a batch, with one of one. */
static bool shape_of(const ox_model *m, ox_val x, given *g)
{
    bool batch = property_or(m, "onnxexplainer.input_axes", "0")[0] != '-';
    int64_t own = 1, total = (int64_t)ox_const_count(g->data);
    int lead = batch ? 0 : 1;
    g->rank = x->rank + lead;
    for (int d = 0; d < x->rank; d++) {
        bool is_free = !ox_dim_is_static(x->dims[d]);
        g->dims[lead + d] = is_free ? 1 : x->dims[d].size;
        g->axis = is_free ? d : g->axis;
        own *= g->dims[lead + d];
    }
    bool many = batch && x->rank > 0 && g->axis == 0 && g->dims[0] > 1;
    if (x->rank < 0 || own < 1 || total % own != 0 || g->axis > 0 || many) {
        return false;
    }
    g->dims[g->axis] = total / own;
    return true;
}

/* The constant has the shape that was given, or that of what is kept of it. */
static bool lay_out(const ox_model *m, ox_val x, given *g)
{
    const ox_const *c = g->data;
    bool same = c->rank == x->rank && c->rank > 0;
    for (int d = 0; same && d < x->rank; d++) {
        bool along = !ox_dim_is_static(x->dims[d]) || (d == 0 && g->axis == 0);
        g->axis = !ox_dim_is_static(x->dims[d]) ? d : g->axis;
        same = along || ox_dim_is(x->dims[d], c->dims[d]);
    }
    if (!same) {
        g->axis = 0;
        return shape_of(m, x, g);
    }
    g->rank = c->rank;
    memcpy(g->dims, c->dims, (size_t)c->rank * sizeof *c->dims);
    return true;
}

/* Copies the first `rows` along the axis. */
static bool copy_rows(ox_tensor *to, const given *g, const char *name, int64_t rows)
{
    size_t inner = ox_type_size(g->data->type), outer = 1, all = (size_t)g->dims[g->axis];
    int64_t *dims = malloc((size_t)g->rank * sizeof *dims);
    char *own_name = malloc(strlen(name) + 1);
    *to = (ox_tensor){own_name, g->data->type, g->rank, dims, NULL};
    if (dims == NULL || own_name == NULL) {
        return false;
    }
    for (int d = 0; d < g->rank; d++) {
        inner *= d > g->axis ? (size_t)g->dims[d] : 1;
        outer *= d < g->axis ? (size_t)g->dims[d] : 1;
        dims[d] = d == g->axis ? rows : g->dims[d];
    }
    strcpy(own_name, name);
    char *data = malloc(outer * (size_t)rows * inner + 1);
    to->data = data;
    if (data == NULL) {
        return false;
    }
    for (size_t o = 0; o < outer; o++) {
        memcpy(data + o * (size_t)rows * inner, (const char *)g->data->data + o * all * inner,
               (size_t)rows * inner);
    }
    return true;
}

/* The constant that the references of an input are, whatever shape they were given. */
static const ox_const *find_references(const ox_graph *g, const char *scope)
{
    size_t length = strlen(scope);
    for (size_t i = 0; i < g->value_count; i++) {
        const ox_val v = g->values[i];
        if (v->constant != NULL && strncmp(v->name, scope, length) == 0 &&
            strncmp(v->name + length, "/constant", strlen("/constant")) == 0) {
            return v->constant;
        }
    }
    return NULL;
}

static void take_references(void *user)
{
    job *j = user;
    const ox_graph *g = j->explained->graph;
    ox_arena *a = j->made->arena;
    const char *told = property_or(j->explained, "onnxexplainer.references", "");
    long long rows = strtoll(told, NULL, 10);
    for (size_t i = 0; rows > 0 && i < g->input_count; i++) {
        ox_val x = g->inputs[i];
        const char *scope = ox_references_scope(a, x->name);
        given found = {.data = find_references(g, scope)};
        if (found.data == NULL || found.data->data == NULL || !lay_out(j->explained, x, &found) ||
            found.dims[found.axis] < rows) {
            continue;
        }
        if (j->count == j->room) {
            ox_fail(a, OX_ARGUMENT, "room for %zu references is not enough", j->room);
        }
        if (!copy_rows(&j->tensors[j->count++], &found, x->name, rows)) {
            ox_fail(a, OX_MEMORY, "out of memory");
        }
    }
}

bool ox_references(const ox_model *explained, ox_tensor *references, size_t room, size_t *count,
                   ox_error *err)
{
    job j = {.explained = explained, .tensors = references, .room = room};
    bool sound = check_explained(explained, err) && ox_check_given("references", references, err) &&
                 ox_check_given("count", count, err);
    j.made = sound ? ox_model_new(err) : NULL;
    if (j.made == NULL) {
        return false;
    }
    bool good = ox_arena_try(j.made->arena, take_references, &j, err);
    for (size_t i = 0; !good && i < j.count; i++) {
        ox_tensor_free(&references[i]);
    }
    ox_free(j.made);
    *count = good ? j.count : 0;
    return good;
}
