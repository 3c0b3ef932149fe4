/* The mean over the references, and the outputs. */
#ifndef OX_EXPLAIN_RESULT_H
#define OX_EXPLAIN_RESULT_H

#include "explain/bind.h"

/* What comes out: walk.c, rest.c, and the method. */
struct ox_found {
    ox_val seed;       /* [K, 1, own shape of the output]: the first multiplier */
    ox_val rest;       /* terms that no rule passed on, summed, [lead, N], or NULL */
    ox_val rest_whole; /* the same of values in which samples cannot be told apart, [lead] */
    size_t holes;      /* nodes that let no multiplier pass, with options.force */
    ox_val *phi;       /* SHAP values of each point, [K, own shape] */
    ox_val *error;     /* their standard errors, or NULL */
    ox_val *multipliers, *hypothetical; /* extra.c: like phi, or NULL */
    int64_t *grouped; /* by input: groups that have values in place of its own shape, or 0; NULL */
    const char *group_names; /* lines, of all inputs, or NULL */
    ox_val base;             /* mean f(r) of the targets [K, N] */
    ox_val curve;            /* curves.c: [N, K, steps + 1] as far as these axes exist, or NULL */
};

/* Walks back and takes the mean over the references: s->found->phi and ->base, in the model's
 * graph. */
void ox_result_walk(ox_explain_state *s);

/* found->base alone, without multipliers. */
void ox_result_base(ox_explain_state *s);

/* found->base as [K, N], double. */
ox_val ox_result_base_by_target(ox_explain_state *s);

/* The axis of samples in the values of point i without their targets, -1: none. */
int ox_result_axis(const ox_explain_state *s, size_t i);

/* How far the sides of a point are apart, in its multiplier's type: dx = x - x0. Of text, which is
 * no number, dx is 1, and x and x0 are NULL. */
typedef struct ox_change {
    ox_val x, x0, dx;
} ox_change;

ox_change ox_result_change(ox_explain_state *s, const ox_explained *e, ox_val x, ox_val x0);

/* The multiplier of a point, whose sides are dx apart. */
ox_val ox_result_multiplier(ox_explain_state *s, const ox_explained *e, ox_val dx);

/* Adds the outputs. */
void ox_result_outputs(ox_explain_state *s);

/* Those of the targets and the base value alone. */
void ox_result_targets(ox_explain_state *s);

#endif
