/* What is made of the output: logits, losses, cosine. */
#ifndef OX_EXPLAIN_OBJECTIVE_H
#define OX_EXPLAIN_OBJECTIVE_H

#include "explain/state.h"

/* What the target is about: y, or what is made of it behind the model. Sets s->aim. */
ox_val ox_objective(ox_explain_state *s, ox_val y);

/* options.target_array as numbers; gives up where there are not `count` of them. */
const double *ox_objective_array(ox_explain_state *s, int64_t count);

#endif
