/* Tuning for the machine at hand: asks ONNX Runtime for the block of its layout, has the graph
 * rewritten, and lets ONNX Runtime compute what depends on no input. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "model/model.h"
#include "run/plan.h"
#include "shape/shape.h"
#include "tune/tune.h"

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
        bool constant = n->input_count > 0 && !ox_tune_dequantizes(n);
        for (size_t k = 0; k < n->input_count; k++) {
            constant = constant && is_constant(n->inputs[k]);
        }
        for (size_t k = 0; k < n->output_count; k++) {
            n->outputs[k]->instead = constant ? n->outputs[k] : NULL;
        }
        for (size_t k = 0; !constant && k < n->input_count; k++) {
            ox_val v = n->inputs[k];
            if (v != NULL && v->instead != NULL && !v->needed) {
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

/* Puts results in the place of nodes that depend on no input. */
static bool fold_constants(ox_model *m, const ox_session_options *options, ox_error *err)
{
    fold f = {.model = m};
    if (!ox_arena_try(m->arena, find_wanted, &f, err)) {
        return false;
    }
    if (f.count == 0) {
        return true;
    }
    f.results = calloc(f.count, sizeof *f.results);
    f.part = f.results != NULL ? ox_model_new(err) : NULL;
    if (f.results == NULL) {
        ox_error_set(err, OX_MEMORY, "out of memory");
    }
    bool good =
        f.part != NULL && ox_arena_try(f.part->arena, cut_part, &f, err) &&
        ox_evaluate_runtime((void *)(uintptr_t)options, f.part, NULL, 0, f.results, f.count, err) &&
        ox_arena_try(m->arena, take_results, &f, err);
    for (size_t i = 0; f.results != NULL && i < f.count; i++) {
        ox_tensor_free(&f.results[i]);
    }
    ox_free(f.part);
    free(f.results);
    return good;
}

/* ---- the check ------------------------------------------------------------------------------ */

/* Random numbers for every input; free dimensions are 1. False without memory. */
static bool make_inputs(const ox_model *m, ox_tensor *inputs, size_t count)
{
    const ox_value_info *infos = ox_inputs(m, &count);
    uint64_t state = 1;
    for (size_t i = 0; i < count; i++) {
        size_t size = 1, rank = infos[i].rank < 0 ? 0 : (size_t)infos[i].rank;
        int64_t *dims = calloc(rank + 1, sizeof *dims);
        bool fits = true;
        for (size_t d = 0; dims != NULL && d < rank; d++) {
            dims[d] = infos[i].dims[d] < 0 ? 1 : infos[i].dims[d];
            fits = fits && ox_size_mul(size, (size_t)dims[d], &size);
        }
        inputs[i] = (ox_tensor){infos[i].name, infos[i].type, (int)rank, dims, NULL};
        size_t each = ox_type_size(infos[i].type) + sizeof(float);
        float *data = fits && ox_size_add(size, 1, &size) ? calloc(size--, each) : NULL;
        inputs[i].data = data;
        if (dims == NULL || data == NULL) {
            return false;
        }
        for (size_t k = 0; infos[i].type == OX_STRING && k < size; k++) {
            ((const char **)(void *)data)[k] = "";
        }
        for (size_t k = 0; infos[i].type == OX_FLOAT && k < size; k++) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            data[k] = (float)(state >> 40) / (float)(1 << 23) - 1.0F;
        }
    }
    return true;
}

static size_t count_of(const ox_tensor *t)
{
    size_t count = 1;
    for (int d = 0; d < t->rank; d++) {
        count *= (size_t)t->dims[d];
    }
    return count;
}

/* The sum of (x - y)^2, or of x^2 where y is NULL; 0 for what is no float32. */
static double squares(const ox_tensor *x, const ox_tensor *y)
{
    const float *a = x->data, *b = y == NULL ? NULL : y->data;
    size_t size = x->type == OX_FLOAT ? count_of(x) : 0;
    double sum = 0;
    for (size_t k = 0; k < size; k++) {
        double d = (double)a[k] - (b == NULL ? 0 : (double)b[k]);
        sum += d * d;
    }
    return sum;
}

/* Whether the outputs are the same but for rounding, by the norm of the difference. The gap is
 * rounding itself, and is measured by all that it is the difference of. */
static bool same_outputs(const ox_model *explained, const ox_tensor *a, const ox_tensor *b,
                         size_t count)
{
    const char *prefix = ox_metadata(explained, "onnxexplainer.prefix");
    size_t before = prefix == NULL ? 0 : strlen(prefix);
    double whole = 0;
    for (size_t i = 0; i < count; i++) {
        whole += squares(&a[i], NULL);
    }
    for (size_t i = 0; i < count; i++) {
        bool gap =
            strlen(a[i].name) > before && strcmp(a[i].name + before, "completeness_gap") == 0;
        if (count_of(&a[i]) != count_of(&b[i]) || a[i].type != b[i].type) {
            return false;
        }
        /* written so that it is false where either is not a number */
        if (!(squares(&a[i], &b[i]) <= 1e-4 * (gap ? whole : squares(&a[i], NULL)))) {
            return false;
        }
    }
    return true;
}

/* Runs both on the same inputs, one after the other. */
static bool check_plan(const ox_model *explained, const char *path, const ox_model *tuned,
                       const ox_session_options *options, ox_error *err)
{
    size_t inputs, outputs;
    ox_inputs(explained, &inputs);
    ox_outputs(explained, &outputs);
    ox_tensor *in = calloc(inputs + 1, sizeof *in);
    ox_tensor *out = calloc(2 * outputs + 1, sizeof *out);
    bool good = in != NULL && out != NULL && make_inputs(explained, in, inputs);
    if (!good) {
        ox_error_set(err, OX_MEMORY, "out of memory");
    }
    for (int side = 0; good && side < 2; side++) {
        ox_session *s =
            ox_session_plain(side == 0 ? path : NULL, side == 0 ? explained : tuned, options, err);
        good = s != NULL &&
               ox_session_run(s, in, inputs, NULL, out + (size_t)side * outputs, outputs, err);
        ox_session_free(s);
    }
    if (good && !same_outputs(explained, out, out + outputs, outputs)) {
        good = ox_error_set(err, OX_RUNTIME, "the tuned model gives other values");
    }
    for (size_t i = 0; out != NULL && i < 2 * outputs; i++) {
        ox_tensor_free(&out[i]);
    }
    for (size_t i = 0; in != NULL && i < inputs; i++) {
        free((void *)(uintptr_t)in[i].dims);
        free((void *)(uintptr_t)in[i].data);
    }
    free(in);
    free(out);
    return good;
}

ox_model *ox_tune_checked(const ox_model *explained, const char *path,
                          const ox_session_options *options, ox_error *err)
{
    if (ox_metadata(explained, "onnxexplainer.plan") != NULL) {
        ox_error_set(err, OX_UNSUPPORTED, "the model is tuned already");
        return NULL;
    }
    int64_t block = find_block(options, err);
    ox_model *m = block > 0 ? ox_tune_layout(explained, block, true, err) : NULL;
    if (m != NULL &&
        (!fold_constants(m, options, err) || !check_plan(explained, path, m, options, err))) {
        ox_free(m);
        return NULL;
    }
    return m;
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
    return ox_tune_checked(explained, NULL, &own, err);
}
