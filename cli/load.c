/* Arrays for the inputs of a model: which file is for which input, and in which type. */
#include "load.h"

#include "csv.h"
#include "npy.h"
#include "npz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const ox_value_info *find_input(const ox_loader *loader, const char *name)
{
    for (size_t i = 0; i < loader->count; i++) {
        if (!strcmp(loader->inputs[i].name, name)) {
            return &loader->inputs[i];
        }
    }
    return NULL;
}

/* The names of all inputs, for messages. */
static const char *list_inputs(const ox_loader *loader, char *text, size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < loader->count && used < size; i++) {
        int n =
            snprintf(text + used, size - used, "%s\"%s\"", i ? ", " : "", loader->inputs[i].name);
        used += n < 0 ? 0 : (size_t)n;
    }
    return text;
}

/* In the type of the file, which tells bytes from floats. */
static bool compare_scale(const ox_loader *loader, const ox_array *array, ox_error *err)
{
    if (!loader->model || !loader->note) {
        return true;
    }
    ox_tensor tensor = ox_array_tensor(array);
    return ox_check_inputs(loader->model, &tensor, 1, loader->note, NULL, err);
}

/* Takes over `array`, which is for input `name`. */
static bool add_array(const ox_loader *loader, ox_arrays *arrays, ox_array *array, const char *name,
                      bool whole, ox_error *err)
{
    const ox_value_info *info = find_input(loader, name);
    char all[256];
    bool good = true;
    if (!info) {
        good = ox_cli_error(err, OX_ARGUMENT, "%s: the model has no input \"%s\", it has %s",
                            array->file, name, list_inputs(loader, all, sizeof all));
    } else if (ox_arrays_find(arrays, name)) {
        good = ox_cli_error(err, OX_ARGUMENT, "%s: a second array for input \"%s\"", array->file,
                            name);
    } else if (!ox_type_size(info->type)) {
        good = ox_cli_error(err, OX_UNSUPPORTED, "input \"%s\" takes what no array can hold", name);
    }
    if (good) {
        char *copy = ox_cli_copy(name, err); /* `name` may be the array's own */
        free(array->name);
        array->name = copy;
        good = copy && compare_scale(loader, array, err) &&
               ox_array_convert(array, info->type, whole, err);
    }
    if (!good) {
        ox_array_free(array);
        return false;
    }
    return ox_arrays_add(arrays, array, err);
}

/* Takes over `array`, whose file does not say for which input it is. */
static bool add_nameless(const ox_loader *loader, ox_arrays *arrays, ox_array *array, ox_error *err)
{
    if (loader->sole) {
        return add_array(loader, arrays, array, loader->sole, false, err);
    }
    if (loader->nameless) {
        free(array->name);
        array->name = NULL;
        return ox_arrays_add(arrays, array, err);
    }
    char all[256];
    ox_cli_error(err, OX_ARGUMENT, "%s: for which input? write %s NAME=%s, the model has %s",
                 array->file, loader->option, array->file, list_inputs(loader, all, sizeof all));
    ox_array_free(array);
    return false;
}

/* ---- .npz ------------------------------------------------------------------------------ */

static void note_ignored(const ox_loader *loader, const char *path, const char *name)
{
    char text[1024];
    snprintf(text, sizeof text, "%s: \"%s\" is left out, that input is not explained", path, name);
    if (loader->note) {
        loader->note(NULL, text);
    }
}

static bool load_npz(const ox_loader *loader, const char *path, const ox_bytes *bytes,
                     ox_arrays *arrays, ox_error *err)
{
    ox_arrays found;
    if (!ox_npz_read(path, bytes, &found, err)) {
        return false;
    }
    bool good = true;
    for (size_t i = 0; good && i < found.count; i++) {
        ox_array *array = &found.items[i];
        const ox_value_info *info = find_input(loader, array->name);
        if (info && loader->ignored && loader->ignored[info - loader->inputs]) {
            note_ignored(loader, path, info->name);
            continue;
        }
        /* np.savez(file, x) calls its only array arr_0. */
        bool nameless = !info && found.count == 1 && !strcmp(array->name, "arr_0");
        good = nameless ? add_nameless(loader, arrays, array, err)
                        : add_array(loader, arrays, array, array->name, false, err);
    }
    ox_arrays_free(&found);
    return good;
}

/* ---- .csv ------------------------------------------------------------------------------ */

/* Values per sample that an input takes; 0 where that is not fixed. */
static size_t width_of(const ox_value_info *info)
{
    size_t width = 0;
    if (info->rank < 1 || !ox_array_count(info->dims + 1, info->rank - 1, 1, &width)) {
        return 0;
    }
    return width;
}

/* Column of value i of an input, NAME[i] or NAME. */
static size_t column_of(const ox_csv *csv, const ox_value_info *info, size_t i, size_t width)
{
    size_t column = ox_csv_column_at(csv, info->name, i);
    return column == SIZE_MAX && width == 1 ? ox_csv_column(csv, info->name) : column;
}

/* Fills `columns`, one entry per value over all inputs. The columns of featured inputs have the
 * names of their features where `features`, all others NAME[i]. */
static bool match_columns(const ox_loader *loader, const ox_csv *csv, const size_t *widths,
                          bool features, size_t *columns)
{
    size_t n = 0, feature = 0;
    for (size_t k = 0; k < loader->count; k++) {
        bool featured = features && loader->featured[k];
        for (size_t i = 0; i < widths[k]; i++, n++) {
            columns[n] = featured ? ox_csv_column(csv, loader->features[feature++])
                                  : column_of(csv, &loader->inputs[k], i, widths[k]);
            if (columns[n] == SIZE_MAX) {
                return false;
            }
        }
    }
    return true;
}

/* The first column whose name is no feature; NULL where all are. */
static const char *find_stranger(const ox_loader *loader, const ox_csv *csv)
{
    for (size_t i = 0; i < csv->columns; i++) {
        bool known = false;
        for (size_t k = 0; k < loader->feature_count; k++) {
            known = known || !strcmp(loader->features[k], csv->fields[i]);
        }
        if (!known) {
            return csv->fields[i];
        }
    }
    return NULL;
}

/* Says which feature has no column, and which column may be meant for it. */
static bool refuse_columns(const ox_loader *loader, const ox_csv *csv, const char *path,
                           ox_error *err)
{
    const char *stranger = find_stranger(loader, csv);
    for (size_t k = 0; k < loader->feature_count; k++) {
        const char *feature = loader->features[k];
        if (ox_csv_column(csv, feature) == SIZE_MAX) {
            return ox_cli_error(err, OX_ARGUMENT,
                                "%s: no column \"%s\", which is a feature of the model%s%s%s", path,
                                feature, stranger ? "; column \"" : "", stranger ? stranger : "",
                                stranger ? "\" is none" : "");
        }
    }
    return ox_cli_error(err, OX_ARGUMENT, "%s: no columns for the inputs without features", path);
}

/* Bytes of the texts in some columns. */
static size_t text_bytes(const ox_csv *csv, const size_t *columns, size_t width)
{
    size_t bytes = 0;
    for (size_t row = 0; row < csv->rows; row++) {
        for (size_t i = 0; i < width; i++) {
            bytes += strlen(ox_csv_text(csv, row, columns[i])) + 1;
        }
    }
    return bytes;
}

static bool take_texts(const ox_csv *csv, const size_t *columns, size_t width, ox_array *array,
                       ox_error *err)
{
    char *to = ox_array_allocate_text(array, text_bytes(csv, columns, width), err);
    for (size_t row = 0; to && row < csv->rows; row++) {
        for (size_t i = 0; i < width; i++) {
            const char *text = ox_csv_text(csv, row, columns[i]);
            ((char **)array->data)[row * width + i] = to;
            strcpy(to, text);
            to += strlen(text) + 1;
        }
    }
    return to != NULL;
}

/* An empty field is a missing value where the input takes such. */
static bool take_numbers(const ox_csv *csv, const char *path, const size_t *columns, size_t width,
                         bool missing, ox_array *array, ox_error *err)
{
    bool good = ox_array_allocate(array, err);
    double *to = array->data;
    for (size_t row = 0; good && row < csv->rows; row++) {
        for (size_t i = 0; good && i < width; i++) {
            good = ox_csv_number(csv, path, row, columns[i], missing, to++, err);
        }
    }
    return good;
}

static bool take_columns(const ox_loader *loader, const ox_csv *csv, const char *path, size_t k,
                         const size_t *columns, size_t width, ox_arrays *arrays, ox_error *err)
{
    const ox_value_info *info = &loader->inputs[k];
    ox_array array = {.type = OX_DOUBLE, .rank = info->rank};
    array.dims[0] = (int64_t)csv->rows;
    for (int i = 1; i < info->rank; i++) {
        array.dims[i] = info->dims[i] < 0 ? (int64_t)width : info->dims[i];
    }
    array.file = ox_cli_copy(path, err);
    bool good = array.file && (info->type == OX_STRING
                                   ? take_texts(csv, columns, width, &array, err)
                                   : take_numbers(csv, path, columns, width,
                                                  ox_cli_type_is_float(info->type), &array, err));
    if (!good) {
        ox_array_free(&array);
        return false;
    }
    return add_array(loader, arrays, &array, info->name, true, err);
}

/* Columns that each input takes; their sum, 0 and err where that is not clear. */
static size_t count_columns(const ox_loader *loader, const ox_csv *csv, const char *path,
                            size_t *widths, ox_error *err)
{
    size_t total = 0;
    for (size_t k = 0; k < loader->count; k++) {
        const ox_value_info *info = &loader->inputs[k];
        widths[k] = width_of(info);
        if (loader->count == 1 && info->rank == 2 && info->dims[1] < 0) {
            widths[k] = loader->feature_count ? loader->feature_count : csv->columns;
        }
        if (!widths[k] || info->rank > OX_RANK_MAX) {
            ox_cli_error(err, OX_ARGUMENT,
                         "%s: input \"%s\" has no fixed number of columns: give a .npy", path,
                         info->name);
            return 0;
        }
        total = widths[k] < SIZE_MAX - total ? total + widths[k] : SIZE_MAX;
    }
    return total;
}

/* Refuses columns that are to be taken in order where there are too few or too many, or one bears
 * the name of another value; names the first value whose name is missing where others have theirs.
 */
static bool check_order(const ox_loader *loader, const ox_csv *csv, const char *path,
                        const size_t *widths, size_t total, ox_error *err)
{
    char missing[256] = "";
    size_t n = 0;
    bool named = false, moved = false;
    for (size_t k = 0; k < loader->count; k++) {
        const char *name = loader->inputs[k].name;
        for (size_t i = 0; i < widths[k] && n <= csv->columns; i++, n++) {
            size_t column = column_of(csv, &loader->inputs[k], i, widths[k]);
            named = named || column != SIZE_MAX;
            moved = moved || (column != SIZE_MAX && column != n);
            if (column == SIZE_MAX && !missing[0] && widths[k] == 1) {
                snprintf(missing, sizeof missing, "%s", name);
            } else if (column == SIZE_MAX && !missing[0]) {
                snprintf(missing, sizeof missing, "%s[%zu]", name, i);
            }
        }
    }
    if (total == csv->columns && !moved) {
        return true;
    }
    if (named && missing[0]) {
        return ox_cli_error(err, OX_ARGUMENT,
                            "%s: no column \"%s\" (%zu columns, of which the model takes %zu)",
                            path, missing, csv->columns, total);
    }
    return ox_cli_error(err, OX_ARGUMENT, "%s: %zu columns where the model takes %zu%s", path,
                        csv->columns, total,
                        total < csv->columns ? ", and their names do not say which" : "");
}

/* Which columns belong to which input: those named after features or inputs, else, where the
 * model knows no names, all of them in order. */
static bool assign_columns(const ox_loader *loader, const ox_csv *csv, const char *path,
                           size_t *widths, size_t *columns, ox_error *err)
{
    size_t total = count_columns(loader, csv, path, widths, err), featured = 0;
    if (!total) {
        return false;
    }
    for (size_t k = 0; loader->feature_count && k < loader->count; k++) {
        featured += loader->featured[k] ? widths[k] : 0;
    }
    bool features = featured && featured == loader->feature_count;
    bool enough = total <= csv->columns;
    if (enough && ((features && match_columns(loader, csv, widths, true, columns)) ||
                   match_columns(loader, csv, widths, false, columns))) {
        return true;
    }
    if (features) {
        return refuse_columns(loader, csv, path, err);
    }
    for (size_t i = 0; i < total && i < csv->columns; i++) {
        columns[i] = i;
    }
    return check_order(loader, csv, path, widths, total, err);
}

bool ox_load_csv(const ox_loader *loader, const char *path, ox_bytes *bytes, size_t before,
                 ox_arrays *arrays, ox_error *err)
{
    ox_csv csv;
    if (!ox_csv_read(path, bytes, before, &csv, err)) {
        return false;
    }
    size_t *widths = ox_cli_alloc(loader->count, sizeof *widths, err);
    size_t *columns = ox_cli_alloc(csv.columns, sizeof *columns, err);
    bool good = widths && columns && assign_columns(loader, &csv, path, widths, columns, err);
    size_t n = 0;
    for (size_t k = 0; good && k < loader->count; k++) {
        good = take_columns(loader, &csv, path, k, columns + n, widths[k], arrays, err);
        n += widths[k];
    }
    free(columns);
    free(widths);
    ox_csv_free(&csv);
    return good;
}

/* ---- .npy ------------------------------------------------------------------------------ */

bool ox_load_array(const ox_loader *loader, ox_array *array, const char *name, ox_arrays *arrays,
                   ox_error *err)
{
    return name ? add_array(loader, arrays, array, name, false, err)
                : add_nameless(loader, arrays, array, err);
}

static bool load_npy(const ox_loader *loader, const char *path, const char *name, ox_arrays *arrays,
                     ox_error *err)
{
    ox_array array;
    return ox_npy_read_file(path, &array, err) && ox_load_array(loader, &array, name, arrays, err);
}

/* ---- pictures -------------------------------------------------------------------------- */

ox_spec ox_spec_of(const char *text)
{
    const char *equals = strchr(text, '=');
    return (ox_spec){text, equals ? (size_t)(equals - text) : 0, equals ? equals + 1 : text};
}

static bool is_same_input(const ox_spec *a, const ox_spec *b)
{
    return a->name == b->name && !strncmp(a->text, b->text, a->name);
}

/* The input that pictures are for: the one named, else the only one. */
static const ox_value_info *input_of_pictures(const ox_loader *loader, const char *name,
                                              const char *path, ox_error *err)
{
    const char *wanted = name ? name : loader->sole;
    const ox_value_info *info = wanted ? find_input(loader, wanted) : NULL;
    char all[256];
    if (!wanted) {
        ox_cli_error(err, OX_ARGUMENT, "%s: for which input? write %s NAME=%s, the model has %s",
                     path, loader->option, path, list_inputs(loader, all, sizeof all));
    } else if (!info) {
        ox_cli_error(err, OX_ARGUMENT, "%s: the model has no input \"%s\", it has %s", path, name,
                     list_inputs(loader, all, sizeof all));
    }
    return info;
}

static bool load_pictures(const ox_loader *loader, const char *name, const ox_paths *paths,
                          const ox_bytes *bytes, ox_arrays *arrays, ox_error *err)
{
    const ox_value_info *info = input_of_pictures(loader, name, paths->items[0], err);
    ox_images images = {info, &loader->pixels, loader->stacked, loader->note};
    ox_array array;
    return info &&
           ox_images_read(&images, (const char *const *)paths->items, paths->count, bytes, &array,
                          err) &&
           add_array(loader, arrays, &array, info->name, true, err);
}

/* All pictures for the input of spec `first`, unless an earlier one was of the same. */
static bool load_all_pictures(const ox_loader *loader, const ox_texts *specs, size_t first,
                              ox_arrays *arrays, ox_error *err)
{
    ox_spec own = ox_spec_of(specs->items[first]);
    ox_paths paths = {NULL, 0};
    bool good = true;
    for (size_t i = 0; good && i < specs->count; i++) {
        ox_spec other = ox_spec_of(specs->items[i]);
        if (!ox_images_are(other.path) || !is_same_input(&own, &other)) {
            continue;
        }
        if (i < first) {
            return true;
        }
        good = ox_paths_add(&paths, other.path, err);
    }
    char *name = good && own.name ? ox_cli_format(err, "%.*s", (int)own.name, own.text) : NULL;
    good = good && (name || !own.name) && load_pictures(loader, name, &paths, NULL, arrays, err);
    free(name);
    ox_paths_free(&paths);
    return good;
}

/* ---- streams --------------------------------------------------------------------------- */

/* What comes through a pipe says by its first bytes what it is; text is CSV. */
static bool load_stream(const ox_loader *loader, const char *path, ox_arrays *arrays, ox_error *err)
{
    static const char npz[] = "PK\x03\x04";
    const char *shown = strcmp(path, "-") ? path : "standard input";
    ox_bytes bytes;
    bytes.data = ox_cli_read_file(path, &bytes.size, err);
    if (!bytes.data) {
        return false;
    }
    ox_array array;
    bool good;
    if (ox_picture_is_bytes(&bytes)) {
        char *item = (char *)shown;
        const ox_paths one = {&item, 1};
        good = load_pictures(loader, NULL, &one, &bytes, arrays, err);
    } else if (!strncmp(bytes.data, npz, strlen(npz))) {
        good = load_npz(loader, shown, &bytes, arrays, err);
    } else if (bytes.size && bytes.data[0] != '\x93' && strlen(bytes.data) == bytes.size) {
        good = ox_load_csv(loader, shown, &bytes, 0, arrays, err);
    } else {
        good = ox_npy_read_bytes(shown, &bytes, &array, err) &&
               add_nameless(loader, arrays, &array, err);
    }
    free(bytes.data);
    return good;
}

static bool load_one(const ox_loader *loader, const char *text, ox_arrays *arrays, ox_error *err)
{
    if (!strchr(text, '=')) {
        return ox_cli_is_stream(text)            ? load_stream(loader, text, arrays, err)
               : ox_cli_has_suffix(text, ".npz") ? load_npz(loader, text, NULL, arrays, err)
               : ox_cli_has_suffix(text, ".csv") ? ox_load_csv(loader, text, NULL, 0, arrays, err)
                                                 : load_npy(loader, text, NULL, arrays, err);
    }
    ox_spec s = ox_spec_of(text);
    char *name = ox_cli_format(err, "%.*s", (int)s.name, text);
    bool good = name && load_npy(loader, s.path, name, arrays, err);
    free(name);
    return good;
}

bool ox_load(const ox_loader *loader, const ox_texts *specs, ox_arrays *arrays, ox_error *err)
{
    *arrays = (ox_arrays){NULL, 0};
    for (size_t i = 0; i < specs->count; i++) {
        bool pictures = ox_images_are(ox_spec_of(specs->items[i]).path);
        if (!(pictures ? load_all_pictures(loader, specs, i, arrays, err)
                       : load_one(loader, specs->items[i], arrays, err))) {
            ox_arrays_free(arrays);
            return false;
        }
    }
    return true;
}
