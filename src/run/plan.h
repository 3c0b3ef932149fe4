/* Plans, made and checked by what ONNX Runtime says of the machine. */
#ifndef OX_RUN_TUNE_H
#define OX_RUN_TUNE_H

#include "onnxexplainer.h"

/* As ox_tune; the file that `explained` was read from spares its serialization. */
ox_model *ox_tune_checked(const ox_model *explained, const char *path,
                          const ox_session_options *options, ox_error *err);

/* A session on the tuned form of an explained model, given as a file or in memory. NULL where it is
 * not explained, does not gain by it, or cannot be tuned, which options->note is told. Want of
 * memory is another matter: `err` has the code OX_MEMORY then, and is as it was otherwise. */
ox_session *ox_session_tuned(const char *path, const ox_model *model,
                             const ox_session_options *options, ox_error *err);

#endif
