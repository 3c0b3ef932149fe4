/* The scale of references and samples. */
#ifndef OX_EXPLAIN_RANGE_H
#define OX_EXPLAIN_RANGE_H

#include "explain/state.h"

/* Writes the ranges of the references into the metadata. */
void ox_range_set(ox_explain_state *s);

#endif
