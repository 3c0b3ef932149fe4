/* The model that was explained, and its references. */
#ifndef OX_EXPLAIN_ORIGINAL_H
#define OX_EXPLAIN_ORIGINAL_H

#include "explain/state.h"

/* The scope of the constant that an input's references are. */
const char *ox_references_scope(ox_arena *a, const char *input);

#endif
