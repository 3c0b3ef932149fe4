/* What no rule could give to its inputs with multipliers that are bounded, such as what rounding
 * adds in quantised models: a quantum for a difference of any size. For each pair of sample and
 * reference the sum of it goes to the SHAP values, to each as much as it has itself, so that they
 * add up and none is moved far: phi_i + rest |phi_i| / sum |phi|. */
#include "explain/rest.h"

#include <assert.h>
#include <string.h>

#include "explain/bind.h"
#include "explain/branch.h"
#include "explain/result.h"
#include "rules/side.h"

/* Beside m (x - x0): where all of these are 0, the differences alone count. */
static const double FAINT = 1e-20, TINY = 1e-37;

/* The axis of v along which samples lie, -1 where there is none. */
static int samples_axis(const ox_explain_state *s, ox_val v)
{
    if (!s->bind->batch_free) {
        return s->bind->batch > 1 && v->rank > 0 && ox_dim_is(v->dims[0], s->bind->batch) ? 0 : -1;
    }
    const ox_place *place = &ox_side_of(v)->place;
    return place->known ? place->axis : -1;
}

/* Sums terms [lead, own] over the own axes but `axis`, -1: over all. */
static ox_val sum_own(ox_val terms, int own, int axis)
{
    int64_t axes[OX_MAX_RANK] = {0};
    size_t count = 0;
    for (int i = 0; i < own; i++) {
        if (i != axis) {
            axes[count++] = i - own;
        }
    }
    return ox_reduce("ReduceSum", terms, count, axes, false);
}

/* [lead, .., a*N*c, ..] as [lead, .., a, N, c, ..]; *axis becomes that of N. */
static ox_val split_factor(ox_explain_state *s, int lead, ox_val terms, ox_val v, int *axis)
{
    ox_dim dims[OX_MAX_RANK];
    const ox_place *place = &ox_side_of(v)->place;
    if (*axis < 0 || !s->bind->batch_free || v->dims[*axis].size == 1) {
        return terms;
    }
    if (lead + v->rank + 2 > OX_MAX_RANK) {
        ox_fail(s->arena, OX_UNSUPPORTED, "\"%s\" has too many axes", v->name);
    }
    int rank = lead;
    memcpy(dims, terms->dims, (size_t)lead * sizeof *dims);
    for (int i = 0; i < v->rank; i++) {
        if (i != place->axis) {
            dims[rank++] = v->dims[i];
            continue;
        }
        dims[rank++] = ox_dim_of(place->before);
        dims[rank++] = (ox_dim){.size = 1, .batch = 1};
        dims[rank++] = ox_dim_of(place->after);
    }
    *axis = place->axis + 1;
    return ox_reshape(terms, rank, dims);
}

static void add_to(ox_val *sum, ox_val term)
{
    *sum = *sum == NULL ? term : ox_add(*sum, term);
}

void ox_rest_add(ox_explain_state *s, int lead, ox_val v, ox_val terms)
{
    int axis = samples_axis(s, v);
    terms = split_factor(s, lead, terms, v, &axis);
    ox_val sum = ox_cast(sum_own(terms, terms->rank - lead, axis), s->bind->type);
    add_to(axis < 0 ? &s->found->rest_whole : &s->found->rest, sum);
}

void ox_rest_output(ox_explain_state *s, ox_val seed)
{
    ox_val v = s->bind->output;
    if (!ox_side_of(v)->fusible) {
        return;
    }
    ox_val e = ox_sub(ox_cast(ox_sample_output(s), s->bind->type),
                      ox_cast(ox_sample(s, v), s->bind->type));
    ox_val e0 = ox_sub(ox_cast(ox_reference_output(s), s->bind->type),
                       ox_cast(ox_reference(s, v), s->bind->type));
    ox_rest_add(s, s->branch->lead, v, ox_mul(seed, ox_sub(e, e0)));
}

/* ---- to the explained inputs ---------------------------------------------------------------- */

static bool told_apart(const ox_explain_state *s)
{
    for (size_t i = 0; i < s->bind->point_count; i++) {
        if (s->bind->points[i].batch_axis < 0) {
            return false;
        }
    }
    return true;
}

/* [lead, N], or [lead], as it meets terms of e. */
static ox_val meet(ox_explain_state *s, const ox_explained *e, ox_val v)
{
    ox_dim dims[OX_MAX_RANK];
    memcpy(dims, v->dims, (size_t)s->branch->lead * sizeof *dims);
    for (int i = 0; i < e->x->rank; i++) {
        bool samples = v->rank > s->branch->lead && i == e->batch_axis;
        dims[s->branch->lead + i] = samples ? v->dims[s->branch->lead] : ox_dim_of(1);
    }
    return ox_reshape(v, s->branch->lead + e->x->rank, dims);
}

/* What is left in relation to the sum of the weights: [lead, N] or [lead]. */
static ox_val share_of(ox_explain_state *s, ox_val weight, bool apart)
{
    ox_val whole = s->found->rest_whole, share = NULL;
    if (s->found->rest != NULL && apart) {
        share = ox_div(s->found->rest, ox_shift(weight, TINY));
    } else if (s->found->rest != NULL) {
        add_to(&whole, ox_sum(s->found->rest, -1, false));
    }
    if (whole != NULL) {
        ox_val all = apart ? ox_sum(weight, -1, true) : weight;
        whole = apart ? ox_unsqueeze(whole, -1) : whole;
        add_to(&share, ox_div(whole, ox_shift(all, TINY)));
    }
    return share;
}

void ox_rest_spread(ox_explain_state *s, ox_val *terms, const ox_val *dx)
{
    if (s->found->rest == NULL && s->found->rest_whole == NULL) {
        return;
    }
    bool apart = told_apart(s);
    ox_val sum = NULL, *weights = ox_arena_alloc(s->arena, s->bind->point_count, sizeof *weights);
    for (size_t i = 0; i < s->bind->point_count; i++) {
        const ox_explained *e = &s->bind->points[i];
        ox_val size = ox_cast(ox_abs(terms[i]), s->bind->type),
               d = ox_cast(ox_abs(dx[i]), s->bind->type);
        weights[i] = ox_add(size, ox_scale(d, FAINT));
        add_to(&sum, sum_own(weights[i], e->x->rank, apart ? e->batch_axis : -1));
    }
    ox_val share = share_of(s, sum, apart);
    assert(share != NULL);
    for (size_t i = 0; i < s->bind->point_count; i++) {
        ox_val part = ox_mul(weights[i], meet(s, &s->bind->points[i], share));
        terms[i] = ox_add(terms[i], ox_cast(part, terms[i]->type));
    }
}
