/* The line that tells of an explained model that was written. */
#ifndef OX_CLI_WROTE_H
#define OX_CLI_WROTE_H

#include "cli.h"

/* What is asked for before the model is written, so that want of memory leaves nothing behind. */
typedef struct ox_wrote {
    void *folder; /* where the model will be; NULL: nothing is told */
} ox_wrote;

/* Prepares to tell of `path`; nothing is told of what is no file. False and err without memory. */
bool ox_wrote_begin(ox_wrote *wrote, const char *path, ox_error *err);

/* Prints file, size, references, cache and outputs where `good`, and ends it. */
void ox_wrote_end(ox_wrote *wrote, bool good, const ox_model *explained, const char *path);

#endif
