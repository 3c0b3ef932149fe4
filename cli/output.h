/* Output files that appear whole or not at all. */
#ifndef OX_CLI_OUTPUT_H
#define OX_CLI_OUTPUT_H

#include "cli.h"

#include <stdio.h>

typedef struct ox_output {
    FILE *file;
    char *path;   /* the destination, links followed; for messages and rename */
    char *beside; /* the temporary next to it; NULL where the destination is written directly:
                     standard output, devices, pipes */
} ox_output;

/* Whether `path` is standard output, a device or a pipe: something that cannot be renamed to. */
bool ox_output_is_direct(const char *path);

/* Opens a file to write; "-" is standard output. */
bool ox_output_begin(ox_output *out, const char *path, ox_error *err);

/* Closes the file and puts it in its place, or, if not `good` or on failure, removes it. Returns
 * false and fills err where writing failed; returns false and leaves err where not `good`. */
bool ox_output_end(ox_output *out, bool good, ox_error *err);

#endif
