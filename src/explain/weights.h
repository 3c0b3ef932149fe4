/* How often each reference counts. */
#ifndef OX_EXPLAIN_WEIGHTS_H
#define OX_EXPLAIN_WEIGHTS_H

#include "explain/state.h"

/* Gives up where options.weights do not fit the references. */
void ox_weights_check(const ox_explain_state *s);

/* The references' weights, of mean 1, and 0 for what fills up to `padded`; all 1 without options.
 */
const double *ox_weights_find(ox_explain_state *s, int64_t padded);

/* The reference at a place in [0, 1), of which each has its share. */
int64_t ox_weights_draw(ox_explain_state *s, const double *weights, double place);

#endif
