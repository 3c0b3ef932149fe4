/* References as ONNX Runtime predicts them. */
#ifndef OX_EXPLAIN_PREDICTED_H
#define OX_EXPLAIN_PREDICTED_H

#include "explain/state.h"

/* Whether the model's graph computes references as well, and has weights that the model's own
 * nodes have to have to themselves. */
bool ox_predicted_inside(const ox_explain_state *s);

/* The output v, which is fusible, of the references as they enter, from a body. */
ox_val ox_predicted_references(ox_explain_state *s, ox_val v);

/* What goes into the body: `outside`, as it is there. */
ox_val ox_predicted_enter(ox_explain_state *s, ox_val outside);

#endif
