/* ox_inspect: which rule each node gets, or why there is none, without writing anything. */
#include <string.h>

#include "base/check.h"
#include "explain/explain.h"

typedef struct inspection {
    ox_explain_state state;
    ox_options options;
    const ox_model *source;
    const ox_arena *before; /* of a trial: what has been made of the model when it begins */
    ox_report *report;
    bool force_fixed;
    bool again;
} inspection;

static bool in_order(const ox_node *n)
{
    const ox_side *side = n->output_count > 0 ? n->outputs[0]->mark : NULL;
    return side != NULL && side->order_seen;
}

static void report_nodes(inspection *j)
{
    ox_explain_state *s = &j->state;
    ox_node_report *rows = ox_arena_alloc(s->arena, s->g->node_count, sizeof *rows);
    size_t count = 0;
    for (size_t i = 0; i < s->g->node_count; i++) {
        const ox_node *n = s->g->nodes[i];
        const ox_row *row = ox_rule_find(n->domain, n->op);
        if (!n->original) {
            continue;
        }
        ox_node_report *r = &rows[count++];
        *r = (ox_node_report){.index = n->index,
                              .name = n->name,
                              .op = n->op,
                              .domain = n->domain,
                              .state = OX_NOT_REACHED,
                              .detail = "no multiplier reaches it"};
        if (in_order(n)) {
            r->state = row == NULL ? OX_NO_RULE : row->state;
            r->detail = row == NULL ? "no rule for this operator" : row->formula;
            if (ox_side_of(s, n->outputs[0])->refused != NULL) {
                r->state = OX_NO_RULE;
                r->detail = ox_walk_missing(s, n);
            }
        }
    }
    j->report->nodes = rows;
    j->report->node_count = count;
}

static bool never_called(void *user, const ox_model *model, const ox_tensor *inputs,
                         size_t input_count, ox_tensor *outputs, size_t output_count, ox_error *err)
{
    (void)user, (void)model, (void)inputs, (void)input_count, (void)outputs, (void)output_count;
    return ox_error_set(err, OX_RUNTIME, "inspection runs nothing");
}

static void inspect(void *user)
{
    inspection *j = user;
    ox_explain_state *s = &j->state;
    s->arena = s->model->arena;
    ox_model_copy(s->model, (ox_model *)(uintptr_t)j->source);
    ox_budget_limit(s->arena, s->options->limit);
    j->again = !ox_explain_begin(s, j->force_fixed);
    if (j->again && !j->force_fixed) {
        return;
    }
    j->report = ox_arena_alloc(s->arena, 1, sizeof *j->report);
    j->report->memory = s->model;
    report_nodes(j);
}

/* One reference for every explained input, of which there is only the shape; false where that is
 * not known. */
static bool blank_references(ox_explain_state *s, ox_options *o)
{
    ox_tensor *t = ox_arena_alloc(s->arena, s->input_count, sizeof *t);
    for (size_t i = 0; i < s->input_count; i++) {
        const ox_explained *e = &s->inputs[i];
        int lead = e->batch_axis < 0 ? 1 : 0;
        int rank = e->x->rank + lead;
        int64_t *dims = ox_arena_alloc(s->arena, (size_t)rank, sizeof *dims);
        size_t count = 1;
        for (int d = 0; d < rank; d++) {
            bool one = lead == 1 ? d == 0 : d == e->batch_axis;
            ox_dim own = one ? ox_dim_of(1) : e->x->dims[d - lead];
            if (!ox_dim_is_static(own) || own.size <= 0 ||
                !ox_size_mul(count, (size_t)own.size, &count)) {
                return false;
            }
            dims[d] = own.size;
        }
        t[i] = (ox_tensor){.name = e->x->name, .type = e->x->type, .rank = rank, .dims = dims};
    }
    o->references = t;
    o->reference_count = s->input_count;
    o->reference_source = OX_REFERENCES_GIVEN;
    return true;
}

/* Builds the explained graph with everything kept, to see that it can be built and how much is
 * kept of one reference. */
static void measure(void *user)
{
    inspection *j = user;
    ox_explain_state *s = &j->state;
    s->arena = s->model->arena;
    ox_budget_continue(s->arena, j->before);
    ox_model_copy(s->model, (ox_model *)(uintptr_t)j->source);
    ox_explain_begin(s, j->force_fixed);
    ox_explain_check_rules(s);
    ox_explain_build(s);
    for (size_t i = 0; i < s->cached_count; i++) {
        const ox_value *kept = s->cached[i].kept;
        if (kept->needed && s->padded > 0) {
            j->report->cache_bytes += kept->constant->size / (uint64_t)s->padded;
        }
    }
}

static void try_to_build(inspection *j)
{
    ox_arena *a = j->state.arena;
    ox_error err = {0};
    inspection trial = {.source = j->source, .before = a, .report = j->report};
    trial.force_fixed = j->force_fixed;
    trial.options = j->options;
    trial.options.note = NULL;
    trial.state.blank = j->options.reference_count == 0;
    if (trial.state.blank && !blank_references(&j->state, &trial.options)) {
        return;
    }
    if (j->options.hold_count == 0 && !j->state.sample_shapes) {
        trial.options.cache = OX_CACHE_FILE;
        trial.options.evaluate = never_called;
    }
    trial.state.options = &trial.options;
    trial.state.model = ox_model_new(&err);
    bool built =
        trial.state.model != NULL && ox_arena_try(trial.state.model->arena, measure, &trial, &err);
    ox_free(trial.state.model);
    if (!built && err.code == OX_MEMORY) { /* says nothing of the model */
        ox_fail(a, err.code, "%s", err.message);
    }
    if (!built) {
        j->report->reason = ox_arena_string(a, err.message);
    }
}

static void finish(void *user)
{
    inspection *j = user;
    ox_explain_state *s = &j->state;
    for (size_t i = 0; i < s->order_count && !j->options.force; i++) {
        const char *why = ox_walk_missing(s, s->order[i]);
        if (why != NULL) {
            j->report->reason =
                ox_arena_format(s->arena, "%s: %s", ox_node_label(s->order[i]), why);
            return;
        }
    }
    try_to_build(j);
    j->report->explainable = j->report->reason == NULL;
}

ox_report *ox_inspect(const ox_model *model, const ox_options *options, ox_error *err)
{
    inspection j = {.source = model};
    if (!ox_check_given("model", model, err) || !ox_check_options(options, &j.options, err)) {
        return NULL;
    }
    if (j.options.reference_count == 0) {
        j.options.reference_source = OX_REFERENCES_INPUT;
    }
    do {
        ox_free(j.state.model);
        memset(&j.state, 0, sizeof j.state);
        j.force_fixed = j.again;
        j.state.options = &j.options;
        j.state.model = ox_model_new(err);
        if (j.state.model == NULL || !ox_arena_try(j.state.model->arena, inspect, &j, err)) {
            ox_free(j.state.model);
            return NULL;
        }
    } while (j.again && !j.force_fixed);
    if (!ox_arena_try(j.state.model->arena, finish, &j, err)) {
        ox_free(j.state.model);
        return NULL;
    }
    return j.report;
}

void ox_report_free(ox_report *report)
{
    if (report != NULL) {
        ox_free(report->memory);
    }
}
