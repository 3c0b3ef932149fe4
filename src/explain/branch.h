/* The reference branch, the graphs that it is in, and its values as the walk sees them: with
 * cache.c and steps.c, which keep them and enter them into a Scan. */
#ifndef OX_EXPLAIN_BRANCH_H
#define OX_EXPLAIN_BRANCH_H

#include "explain/state.h"

/* References of one explained input: references.c. */
typedef struct ox_fed {
    ox_val all;    /* in the model's graph: R along the batch axis */
    ox_val slices; /* in the model's graph: [R, own shape with 1 in place of N] */
} ox_fed;

/* A value that enters a Scan body. */
typedef struct ox_entry {
    ox_val outside, inside;
    ox_val next; /* state after the step; NULL for scanned values */
} ox_entry;

/* A body that is being made in the model's graph: predicted.c. */
typedef struct ox_inside {
    ox_graph *body;
    ox_entry *entries; /* what goes in, with an axis of 1 in front outside */
    size_t count;
} ox_inside;

/* A reference value that is computed once and kept. */
typedef struct ox_cached {
    ox_val value;    /* of the lifted graph */
    ox_val computed; /* in the reference graph */
    ox_val kept;     /* the constant */
} ox_cached;

/* The model once more beside itself, and the graphs that it is in: references.c, branch.c, steps.c,
 * cache.c. */
struct ox_fork {
    ox_graph *flow, *refs;
    bool points;    /* both sides are what a value is at a point */
    bool legs;      /* or at two of them, */
    bool copies;    /* which two copies of the model are at, else points of a step */
    ox_val ends[2]; /* of the first kind: whose point stands for sample and reference, [N] */
    bool fewer;     /* there are not as many points as legs */
    bool folded;    /* N is another number than in the model's graph */
    int lead;       /* lead axes of multipliers: K and R as far as they exist */
    ox_dim pairs;   /* R of the variances of the second order */
    ox_fed *fed;    /* by input */

    ox_table state_index;       /* of the states, by name of what is outside */
    ox_entry *states, *scanned; /* of the Scan */
    size_t state_count, scanned_count;
    ox_val weight; /* in `flow`: weights of the chunk's references, or NULL: all 1 */

    ox_inside *inside; /* while one is made, else NULL */

    ox_table cached_index; /* by type and name of what is computed */
    ox_cached *cached;
    size_t cached_count;
};

/* Makes s->branch one with the graphs of the plan, nothing in it yet. */
void ox_fork_begin(ox_explain_state *s);

/* The same in the body of a Scan of its own, where both sides of a value are what it is at a point;
 * `folded`: N in there is another number than in the model's graph. */
void ox_fork_points(ox_explain_state *s, bool folded);

/* The same in the model's graph, the points being the samples. */
void ox_fork_samples(ox_explain_state *s);

/* `v` as it is at the point. */
ox_val ox_point(ox_explain_state *s, ox_val v);

/* `v` as it is at an end of a leg: that of the sample, or of the reference. `all`, which is like v,
 * of the points that stand there. */
ox_val ox_leg(ox_explain_state *s, ox_val v, bool reference);
ox_val ox_leg_pick(ox_explain_state *s, ox_val v, ox_val all, bool reference);

/* Gives up where v is fusible, and the model is in the body twice in place of points. */
void ox_leg_check(ox_explain_state *s, ox_val v);

/* `v` as it is for the sample, in the flow graph; where it is fusible, computed once more, so that
 * nothing of ours reads what ONNX Runtime may fuse. */
ox_val ox_sample(ox_explain_state *s, ox_val v);

/* `v` as it is for the references, in the flow graph: [R, own shape], or own shape where they come
 * one at a time. The sample's where v does not vary. */
ox_val ox_reference(ox_explain_state *s, ox_val v);

/* A variance of the second order, [R, own shape of v], as that of v in a batch of pairs of samples
 * and references, R N in place of N; and back. */
ox_val ox_pairs(ox_explain_state *s, ox_val v, ox_val variance);
ox_val ox_unpairs(ox_explain_state *s, ox_val v, ox_val pairs);

/* The explained output as it is predicted, fused or not: in the model's graph, in the flow graph,
 * and that of the references. */
ox_val ox_predicted(ox_explain_state *s);
ox_val ox_sample_output(ox_explain_state *s);
ox_val ox_reference_output(ox_explain_state *s);

/* R as it is in the reference graph, where it takes the place of N. */
ox_dim ox_refs_dim(const ox_explain_state *s);

#endif
