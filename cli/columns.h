/* Results as a table: a row per sample, a column per value. */
#ifndef OX_CLI_COLUMNS_H
#define OX_CLI_COLUMNS_H

#include "array.h"
#include "signature.h"

enum { OX_NUMBER_MAX = 32 };

typedef struct ox_column {
    char *name;
    const ox_array *array;
    size_t offset; /* of row 0 */
    size_t stride; /* from row to row */
} ox_column;

typedef struct ox_columns {
    ox_column *items;
    size_t count;
    size_t rows;
} ox_columns;

/* Columns `output`, `output[i]`, `output[i:j]`, and `x_shap:feature` where the model says what its
 * features are called. They borrow the outputs. Fails where an output has no sample axis. */
bool ox_columns_make(ox_columns *columns, const ox_arrays *outputs, const ox_signature *signature,
                     ox_error *err);
void ox_columns_free(ox_columns *columns);

double ox_column_number(const ox_column *column, size_t row);

/* The shortest decimal that reads back as the same value; returns text. */
char *ox_column_text(const ox_column *column, size_t row, char text[OX_NUMBER_MAX]);

/* The SHAP values of input i among the outputs; NULL where there are none. `targets` gets their K:
 * 0 where they have no target axis. */
const ox_array *ox_shap_of(const ox_arrays *outputs, const ox_signature *signature, size_t input,
                           size_t *targets);

#endif
