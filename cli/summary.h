/* The closing table of `run`: how well the SHAP values add up. */
#ifndef OX_CLI_SUMMARY_H
#define OX_CLI_SUMMARY_H

#include "array.h"
#include "json.h"
#include "signature.h"

/* The largest relative gap so far, and whose it is. */
typedef struct ox_worst {
    size_t known; /* of so many */
    double gap;
    double rounding; /* the part of it that 16 bits of f(x) and base value explain */
    size_t sample;
} ox_worst;

/* Takes in the outputs of samples from number `first` on. */
void ox_summary_take(ox_worst *worst, const ox_signature *signature, const ox_arrays *outputs,
                     size_t first);
void ox_summary_print_worst(const ox_worst *worst);

/* Prints sample, target, f(x), base value, sum of SHAP values and gap for the first samples of an
 * explained model, and the largest relative gap over all. Prints nothing where the outputs are
 * not those of an explained model. */
void ox_summary_print(const ox_signature *signature, const ox_arrays *outputs);

/* The same as members "samples", of all of them, and "largest_relative_gap", null where nothing is
 * known of it. */
void ox_summary_json(ox_json *json, const ox_signature *signature, const ox_arrays *outputs);

#endif
