/* What is kept of the references, how many a step, in which graphs. */
#ifndef OX_EXPLAIN_PLAN_H
#define OX_EXPLAIN_PLAN_H

#include "explain/place.h"

/* How it is done. */
struct ox_plan {
    bool one_at_a_time; /* references enter one by one, repeated to the sample's batch */
    bool pairs;         /* what held values reach is computed for pairs of reference and sample */
    ox_cut cut;
    int64_t padded;       /* R rounded up to whole chunks */
    int64_t chunk;        /* references per step, 0: no Scan over references */
    int64_t target_chunk; /* targets per step, 0: no Scan over targets */
    ox_cache cache;
    bool chosen;           /* the cache was, and may be another one */
    uint64_t works;        /* bytes that a run of one sample takes, about, besides what follows */
    uint64_t loads, holds; /* of the references, while a session is made and afterwards */
};

/* Begins a plan: whether one run of the reference branch takes all references. */
ox_plan *ox_plan_batch(ox_explain_state *s);

/* Decides on cache and chunk. */
void ox_plan_steps(ox_explain_state *s, ox_plan *plan);

/* How many of so many a step, at most `most`: of half to twice as many as are good, those that lose
 * least. */
int64_t ox_plan_even_steps(int64_t count, int64_t good, int64_t most);

/* Bytes that a pair of a point and a reference takes, about; `backwards`: with multipliers. */
uint64_t ox_plan_pair_bytes(ox_explain_state *s, bool backwards);

/* Bytes that a run may take. */
uint64_t ox_plan_memory(const ox_explain_state *s);

/* Bytes of the references as they are given. */
uint64_t ox_plan_given(const ox_explain_state *s);

#endif
