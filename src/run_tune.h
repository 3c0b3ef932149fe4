/* Between tuning's pass over the graph and what asks ONNX Runtime about the machine. */
#ifndef OX_RUN_TUNE_H
#define OX_RUN_TUNE_H

#include "onnxexplainer.h"

/* `explained` in the blocked layout, `block` channels a block. */
ox_model *ox_tune_layout(const ox_model *explained, int64_t block, bool kernels, ox_error *err);

#endif
