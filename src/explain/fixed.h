/* A model whose inputs are constants, made after it has been explained. */
#ifndef OX_EXPLAIN_FIXED_H
#define OX_EXPLAIN_FIXED_H

#include "onnxexplainer.h"

/* A copy in which these inputs are constants; shapes and types are those of the inputs. NULL and
 * err on failure. */
ox_model *ox_fixed_inputs(const ox_model *model, const ox_tensor *values, size_t count,
                          ox_error *err);

#endif
