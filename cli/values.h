/* SHAP values of a run in one order: by sample, target and value. */
#ifndef OX_CLI_VALUES_H
#define OX_CLI_VALUES_H

#include "columns.h"

typedef struct ox_values {
    size_t samples, targets, players; /* a sample's values over all explained inputs, or groups */
    size_t references;                /* of which each output holds values; 1: their mean */
    double *phi;                      /* [samples, targets, players] */
    double *error;                    /* standard errors of the same, or NULL */
    double *base;                     /* [samples, targets] */
    double *value;                    /* the same of f(x), NaN where it is not among the outputs */
} ox_values;

/* Reads them from the outputs of an explained model on `samples` samples; `axes` is its metadata
 * property input_axes. Of values for each reference the mean is read. `stacked` as ox_batch_run
 * gives it. Free it in any case. */
bool ox_values_read(ox_values *values, const ox_signature *signature, const char *axes,
                    const ox_arrays *outputs, const bool *stacked, size_t samples, ox_error *err);
void ox_values_free(ox_values *values);

#endif
