/* Results that grow. What was written is synced before the file that says so takes its place: a run
 * that is killed at any time goes on behind the last rows that it has noted. */
#include "part.h"

#include "csv.h"
#include "npy.h"
#include "os.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATE ".onnxexplainer-run"

struct ox_part {
    const char *path;
    char *folder; /* PATH.part */
    char *state, *next;
    const char *of;
    ox_os_folder *lock;
    bool table;
    size_t rows;     /* in all */
    FILE **files;    /* the table, or one an output */
    char **names;    /* of these files */
    uint64_t *sizes; /* of what is complete in them */
    size_t count;    /* 0 until the first rows come */
};

static bool is_folder(const char *path)
{
    return ox_cli_has_suffix(path, "/") && strcmp(path, "/") != 0;
}

bool ox_part_can(const char *path)
{
    return is_folder(path) || ox_cli_has_suffix(path, ".csv");
}

/* ---- what is complete ------------------------------------------------------------------ */

static bool sync_file(FILE *file, const char *path, ox_error *err)
{
    return (!fflush(file) && ox_os_sync(fileno(file))) || ox_cli_system_error(err, path, "write");
}

static bool note_state(ox_part *p, const ox_reached *r, ox_error *err)
{
    FILE *file = fopen(p->next, "wb");
    if (!file) {
        return ox_cli_system_error(err, p->next, "write");
    }
    fprintf(file, "of %s\nrows %zu %zu\nfound %zu %zu %zu %zu\nworst %zu %a %zu\n", p->of, r->rows,
            p->rows, r->found.samples, r->found.not_finite, r->found.incomplete, r->found.unknown,
            r->worst.known, r->worst.gap, r->worst.sample);
    for (size_t i = 0; i < p->count; i++) {
        fprintf(file, "file %" PRIu64 " %s\n", p->sizes[i], p->names[i]);
    }
    fprintf(file, "end\n");
    bool good = sync_file(file, p->next, err);
    good = (!fclose(file) || ox_cli_system_error(err, p->next, "write")) && good;
    return good && (ox_os_rename(p->next, p->state) || ox_cli_system_error(err, p->state, "write"));
}

static bool refuse_state(const ox_part *p, const char *why, ox_error *err)
{
    return ox_cli_error(err, OX_ARGUMENT, "%s: %s: remove that folder to start anew", p->folder,
                        why);
}

static bool add_name(ox_part *p, const char *name, uint64_t size, ox_error *err)
{
    char **names = ox_cli_resize(p->names, p->count + 1, sizeof *names, err);
    p->names = names ? names : p->names;
    uint64_t *sizes = names ? ox_cli_resize(p->sizes, p->count + 1, sizeof *sizes, err) : NULL;
    p->sizes = sizes ? sizes : p->sizes;
    FILE **files = sizes ? ox_cli_resize(p->files, p->count + 1, sizeof *files, err) : NULL;
    p->files = files ? files : p->files;
    char *copy = files ? ox_cli_copy(name, err) : NULL;
    if (!copy) {
        return false;
    }
    p->files[p->count] = NULL;
    p->sizes[p->count] = size;
    p->names[p->count++] = copy;
    return true;
}

/* Lines of a state, as note_state writes them. */
static bool read_lines(ox_part *p, char *text, ox_reached *r, ox_error *err)
{
    size_t rows = 0, count = 0;
    char **lines = ox_lines(text, &count, err);
    bool good = lines && count > 4 && !strncmp(lines[0], "of ", 3);
    if (good && strcmp(lines[0] + 3, p->of) != 0) {
        free(lines);
        return refuse_state(p, "is of a run with another model, samples or options", err);
    }
    good = good && sscanf(lines[1], "rows %zu %zu", &r->rows, &rows) == 2 && rows == p->rows &&
           sscanf(lines[2], "found %zu %zu %zu %zu", &r->found.samples, &r->found.not_finite,
                  &r->found.incomplete, &r->found.unknown) == 4 &&
           sscanf(lines[3], "worst %zu %la %zu", &r->worst.known, &r->worst.gap,
                  &r->worst.sample) == 3 &&
           r->rows <= rows;
    size_t i = 4;
    for (; good && i < count && strcmp(lines[i], "end") != 0; i++) {
        uint64_t size;
        int used = 0;
        good = sscanf(lines[i], "file %" SCNu64 " %n", &size, &used) == 1 && used > 0 &&
               !strchr(lines[i] + used, '/') && add_name(p, lines[i] + used, size, err);
    }
    good = good && i < count;
    free(lines);
    return good || refuse_state(p, "does not say how far it came", err);
}

static char *path_of(const ox_part *p, const char *name, ox_error *err)
{
    return ox_cli_format(err, "%s/%s", p->folder, name);
}

/* Opens a file to go on with, behind what is complete. */
static bool reopen(ox_part *p, size_t i, ox_error *err)
{
    char *path = path_of(p, p->names[i], err);
    ox_os_info info;
    FILE *file = path ? fopen(path, "r+b") : NULL;
    bool good = path && (file || ox_cli_system_error(err, path, "write"));
    if (good && (!ox_os_stat_of(fileno(file), &info) || info.size < p->sizes[i])) {
        good = refuse_state(p, "has lost what was written", err);
    }
    good = good && ((ox_os_truncate(fileno(file), p->sizes[i]) && !fseeko(file, 0, SEEK_END)) ||
                    ox_cli_system_error(err, path, "write"));
    p->files[i] = file;
    free(path);
    return good;
}

static bool exists(const char *path)
{
    ox_os_info info;
    return ox_os_entry(path, &info);
}

/* Whether the run before ended between putting the table in its place and removing the folder. */
static bool is_placed(const ox_part *p, const ox_reached *r)
{
    char *path = p->table && p->count && r->rows == p->rows ? path_of(p, p->names[0], NULL) : NULL;
    bool placed = path && !exists(path) && exists(p->path);
    free(path);
    return placed && !remove(p->state) && ox_os_remove_folder(p->folder);
}

static bool go_on(ox_part *p, ox_reached *r, ox_error *err)
{
    size_t size;
    char *text = ox_cli_read_file(p->state, &size, err);
    bool good = text && (strlen(text) == size || refuse_state(p, "is broken", err)) &&
                read_lines(p, text, r, err);
    free(text);
    if (good && is_placed(p, r)) {
        err->code = OX_OK;
        return false;
    }
    for (size_t i = 0; good && i < p->count; i++) {
        good = reopen(p, i, err);
    }
    return good;
}

/* ---- the folder ------------------------------------------------------------------------ */

static void close_files(ox_part *p)
{
    for (size_t i = 0; i < p->count; i++) {
        if (p->files[i]) {
            fclose(p->files[i]);
        }
        free(p->names[i]);
    }
    p->count = 0;
}

static void free_part(ox_part *p)
{
    close_files(p);
    ox_os_folder_close(p->lock);
    free(p->files);
    free(p->names);
    free(p->sizes);
    free(p->folder);
    free(p->state);
    free(p->next);
    free(p);
}

static bool make_names(ox_part *p, ox_error *err)
{
    int length = (int)strlen(p->path) - !p->table;
    p->folder = ox_cli_format(err, "%.*s.part", length, p->path);
    p->state = p->folder ? path_of(p, STATE, err) : NULL;
    p->next = p->state ? path_of(p, STATE ".next", err) : NULL;
    return p->next != NULL;
}

/* A folder that no other run writes to. */
static bool lock_folder(ox_part *p, ox_error *err)
{
    if (!ox_os_make_folder(p->folder) && errno != EEXIST) {
        return ox_cli_system_error(err, p->folder, "write");
    }
    p->lock = ox_os_folder_open(p->folder);
    if (!p->lock) {
        return ox_cli_system_error(err, p->folder, "write");
    }
    return ox_os_folder_lock_unused(p->lock) ||
           ox_cli_error(err, OX_ARGUMENT, "%s: another run is writing to it", p->folder);
}

/* What may be in the way. False and OX_OK where the result is there. */
static bool check_place(ox_part *p, bool resume, ox_error *err)
{
    bool begun = exists(p->state);
    if (begun && !resume) {
        return ox_cli_error(err, OX_ARGUMENT,
                            "%s: a run for this output has not ended: go on with --resume, or "
                            "remove that folder",
                            p->folder);
    }
    if (begun || !exists(p->path)) {
        return true;
    }
    if (resume) {
        err->code = OX_OK;
        return false;
    }
    return p->table ||
           ox_cli_error(err, OX_ARGUMENT, "%s: is there already: remove it first", p->path);
}

ox_part *ox_part_begin(const char *path, bool resume, const char *of, size_t rows,
                       ox_reached *reached, ox_error *err)
{
    ox_part *p = ox_cli_alloc(1, sizeof *p, err);
    if (!p) {
        return NULL;
    }
    *p = (ox_part){.path = path, .of = of, .rows = rows, .table = !is_folder(path)};
    *reached = (ox_reached){.rows = 0};
    if (make_names(p, err) && check_place(p, resume, err) && lock_folder(p, err) &&
        (exists(p->state) ? go_on(p, reached, err) : note_state(p, reached, err))) {
        return p;
    }
    free_part(p);
    return NULL;
}

/* ---- rows ------------------------------------------------------------------------------ */

/* Names of outputs may be paths. */
static char *file_name(const char *output, ox_error *err)
{
    char *name = ox_cli_alloc(3 * strlen(output) + 5, 1, err);
    char *to = name;
    for (; name && *output; output++) {
        if (*output == '/' || *output == '%' || (unsigned char)*output < ' ') {
            to += sprintf(to, "%%%02X", (unsigned char)*output);
        } else {
            *to++ = *output;
        }
    }
    if (name) {
        strcpy(to, ".npy");
    }
    return name;
}

static bool create(ox_part *p, const char *name, ox_error *err)
{
    char *path = name ? path_of(p, name, err) : NULL;
    bool good = path && add_name(p, name, 0, err);
    if (good) {
        p->files[p->count - 1] = fopen(path, "wb");
        good = p->files[p->count - 1] || ox_cli_system_error(err, path, "write");
    }
    free(path);
    return good;
}

static bool write_header(ox_part *p, size_t i, const ox_array *array, ox_error *err)
{
    char header[OX_NPY_HEADER_MAX];
    ox_array whole = *array;
    whole.dims[0] = (int64_t)p->rows;
    size_t size = ox_npy_header(&whole, header);
    return (size || ox_cli_error(err, OX_UNSUPPORTED, "\"%s\": %s has no .npy spelling",
                                 array->name, ox_type_name(array->type))) &&
           (fwrite(header, 1, size, p->files[i]) == size ||
            ox_cli_system_error(err, p->names[i], "write"));
}

static bool add_arrays(ox_part *p, const ox_arrays *outputs, ox_error *err)
{
    bool first = !p->count, good = true;
    for (size_t i = 0; good && first && i < outputs->count; i++) {
        char *name = file_name(outputs->items[i].name, err);
        good = create(p, name, err) && write_header(p, i, &outputs->items[i], err);
        free(name);
    }
    for (size_t i = 0; good && i < outputs->count; i++) {
        const ox_array *array = &outputs->items[i];
        size_t elements = ox_array_elements(array, 0);
        good = fwrite(array->data, ox_type_size(array->type), elements, p->files[i]) == elements ||
               ox_cli_system_error(err, p->names[i], "write");
    }
    return good;
}

static bool add_table(ox_part *p, const ox_arrays *outputs, const ox_signature *signature,
                      ox_error *err)
{
    ox_columns columns;
    bool first = !p->count;
    if (!ox_columns_make(&columns, outputs, signature, err)) {
        return false;
    }
    bool good = !first || create(p, "table.csv", err);
    if (good && first) {
        ox_csv_write_header(p->files[0], &columns);
    }
    if (good) {
        ox_csv_write_rows(p->files[0], &columns);
    }
    ox_columns_free(&columns);
    return good;
}

bool ox_part_add(ox_part *p, ox_arrays *outputs, const ox_signature *signature,
                 const ox_reached *reached, ox_error *err)
{
    bool good = p->table ? add_table(p, outputs, signature, err)
                         : ox_arrays_widen(outputs, err) && add_arrays(p, outputs, err);
    for (size_t i = 0; good && i < p->count; i++) {
        good = sync_file(p->files[i], p->names[i], err);
        off_t end = good ? ftello(p->files[i]) : 0;
        p->sizes[i] = (uint64_t)end;
    }
    return good && note_state(p, reached, err);
}

/* After each of these steps --resume finds the result, or what to go on with. */
static bool put_in_place(ox_part *p, ox_error *err)
{
    char *from = p->table ? path_of(p, p->names[0], err) : NULL;
    char *state = p->table ? NULL : ox_cli_format(err, "%s%s", p->path, STATE);
    bool good = from || state;
    if (good && p->table) {
        good = ox_os_rename(from, p->path) && !remove(p->state) && ox_os_remove_folder(p->folder);
    } else if (good) {
        good = ox_os_rename(p->folder, p->path) && !remove(state);
    }
    free(from);
    free(state);
    return good || ox_cli_system_error(err, p->path, "write");
}

bool ox_part_end(ox_part *p, bool good, ox_error *err)
{
    if (!good && !p->count && !remove(p->state)) { /* no rows to go on with */
        ox_os_remove_folder(p->folder);
    }
    good = good && put_in_place(p, err);
    free_part(p);
    return good;
}
