/* The line that tells of an explained model that was written. */
#ifndef OX_CLI_WROTE_H
#define OX_CLI_WROTE_H

#include "cli.h"

/* Prints file, size, references, cache and outputs; nothing where the path is no file to find. */
void ox_wrote(const ox_model *explained, const char *path);

#endif
