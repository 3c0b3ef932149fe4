/* --groups: values of a sample that are one player. */
#ifndef OX_CLI_GROUPS_H
#define OX_CLI_GROUPS_H

#include "array.h"
#include "options.h"

/* What the specs say: maps of labels, and texts for ox_options.groups. */
typedef struct ox_groups {
    ox_arrays maps;
    ox_tensor *tensors; /* of the maps */
    char *text;         /* of the file of groups, cut into lines */
    const char **groups;
    size_t group_count;
} ox_groups;

/* Reads "patch:HxW" and "tokens", which the library knows, [NAME=]FILE.npy, and one file with a
 * group a line. Free it in any case. */
bool ox_groups_load(const ox_texts *specs, ox_groups *groups, ox_error *err);
void ox_groups_free(ox_groups *groups);

#endif
