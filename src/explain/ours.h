/* Names of what is added to the model. */
#ifndef OX_EXPLAIN_OURS_H
#define OX_EXPLAIN_OURS_H

#include "explain/state.h"

/* A name of ours, with the prefix; gives up where the model uses it. */
const char *ox_ours_name(ox_explain_state *s, const char *name);

/* A new input of int64, and an output, under such a name. */
ox_val ox_ours_input(ox_explain_state *s, const char *name, int rank, const ox_dim *dims);
void ox_ours_output(ox_explain_state *s, ox_val v, const char *name);

#endif
