/* What comes beside the values where options ask for it: multipliers, what one-hot inputs would get
 * for each category, and all of these for each reference in place of the mean. */
#include "explain/extra.h"

#include <math.h>
#include <string.h>

#include "explain/bind.h"
#include "explain/branch.h"
#include "explain/method.h"
#include "explain/plan.h"
#include "explain/result.h"
#include "explain/target.h"

static _Noreturn void refuse(const ox_explain_state *s, const char *option, const char *why)
{
    ox_fail(s->arena, OX_ARGUMENT, "%s: %s", option, why);
}

/* ---- one-hot inputs ------------------------------------------------------------------------- */

/* Whether the references' values are from 0 to 1, and add up to 1 along axis d. */
static bool adds_to_one(const ox_tensor *t, int d)
{
    static const double rounding = 1e-3;
    size_t inner = 1, outer = 1, size = (size_t)t->dims[d];
    for (int i = 0; i < t->rank; i++) {
        inner *= i > d ? (size_t)t->dims[i] : 1;
        outer *= i < d ? (size_t)t->dims[i] : 1;
    }
    ox_const c = {.type = t->type, .data = t->data};
    for (size_t o = 0; o < outer * inner; o++) {
        double sum = 0;
        for (size_t k = 0; k < size; k++) {
            double x = ox_const_double(&c, (o / inner * size + k) * inner + o % inner);
            if (!(x >= -rounding && x <= 1 + rounding)) {
                return false;
            }
            sum += x;
        }
        if (fabs(sum - 1) > rounding) {
            return false;
        }
    }
    return true;
}

/* The axis of the categories: along which the references add up to 1. Where these are not known,
 * the one of 4. */
static int category_axis(const ox_explain_state *s, const ox_explained *e)
{
    int found = -1, count = 0, lead = e->given != NULL && e->batch_axis < 0 ? 1 : 0;
    for (int d = 0; d < e->x->rank; d++) {
        if (d == e->batch_axis || ox_dim_is(e->x->dims[d], 1)) {
            continue;
        }
        bool known = e->given != NULL && e->given->data != NULL;
        bool is = known ? adds_to_one(e->given, d + lead) : ox_dim_is(e->x->dims[d], 4);
        found = is ? d : found;
        count += is;
    }
    if (count != 1) {
        refuse(s, "hypothetical",
               ox_arena_format(s->arena, "input \"%s\" is not one-hot along one axis of its %s",
                               e->x->name, e->given != NULL ? "references" : "shape"));
    }
    return found;
}

/* ---- what options ask for ------------------------------------------------------------------- */

/* Why a method has no multipliers, or no values of each reference, and which one has. */
static const char *why_not(const ox_explain_state *s, bool multipliers)
{
    const char *name = s->method->name;
    if (s->options->splits > 0 || s->options->order > 1) {
        return "splits and order 2 have only means over the references; deepshap without them has "
               "more";
    }
    if (!s->method->needs_rules) {
        return ox_arena_format(s->arena,
                               "method %s runs the model, and has no multipliers; deepshap, "
                               "integrated-gradients and input-x-gradient have",
                               name);
    }
    if (strcmp(name, "gradient") == 0) {
        return multipliers ? "the values of method gradient are multipliers; input-x-gradient has "
                             "both"
                           : "gradients at the sample are the same for all references; "
                             "input-x-gradient differs";
    }
    return ox_arena_format(s->arena,
                           "method %s means over what it draws; integrated-gradients has it", name);
}

void ox_extra_check(const ox_explain_state *s)
{
    const ox_options *o = s->options;
    const char *option = o->keep_references ? "keep_references"
                         : o->multipliers   ? "multipliers"
                         : o->hypothetical  ? "hypothetical"
                                            : NULL;
    if (option == NULL) {
        return;
    }
    bool multiplies = o->multipliers || o->hypothetical;
    if ((multiplies && !s->method->multiplies) || (o->keep_references && !s->method->keeps)) {
        refuse(s, option, why_not(s, multiplies && !s->method->multiplies));
    }
    if (o->group_count + o->label_count > 0 && (multiplies || !s->method->players)) {
        refuse(s, option, "goes with values, not with groups");
    }
    if (o->keep_references && o->weight_count > 0) {
        refuse(s, option, "each reference has values of its own, which weights do not change");
    }
    for (size_t i = 0; (o->multipliers || o->hypothetical) && i < s->bind->point_count; i++) {
        const ox_explained *e = &s->bind->points[i];
        if (!ox_type_is_float(e->x->type)) {
            refuse(s, option,
                   ox_arena_format(s->arena, "input \"%s\" holds %s", e->x->name,
                                   ox_type_name(e->x->type)));
        }
        if (o->hypothetical) {
            category_axis(s, e);
        }
    }
}

/* ---- references, one for one ---------------------------------------------------------------- */

/* terms of the flow graph, [K, R, own shape] as far as these axes exist: as they are to come out of
 * a Scan over references, with R first; else with R in any case. */
static ox_val with_references(ox_explain_state *s, ox_val terms)
{
    int order[OX_MAX_RANK];
    bool steps = s->branch->flow != s->g && s->plan->target_chunk == 0;
    if (s->plan->one_at_a_time) {
        return ox_unsqueeze(terms, steps ? 0 : s->target->many);
    }
    if (!steps || !s->target->many) {
        return terms;
    }
    for (int d = 0; d < terms->rank; d++) {
        order[d] = d < 2 ? 1 - d : d;
    }
    return ox_transpose(terms, order);
}

ox_val ox_extra_steps(ox_explain_state *s, ox_val v)
{
    int order[OX_MAX_RANK];
    if (s->plan->target_chunk > 0) {
        return ox_slice(v, 0, 0, s->target->count, 1);
    }
    if (s->plan->padded > s->bind->refs_count) {
        v = ox_slice(v, 0, 0, s->bind->refs_count, 1);
    }
    if (!s->target->many) {
        return v;
    }
    for (int d = 0; d < v->rank; d++) {
        order[d] = d < 2 ? 1 - d : d;
    }
    return ox_transpose(v, order);
}

/* Terms [K, R, own shape] summed over the references, weighted; outside of a Scan their mean. */
static ox_val sum_references(ox_explain_state *s, const ox_explained *e, ox_val terms)
{
    if (s->plan->one_at_a_time) {
        return s->branch->weight == NULL ? terms
                                         : ox_mul(terms, ox_cast(s->branch->weight, terms->type));
    }
    int64_t axis = -1 - e->x->rank;
    if (s->branch->weight != NULL) {
        ox_dim dims[OX_MAX_RANK] = {s->branch->weight->dims[0]};
        for (int i = 1; i <= e->x->rank; i++) {
            dims[i] = ox_dim_of(1);
        }
        ox_val weight = ox_cast(s->branch->weight, terms->type);
        terms = ox_mul(terms, ox_reshape(weight, e->x->rank + 1, dims));
    }
    return ox_reduce(s->plan->chunk > 0 ? "ReduceSum" : "ReduceMean", terms, 1, &axis, false);
}

ox_val ox_extra_gather(ox_explain_state *s, const ox_explained *e, ox_val terms)
{
    return s->options->keep_references ? with_references(s, terms) : sum_references(s, e, terms);
}

/* ---- multipliers ---------------------------------------------------------------------------- */

/* m_a - sum over the categories of m x0: what the place would get with category a. */
static ox_val hypothetical(ox_explain_state *s, const ox_explained *e, ox_val m, ox_val x0)
{
    int64_t axis = category_axis(s, e) - e->x->rank;
    return ox_sub(m, ox_sum(ox_mul(m, x0), axis, true));
}

static void put(ox_explain_state *s, ox_val **list, size_t i, ox_val v)
{
    *list = i == 0 ? ox_arena_alloc(s->arena, s->bind->point_count, sizeof **list) : *list;
    (*list)[i] = v;
}

void ox_extra_put(ox_explain_state *s, size_t i, ox_val m, ox_val x0, ox_extra_mean mean,
                  const void *user)
{
    const ox_explained *e = &s->bind->points[i];
    if (s->options->multipliers) {
        put(s, &s->found->multipliers, i, mean(s, i, m, user));
    }
    if (s->options->hypothetical) {
        put(s, &s->found->hypothetical, i, mean(s, i, hypothetical(s, e, m, x0), user));
    }
}

static ox_val gathered(ox_explain_state *s, size_t i, ox_val terms, const void *user)
{
    (void)user;
    return ox_extra_gather(s, &s->bind->points[i], terms);
}

void ox_extra_find(ox_explain_state *s, size_t i, ox_val m, ox_val x0)
{
    ox_extra_put(s, i, m, x0, gathered, NULL);
}
