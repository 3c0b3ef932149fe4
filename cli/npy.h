/* NumPy's .npy format, versions 1 to 3. */
#ifndef OX_CLI_NPY_H
#define OX_CLI_NPY_H

#include "array.h"

#include <stdio.h>

/* Gives up to `size` bytes; 0 at the end, -1 on failure with err filled. */
typedef int64_t (*ox_npy_source)(void *user, void *into, size_t size, ox_error *err);

/* Reads one array that ends where the source ends; `file` is for messages. `available` is what the
 * source can give at most, UINT64_MAX where that is not known: a header that promises more is
 * refused before memory is asked for. */
bool ox_npy_read(ox_npy_source source, void *user, const char *file, uint64_t available,
                 ox_array *array, ox_error *err);

/* Reads a file; "-" is standard input. */
bool ox_npy_read_file(const char *path, ox_array *array, ox_error *err);

/* Reads what was in the file. */
bool ox_npy_read_bytes(const char *path, const ox_bytes *bytes, ox_array *array, ox_error *err);

/* A file of which some rows are read at a time; NULL and err where it is none. */
typedef struct ox_npy ox_npy;
ox_npy *ox_npy_open(const char *path, ox_error *err);
void ox_npy_close(ox_npy *npy);

/* Its rows along axis 0; 1 where it is a single number. */
size_t ox_npy_rows(const ox_npy *npy);
bool ox_npy_read_rows(ox_npy *npy, size_t first, size_t count, ox_array *array, ox_error *err);

enum { OX_NPY_HEADER_MAX = 1024 };

/* Writes what precedes the elements and returns its size, a multiple of 64; 0 where the type has
 * no .npy spelling. */
size_t ox_npy_header(const ox_array *array, char header[OX_NPY_HEADER_MAX]);

#endif
