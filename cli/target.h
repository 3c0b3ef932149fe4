/* --target: texts that the library knows, and arrays in files. */
#ifndef OX_CLI_TARGET_H
#define OX_CLI_TARGET_H

#include "array.h"

typedef struct ox_aim {
    ox_array array; /* of a mask or a vector */
    ox_tensor tensor;
} ox_aim;

/* "mask:FILE.npy", "cosine:FILE.npy", and "FILE.npy" for a mask are read, and options->target and
 * .target_array set to them; other texts stay. Free it in any case. */
bool ox_aim_load(ox_aim *aim, ox_options *options, ox_error *err);
void ox_aim_free(ox_aim *aim);

#endif
