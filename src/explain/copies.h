/* Copies of the model's nodes. */
#ifndef OX_EXPLAIN_COPIES_H
#define OX_EXPLAIN_COPIES_H

#include "explain/state.h"

/* Where copies of values are remembered: in the reference graph or in the flow graph. */
typedef struct ox_copying {
    ox_explain_state *s;
    ox_graph *graph;
    bool references;
    bool apart; /* of what is fusible, beside what is fused */
    bool twin;  /* fused as well */
    bool pairs; /* of all pairs of reference and sample */
} ox_copying;

/* Copies v with all that it needs. */
ox_val ox_copy(const ox_copying *t, ox_val v);

/* Nodes that were written out are copied as their parts; held values are there already. */
ox_val ox_made_as(ox_val v);

/* branch.c: a value for the sample in the flow graph, as the forward pass has it. */
ox_val ox_sample_as_predicted(ox_explain_state *s, ox_val v);

/* branch.c: R in the flow graph. */
ox_dim ox_refs_in_flow(const ox_explain_state *s);

/* branch.c: the value for all pairs, [.., before*R*N*after, ..], of [R, own shape], [R, own shape
 * with 1 in place of N] or own shape. */
ox_val ox_pairs_of(ox_explain_state *s, ox_val v, ox_val view);

#endif
