/* Sessions on models as they are, and above them plans, made and checked by what ONNX Runtime says
 * of the machine. Sessions that programs open (session_tune.c) are on plans where there is one. */
#ifndef OX_RUN_TUNE_H
#define OX_RUN_TUNE_H

#include "onnxexplainer.h"

/* As ox_tune, but for the check; `any`: where nothing has a blocked form, the model with its
 * constants computed, which is loaded sooner. */
ox_model *ox_plan_make(const ox_model *explained, bool any, const ox_session_options *options,
                       ox_error *err);
ox_model *ox_plan_constants(const ox_model *explained, const ox_session_options *options,
                            ox_error *err); /* that model */
bool ox_plan_is_blocked(const ox_model *plan);

/* run/trial.c: a model that is explained, in a file too where there is one, beside its plan. */
typedef struct ox_trial {
    ox_session *sessions[2]; /* of the model, of the plan */
    ox_tensor *inputs;
    size_t input_count, output_count;
    ox_tensor *outputs; /* room for both */
} ox_trial;

/* False and err also where the plan gives other values. `open` is a session on the model, or NULL;
 * it stays the caller's where this fails. The plan is written to `optimised_to`, as by
 * ox_session_of, where that is not NULL and there is room. */
bool ox_trial_open(ox_trial *t, const ox_model *explained, const char *path, ox_session *open,
                   const ox_model *plan, const char *optimised_to,
                   const ox_session_options *options, ox_error *err);

/* Whether the plan takes at most so many times as long on one sample. */
bool ox_trial_keeps_to(const ox_trial *t, double times);

/* The session of the plan or of the model, which is the caller's from then on. */
ox_session *ox_trial_take(ox_trial *t, bool plan);
void ox_trial_close(ox_trial *t);

/* A session on a model as it is, given as a file or in memory, with options that were checked. */
ox_session *ox_session_plain(const char *path, const ox_model *model,
                             const ox_session_options *options, ox_error *err);

/* The same of a model in memory; where `optimised_to` is not NULL, ONNX Runtime writes the model as
 * it is after its optimisations to that file, but one that has to be opened through a file. */
ox_session *ox_session_of(const ox_model *model, const char *optimised_to,
                          const ox_session_options *options, ox_error *err);

/* The same on what was written so, which may go afterwards; `large` where memory is worth more than
 * time. */
ox_session *ox_session_optimised(const void *data, size_t size, bool large,
                                 const ox_session_options *options, ox_error *err);

/* Whether an explained model, in a file or in memory, takes much in a run, as it says itself; other
 * models do not say so. */
bool ox_runs_large(const char *path, const ox_model *model);

#endif
