/* Values that ONNX Runtime fuses, which nothing of ours may read. */
#ifndef OX_EXPLAIN_FUSIBLE_H
#define OX_EXPLAIN_FUSIBLE_H

#include "explain/state.h"

/* Finds the fusible values of the model. */
void ox_mark_fusible(ox_explain_state *s);

#endif
