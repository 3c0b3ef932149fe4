/* What options ask for besides values: multipliers, hypothetical ones, values of each reference. */
#ifndef OX_EXPLAIN_EXTRA_H
#define OX_EXPLAIN_EXTRA_H

#include "explain/bind.h"

/* Gives up where options ask for what the method or an input has not. */
void ox_extra_check(const ox_explain_state *s);

/* What options ask for of point i, from its multipliers, whose last axes are its own shape, and
 * references; `mean` takes terms over the references. */
typedef ox_val (*ox_extra_mean)(ox_explain_state *s, size_t i, ox_val terms, const void *user);
void ox_extra_put(ox_explain_state *s, size_t i, ox_val m, ox_val x0, ox_extra_mean mean,
                  const void *user);

/* What options ask for of point i, from its multiplier [K, R, own shape] and reference, in the flow
 * graph. */
void ox_extra_find(ox_explain_state *s, size_t i, ox_val m, ox_val x0);

/* Terms [K, R, own shape] summed over the references, weighted, outside of a Scan their mean; or
 * each of them. */
ox_val ox_extra_gather(ox_explain_state *s, const ox_explained *e, ox_val terms);

/* What came out of a Scan for each reference, as [K, R, own shape]. */
ox_val ox_extra_steps(ox_explain_state *s, ox_val v);

#endif
