/* NumPy's .npz: a zip archive with one .npy per array. */
#ifndef OX_CLI_NPZ_H
#define OX_CLI_NPZ_H

#include "array.h"

/* Reads all arrays of a file, named as in the archive without ".npy". `bytes` is what it holds,
 * NULL where it was not read yet. */
bool ox_npz_read(const char *path, const ox_bytes *bytes, ox_arrays *arrays, ox_error *err);

/* Writes the arrays under their names, whole or not at all. `compress` deflates them. */
bool ox_npz_write(const char *path, const ox_arrays *arrays, bool compress, ox_error *err);

#endif
