/* Inputs that are settings. */
#ifndef OX_EXPLAIN_FIX_H
#define OX_EXPLAIN_FIX_H

#include "explain/state.h"

/* Makes constants of the inputs that options.fix names. */
void ox_fix_inputs(ox_explain_state *s);

#endif
