/* Which of the model's free dimensions is the batch. */
#ifndef OX_EXPLAIN_AXIS_H
#define OX_EXPLAIN_AXIS_H

#include "explain/state.h"

/* The symbolic dimension that the explained output shares with explained inputs; NULL: none. Of
 * several the first, unless another is surely meant, of which a note tells. */
const char *ox_axis_symbol(const ox_explain_state *s);

/* The axis of the batch in an input or output; -1: none. */
int ox_axis_batch(const ox_value_info *info, const char *symbol);

/* What the model says of one of its inputs. */
const ox_value_info *ox_axis_input(const ox_model *m, const char *name);

#endif
