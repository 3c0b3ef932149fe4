/* Writing JSON. */
#ifndef OX_CLI_JSON_H
#define OX_CLI_JSON_H

#include "columns.h"

#include <stdio.h>

/* Writes a string with its quotes. */
void ox_json_string(FILE *file, const char *text);

/* Writes an array with one object per sample, keyed by column. NaN and infinity become null. */
void ox_json_write(FILE *file, const ox_columns *columns);

#endif
