/* What no rule could give to its inputs. */
#ifndef OX_EXPLAIN_REST_H
#define OX_EXPLAIN_REST_H

#include "explain/state.h"

/* What the prediction differs from the output that the walk starts with, for the seed. */
void ox_rest_output(ox_explain_state *s, ox_val seed);

/* Takes terms [lead axes, shape of v] that no rule passed on. */
void ox_rest_add(ox_explain_state *s, int lead, ox_val v, ox_val terms);

/* Adds to terms[i], m (x - x0) of point i, in the flow graph, its part of what no rule passed on;
 * dx[i] is x - x0. */
void ox_rest_spread(ox_explain_state *s, ox_val *terms, const ox_val *dx);

#endif
