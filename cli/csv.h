/* CSV with a header: tabular inputs and results. */
#ifndef OX_CLI_CSV_H
#define OX_CLI_CSV_H

#include "columns.h"

#include <stdio.h>

/* Fields of a file, row by row; row 0 is the header. They live in `text`. */
typedef struct ox_csv {
    char *text;
    char **fields;
    size_t columns;
    size_t rows;   /* without the header */
    size_t before; /* rows of the file before these, for messages */
} ox_csv;

/* Reads fields between commas, quoted ones included. A first line of only numbers is an error.
 * Takes over `bytes`, what the file holds and a NUL; NULL where it was not read yet. They may be
 * the header and some rows, `before` of the file's coming before these. */
bool ox_csv_read(const char *path, ox_bytes *bytes, size_t before, ox_csv *csv, ox_error *err);
void ox_csv_free(ox_csv *csv);

/* Column of that name, SIZE_MAX where there is none. */
size_t ox_csv_column(const ox_csv *csv, const char *name);

/* Column `name[i]`, SIZE_MAX where there is none. */
size_t ox_csv_column_at(const ox_csv *csv, const char *name, size_t i);

/* The number in a field of data row `row`; NaN where it is empty and may be `missing`. */
bool ox_csv_number(const ox_csv *csv, const char *path, size_t row, size_t column, bool missing,
                   double *number, ox_error *err);

/* The text in a field of data row `row`. */
const char *ox_csv_text(const ox_csv *csv, size_t row, size_t column);

/* Writes the header, and one line per sample. */
void ox_csv_write_header(FILE *file, const ox_columns *columns);
void ox_csv_write_rows(FILE *file, const ox_columns *columns);

#endif
