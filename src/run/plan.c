/* Tuning for the machine at hand: asks ONNX Runtime for the block of its layout, has the graph
 * rewritten, and lets ONNX Runtime compute what depends on no input. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "graph/body.h"
#include "model/model.h"
#include "run/plan.h"
#include "shape/shape.h"
#include "tune/tune.h"

static const char PLAN_KEY[] = "onnxexplainer.plan";

enum { PROBE_CHANNELS = 64, PROBE_PLACES = 2, PROBE_SIZE = PROBE_CHANNELS * PROBE_PLACES };

/* A model of one ReorderInput over [1, 64, 1, 2]. */
static void build_probe(void *user)
{
    ox_model *m = user;
    ox_graph *g = m->graph = ox_graph_new(m->arena, ox_shape_infer, "probe");
    const ox_dim dims[] = {ox_dim_of(1), ox_dim_of(PROBE_CHANNELS), ox_dim_of(1),
                           ox_dim_of(PROBE_PLACES)};
    ox_val x = ox_graph_input(g, "x", OX_FLOAT, 4, dims);
    ox_node *n = ox_graph_emit_node(g, "com.microsoft.nchwc", "ReorderInput", 1, &x, 1, 0, NULL);
    n->outputs[0]->type = OX_FLOAT;
    n->outputs[0]->rank = 4;
    n->outputs[0]->dims = x->dims;
    ox_graph_output(g, n->outputs[0], "y");
    m->ir_version = 8;
    ox_model_set_opset(m, "", 18);
    ox_model_set_opset(m, "com.microsoft.nchwc", 1);
    ox_model_publish(m);
}

/* Channels of a block: place 1 of channel 0 follows after so many numbers. 0 and err where ONNX
 * Runtime has no blocked layout. */
static int64_t find_block(const ox_session_options *options, ox_error *err)
{
    float data[PROBE_SIZE];
    for (int i = 0; i < PROBE_SIZE; i++) {
        data[i] = (float)i;
    }
    const int64_t dims[] = {1, PROBE_CHANNELS, 1, PROBE_PLACES};
    const ox_tensor x = {.name = "x", .type = OX_FLOAT, .rank = 4, .dims = dims, .data = data};
    ox_tensor y;
    ox_model *m = ox_model_new(err);
    bool good = m != NULL && ox_arena_try(m->arena, build_probe, m, err) &&
                ox_evaluate_runtime((void *)(uintptr_t)options, m, &x, 1, &y, 1, err);
    ox_free(m);
    if (!good) {
        return 0;
    }
    int64_t block = 1;
    const float *found = y.data;
    while (block < PROBE_CHANNELS && found[block] != 1.0F) {
        block++;
    }
    ox_tensor_free(&y);
    if (block == 1 || block == PROBE_CHANNELS) {
        ox_error_set(err, OX_UNSUPPORTED, "this onnxruntime has no blocked layout");
        return 0;
    }
    return block;
}

/* ---- constants -------------------------------------------------------------------------- */

typedef struct fold {
    ox_model *model; /* that is folded */
    ox_model *part;  /* of it, with the values wanted as outputs */
    ox_val *wanted;
    size_t count;
    ox_tensor *results;
} fold;

static bool is_constant(ox_val v)
{
    return v == NULL || v->constant != NULL || v->instead != NULL;
}

/* Values that depend on no input, are used by nodes that do, and are not constants already; but not
 * weights that ONNX Runtime has as integers. */
static void find_wanted(void *user)
{
    fold *f = user;
    ox_graph *g = f->model->graph;
    for (size_t i = 0; i < g->value_count; i++) {
        g->values[i]->instead = NULL;
        g->values[i]->needed = false;
    }
    for (size_t i = 0; i < g->node_count; i++) {
        const ox_node *n = g->nodes[i];
        bool said = ox_node_is(n, "Constant");
        bool constant =
            said || (n->input_count > 0 && !ox_tune_dequantizes(n) && !ox_node_has(n, OX_RANDOM));
        for (size_t k = 0; k < n->input_count; k++) {
            constant = constant && is_constant(n->inputs[k]);
        }
        for (size_t k = 0; k < n->output_count; k++) {
            n->outputs[k]->instead = constant ? n->outputs[k] : NULL;
        }
        for (size_t k = 0; !constant && k < n->input_count; k++) {
            ox_val v = n->inputs[k];
            bool computed = v != NULL && v->instead != NULL && !ox_node_is(v->node, "Constant");
            if (computed && !v->needed) {
                v->needed = true;
                f->wanted = ox_arena_grow(g->arena, f->wanted, f->count, sizeof *f->wanted);
                f->wanted[f->count++] = v;
            }
        }
    }
}

static void cut_part(void *user)
{
    fold *f = user;
    ox_model_copy(f->part, f->model);
    ox_graph *g = f->part->graph;
    g->output_count = 0;
    g->outputs = NULL;
    for (size_t i = 0; i < f->count; i++) {
        ox_val v = ox_graph_find(g, f->wanted[i]->name);
        ox_graph_output(g, v, v->name);
    }
    for (size_t i = 0; i < g->node_count; i++) {
        g->nodes[i]->original = false;
    }
    for (size_t i = 0; i < g->value_count; i++) {
        g->values[i]->keep = false;
    }
    g->input_count = 0;
    ox_graph_prune(g);
    ox_model_publish(f->part);
}

static void take_results(void *user)
{
    fold *f = user;
    ox_graph *g = f->model->graph;
    for (size_t i = 0; i < f->count; i++) {
        const ox_tensor *r = &f->results[i];
        size_t size = ox_type_size(r->type);
        for (int d = 0; d < r->rank; d++) {
            size *= (size_t)r->dims[d];
        }
        ox_const c = {.type = r->type, .rank = r->rank, .dims = r->dims, .size = size};
        ox_budget_bring(g->arena, size); /* computed of the model as it is */
        c.data = ox_elements_copy(g->arena, r->type, r->data, size);
        f->wanted[i]->instead = ox_graph_constant(g, NULL, &c);
        ox_tensor_free(&f->results[i]);
    }
    for (size_t i = 0; i < g->node_count; i++) {
        ox_node *n = g->nodes[i];
        for (size_t k = 0; k < n->input_count; k++) {
            ox_val v = n->inputs[k];
            if (v != NULL && v->needed && v->instead != NULL) {
                n->inputs[k] = v->instead;
            }
        }
    }
    ox_graph_prune(g);
}

/* Puts results in the place of nodes that depend on no input; `needed`: there have to be some. */
static bool fold_constants(ox_model *m, const ox_session_options *options, bool needed,
                           ox_error *err)
{
    fold f = {.model = m};
    ox_session_options once = *options; /* to optimise what runs once takes longer than the run */
    once.no_optimization = true;
    if (!ox_arena_try(m->arena, find_wanted, &f, err)) {
        return false;
    }
    if (f.count == 0) {
        return !needed || ox_error_set(err, OX_UNSUPPORTED, "nothing in the model is constant");
    }
    f.results = calloc(f.count, sizeof *f.results);
    f.part = f.results != NULL ? ox_model_new(err) : NULL;
    if (f.results == NULL) {
        ox_error_set(err, OX_MEMORY, "out of memory");
    }
    bool good = f.part != NULL && ox_arena_try(f.part->arena, cut_part, &f, err) &&
                ox_evaluate_runtime(&once, f.part, NULL, 0, f.results, f.count, err) &&
                ox_arena_try(m->arena, take_results, &f, err);
    for (size_t i = 0; f.results != NULL && i < f.count; i++) {
        ox_tensor_free(&f.results[i]);
    }
    ox_free(f.part);
    free(f.results);
    return good;
}

/* ---- plans ------------------------------------------------------------------------------ */

/* Bodies refer to values around them by name, which would miss what is computed before. */
static void refuse_captured(void *user, ox_val v)
{
    const ox_model *m = user;
    ox_fail(m->arena, OX_UNSUPPORTED, "a subgraph uses \"%s\" of the graph around it", v->name);
}

typedef struct copying {
    ox_model *model;
    ox_model *source;
} copying;

/* The model as it is, ready to be folded. */
static void copy_model(void *user)
{
    const copying *c = user;
    ox_model_copy(c->model, c->source);
    ox_graph *g = c->model->graph;
    for (size_t i = 0; i < g->node_count; i++) {
        ox_body_visit_captured(g->nodes[i], refuse_captured, c->model);
        g->nodes[i]->original = false;
    }
    for (size_t i = 0; i < g->value_count; i++) {
        g->values[i]->keep = false;
    }
    ox_model_set_property(c->model, PLAN_KEY, "constants");
    ox_model_publish(c->model);
}

static ox_model *copy_of(const ox_model *explained, ox_error *err)
{
    copying c = {ox_model_new(err), (ox_model *)(uintptr_t)explained};
    if (c.model != NULL && !ox_arena_try(c.model->arena, copy_model, &c, err)) {
        ox_free(c.model);
        return NULL;
    }
    return c.model;
}

ox_model *ox_plan_constants(const ox_model *explained, const ox_session_options *options,
                            ox_error *err)
{
    ox_model *m = copy_of(explained, err);
    if (m != NULL && !fold_constants(m, options, true, err)) {
        ox_free(m);
        return NULL;
    }
    return m;
}

ox_model *ox_plan_make(const ox_model *explained, bool any, const ox_session_options *options,
                       ox_error *err)
{
    ox_error why = {.code = OX_OK};
    if (ox_metadata(explained, PLAN_KEY) != NULL) {
        ox_error_set(err, OX_UNSUPPORTED, "the model is tuned already");
        return NULL;
    }
    int64_t block = find_block(options, &why);
    ox_model *m = block > 0 ? ox_tune_layout(explained, block, true, &why) : NULL;
    if (m == NULL && any && why.code == OX_UNSUPPORTED) {
        m = ox_plan_constants(explained, options, &why);
    } else if (m != NULL && !fold_constants(m, options, false, &why)) {
        ox_free(m);
        m = NULL;
    }
    if (m == NULL) {
        ox_error_set(err, why.code, "%s", why.message);
    }
    return m;
}

bool ox_plan_is_blocked(const ox_model *plan)
{
    return strcmp(ox_metadata(plan, PLAN_KEY), "constants") != 0;
}

ox_model *ox_tune(const ox_model *explained, const ox_session_options *options, ox_error *err)
{
    ox_session_options own;
    if (!ox_check_given("model", explained, err) || !ox_check_session_options(options, &own, err)) {
        return NULL;
    }
    if (ox_metadata(explained, "onnxexplainer.version") == NULL) {
        ox_error_set(err, OX_ARGUMENT, "not an explained model");
        return NULL;
    }
    ox_model *m = ox_plan_make(explained, false, &own, err);
    ox_trial trial;
    if (m != NULL && !ox_trial_open(&trial, explained, NULL, NULL, m, NULL, &own, err)) {
        ox_free(m);
        return NULL;
    }
    if (m != NULL) {
        ox_trial_close(&trial);
    }
    return m;
}
