/* options.splits: the rules on both parts of the way over a mixture of sample and reference. */
#ifndef OX_EXPLAIN_SPLITS_H
#define OX_EXPLAIN_SPLITS_H

#include "explain/state.h"

void ox_splits(ox_explain_state *s);

#endif
