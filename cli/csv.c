/* CSV: fields are cut in place, numbers are read only where they are asked for. */
#include "csv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Ends the field at *c and returns its start; *c moves past its separator, which is stored. */
static char *cut_field(char **c, char *separator)
{
    char *start = *c, *to = *c, *from = *c;
    if (*from == '"') {
        from++;
        while (*from && (*from != '"' || from[1] == '"')) {
            from += *from == '"';
            *to++ = *from++;
        }
        from += *from == '"';
    }
    while (*from && *from != ',' && *from != '\n' && *from != '\r') {
        *to++ = *from++;
    }
    *separator = *from;
    if (*from == '\r' && from[1] == '\n') {
        *separator = *++from;
    }
    *c = *from ? from + 1 : from;
    *to = 0;
    return start;
}

static bool add_field(ox_csv *csv, char *field, size_t *count, size_t *capacity, ox_error *err)
{
    if (*count == *capacity) {
        size_t more = *capacity ? *capacity * 2 : 256;
        char **fields = ox_cli_resize(csv->fields, more, sizeof *fields, err);
        if (!fields) {
            return false;
        }
        csv->fields = fields;
        *capacity = more;
    }
    csv->fields[(*count)++] = field;
    return true;
}

static bool cut_rows(ox_csv *csv, const char *path, ox_error *err)
{
    char *c = csv->text, separator;
    if (!strncmp(c, "\xef\xbb\xbf", 3)) { /* byte order mark, as spreadsheets write it */
        c += 3;
    }
    size_t count = 0, capacity = 0, line = 0;
    while (*c) {
        size_t before = count;
        bool blank = *c == '\n' || *c == '\r';
        do {
            if (!add_field(csv, cut_field(&c, &separator), &count, &capacity, err)) {
                return false;
            }
        } while (separator == ',');
        line++;
        if (blank && (!csv->columns || csv->columns > 1)) {
            count = before;
            continue;
        }
        if (!csv->columns) {
            csv->columns = count;
        } else if (count - before != csv->columns) {
            return ox_cli_error(err, OX_INVALID, "%s: line %zu has %zu fields, the header %zu",
                                path, line + csv->before, count - before, csv->columns);
        }
    }
    if (!csv->columns) {
        return ox_cli_error(err, OX_INVALID, "%s: empty", path);
    }
    csv->rows = count / csv->columns - 1;
    return true;
}

static bool parse_number(const char *field, double *number)
{
    char *end;
    *number = strtod(field, &end);
    bool good = end != field;
    while (*end == ' ' || *end == '\t') {
        end++;
    }
    return good && !*end;
}

/* Without a header the first sample would be taken for one. */
static bool has_header(const ox_csv *csv)
{
    double ignored;
    for (size_t i = 0; i < csv->columns; i++) {
        if (*csv->fields[i] && !parse_number(csv->fields[i], &ignored)) {
            return true;
        }
    }
    return false;
}

bool ox_csv_read(const char *path, ox_bytes *bytes, size_t before, ox_csv *csv, ox_error *err)
{
    size_t size = bytes ? bytes->size : 0;
    *csv = (ox_csv){.before = before};
    csv->text = bytes ? bytes->data : ox_cli_read_file(path, &size, err);
    if (bytes) {
        *bytes = (ox_bytes){NULL, 0};
    }
    if (!csv->text) {
        return false;
    }
    bool good = strlen(csv->text) == size || ox_cli_error(err, OX_INVALID, "%s: not text", path);
    good = good && cut_rows(csv, path, err);
    if (good && !has_header(csv)) {
        good = ox_cli_error(err, OX_INVALID,
                            "%s: the first line holds only numbers, a header with the names of "
                            "the columns is needed",
                            path);
    }
    if (good) {
        return true;
    }
    ox_csv_free(csv);
    return false;
}

void ox_csv_free(ox_csv *csv)
{
    free(csv->text);
    free(csv->fields);
    *csv = (ox_csv){.text = NULL};
}

static size_t find_column(const ox_csv *csv, const char *name, const char *index)
{
    for (size_t i = 0; i < csv->columns; i++) {
        if (ox_cli_is_joined(csv->fields[i], name, index, "")) {
            return i;
        }
    }
    return SIZE_MAX;
}

size_t ox_csv_column(const ox_csv *csv, const char *name)
{
    return find_column(csv, name, "");
}

size_t ox_csv_column_at(const ox_csv *csv, const char *name, size_t i)
{
    char index[32];
    snprintf(index, sizeof index, "[%zu]", i);
    return find_column(csv, name, index);
}

const char *ox_csv_text(const ox_csv *csv, size_t row, size_t column)
{
    return csv->fields[(row + 1) * csv->columns + column];
}

bool ox_csv_number(const ox_csv *csv, const char *path, size_t row, size_t column, bool missing,
                   double *number, ox_error *err)
{
    const char *field = ox_csv_text(csv, row, column);
    if (missing && !*field) {
        *number = NAN;
        return true;
    }
    if (!parse_number(field, number)) {
        return ox_cli_error(err, OX_INVALID, "%s: row %zu, column \"%s\": \"%.40s\" is no number",
                            path, csv->before + row + 1, csv->fields[column], field);
    }
    return true;
}

static void write_name(FILE *file, const char *name)
{
    if (!strpbrk(name, ",\"\r\n")) {
        fputs(name, file);
        return;
    }
    putc('"', file);
    for (; *name; name++) {
        if (*name == '"') {
            putc('"', file);
        }
        putc(*name, file);
    }
    putc('"', file);
}

void ox_csv_write_header(FILE *file, const ox_columns *columns)
{
    for (size_t i = 0; i < columns->count; i++) {
        if (i) {
            putc(',', file);
        }
        write_name(file, columns->items[i].name);
    }
    putc('\n', file);
}

void ox_csv_write_rows(FILE *file, const ox_columns *columns)
{
    char text[OX_NUMBER_MAX];
    for (size_t row = 0; row < columns->rows; row++) {
        for (size_t i = 0; i < columns->count; i++) {
            fprintf(file, "%s%s", i ? "," : "", ox_column_text(&columns->items[i], row, text));
        }
        putc('\n', file);
    }
}
