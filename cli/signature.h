/* What `run` needs to know of a model while the model itself is not kept in memory. */
#ifndef OX_CLI_SIGNATURE_H
#define OX_CLI_SIGNATURE_H

#include "cli.h"

typedef struct ox_signature {
    ox_value_info *inputs;
    size_t input_count;
    ox_value_info *outputs;
    size_t output_count;
    bool explained;   /* made by `explain`: the rest is set */
    bool whole;       /* samples depend on the others of their batch: all at once */
    bool alone;       /* they are rounded by a scale of their batch: one at a time */
    char *prefix;     /* before the names of our outputs, "" where there is none */
    char *output;     /* name of the explained output */
    int output_axis;  /* of the samples in it */
    char *axes;       /* the same in the inputs that have values, as the metadata list them */
    bool *attributed; /* which inputs have SHAP values among the outputs */
    char **features;  /* names of the features, over those inputs */
    size_t feature_count;
    size_t references;  /* each with values of its own behind the targets; 0: means are there */
    char *feature_text; /* where they live */
    char **groups;      /* names of groups, over the inputs that have values */
    size_t group_count;
    char *group_text;
} ox_signature;

bool ox_signature_read(ox_signature *signature, const ox_model *model, ox_error *err);
void ox_signature_free(ox_signature *signature);

/* The next number of ox_signature.axes; 0 behind the last. */
long ox_axis_next(const char **axes);

/* Cuts lines in place; the result, to be released by free, points into `text`. */
char **ox_lines(char *text, size_t *count, ox_error *err);

#endif
