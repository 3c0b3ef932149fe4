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
    if (!s->method->by_reference) {
        refuse(s, option, "goes with method deepshap");
    }
    if (o->group_count + o->label_count > 0) {
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

void ox_extra_find(ox_explain_state *s, size_t i, ox_val m, ox_val x0)
{
    const ox_explained *e = &s->bind->points[i];
    size_t count = s->bind->point_count;
    ox_found *f = s->found;
    if (s->options->multipliers) {
        f->multipliers = i == 0 ? ox_arena_alloc(s->arena, count, sizeof(ox_val)) : f->multipliers;
        f->multipliers[i] = ox_extra_gather(s, e, m);
    }
    if (s->options->hypothetical) {
        f->hypothetical =
            i == 0 ? ox_arena_alloc(s->arena, count, sizeof(ox_val)) : f->hypothetical;
        f->hypothetical[i] = ox_extra_gather(s, e, hypothetical(s, e, m, x0));
    }
}
