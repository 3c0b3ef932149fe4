/* Running a model on many samples, some at a time. */
#ifndef OX_CLI_BATCH_H
#define OX_CLI_BATCH_H

#include "array.h"
#include "signature.h"

typedef struct ox_batch {
    int64_t size;    /* samples at a time; 0: decided from memory */
    bool all;        /* everything at once */
    uint64_t memory; /* bytes that a run may take; 0: decided from what is free */
    bool progress;   /* draw the bar even without a terminal */
    bool no_progress;
} ox_batch;

/* Runs the session on all samples and joins the outputs along axis 0. Inputs whose shape is the
 * model's own, such as a sampling rate, go into every batch as they are. Where the model has a
 * fixed batch, the last one is filled up by repeating its last sample, and cut off again. */
bool ox_batch_run(ox_session *session, const ox_signature *signature, const ox_arrays *inputs,
                  const ox_batch *options, ox_arrays *outputs, ox_error *err);

#endif
