/* ox_explain: from a model and references to the model that predicts and explains. */
#include "explain/explain.h"

#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/table.h"
#include "explain/attempt.h"
#include "explain/bind.h"
#include "explain/branch.h"
#include "explain/cache.h"
#include "explain/extra.h"
#include "explain/footprint.h"
#include "explain/method.h"
#include "explain/note.h"
#include "explain/order.h"
#include "explain/place.h"
#include "explain/plan.h"
#include "explain/players.h"
#include "explain/range.h"
#include "explain/result.h"
#include "explain/target.h"
#include "explain/weights.h"
#include "rules/side.h"

/* With options.at, a path around the tensors leaves something unexplained. */
static void check_points(ox_explain_state *s)
{
    for (size_t i = 0; s->bind->points != s->bind->inputs && i < s->bind->input_count; i++) {
        const ox_side *side = ox_side_of(s->bind->inputs[i].x);
        if (side->m != NULL && !side->is_point && !s->options->force) {
            ox_fail(s->arena, OX_ARGUMENT,
                    "input \"%s\" reaches the output without passing through the tensors to "
                    "explain at; force explains them all the same",
                    s->bind->inputs[i].x->name);
        }
    }
    for (size_t i = 0; i < s->bind->point_count; i++) {
        if (ox_side_of(s->bind->points[i].x)->m == NULL && s->bind->points != s->bind->inputs) {
            ox_fail(s->arena, OX_ARGUMENT, "tensor \"%s\" does not reach the output",
                    s->bind->points[i].x->name);
        }
    }
}

/* ---- metadata
 * ------------------------------------------------------------------------------------- */

static uint64_t checksum(const ox_explain_state *s)
{
    uint64_t sum = OX_CHECKSUM_START;
    for (size_t i = 0; i < s->bind->input_count; i++) {
        const ox_tensor *t = s->bind->inputs[i].given;
        if (t == NULL) {
            continue;
        }
        size_t size = ox_type_size(t->type);
        for (int d = 0; d < t->rank; d++) {
            size *= (size_t)t->dims[d];
        }
        const char *const *texts = t->type == OX_STRING ? t->data : NULL;
        for (size_t k = 0; texts != NULL && k < size / sizeof *texts; k++) {
            sum = ox_checksum(sum, texts[k], strlen(texts[k]) + 1);
        }
        sum = texts != NULL ? sum : ox_checksum(sum, t->data, size);
    }
    return sum;
}

static const char *join(ox_arena *a, size_t count, const char *const *texts, char separator)
{
    size_t length = 0;
    for (size_t i = 0; i < count; i++) {
        length += strlen(texts[i]) + 1;
    }
    char *all = ox_arena_alloc(a, length + 1, 1), *at = all;
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(texts[i]);
        memcpy(at, texts[i], size);
        at += size;
        *at++ = i + 1 < count ? separator : '\0';
    }
    return all;
}

/* The tensor before a final Softmax or Sigmoid, which saturates; NULL for other outputs. */
static const char *logits_of(const ox_explain_state *s)
{
    static const char *const saturating[] = {"Softmax", "Sigmoid"};
    const ox_node *n = s->bind->output->node;
    while (n != NULL && strcmp(n->op, "Identity") == 0) {
        n = n->inputs[0]->node;
    }
    for (size_t i = 0; n != NULL && i < 2; i++) {
        if (strcmp(n->op, saturating[i]) == 0) {
            return n->inputs[0]->name;
        }
    }
    return NULL;
}

/* Whether the output is what an ensemble of trees makes of its margins, of which no tensor is left
 * in the model. */
static bool hides_margins(const ox_explain_state *s)
{
    const ox_node *n = s->bind->output->node;
    while (n != NULL && strcmp(n->op, "Identity") == 0) {
        n = n->inputs[0]->node;
    }
    if (n == NULL || strncmp(n->op, "TreeEnsemble", strlen("TreeEnsemble")) != 0) {
        return false;
    }
    const ox_side *side = n->outputs[n->output_count - 1]->side;
    const ox_node *made = side == NULL || side->alias == NULL ? NULL : side->alias->node;
    return made != NULL && (strcmp(made->op, "Softmax") == 0 || strcmp(made->op, "Sigmoid") == 0);
}

/* The narrowest floating-point type that multipliers pass on their way: what sums are exact to. */
static const char *precision(const ox_explain_state *s)
{
    static const ox_type by_precision[] = {OX_BFLOAT16, OX_FLOAT16, OX_FLOAT, OX_DOUBLE};
    int narrowest = s->options->cache_dtype == OX_FLOAT16 ? 1 : s->bind->type == OX_DOUBLE ? 3 : 2;
    for (size_t i = 0; i < s->order->count; i++) {
        const ox_node *n = s->order->nodes[i];
        for (size_t k = 0; k < n->input_count + n->output_count; k++) {
            ox_val v = k < n->input_count ? n->inputs[k] : n->outputs[k - n->input_count];
            for (int t = 0; v != NULL && t < narrowest; t++) {
                narrowest = v->type == by_precision[t] ? t : narrowest;
            }
        }
    }
    return ox_type_name(by_precision[narrowest]);
}

/* What ox_check needs to read the outputs. */
static void set_check(ox_explain_state *s)
{
    const char **each = ox_arena_alloc(s->arena, s->bind->point_count, sizeof *each);
    for (size_t i = 0; i < s->bind->point_count; i++) {
        int axis = ox_result_axis(s, i);
        each[i] = ox_arena_format(s->arena, "%d", axis);
    }
    const char *axes = join(s->arena, s->bind->point_count, each, ',');
    ox_model_set_property(s->model, "onnxexplainer.input_axes", axes);
    ox_model_set_property(s->model, "onnxexplainer.output_axis",
                          ox_arena_format(s->arena, "%d", s->bind->output_batch_axis));
    ox_model_set_property(s->model, "onnxexplainer.precision", precision(s));
}

/* Columns of tables are found by these names. */
static void check_distinct(const ox_explain_state *s)
{
    const ox_options *o = s->options;
    ox_table table = {.arena = s->arena};
    for (size_t i = 0; i < o->feature_count; i++) {
        const char *name = o->feature_names[i];
        uint64_t hash = ox_hash_string(name);
        size_t at = OX_TABLE_START;
        for (const char *other; (other = ox_table_next(&table, hash, &at)) != NULL;) {
            if (strcmp(name, other) == 0) {
                ox_fail(s->arena, OX_ARGUMENT, "feature name \"%s\" is given twice", name);
            }
        }
        ox_table_add(&table, hash, (void *)(uintptr_t)name);
    }
}

/* A name for every value of a sample, or for every one along the last axis of an input. Where sizes
 * are not known, and with options.at, all counts will do. */
static void check_features(const ox_explain_state *s)
{
    size_t names = s->options->feature_count, total = 0, axis = 0;
    if (names == 0 || s->bind->points != s->bind->inputs) {
        return;
    }
    for (size_t i = 0; i < s->bind->input_count; i++) {
        const ox_explained *e = &s->bind->inputs[i];
        size_t size = 1, last = 1;
        for (int d = 0; d < e->x->rank; d++) {
            ox_dim dim = e->x->dims[d];
            if (d == e->batch_axis) {
                continue;
            }
            if (!ox_dim_is_static(dim) || !ox_size_mul(size, (size_t)dim.size, &size)) {
                return;
            }
            last = (size_t)dim.size;
        }
        if (last == names || !ox_size_add(total, size, &total)) {
            return;
        }
        axis = last;
    }
    if (total != names) {
        const char *along =
            axis == total ? "" : ox_arena_format(s->arena, ", %zu along the last axis", axis);
        ox_fail(s->arena, OX_ARGUMENT, "%zu feature names, but a sample has %zu values%s", names,
                total, along);
    }
}

void ox_explain_check_given(const ox_explain_state *s)
{
    check_features(s);
    check_distinct(s);
    ox_extra_check(s);
    ox_weights_check(s);
}

/* Sets onnxexplainer.<key>; nothing where the value is NULL. */
static void set(ox_explain_state *s, const char *key, const char *value)
{
    if (value != NULL) {
        ox_model_set_property(s->model, ox_arena_format(s->arena, "onnxexplainer.%s", key), value);
    }
}

static const char *inputs_of(const ox_explain_state *s)
{
    const char **points = ox_arena_alloc(s->arena, s->bind->point_count, sizeof *points);
    for (size_t i = 0; i < s->bind->point_count; i++) {
        points[i] = s->bind->points[i].x->name;
    }
    return join(s->arena, s->bind->point_count, points, ',');
}

static const char *weights_of(const ox_explain_state *s)
{
    const ox_options *o = s->options;
    const char **each = ox_arena_alloc(s->arena, o->weight_count, sizeof *each);
    for (size_t i = 0; i < o->weight_count; i++) {
        each[i] = ox_arena_format(s->arena, "%.17g", o->weights[i]);
    }
    return o->weight_count == 0 ? NULL : join(s->arena, o->weight_count, each, ',');
}

/* "R fnv1a:HASH", "paired", "input" or "fill:VALUE". */
static const char *references_of(const ox_explain_state *s)
{
    switch (s->options->reference_source) {
    case OX_REFERENCES_INPUT: return "input";
    case OX_REFERENCES_PAIRED: return "paired";
    case OX_REFERENCES_FILL: return ox_arena_format(s->arena, "fill:%.17g", s->options->fill);
    default:
        return ox_arena_format(s->arena, "%lld fnv1a:%016llx", (long long)s->bind->refs_count,
                               (unsigned long long)checksum(s));
    }
}

/* Bytes that references take at load and as long as the model is loaded, and a sample in a run;
 * with held values the bound, within which a session may keep what it made of them (run/steady.c).
 */
static const char *memory_of(const ox_explain_state *s)
{
    const char *text = ox_arena_format(s->arena, "%" PRIu64 " %" PRIu64 " %" PRIu64, s->plan->loads,
                                       s->plan->holds, s->plan->works);
    bool keeps = s->plan->pairs && s->plan->chunk == 0 && s->plan->cache != OX_CACHE_NONE;
    return keeps ? ox_arena_format(s->arena, "%s %" PRIu64, text, ox_plan_memory(s)) : text;
}

/* A list, a text a line; NULL where it is empty. */
static const char *lines_of(const ox_explain_state *s, size_t count, const char *const *texts)
{
    return count == 0 ? NULL : join(s->arena, count, texts, '\n');
}

static const char *count_of(const ox_explain_state *s, size_t count)
{
    return count == 0 ? NULL : ox_arena_format(s->arena, "%zu", count);
}

static const char *integration_of(const ox_explain_state *s)
{
    const ox_options *o = s->options;
    const char *ops = join(s->arena, o->integrate_op_count, o->integrate_ops, ',');
    const char *colon = ops[0] == '\0' ? "" : ":";
    return o->integrate <= 0 ? NULL : ox_arena_format(s->arena, "%d%s%s", o->integrate, colon, ops);
}

static const char *fixed_of(const ox_explain_state *s)
{
    const ox_options *o = s->options;
    const char **fixed = ox_arena_alloc(s->arena, o->fix_count, sizeof *fixed);
    for (size_t i = 0; i < o->fix_count; i++) {
        fixed[i] = o->fix[i].name;
    }
    return o->fix_count == 0 ? NULL : join(s->arena, o->fix_count, fixed, ',');
}

/* What values of trees and of probabilities are of. */
static void tell_of_logits(ox_explain_state *s)
{
    const ox_options *o = s->options;
    const char *logits = logits_of(s);
    set(s, "logits", logits);
    if (logits != NULL) {
        ox_note_to(o,
                   "output \"%s\" is a probability, which says little where it saturates: "
                   "--output-name=%s explains the value before",
                   s->bind->output->name, logits);
    } else if (hides_margins(s)) {
        ox_note_to(o,
                   "output \"%s\" is a probability, explained behind the trees by its own rule; "
                   "--target=logit explains the margins, for which values of trees are exact",
                   s->bind->output->name);
    }
}

static void set_metadata(ox_explain_state *s)
{
    static const char *const caches[] = {"auto", "load", "file", "none"};
    static const char *const cuts[] = {[OX_CUT_WHOLE] = "whole", [OX_CUT_ALONE] = "one"};
    static const char *const sums[] = {[OX_SUM_NONE] = "none", [OX_SUM_QUADRATURE] = "quadrature"};
    const ox_options *o = s->options;
    bool deepshap = strcmp(s->method->name, "deepshap") == 0;
    bool prefix = o->prefix != NULL && o->prefix[0] != '\0';
    bool objective = s->bind->output != s->bind->output_tensor;
    size_t kept = (size_t)s->bind->refs_count;
    set(s, "version", OX_VERSION);
    set(s, "method", deepshap ? "DeepSHAP" : o->method);
    set(s, "target", o->target == NULL ? "top" : o->target);
    set(s, "output", s->bind->output->name);
    set(s, "objective_of", objective ? s->bind->output_tensor->name : NULL);
    set(s, "inputs", inputs_of(s));
    set(s, "references", references_of(s));
    set(s, "cache", caches[s->plan->cache]);
    set(s, "memory", memory_of(s));
    set(s, "cache_dtype", o->cache_dtype == OX_FLOAT16 ? "float16" : NULL);
    set(s, "prefix", prefix ? o->prefix : NULL);
    set(s, "batch", s->plan->cut == OX_CUT_ANY ? NULL : cuts[s->plan->cut]);
    set_check(s);
    ox_range_set(s);
    set(s, "feature_names", lines_of(s, o->feature_count, o->feature_names));
    set(s, "integrate", integration_of(s));
    set(s, "pool", o->pool);
    set(s, "order", count_of(s, o->order > 1 ? (size_t)o->order : 0));
    set(s, "splits", count_of(s, (size_t)o->splits));
    set(s, "kept_references", count_of(s, o->keep_references ? kept : 0));
    set(s, "weights", weights_of(s));
    set(s, "hold", lines_of(s, o->hold_count, o->hold));
    set(s, "groups", lines_of(s, o->group_count, o->groups));
    set(s, "group_names", s->found->group_names);
    set(s, "labels", count_of(s, o->label_count));
    set(s, "fixed", fixed_of(s));
    set(s, "sum", s->method->sum == OX_SUM_EXACT ? NULL : sums[s->method->sum]);
    set(s, "holes", count_of(s, s->found->holes));
    tell_of_logits(s);
}

/* ---- all of it
 * ---------------------------------------------------------------------------------------- */

void ox_explain_check_rules(ox_explain_state *s)
{
    for (size_t i = 0; s->method->needs_rules && i < s->order->count; i++) {
        const ox_node *n = s->order->nodes[i];
        const char *why = ox_walk_missing(s, n);
        bool refused = ox_side_of(n->outputs[0])->refused != NULL;
        if (why != NULL && (refused || !s->options->force)) {
            ox_fail(s->arena, OX_UNSUPPORTED, "%s", ox_walk_refusal(s, n, why));
        }
        if (why != NULL) {
            s->found->holes++;
            ox_note_to(s->options, "completeness is lost at %s: %s", ox_node_label(n), why);
        }
    }
}

void ox_explain_build(ox_explain_state *s)
{
    ox_plan *plan = ox_plan_batch(s);
    s->plan = plan;
    s->target = ox_target_find(s);
    s->method->steps(s, plan);
    ox_fork_begin(s);
    s->method->feed(s);
    s->method->attribute(s);
    if (!s->method->players && s->options->group_count + s->options->label_count > 0) {
        ox_players_sum_all(s);
    }
    check_points(s);
    (s->method->outputs != NULL ? s->method->outputs : ox_result_outputs)(s);
    ox_graph_prune(s->g);
    ox_footprint_find(s, plan);
}

/* All of it, on a model that has been begun with. Another method may take over there. */
static void explain(ox_explain_state *s, void *user)
{
    s->method = user != NULL ? user : s->method;
    ox_explain_check_given(s);
    ox_explain_check_rules(s);
    ox_explain_build(s);
    if (s->again) {
        return;
    }
    ox_footprint_check(s);
    if (s->plan->cache == OX_CACHE_FILE) {
        ox_keep_run(s);
    }
    ox_bind_declare(s);
    ox_graph_settle(s->g);
    if (user == NULL) {
        set_metadata(s);
    }
    if (s->g->function_count > 0) {
        ox_model_set_opset(s->model, "onnxexplainer", 1);
    }
    ox_model_publish(s->model);
}

static ox_model *make(const ox_model *model, const ox_options *options, const ox_method *method,
                      ox_error *err)
{
    ox_explain_state s = {.model = NULL};
    ox_options own;
    if (!ox_check_given("model", model, err) || !ox_check_options(options, &own, err)) {
        return NULL;
    }
    own.method = method != NULL ? "exact" : own.method; /* which asks for the same */
    if (own.reference_source == OX_REFERENCES_GIVEN && own.reference_count == 0) {
        ox_error_set(err, OX_ARGUMENT, "no references");
        return NULL;
    }
    if (!ox_explain_attempt(&s, model, &own, explain, (void *)(uintptr_t)method, err)) {
        return NULL;
    }
    if (!ox_model_lower_ir(s.model, err)) {
        ox_free(s.model);
        return NULL;
    }
    return s.model;
}

ox_model *ox_explain(const ox_model *model, const ox_options *options, ox_error *err)
{
    return make(model, options, NULL, err);
}

ox_model *ox_curves(const ox_model *model, const ox_options *options, ox_error *err)
{
    return make(model, options, ox_method_curves(), err);
}
