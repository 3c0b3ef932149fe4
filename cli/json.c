/* Writing JSON: values of any kind, and results as one object per sample. */
#include "json.h"

#include <math.h>

/* Bytes of the character of UTF-8 that begins here, 0 where none does. */
static int utf8_length(const char *text)
{
    unsigned char lead = (unsigned char)text[0], next = (unsigned char)text[1];
    int length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    bool overlong = (lead == 0xe0 && next < 0xa0) || (lead == 0xf0 && next < 0x90);
    bool beyond = lead > 0xf4 || (lead == 0xf4 && next > 0x8f) || (lead == 0xed && next > 0x9f);
    if (overlong || beyond) {
        return 0;
    }
    for (int i = 1; i < length; i++) {
        if (((unsigned char)text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

/* Names come from files that may hold anything: what is no UTF-8 is replaced, as readers do, and no
 * tag begins where the text stands in a page. */
static void print_string(FILE *file, const char *text)
{
    putc('"', file);
    for (int length = 0; *text; text += length > 0 ? length : 1) {
        unsigned char c = (unsigned char)*text;
        length = utf8_length(text);
        if (c == '"' || c == '\\') {
            fprintf(file, "\\%c", c);
        } else if (c < ' ' || c == '<') {
            fprintf(file, "\\u%04x", c);
        } else if (length > 0) {
            fwrite(text, 1, (size_t)length, file);
        } else {
            fputs("\\ufffd", file);
        }
    }
    putc('"', file);
}

/* What stands before a value: the comma, and its key. */
static void lead(ox_json *json, const char *key)
{
    if (json->more) {
        fputs(", ", json->file);
    }
    if (key) {
        print_string(json->file, key);
        fputs(": ", json->file);
    }
    json->more = true;
}

void ox_json_begin(ox_json *json, const char *key, char bracket)
{
    if (bracket == '{' && !key && json->depth) {
        fputs(json->more ? ",\n " : "\n ", json->file);
        json->more = false;
    }
    lead(json, key);
    putc(bracket, json->file);
    json->more = false;
    json->depth++;
}

void ox_json_end(ox_json *json, char bracket)
{
    putc(bracket, json->file);
    json->more = true;
    json->depth--;
}

void ox_json_text(ox_json *json, const char *key, const char *text)
{
    lead(json, key);
    if (text) {
        print_string(json->file, text);
    } else {
        fputs("null", json->file);
    }
}

void ox_json_number(ox_json *json, const char *key, double value)
{
    lead(json, key);
    if (isfinite(value)) {
        fprintf(json->file, "%.9g", value);
    } else {
        fputs("null", json->file);
    }
}

void ox_json_integer(ox_json *json, const char *key, long long value)
{
    lead(json, key);
    fprintf(json->file, "%lld", value);
}

void ox_json_flag(ox_json *json, const char *key, bool value)
{
    lead(json, key);
    fputs(value ? "true" : "false", json->file);
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
            print_string(file, column->name);
            fprintf(file, ": %s", finite ? ox_column_text(column, row, text) : "null");
        }
        fputs("}", file);
    }
    fputs("\n]\n", file);
}
