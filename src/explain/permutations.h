/* Method permutation. */
#ifndef OX_EXPLAIN_PERMUTATIONS_H
#define OX_EXPLAIN_PERMUTATIONS_H

#include "explain/state.h"

void ox_permutation(ox_explain_state *s);

#endif
