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
    ox_note note; /* told of outputs left out, and of batches that had to be put together; NULL */
} ox_batch;

/* Runs the session on all samples and joins the outputs along axis 0. Inputs whose shape is the
 * model's own, such as a sampling rate, go into every batch as they are. Where the model has a
 * fixed batch, the last one is filled up by repeating its last sample, and cut off again. Outputs
 * without sample axis are kept once where all batches agree; where they do not, they are put one
 * behind the other along a new axis 0, for models of one sample, which `stacked` says of each (to
 * be released by free), else all samples run at once. Outputs that are no numbers are left out. */
bool ox_batch_run(ox_session *session, const ox_signature *signature, const ox_arrays *inputs,
                  const ox_batch *options, ox_arrays *outputs, bool **stacked, ox_error *err);

/* What of the inputs batches are cut of, by their shapes alone: `cut` says of each array whether it
 * has a sample axis, `rows` how many samples there are; 0: nothing can be cut. `fixed` is the batch
 * of the model, 0 where it is free. */
bool ox_batch_cut(const ox_signature *signature, const ox_arrays *inputs, bool *cut, size_t *rows,
                  size_t *fixed, ox_error *err);

#endif
