/* Between tuning's pass over the graph and what asks ONNX Runtime about the machine. */
#ifndef OX_RUN_TUNE_H
#define OX_RUN_TUNE_H

#include "onnxexplainer.h"

/* `explained` in the blocked layout, `block` channels a block. */
ox_model *ox_tune_layout(const ox_model *explained, int64_t block, bool kernels, ox_error *err);

/* As ox_tune; the file that `explained` was read from spares its serialization. */
ox_model *ox_tune_checked(const ox_model *explained, const char *path,
                          const ox_session_options *options, ox_error *err);

/* A session on the tuned form of an explained model, given as a file or in memory. NULL where it is
 * not explained, does not gain by it, or cannot be tuned, which options->note is told. Want of
 * memory is another matter: `err` has the code OX_MEMORY then, and is as it was otherwise. */
ox_session *ox_session_tuned(const char *path, const ox_model *model,
                             const ox_session_options *options, ox_error *err);

#endif
