/* The pass of tuning: every node once, in order; then the outputs under their names. */
#include <string.h>

#include "base/ours.h"
#include "graph/body.h"
#include "lift/lift.h"
#include "rules/rules.h"
#include "shape/shape.h"
#include "tune/tune.h"

/* ---- making ready ----------------------------------------------------------------------- */

static void count_uses(ox_graph *g)
{
    for (size_t i = 0; i < g->node_count; i++) {
        const ox_node *n = g->nodes[i];
        for (size_t k = 0; k < n->input_count; k++) {
            if (n->inputs[k] != NULL) {
                ox_form_of(n->inputs[k])->uses++;
            }
        }
    }
    for (size_t i = 0; i < g->output_count; i++) {
        ox_form_of(g->outputs[i])->uses++;
    }
}

/* The free first dimension of the inputs is N where they share its symbol. */
static void bind_batch(ox_tuner *t)
{
    ox_graph *g = t->g;
    uint32_t symbol = 0;
    for (size_t i = 0; i < g->input_count; i++) {
        ox_val v = g->inputs[i];
        if (v->rank < 1 || v->dims[0].unknown == 0) {
            continue;
        }
        if (symbol == 0) {
            symbol = v->dims[0].unknown;
            ox_attr range[] = {ox_attr_int("start", 0), ox_attr_int("end", 1)};
            g->batch_size = ox_graph_emit(g, "Shape", 1, &v, 2, range);
        }
        if (v->dims[0].unknown == symbol) {
            ox_dim *dims = ox_arena_copy(t->arena, v->dims, (size_t)v->rank, sizeof *dims);
            dims[0] = (ox_dim){.size = 1, .batch = 1};
            v->dims = dims;
        }
    }
}

/* The steps of a Scan over parts of the references, as nodes of the graph, where they are few. */
static void write_out_steps(ox_tuner *t)
{
    enum { MAX_STEPS = 16 };
    ox_graph *g = t->g;
    bool any = false;
    for (size_t i = 0; i < g->value_count; i++) {
        g->values[i]->needed = false;
    }
    for (size_t i = 0; i < g->node_count; i++) {
        const ox_node *n = g->nodes[i];
        ox_val last = n->input_count == 0 ? NULL : n->inputs[n->input_count - 1];
        bool ours = strcmp(n->op, "Scan") == 0 && strncmp(n->name, "onnxexplainer/", 14) == 0;
        bool few = ours && last != NULL && last->rank > 0 && ox_dim_is_static(last->dims[0]) &&
                   last->dims[0].size <= MAX_STEPS;
        for (size_t k = 0; few && k < n->output_count; k++) {
            any = n->outputs[k]->needed = true;
        }
    }
    if (any) {
        ox_control_expand(g);
    }
}

/* ---- what is left as it is -------------------------------------------------------------- */

/* A node of the model that predicts, or of a copy of it for samples or references. */
static bool predicts(const ox_node *n)
{
    static const char *const parts[] = {"onnxexplainer/sample/", "onnxexplainer/reference/"};
    bool copied = false;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        copied = copied || strncmp(n->name, parts[i], strlen(parts[i])) == 0;
    }
    return copied || strncmp(n->name, "onnxexplainer/", strlen("onnxexplainer/")) != 0;
}

bool ox_tune_dequantizes(const ox_node *n)
{
    return predicts(n) && ox_node_is(n, "DequantizeLinear");
}

/* What is rounded to integers differs by a whole step where a sum in another order lies on the
 * other side of a tie, and ONNX Runtime computes it in integers only as it stands in the model. */
static bool is_quantised(const ox_graph *g)
{
    static const char *const parts[] = {"QLinear", "QuantizeL", "QuantizeM", "Integer"};
    bool found = false;
    for (size_t i = 0; i < g->node_count; i++) {
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
            found = found || strstr(g->nodes[i]->op, parts[k]) != NULL;
        }
    }
    return found;
}

/* ---- nodes ------------------------------------------------------------------------------ */

/* What is told of a value that was read holds for the one that takes its place. */
static void copy_shape(ox_val from, ox_val to)
{
    to->type = to->type == OX_NONE ? from->type : to->type;
    if (to->rank < 0) {
        to->rank = from->rank;
        to->dims = from->dims;
    }
}

/* The node as it is, on plain values. */
static void copy_node(ox_tuner *t, ox_node *n)
{
    ox_val *inputs = ox_arena_alloc(t->arena, n->input_count, sizeof *inputs);
    for (size_t i = 0; i < n->input_count; i++) {
        ox_form *f = ox_form_in(n, i);
        inputs[i] = f == NULL ? NULL : ox_form_plain(t, f);
    }
    ox_node *copy = ox_graph_emit_like(t->g, n, inputs);
    for (size_t i = 0; i < n->output_count; i++) {
        if (n->outputs[i] != NULL && n->outputs[i]->name[0] != '\0') {
            ox_form *f = ox_form_of(n->outputs[i]);
            f->plain = copy->outputs[i];
            copy_shape(n->outputs[i], f->plain);
            f->rank = f->plain->rank;
            f->dims = f->plain->dims;
        }
    }
}

/* Subgraphs refer to values around them by name, and would miss those that are written anew. */
static void check_captures(void *user, ox_val v)
{
    const ox_tuner *t = user;
    if (v->node != NULL) {
        ox_fail(t->arena, OX_UNSUPPORTED, "a subgraph uses \"%s\" of the graph around it", v->name);
    }
}

static void write_node(ox_tuner *t, ox_node *n)
{
    bool same = strcmp(n->op, "Identity") == 0 && n->domain[0] == '\0';
    for (size_t i = 0; i < n->output_count && (same || n->parts != NULL); i++) {
        ox_form *f = ox_form_of(same ? n->inputs[0] : n->parts[i]);
        f->uses += ox_form_of(n->outputs[i])->uses;
        n->outputs[i]->form = f;
    }
    if (same || n->parts != NULL) {
        return;
    }
    bool constant = n->input_count > 0;
    for (size_t i = 0; i < n->input_count; i++) {
        const ox_form *f = ox_form_in(n, i);
        constant = constant && (f == NULL || f->constant);
    }
    for (size_t i = 0; i < n->output_count; i++) {
        ox_form_of(n->outputs[i])->constant = constant || strcmp(n->op, "Constant") == 0;
    }
    ox_body_visit_captured(n, check_captures, t);
    const char *former = ox_graph_scope(t->g, n->name[0] != '\0' ? n->name : n->op);
    /* What ONNX Runtime folds at load is computed as in the graph that was read, and once. */
    const ox_ours *own = strcmp(n->domain, "onnxexplainer") == 0 ? ox_ours_find(n->op) : NULL;
    bool unit = own != NULL && own->kind == OX_OURS_UNIT;
    bool stays = (n->output_count != 1 && !unit) || constant || (t->quantised && predicts(n));
    if (stays || !(ox_tune_line(t, n) || ox_tune_find(n)(t, n))) {
        copy_node(t, n);
    }
    ox_graph_scope(t->g, former);
}

/* ---- outputs ---------------------------------------------------------------------------- */

/* Outputs keep their names: the new value takes it from the one that was read. */
static void write_outputs(ox_tuner *t)
{
    ox_graph *g = t->g;
    for (size_t i = 0; i < g->output_count; i++) {
        ox_val old = g->outputs[i];
        ox_val v = ox_form_plain(t, ox_form_of(old));
        bool taken = v->node == NULL || v->is_input;
        for (size_t k = 0; k < i; k++) {
            taken = taken || g->outputs[k] == v;
        }
        if (v == old) {
            continue;
        }
        if (taken) {
            v = ox_graph_emit(g, "Identity", 1, &v, 0, NULL);
        }
        ox_graph_swap_names(v, old);
        v->rank = old->rank;
        v->dims = old->dims;
        g->outputs[i] = v;
    }
}

typedef struct job {
    ox_tuner tune;
    ox_model *model;
    const ox_model *source;
} job;

static void tune(void *user)
{
    job *j = user;
    ox_tuner *t = &j->tune;
    t->arena = j->model->arena;
    ox_model_copy(j->model, (ox_model *)(uintptr_t)j->source);
    ox_lift_opset(j->model);
    ox_graph *g = t->g = j->model->graph;
    g->described = true;
    bind_batch(t);
    for (size_t i = 0; i < g->node_count; i++) {
        ox_shape_infer(g->nodes[i]);
    }
    write_out_steps(t);
    t->quantised = is_quantised(g);
    size_t count = g->node_count;
    for (size_t i = 0; i < g->value_count; i++) {
        ox_val v = g->values[i];
        ox_form_of(v)->constant = v->constant != NULL;
        v->keep = false;
    }
    count_uses(g);
    for (size_t i = 0; i < count; i++) {
        g->nodes[i]->original = false;
        write_node(t, g->nodes[i]);
    }
    write_outputs(t);
    ox_graph_prune(g);
    ox_graph_settle(g);
    ox_model_set_opset(j->model, "com.microsoft.nchwc", 1);
    if (t->kernels) {
        ox_model_set_opset(j->model, "onnxexplainer", 1);
    }
    if (t->blocked == 0) {
        ox_fail(t->arena, OX_UNSUPPORTED,
                "nothing in the model has a blocked form, so that a plan gains nothing: run it as "
                "it is");
    }
    ox_model_set_property(j->model, "onnxexplainer.plan",
                          ox_arena_format(t->arena, "blocks of %lld", (long long)t->block));
    ox_model_publish(j->model);
}

ox_model *ox_tune_layout(const ox_model *explained, int64_t block, bool kernels, ox_error *err)
{
    job j = {.source = explained, .tune = {.block = block, .kernels = kernels}};
    j.model = ox_model_new(err);
    if (j.model == NULL || !ox_arena_try(j.model->arena, tune, &j, err)) {
        ox_free(j.model);
        return NULL;
    }
    return j.model;
}
