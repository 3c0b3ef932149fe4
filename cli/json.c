/* Writing JSON: strings, and results as one object per sample. */
#include "json.h"

#include <math.h>

void ox_json_string(FILE *file, const char *text)
{
    putc('"', file);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            fprintf(file, "\\%c", c);
        } else if (c < ' ') {
            fprintf(file, "\\u%04x", c);
        } else {
            putc(c, file);
        }
    }
    putc('"', file);
}

void ox_json_write(FILE *file, const ox_columns *columns)
{
    fputs("[", file);
    char text[OX_NUMBER_MAX];
    for (size_t row = 0; row < columns->rows; row++) {
        fputs(row ? ",\n {" : "\n {", file);
        for (size_t i = 0; i < columns->count; i++) {
            const ox_column *column = &columns->items[i];
            bool finite = isfinite(ox_column_number(column, row));
            fputs(i ? ", " : "", file);
            ox_json_string(file, column->name);
            fprintf(file, ": %s", finite ? ox_column_text(column, row, text) : "null");
        }
        fputs("}", file);
    }
    fputs("\n]\n", file);
}
