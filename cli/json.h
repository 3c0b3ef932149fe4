/* Writing JSON. */
#ifndef OX_CLI_JSON_H
#define OX_CLI_JSON_H

#include "columns.h"

#include <stdio.h>

/* A writer that knows where commas go. Values in objects have a key, those in arrays NULL. */
typedef struct ox_json {
    FILE *file;
    bool more; /* something stands before the next value */
    int depth; /* brackets that are open */
} ox_json;

/* Opens an object '{' or an array '['. Objects in arrays begin a line. */
void ox_json_begin(ox_json *json, const char *key, char bracket);

/* Closes it: '}' or ']'. */
void ox_json_end(ox_json *json, char bracket);

/* A string; NULL is null. */
void ox_json_text(ox_json *json, const char *key, const char *text);

/* NaN and infinity become null. */
void ox_json_number(ox_json *json, const char *key, double value);
void ox_json_integer(ox_json *json, const char *key, long long value);
void ox_json_flag(ox_json *json, const char *key, bool value);

/* Writes an array with one object per sample, keyed by column. NaN and infinity become null. */
void ox_json_write(FILE *file, const ox_columns *columns);

#endif
