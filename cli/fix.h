/* --fix=NAME=VALUE: constants in place of inputs. */
#ifndef OX_CLI_FIX_H
#define OX_CLI_FIX_H

#include "array.h"
#include "options.h"

/* Reads "NAME=VALUE", VALUE a number, true or false, several with commas between, or a file that
 * ends in .npy, in the type and shape of the input NAME. */
bool ox_fix_load(const ox_model *model, const ox_texts *specs, ox_arrays *arrays, ox_error *err);

#endif
