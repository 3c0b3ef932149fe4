/* Measures of whether SHAP values can be trusted, and what they come to. */
#ifndef OX_CLI_TRUST_H
#define OX_CLI_TRUST_H

#include "batch.h"
#include "json.h"
#include "remake.h"
#include "values.h"

enum { OX_CURVE_MAX = 256, OX_REASONS_MAX = 8 };

/* How far outputs are from those of the original. */
typedef struct ox_prediction {
    char output[128];            /* the one that differs most */
    double difference, relative; /* to the output's largest value */
    bool taken_out;              /* the original was taken out of the explained model */
    double most;                 /* that rounding makes of it */
} ox_prediction;

/* How far values are from Shapley values, relative L2 for each sample and target. */
typedef struct ox_agreement {
    const char *method; /* they were found by; NULL: they were not */
    size_t count;
    double *each; /* of the first samples, as many as were compared, [samples, targets] */
    double median, worst;
    size_t worst_sample;
    double noise; /* what sampling leaves of it: the median of the errors */
} ox_agreement;

/* The explained output while values leave, largest first, or come in; 1 is f(x), 0 the base. */
typedef struct ox_curve {
    double area;
    double points[OX_CURVE_MAX + 1]; /* of all samples and targets, by how far they move */
    double *areas;                   /* [samples, targets]; NaN where f(x) is the base value */
} ox_curve;

typedef struct ox_trust {
    const char *method;
    size_t players, samples, targets;
    bool whole; /* samples depend on each other */
    ox_findings found;
    char worst[640];       /* what ox_session_check says */
    bool adds_up;          /* values are meant to */
    double *gaps;          /* f(x) - base value - sum; NaN where f(x) is not known */
    size_t summed, missed; /* samples of which f(x) is known by Shapley values alone, and those of
                            * them that miss it */
    double moved; /* the most that f(x) does where inputs change in their last bit; 0 where sums
                   * miss nothing */
    ox_prediction prediction;
    ox_agreement agreement;
    const char *cannot; /* why there is no agreement, and there are no curves */
    bool curved;
    int64_t steps;
    ox_curve deletion, insertion, drawn; /* `drawn`: deletion in drawn order */
    const char *failed[OX_REASONS_MAX], *doubts[OX_REASONS_MAX];
    size_t failed_count, doubt_count;
} ox_trust;

/* What runs models. */
typedef struct ox_trust_runner {
    const ox_session_options *session;
    const ox_batch *batch;
    const ox_arrays *inputs;
    int64_t seed, samples, steps;
    const ox_signature *explained;
} ox_trust_runner;

/* Runs a model on the inputs that it has, with one more of ours or NULL, in batches as the
 * explained model takes them. */
bool ox_trust_run(const ox_trust_runner *r, const ox_model *model, ox_array *more,
                  ox_signature *signature, ox_arrays *outputs, bool **stacked, ox_error *err);

/* The original's outputs beside those of the explained model. */
bool ox_trust_predict(ox_trust *t, const ox_trust_runner *r, const ox_remake *made,
                      const ox_arrays *outputs, ox_error *err);

/* Where sums miss something, how far rounding alone moves f(x). */
bool ox_trust_jitter(ox_trust *t, const ox_trust_runner *r, const ox_model *explained,
                     const ox_values *values, ox_error *err);

/* Explains by enumeration, or, with more than 16 values, by permutations, and compares. */
bool ox_trust_agree(ox_trust *t, const ox_trust_runner *r, const ox_remake *made,
                    const ox_values *values, ox_error *err);

/* Deletion and insertion curves. */
bool ox_trust_curve(ox_trust *t, const ox_trust_runner *r, const ox_remake *made,
                    const ox_values *values, ox_error *err);

/* Decides: what is wrong, and what is doubtful. `tolerance` < 0: none was given. */
void ox_trust_judge(ox_trust *t, double tolerance);

void ox_trust_print(const ox_trust *t);
void ox_trust_json(const ox_trust *t, FILE *file);
void ox_trust_free(ox_trust *t);

#endif
