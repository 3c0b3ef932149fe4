/* The way into a model, shared with ox_inspect. */
#ifndef OX_EXPLAIN_ATTEMPT_H
#define OX_EXPLAIN_ATTEMPT_H

#include "explain/state.h"

typedef void (*ox_explain_work)(ox_explain_state *s, void *user);

/* Copies the model, begins with the batch that it declares, or with one of 1 where that does not
 * stay free, and calls work; once more where that sets s->again. What s->blank says is kept. False,
 * s->model NULL and err on failure; else s->model is the caller's. */
bool ox_explain_attempt(ox_explain_state *s, const ox_model *source, const ox_options *options,
                        ox_explain_work work, void *user, ox_error *err);

#endif
