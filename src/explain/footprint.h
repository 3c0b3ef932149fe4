/* What a plan takes of memory, of which a bound is a promise. */
#ifndef OX_EXPLAIN_FOOTPRINT_H
#define OX_EXPLAIN_FOOTPRINT_H

#include "explain/plan.h"

/* Finds plan->loads and ->holds in the graph as it is built. Where a cache that was not asked for
 * does not fit, s->again is set. */
void ox_footprint_find(ox_explain_state *s, ox_plan *plan);

/* Gives up where the plan cannot keep to what the options allow, and says what was chosen, and
 * why. */
void ox_footprint_check(ox_explain_state *s);

#endif
