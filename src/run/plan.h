/* Sessions on models as they are, and above them plans, made and checked by what ONNX Runtime says
 * of the machine. Sessions that programs open (session_tune.c) are on plans where there is one. */
#ifndef OX_RUN_TUNE_H
#define OX_RUN_TUNE_H

#include "onnxexplainer.h"

/* As ox_tune; the file that `explained` was read from spares its serialization. */
ox_model *ox_tune_checked(const ox_model *explained, const char *path,
                          const ox_session_options *options, ox_error *err);

/* A session on a model as it is, given as a file or in memory, with options that were checked. */
ox_session *ox_session_plain(const char *path, const ox_model *model,
                             const ox_session_options *options, ox_error *err);

/* Whether an explained model, in a file or in memory, takes much in a run, as it says itself; other
 * models do not say so. */
bool ox_runs_large(const char *path, const ox_model *model);

#endif
