/* The walk inside a Scan over the references. */
#ifndef OX_EXPLAIN_STEPS_H
#define OX_EXPLAIN_STEPS_H

#include "explain/state.h"

/* Brings a value of the model's graph into the Scan body: whole, as state; or step by step along
 * its first axis, `part` of it at a time (0: one, without the axis). */
ox_val ox_scan_state(ox_explain_state *s, ox_val outside);

/* The same with other dimensions inside. */
ox_val ox_scan_state_of(ox_explain_state *s, ox_val outside, const ox_dim *dims);
ox_val ox_scan_slice(ox_explain_state *s, ox_val outside, int64_t part);

/* Closes the body, adds up the values that *results point to over the steps, or stacks them along
 * their first axis, and emits the Scan. *results are then in the model's graph; those added up have
 * `dims` there, NULL: as in the body. */
void ox_scan_emit(ox_explain_state *s, ox_val *results[], size_t count, bool stack,
                  const ox_dim *const *dims);

#endif
