/* Explaining once more what an explained model explains: its options and references, and the model
 * that it was made of. */
#ifndef OX_CLI_REMAKE_H
#define OX_CLI_REMAKE_H

#include "groups.h"
#include "images.h"
#include "target.h"

/* What the command line adds to what the model says of itself. */
typedef struct ox_remake_from {
    const char *model;          /* file of the original; NULL: taken out of the explained model */
    const ox_texts *references; /* where the model has them not any more */
    const ox_texts *groups;     /* where they were maps of labels */
    const char *target;         /* where it was of an array */
    const ox_pixels *pixels;
    const ox_arrays *inputs; /* of the explained model: references may be among them */
    uint64_t limit;
} ox_remake_from;

typedef struct ox_remake {
    ox_model *original;
    ox_options options; /* that the explained model was made with, but for the method */
    const char *cannot; /* why there is nothing to explain once more; NULL: there is */

    ox_arrays references;
    ox_groups groups;
    ox_aim aim;
    ox_tensor *tensors;
    double *weights;
    char *texts[3]; /* of hold, groups and feature names, cut into lines */
    char **lines[3];
} ox_remake;

/* Free it in any case. */
bool ox_remake_read(const ox_model *explained, const ox_remake_from *from, ox_remake *made,
                    ox_error *err);
void ox_remake_free(ox_remake *made);

#endif
