/* Which output values: the multiplier that the walk starts with. */
#ifndef OX_EXPLAIN_TARGET_H
#define OX_EXPLAIN_TARGET_H

#include "explain/state.h"

/* Which values of the output are explained. */
struct ox_target {
    int64_t count;        /* K */
    bool many;            /* the target axis exists */
    int64_t size;         /* D, the output's values per sample */
    ox_val flat;          /* int64 [N, K] flat indices, in `g` */
    const double *picked; /* [K, D], 0 where not explained; NULL where data or callers choose */
    ox_val rows;          /* [K, 1, D] for sums and differences, else NULL */
};

/* The output, or the tensor in its place, as it is before lifting. */
ox_val ox_target_output(ox_explain_state *s);

/* Finds what is explained: K, and the flat indices. */
const ox_target *ox_target_find(ox_explain_state *s);

/* The first multiplier [K, 1, own shape of the output] for flat indices [K, N]. */
ox_val ox_target_seed(ox_explain_state *s, ox_val indices);

/* values [K, 1, own shape of the output] times seed, summed: [K, N]. */
ox_val ox_target_pick(ox_explain_state *s, ox_val seed, ox_val values);

/* The same of values that are there once for all samples, [1, own shape of the output], where each
 * target is one of them. */
bool ox_target_is_picked(const ox_explain_state *s, ox_val values);
ox_val ox_target_picked(ox_explain_state *s, ox_val values);

/* The targets' values in an output y that is like the explained one, with flat indices [N, K]: [N,
 * K]. */
ox_val ox_target_read(ox_explain_state *s, ox_val y, ox_val flat);

/* The output's batch: N, or 1. */
ox_dim ox_target_batch(const ox_explain_state *s);

/* f(x) of the targets, [K, N], in the model's graph. */
ox_val ox_target_value(ox_explain_state *s);

#endif
