/* Samples of files that are read some rows at a time. */
#ifndef OX_CLI_SOURCE_H
#define OX_CLI_SOURCE_H

#include "load.h"

typedef struct ox_source ox_source;

/* Whether `specs` are such files: each a .npy, or one .csv. The size of all of them, 0 where they
 * are not, such as pictures, pipes, and .npz, which may be compressed. */
uint64_t ox_source_size(const ox_texts *specs);

/* Opens them. They are read as `loader` says, which has to stay. NULL and err on failure. */
ox_source *ox_source_open(const ox_loader *loader, const ox_texts *specs, ox_error *err);
void ox_source_free(ox_source *source);

/* The arrays that they are for: with the shapes of all rows, and the values of the first some. */
const ox_arrays *ox_source_heads(const ox_source *source);

/* Reads rows first to first + count of those that are `cut`, as ox_batch_cut says, and all of the
 * others. */
bool ox_source_read(ox_source *source, const bool *cut, size_t first, size_t count,
                    ox_arrays *arrays, ox_error *err);

#endif
