/* The way that ox_explain and ox_inspect both take into a model: with the batch as it is declared
 * first, one of 1 being taken as free, and, where it does not stay free, once more from the start
 * with a batch of 1. */
#include "explain/attempt.h"

#include <stdio.h>
#include <string.h>

#include "base/table.h"
#include "explain/beyond.h"
#include "explain/bind.h"
#include "explain/fix.h"
#include "explain/fusible.h"
#include "explain/hold.h"
#include "explain/method.h"
#include "explain/note.h"
#include "explain/objective.h"
#include "explain/order.h"
#include "explain/place.h"
#include "explain/result.h"
#include "explain/shapes.h"
#include "explain/standin.h"
#include "explain/target.h"
#include "lift/lift.h"
#include "rules/cut.h"
#include "rules/rules.h"
#include "rules/side.h"

/* Remarks that are remembered. */
enum { TOLD = 64 };

/* Binds and lifts. False when the batch turned out to be fixed: once more, then. */
static bool prepare(ox_explain_state *s, ox_binding *b, bool force_fixed)
{
    s->g = s->model->graph;
    ox_fix_inputs(s);
    b->output = ox_target_output(s);
    ox_bind(s, b, force_fixed);
    const char *output = s->bind->output->name;
    ox_lift(s->model);
    s->g = s->model->graph;
    b->output_tensor = ox_graph_find(s->g, output);
    b->output = b->output_tensor;
    if (!s->method->needs_rules) { /* operators may be unknown */
        ox_bind_declared(s, b->output);
    }
    b->output = ox_objective(s, b->output);
    ox_hold_find(s, b);
    for (size_t i = 0; i < s->bind->held_count; i++) {
        if (s->bind->held[i]->node != NULL) { /* inputs are what they are */
            ox_side_hold(s->bind->held[i]);
        }
    }
    ox_bind_mark_reached(s, true);
    b->draws = ox_hold_any_draw(s->g);
    bool walks = s->method->attribute == ox_result_walk;
    b->one_at_a_time = b->one_at_a_time || b->draws || (b->needs_held && !walks);
    ox_control_expand(s->g);
    for (size_t i = 0; i < s->g->node_count; i++) { /* names of our nodes are new to them, too */
        ox_graph_take_name(s->g, s->g->nodes[i]->name);
    }
    for (size_t i = 0; i < s->bind->input_count; i++) {
        b->inputs[i].x = ox_graph_find(s->g, s->bind->inputs[i].x->name);
    }
    return ox_bind_check(s);
}

static void find_output_batch(ox_explain_state *s, ox_binding *b)
{
    ox_val y = s->bind->output;
    if (y->rank < 0) {
        ox_fail(s->arena, OX_UNSUPPORTED, "the shape of output \"%s\" is not known%s", y->name,
                ox_shape_reason(y));
    }
    b->output_batch_axis = ox_bind_batch_axis(s, y);
}

/* N at run time, read off the first input that has it. */
static void find_batch_size(ox_explain_state *s)
{
    for (size_t i = 0; s->bind->batch_free && i < s->bind->input_count; i++) {
        const ox_explained *e = &s->bind->inputs[i];
        if (e->batch_axis >= 0) {
            ox_attr range[] = {ox_attr_int("start", e->batch_axis),
                               ox_attr_int("end", e->batch_axis + 1)};
            s->g->batch_size = ox_graph_emit(s->g, "Shape", 1, &e->x, 2, range);
            return;
        }
    }
}

/* The tensors of options.at, or the inputs themselves. */
static void find_points(ox_explain_state *s, ox_binding *b)
{
    const ox_options *o = s->options;
    b->points = s->bind->inputs;
    b->point_count = s->bind->input_count;
    if (o->at_count == 0) {
        return;
    }
    b->points = ox_arena_alloc(s->arena, o->at_count, sizeof *s->bind->points);
    b->point_count = o->at_count;
    for (size_t i = 0; i < o->at_count; i++) {
        ox_val v = ox_graph_find(s->g, o->at[i]);
        if (v == NULL) {
            ox_fail(s->arena, OX_ARGUMENT,
                    "the model has no tensor \"%s\" to explain at, it has %s", o->at[i],
                    ox_bind_list_tensors(s));
        }
        if (!ox_side_of(v)->varies || v->rank < 0) {
            ox_fail(s->arena, OX_ARGUMENT,
                    "tensor \"%s\" does not depend on the inputs, or its shape is not known",
                    o->at[i]);
        }
        b->points[i] = (ox_explained){.x = v, .batch_axis = -1};
        for (int d = 0; d < v->rank && !o->no_batch; d++) {
            bool batch = s->bind->batch_free ? v->dims[d].batch == 1 && v->dims[d].size == 1
                                             : d == 0 && ox_dim_is(v->dims[0], s->bind->batch);
            b->points[i].batch_axis = batch ? d : s->bind->points[i].batch_axis;
        }
        ox_side_of(v)->is_point = true;
    }
}

static void mark_inputs(ox_explain_state *s)
{
    for (size_t i = 0; i < s->g->input_count; i++) {
        ox_side_of(s->g->inputs[i])->depends = true;
        ox_side_of(s->g->inputs[i])->of_held = ox_hold_is(s, s->g->inputs[i]);
    }
    for (size_t i = 0; i < s->bind->input_count; i++) {
        ox_side_of(s->bind->inputs[i].x)->varies = true;
    }
    for (size_t i = 0; i < s->g->node_count; i++) { /* in topological order */
        for (size_t k = 0; k < s->g->nodes[i]->output_count; k++) {
            ox_side_of(s->g->nodes[i]->outputs[k]);
        }
    }
    for (size_t i = 0; i < s->g->value_count; i++) {
        if (s->g->values[i]->rank > OX_RANK_LIMIT - 2) {
            ox_fail(s->arena, OX_UNSUPPORTED, "\"%s\" has too many axes", s->g->values[i]->name);
        }
    }
}

/* Of f(x) and the first multiplier: an output that counts is as exact as what it counts. */
static ox_type output_type(const ox_explain_state *s)
{
    bool wide = false;
    for (size_t i = 0; !ox_type_is_float(s->bind->output->type) && i < s->bind->input_count; i++) {
        wide = wide || s->bind->inputs[i].x->type == OX_DOUBLE;
    }
    return wide ? OX_DOUBLE : ox_side_type(s->bind->output->type);
}

/* Binds, lifts and orders the nodes. False when the batch turned out to be fixed: start again with
 * force_fixed. */
static bool begin(ox_explain_state *s, bool force_fixed)
{
    ox_binding *b = ox_arena_alloc(s->arena, 1, sizeof *b);
    s->bind = b;
    s->found = ox_arena_alloc(s->arena, 1, sizeof *s->found);
    if (!prepare(s, b, force_fixed)) {
        return false;
    }
    s->g->no_functions = s->g->elsewhere = s->options->no_functions;
    b->type = output_type(s);
    find_output_batch(s, b);
    find_batch_size(s);
    mark_inputs(s);
    ox_mark_fusible(s);
    find_points(s, b);
    if (s->method->check != NULL) {
        s->method->check(s);
    }
    ox_cut_find(s->g);
    ox_place_find(s, false); /* for decompositions, and in these again */
    s->order = ox_walk_order(s);
    if (s->method->needs_rules) {
        ox_beyond_find(s);
        ox_standin_check(s);
    }
    ox_shapes_check(s, b);
    return true;
}

/* ---- with and without a free batch ----------------------------------------------------- */

typedef struct attempt {
    ox_explain_state *state;
    const ox_model *source;
    ox_explain_work work;
    void *user;
    bool fixed; /* the batch */
    bool again;
    char lost[512]; /* where the batch is, which outlives the attempt that found it */
} attempt;

/* What callers were told, so that another attempt does not say it again. */
typedef struct told {
    const ox_options *to;
    uint64_t said[TOLD];
    size_t count;
} told;

static bool is_new(told *t, const char *message)
{
    uint64_t hash = ox_hash_string(message);
    for (size_t i = 0; i < t->count; i++) {
        if (t->said[i] == hash) {
            return false;
        }
    }
    t->said[t->count] = hash;
    t->count += t->count + 1 < TOLD;
    return true;
}

static void note(void *user, const char *message)
{
    told *t = user;
    if (is_new(t, message)) {
        t->to->note(t->to->note_user, message);
    }
}

static void warn(void *user, const char *message)
{
    told *t = user;
    if (is_new(t, message)) {
        t->to->warn(t->to->warn_user, message);
    }
}

static void try_once(void *user)
{
    attempt *t = user;
    ox_explain_state *s = t->state;
    s->arena = s->model->arena;
    ox_model_copy(s->model, (ox_model *)(uintptr_t)t->source);
    ox_budget_limit(s->arena, s->options->limit);
    s->method = ox_method_find(s->arena, s->options);
    t->again = !begin(s, t->fixed);
    if (t->again && !s->bind->batch_taken) {
        snprintf(t->lost, sizeof t->lost, "%s", ox_place_lost(s));
    } else if (!t->again) {
        t->work(s, t->user);
    }
}

/* The same options, of which nobody is told anything twice. */
static ox_options told_once(told *t)
{
    ox_options own = *t->to;
    own.note = own.note == NULL ? NULL : note;
    own.warn = own.warn == NULL ? NULL : warn;
    own.note_user = own.warn_user = t;
    return own;
}

/* Whether multipliers pass all nodes that they reach: else that is what is to be told. */
static bool all_pass(ox_explain_state *s)
{
    bool pass = true;
    size_t count = s->order == NULL || s->options->force ? 0 : s->order->count;
    for (size_t i = 0; pass && i < count; i++) {
        pass = ox_walk_missing(s, s->order->nodes[i]) == NULL;
    }
    return pass;
}

static bool attempt_all(ox_explain_state *s, const ox_model *source, const ox_options *options,
                        ox_explain_work work, void *user, ox_error *err)
{
    attempt t = {.state = s, .source = source, .work = work, .user = user};
    bool good, taken;
    ox_error own;
    err = err == NULL ? &own : err;
    s->model = NULL;
    do {
        const ox_explain_state before = *s;
        ox_free(s->model);
        memset(s, 0, sizeof *s);
        s->blank = before.blank;
        memcpy(s->too_large, before.too_large, sizeof s->too_large);
        s->options = options;
        s->model = ox_model_new(err);
        good = s->model != NULL && ox_arena_try(s->model->arena, try_once, &t, err);
        taken = !good && err->code != OX_MEMORY && s->model != NULL && s->bind != NULL &&
                s->bind->batch_taken;
        t.fixed = t.fixed || t.again || taken;
    } while (taken || (good && (t.again || s->again)));
    if (!good) {
        ox_free(s->model);
        s->model = NULL;
        return false;
    }
    if (t.lost[0] != '\0' && all_pass(s)) {
        ox_note_to(options,
                   "the batch does not stay free through the model, so it is fixed to 1: %s",
                   t.lost);
    }
    return true;
}

bool ox_explain_attempt(ox_explain_state *s, const ox_model *source, const ox_options *options,
                        ox_explain_work work, void *user, ox_error *err)
{
    told t = {.to = options};
    const ox_options own = told_once(&t);
    bool good = attempt_all(s, source, &own, work, user, err);
    s->options = options;
    return good;
}
