/* Inputs that are settings. */
#ifndef OX_EXPLAIN_FIX_H
#define OX_EXPLAIN_FIX_H

#include "explain/state.h"

/* Makes constants of the inputs that options.fix names. */
void ox_fix_inputs(ox_explain_state *s);

/* A copy of a model in which these inputs are constants; shapes and types are those of the inputs.
 * NULL and err on failure. */
ox_model *ox_fixed_inputs(const ox_model *model, const ox_tensor *values, size_t count,
                          ox_error *err);

#endif
