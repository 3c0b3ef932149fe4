/* Samples of files that are read some rows at a time: of a .npy they are found by their number, the
 * rows of a .csv are counted once, and passed over. */
#include "source.h"

#include "npy.h"
#include "os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows by which the scale of the values is looked at. */
enum { HEAD = 256 };

typedef struct text {
    char *data;
    size_t size, room;
} text;

typedef struct table {
    FILE *file;
    const char *path;
    text header;   /* up to the end of its line */
    size_t fields; /* of the header */
    size_t row;    /* that comes next */
} table;

struct ox_source {
    const ox_loader *loader;
    const ox_texts *specs;
    ox_npy **arrays; /* one a spec; NULL of a table */
    table table;
    ox_arrays heads;
};

/* ---- .csv ------------------------------------------------------------------------------ */

static bool put(text *to, int c, ox_error *err)
{
    if (to->size == to->room) {
        size_t room = to->room ? to->room * 2 : 1 << 16;
        char *data = ox_cli_resize(to->data, room, 1, err);
        if (!data) {
            return false;
        }
        to->data = data;
        to->room = room;
    }
    to->data[to->size++] = (char)c;
    return true;
}

/* Passes one record, quoted line ends included, and puts it at the end of `to` (NULL: nowhere).
 * `fields` gets how many it has, 0 where the line is blank. False at the end, and with err on
 * failure: its code is else 0. */
static bool pass_record(FILE *file, text *to, size_t *fields, ox_error *err)
{
    int c = ox_os_getc(file);
    bool begins = true, quoted = false, good = true;
    *fields = c == '\n' || c == '\r' ? 0 : 1;
    if (c == EOF) {
        return false;
    }
    for (; good && c != EOF; c = ox_os_getc(file)) {
        if (quoted && c == '"') {
            int next = ox_os_getc(file);
            quoted = next == '"';
            if (!quoted && next != EOF) {
                ungetc(next, file);
            }
            good = !to || (put(to, c, err) && (!quoted || put(to, c, err)));
            continue;
        }
        if (!quoted && (c == '\n' || c == '\r')) {
            int next = c == '\r' ? ox_os_getc(file) : '\n';
            if (next != '\n' && next != EOF) {
                ungetc(next, file);
            }
            break;
        }
        *fields += !quoted && c == ',';
        quoted = quoted || (begins && c == '"');
        begins = c == ',';
        good = (c || ox_cli_error(err, OX_INVALID, "not text")) && (!to || put(to, c, err));
    }
    return good && (!to || put(to, '\n', err));
}

/* One row, in which a blank line is none but of a table of one column, as when all are read. */
static bool pass_row(table *t, text *to, ox_error *err)
{
    size_t fields, size = to ? to->size : 0;
    while (pass_record(t->file, to, &fields, err)) {
        if (fields || t->fields == 1) {
            t->row++;
            return true;
        }
        if (to) {
            to->size = size;
        }
    }
    return false;
}

static bool failed(const table *t, ox_error *err)
{
    if (ferror(t->file)) {
        ox_cli_system_error(err, t->path, "read");
    } else if (err->code == OX_INVALID) {
        ox_cli_error(err, OX_INVALID, "%s: not text", t->path);
    }
    return err->code != OX_OK;
}

static bool rewind_table(table *t, ox_error *err)
{
    t->row = 0;
    t->header.size = 0;
    t->fields = 0;
    err->code = OX_OK;
    if (fseek(t->file, 0, SEEK_SET) != 0) {
        return ox_cli_system_error(err, t->path, "read");
    }
    while (!t->fields && pass_record(t->file, &t->header, &t->fields, err)) {
        t->header.size = t->fields ? t->header.size : 0;
    }
    return !failed(t, err) && (t->fields || ox_cli_error(err, OX_INVALID, "%s: empty", t->path));
}

/* Header and rows as the text of a file of their own. */
static bool read_table(table *t, size_t first, size_t count, ox_bytes *bytes, ox_error *err)
{
    if (first < t->row && !rewind_table(t, err)) {
        return false;
    }
    err->code = OX_OK;
    while (t->row < first && pass_row(t, NULL, err)) {
    }
    text rows = {NULL, 0, 0};
    bool good = t->row == first;
    for (size_t i = 0; good && i < t->header.size; i++) {
        good = put(&rows, t->header.data[i], err);
    }
    while (good && t->row < first + count && pass_row(t, &rows, err)) {
    }
    good = good && !failed(t, err) && put(&rows, 0, err);
    if (!good && err->code == OX_OK) {
        ox_cli_error(err, OX_INVALID, "%s: fewer rows than before", t->path);
    }
    if (!good) {
        free(rows.data);
        return false;
    }
    *bytes = (ox_bytes){rows.data, rows.size - 1};
    return true;
}

static bool open_table(ox_source *s, const char *path, size_t *rows, ox_error *err)
{
    table *t = &s->table;
    t->path = path;
    t->file = fopen(path, "rb");
    if (!t->file) {
        return ox_cli_system_error(err, path, "read");
    }
    setvbuf(t->file, NULL, _IOFBF, 1 << 18);
    if (!rewind_table(t, err)) {
        return false;
    }
    while (pass_row(t, NULL, err)) {
    }
    *rows = t->row;
    return !failed(t, err);
}

/* ---- sources --------------------------------------------------------------------------- */

static bool is_table(const char *path)
{
    return ox_cli_has_suffix(path, ".csv");
}

uint64_t ox_source_size(const ox_texts *specs)
{
    uint64_t size = 0;
    for (size_t i = 0; i < specs->count; i++) {
        const char *path = ox_spec_of(specs->items[i]).path;
        ox_os_info info;
        bool known = is_table(path) ? specs->count == 1 && path == specs->items[0]
                                    : ox_cli_has_suffix(path, ".npy");
        if (!known || !ox_os_stat(path, &info) || info.kind != OX_OS_FILE) {
            return 0;
        }
        size += info.size;
    }
    return size;
}

/* The array of spec i. */
static bool read_array(ox_source *s, size_t i, size_t first, size_t count, ox_arrays *arrays,
                       ox_error *err)
{
    ox_spec spec = ox_spec_of(s->specs->items[i]);
    ox_array array;
    char *name = spec.name ? ox_cli_format(err, "%.*s", (int)spec.name, spec.text) : NULL;
    bool good = (name || !spec.name) && ox_npy_read_rows(s->arrays[i], first, count, &array, err) &&
                ox_load_array(s->loader, &array, name, arrays, err);
    free(name);
    return good;
}

static bool read_heads(ox_source *s, size_t table_rows, ox_error *err)
{
    bool good = true;
    for (size_t i = 0; good && i < s->specs->count; i++) {
        size_t rows = s->table.file ? table_rows : ox_npy_rows(s->arrays[i]);
        size_t count = rows < HEAD ? rows : HEAD, before = s->heads.count;
        if (s->table.file) {
            ox_bytes bytes;
            good = read_table(&s->table, 0, count, &bytes, err) &&
                   ox_load_csv(s->loader, s->table.path, &bytes, 0, &s->heads, err);
        } else {
            good = read_array(s, i, 0, count, &s->heads, err);
        }
        for (size_t k = before; good && k < s->heads.count; k++) {
            s->heads.items[k].dims[0] = s->heads.items[k].rank ? (int64_t)rows : 0;
        }
    }
    return good;
}

ox_source *ox_source_open(const ox_loader *loader, const ox_texts *specs, ox_error *err)
{
    ox_source *s = ox_cli_alloc(1, sizeof *s, err);
    if (!s) {
        return NULL;
    }
    s->loader = loader;
    s->specs = specs;
    s->arrays = ox_cli_alloc(specs->count, sizeof *s->arrays, err);
    size_t rows = 0;
    bool good = s->arrays != NULL;
    if (good && is_table(specs->items[0])) {
        good = open_table(s, specs->items[0], &rows, err);
    }
    for (size_t i = 0; good && !s->table.file && i < specs->count; i++) {
        s->arrays[i] = ox_npy_open(ox_spec_of(specs->items[i]).path, err);
        good = s->arrays[i] != NULL;
    }
    if (good && read_heads(s, rows, err)) {
        return s;
    }
    ox_source_free(s);
    return NULL;
}

void ox_source_free(ox_source *s)
{
    if (!s) {
        return;
    }
    for (size_t i = 0; s->arrays && i < s->specs->count; i++) {
        ox_npy_close(s->arrays[i]);
    }
    if (s->table.file) {
        fclose(s->table.file);
    }
    free(s->arrays);
    free(s->table.header.data);
    ox_arrays_free(&s->heads);
    free(s);
}

const ox_arrays *ox_source_heads(const ox_source *s)
{
    return &s->heads;
}

bool ox_source_read(ox_source *s, const bool *cut, size_t first, size_t count, ox_arrays *arrays,
                    ox_error *err)
{
    *arrays = (ox_arrays){NULL, 0};
    bool good = true;
    if (s->table.file) {
        ox_bytes bytes;
        good = read_table(&s->table, first, count, &bytes, err) &&
               ox_load_csv(s->loader, s->table.path, &bytes, first, arrays, err);
    }
    for (size_t i = 0; good && !s->table.file && i < s->specs->count; i++) {
        good = read_array(s, i, cut[i] ? first : 0, cut[i] ? count : ox_npy_rows(s->arrays[i]),
                          arrays, err);
    }
    if (!good) {
        ox_arrays_free(arrays);
    }
    return good;
}
