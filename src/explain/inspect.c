/* ox_inspect: which rule each node gets, or why there is none, without writing anything. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "explain/attempt.h"
#include "explain/bind.h"
#include "explain/branch.h"
#include "explain/explain.h"
#include "explain/fix.h"
#include "explain/method.h"
#include "explain/order.h"
#include "explain/plan.h"
#include "lift/lift.h"
#include "rules/side.h"

typedef struct inspection {
    ox_options options;
    const ox_model *source;
    ox_report *report; /* in the arena of its model, which stays */
    bool sized;        /* the shapes of the references are known */
    bool blank;        /* they are no more than that */
    ox_cache cache;    /* that was chosen */
    ox_explain_state listed;
} inspection;

static bool in_order(const ox_node *n)
{
    const ox_side *side = n->output_count > 0 ? n->outputs[0]->side : NULL;
    return side != NULL && side->order_seen;
}

static void report_nodes(ox_explain_state *s, ox_report *report)
{
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
            const char *why = ox_walk_missing(s, n);
            if (ox_side_of(n->outputs[0])->refused != NULL) {
                r->state = OX_NO_RULE;
            } else if (r->state == OX_CARRIES_NOTHING && why == NULL) {
                r->state = OX_DECOMPOSED; /* in this case */
            }
            r->detail = row != NULL && why != NULL ? why : r->detail;
        }
    }
    report->nodes = rows;
    report->node_count = count;
}

static bool never_called(void *user, const ox_model *model, const ox_tensor *inputs,
                         size_t input_count, ox_tensor *outputs, size_t output_count, ox_error *err)
{
    (void)user, (void)model, (void)inputs, (void)input_count, (void)outputs, (void)output_count;
    return ox_error_set(err, OX_RUNTIME, "inspection runs nothing");
}

/* One reference for every explained input, of which there is only the shape; false where that is
 * not known. */
static bool blank_references(ox_explain_state *s, ox_options *o)
{
    ox_tensor *t = ox_arena_alloc(s->arena, s->bind->input_count, sizeof *t);
    for (size_t i = 0; i < s->bind->input_count; i++) {
        const ox_explained *e = &s->bind->inputs[i];
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
    o->reference_count = s->bind->input_count;
    o->reference_source = OX_REFERENCES_GIVEN;
    return true;
}

static void add_bytes(const ox_explain_state *s, ox_report *report)
{
    for (size_t i = 0; i < s->branch->cached_count; i++) {
        const ox_value *kept = s->branch->cached[i].kept;
        if (kept->needed && s->plan->padded > 0) {
            report->cache_bytes += kept->constant->size / (uint64_t)s->plan->padded;
        }
    }
}

/* ---- the way in, three times ------------------------------------------------------------ */

typedef struct own_report {
    ox_report public; /* first */
    char reason[sizeof((ox_error *)NULL)->message];
} own_report;

static ox_report *new_report(ox_explain_state *s)
{
    own_report *own = ox_arena_alloc(s->arena, 1, sizeof *own);
    own->public.memory = s->model;
    return &own->public;
}

/* First: what each node gets. */
static void look(ox_explain_state *s, void *user)
{
    inspection *j = user;
    j->report = new_report(s);
    report_nodes(s, j->report);
    bool refuses = s->method->needs_rules && !s->options->force;
    for (size_t i = 0; i < s->order->count && refuses; i++) {
        const char *why = ox_walk_missing(s, s->order->nodes[i]);
        if (why != NULL && j->report->reason == NULL) {
            j->report->reason = ox_walk_refusal(s, s->order->nodes[i], why);
        }
    }
    j->sized = j->options.reference_count > 0 || blank_references(s, &j->options);
}

/* Then as ox_explain does, up to where references are run. */
static void build(ox_explain_state *s, void *user)
{
    inspection *j = user;
    ox_explain_check_given(s);
    ox_explain_check_rules(s);
    ox_explain_build(s);
    if (s->again) {
        return;
    }
    j->cache = s->plan->cache;
    if (s->plan->cache == OX_CACHE_FILE) {
        add_bytes(s, j->report);
    }
}

/* And with everything kept, to see how much that is. */
static void measure(ox_explain_state *s, void *user)
{
    const inspection *j = user;
    ox_explain_check_rules(s);
    ox_explain_build(s);
    add_bytes(s, j->report);
}

/* ---- without an output ------------------------------------------------------------------ */

static void report_tensors(const ox_explain_state *s, ox_report *report)
{
    const ox_graph *g = s->g;
    ox_val *tensors = ox_arena_alloc(s->arena, g->value_count, sizeof *tensors);
    for (size_t i = 0; i < g->node_count; i++) {
        for (size_t k = 0; g->nodes[i]->original && k < g->nodes[i]->output_count; k++) {
            ox_val v = g->nodes[i]->outputs[k];
            if (ox_type_is_float(v->type) && v->name[0] != '\0') {
                tensors[report->tensor_count++] = v;
            }
        }
    }
    report->tensors = ox_model_infos(s->model, report->tensor_count, tensors);
}

static void list_all(void *user)
{
    inspection *j = user;
    ox_explain_state *s = &j->listed;
    s->arena = s->model->arena;
    ox_model_copy(s->model, (ox_model *)(uintptr_t)j->source);
    ox_budget_limit(s->arena, s->options->limit);
    ox_fix_inputs(s);
    ox_lift(s->model);
    s->g = s->model->graph;
    j->report = new_report(s);
    report_nodes(s, j->report);
    report_tensors(s, j->report);
}

/* Where no output can be explained: the nodes, and the tensors that can be in its place. */
static bool list(inspection *j, ox_error *err)
{
    j->listed.options = &j->options;
    j->listed.model = ox_model_new(err);
    if (j->listed.model == NULL || !ox_arena_try(j->listed.model->arena, list_all, j, err)) {
        ox_free(j->listed.model);
        return false;
    }
    return true;
}

/* Does `work` on a model that is dropped then. The options are those of the caller, but that
 * nobody is told, and that references may be shapes alone. */
static bool try_work(inspection *j, bool keep, ox_explain_work work, ox_error *err)
{
    ox_options o = j->options;
    ox_explain_state s = {.blank = j->blank};
    o.note = NULL;
    if (keep) {
        o.cache = OX_CACHE_FILE;
        o.evaluate = never_called;
    }
    bool good = ox_explain_attempt(&s, j->source, &o, work, j, err);
    ox_free(s.model);
    return good;
}

static void give_reason(ox_report *report, const ox_error *why)
{
    own_report *own = (own_report *)report;
    snprintf(own->reason, sizeof own->reason, "%s", why->message);
    report->reason = own->reason;
}

/* The rest of the report; false only without memory, which says nothing of the model. */
static bool finish(inspection *j, ox_error *err)
{
    ox_report *report = j->report;
    ox_error why = {.code = OX_OK};
    bool built = report->reason == NULL && j->sized && try_work(j, false, build, &why);
    if (!built && why.code == OX_OK) {
        report->explainable = report->reason == NULL;
        return true;
    }
    if (!built && why.code != OX_MEMORY) {
        give_reason(report, &why);
        return true;
    }
    report->explainable = built;
    bool measured = built && (j->cache == OX_CACHE_FILE || try_work(j, true, measure, &why));
    return measured || why.code != OX_MEMORY || ox_error_set(err, why.code, "%s", why.message);
}

/* Nothing to explain was found: there is no state but that. */
static bool lacks_output(const ox_explain_state *s, const ox_error *err)
{
    return s->no_output && err->code == OX_UNSUPPORTED;
}

ox_report *ox_inspect(const ox_model *model, const ox_options *options, ox_error *err)
{
    inspection j = {.source = model};
    ox_explain_state s = {.model = NULL};
    ox_error why = {.code = OX_OK};
    if (!ox_check_given("model", model, err) || !ox_check_options(options, &j.options, err)) {
        return NULL;
    }
    j.blank = j.options.reference_count == 0;
    if (j.blank) {
        j.options.reference_source = OX_REFERENCES_INPUT;
    }
    if (ox_explain_attempt(&s, model, &j.options, look, &j, &why)) {
        if (finish(&j, err)) {
            return j.report;
        }
        ox_free(s.model);
        return NULL;
    }
    ox_error reason = why;
    if (lacks_output(&s, &why) && list(&j, &why)) {
        give_reason(j.report, &reason);
        return j.report;
    }
    ox_error_set(err, why.code, "%s", why.message);
    return NULL;
}

void ox_report_free(ox_report *report)
{
    if (report != NULL) {
        ox_free(report->memory);
    }
}
