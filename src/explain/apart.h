/* Whether nodes keep the samples of a batch apart that the model declares as 1: explain/bind.c. */
#ifndef OX_EXPLAIN_APART_H
#define OX_EXPLAIN_APART_H

#include "explain/state.h"

/* Whether several references in place of one sample are sure to give what each of them would. */
bool ox_keeps_apart(ox_explain_state *s);

#endif
