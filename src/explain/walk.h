/* The walk back, from the first multiplier to the points. */
#ifndef OX_EXPLAIN_WALK_H
#define OX_EXPLAIN_WALK_H

#include "explain/state.h"

void ox_walk(ox_explain_state *s, ox_val seed);

#endif
