/* Which values may be infinite or NaN. */
#ifndef OX_EXPLAIN_BEYOND_H
#define OX_EXPLAIN_BEYOND_H

#include "explain/state.h"

/* Marks values that may be beyond numbers where that has an effect. */
void ox_beyond_find(ox_explain_state *s);

/* Whether v, which varies, is such a value, so that rules see stand-ins. */
bool ox_beyond(ox_explain_state *s, ox_val v);

/* Whether v may be beyond numbers, with an effect or without; and whether it may be NaN. */
bool ox_beyond_at_all(ox_explain_state *s, ox_val v);
bool ox_beyond_nan(ox_explain_state *s, ox_val v);

/* Whether the operator gives one value for one of each operand, but is no Where; whether it is a
 * softmax. */
bool ox_beyond_is_elementwise(const ox_node *n);
bool ox_beyond_is_rows(const ox_node *n);

#endif
