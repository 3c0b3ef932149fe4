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
    for (size_t i = 0; i < loader->count; i++)
        if (!strcmp(loader->inputs[i].name, name))
            return &loader->inputs[i];
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

/* Takes over `array`, which is for input `name`. */
static bool add_array(const ox_loader *loader, ox_arrays *arrays, ox_array *array, const char *name,
                      bool whole, ox_error *err)
{
    const ox_value_info *info = find_input(loader, name);
    char all[256];
    bool good = true;
    if (!info)
        good = ox_cli_error(err, OX_ARGUMENT, "%s: the model has no input \"%s\", it has %s",
                            array->file, name, list_inputs(loader, all, sizeof all));
    else if (ox_arrays_find(arrays, name))
        good = ox_cli_error(err, OX_ARGUMENT, "%s: a second array for input \"%s\"", array->file,
                            name);
    else if (!ox_type_size(info->type))
        good = ox_cli_error(err, OX_UNSUPPORTED, "input \"%s\" takes %s, which no array can hold",
                            name, ox_type_name(info->type));
    if (good) {
        free(array->name);
        array->name = ox_cli_copy(name, err);
        good = array->name && ox_array_convert(array, info->type, whole, err);
    }
    if (!good) {
        ox_array_free(array);
        return false;
    }
    return ox_arrays_add(arrays, array, err);
}

/* ---- .npz ------------------------------------------------------------------------------ */

static bool load_npz(const ox_loader *loader, const char *path, ox_arrays *arrays, ox_error *err)
{
    ox_arrays found;
    if (!ox_npz_read(path, &found, err))
        return false;
    bool good = true;
    for (size_t i = 0; good && i < found.count; i++) {
        ox_array *array = &found.items[i];
        /* np.savez(file, x) calls its only array arr_0. */
        bool nameless = found.count == 1 && loader->sole && !find_input(loader, array->name);
        char *name = ox_cli_copy(nameless ? loader->sole : array->name, err);
        good = name && add_array(loader, arrays, array, name, false, err);
        free(name);
    }
    ox_arrays_free(&found);
    return good;
}

/* ---- .csv ------------------------------------------------------------------------------ */

/* Values per sample that an input takes; 0 where that is not fixed. */
static size_t width_of(const ox_value_info *info)
{
    size_t width = 0;
    if (info->rank < 1 || !ox_array_count(info->dims + 1, info->rank - 1, 1, &width))
        return 0;
    return width;
}

/* Column of value i of an input: by the name of the feature, by NAME[i], or by NAME. */
static size_t column_of(const ox_csv *csv, const ox_value_info *info, size_t i, size_t width,
                        const char *feature)
{
    if (feature)
        return ox_csv_column(csv, feature);
    char *name = ox_cli_format(NULL, "%s[%zu]", info->name, i);
    size_t column = name ? ox_csv_column(csv, name) : SIZE_MAX;
    free(name);
    return column == SIZE_MAX && width == 1 ? ox_csv_column(csv, info->name) : column;
}

/* Fills `columns`, one entry per value over all inputs, by features or by NAME[i]. */
static bool match_columns(const ox_loader *loader, const ox_csv *csv, const size_t *widths,
                          bool features, size_t *columns)
{
    size_t n = 0;
    for (size_t k = 0; k < loader->count; k++)
        for (size_t i = 0; i < widths[k]; i++, n++) {
            const char *feature = features ? loader->features[n] : NULL;
            columns[n] = column_of(csv, &loader->inputs[k], i, widths[k], feature);
            if (columns[n] == SIZE_MAX)
                return false;
        }
    return true;
}

static bool take_columns(const ox_loader *loader, const ox_csv *csv, const char *path, size_t k,
                         const size_t *columns, size_t width, ox_arrays *arrays, ox_error *err)
{
    const ox_value_info *info = &loader->inputs[k];
    ox_array array = {.type = OX_DOUBLE, .rank = info->rank};
    array.dims[0] = (int64_t)csv->rows;
    for (int i = 1; i < info->rank; i++)
        array.dims[i] = info->dims[i] < 0 ? (int64_t)width : info->dims[i];
    array.file = ox_cli_copy(path, err);
    bool good = array.file && ox_array_allocate(&array, err);
    double *to = array.data;
    for (size_t row = 0; good && row < csv->rows; row++)
        for (size_t i = 0; good && i < width; i++)
            good = ox_csv_number(csv, path, row, columns[i], to++, err);
    if (!good) {
        ox_array_free(&array);
        return false;
    }
    return add_array(loader, arrays, &array, info->name, true, err);
}

/* Which columns belong to which input. */
static bool assign_columns(const ox_loader *loader, const ox_csv *csv, const char *path,
                           size_t *widths, size_t *columns, ox_error *err)
{
    size_t total = 0;
    for (size_t k = 0; k < loader->count; k++) {
        const ox_value_info *info = &loader->inputs[k];
        widths[k] = width_of(info);
        if (loader->count == 1 && info->rank == 2 && info->dims[1] < 0)
            widths[k] = csv->columns;
        if (!widths[k] || info->rank > OX_RANK_MAX)
            return ox_cli_error(err, OX_ARGUMENT,
                                "%s: input \"%s\" has no fixed number of columns: give a .npy",
                                path, info->name);
        total = widths[k] < SIZE_MAX - total ? total + widths[k] : SIZE_MAX;
    }
    if (total > csv->columns)
        return ox_cli_error(err, OX_ARGUMENT, "%s: %zu columns where the model takes %zu", path,
                            csv->columns, total);
    bool named =
        loader->feature_count == total && match_columns(loader, csv, widths, true, columns);
    named = named || match_columns(loader, csv, widths, false, columns);
    if (!named && total != csv->columns)
        return ox_cli_error(err, OX_ARGUMENT,
                            "%s: %zu columns where the model takes %zu, and their names do not "
                            "say which",
                            path, csv->columns, total);
    for (size_t i = 0; !named && i < total; i++)
        columns[i] = i;
    return true;
}

static bool load_csv(const ox_loader *loader, const char *path, ox_arrays *arrays, ox_error *err)
{
    ox_csv csv;
    if (!ox_csv_read(path, &csv, err))
        return false;
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

static bool load_npy(const ox_loader *loader, const char *path, const char *name, ox_arrays *arrays,
                     ox_error *err)
{
    char all[256];
    if (!name && !loader->sole)
        return ox_cli_error(err, OX_ARGUMENT,
                            "%s: for which input? write %s NAME=%s, the model "
                            "has %s",
                            path, loader->option, path, list_inputs(loader, all, sizeof all));
    ox_array array;
    return ox_npy_read_file(path, &array, err) &&
           add_array(loader, arrays, &array, name ? name : loader->sole, false, err);
}

static bool load_one(const ox_loader *loader, const char *spec, ox_arrays *arrays, ox_error *err)
{
    const char *equals = strchr(spec, '=');
    if (!equals && ox_cli_has_suffix(spec, ".npz"))
        return load_npz(loader, spec, arrays, err);
    if (!equals && ox_cli_has_suffix(spec, ".csv"))
        return load_csv(loader, spec, arrays, err);
    if (!equals)
        return load_npy(loader, spec, NULL, arrays, err);
    char *name = ox_cli_format(err, "%.*s", (int)(equals - spec), spec);
    bool good = name && load_npy(loader, equals + 1, name, arrays, err);
    free(name);
    return good;
}

bool ox_load(const ox_loader *loader, const ox_texts *specs, ox_arrays *arrays, ox_error *err)
{
    *arrays = (ox_arrays){NULL, 0};
    for (size_t i = 0; i < specs->count; i++)
        if (!load_one(loader, specs->items[i], arrays, err)) {
            ox_arrays_free(arrays);
            return false;
        }
    return true;
}

static bool is_held(const ox_texts *hold, const char *name)
{
    for (size_t i = 0; i < hold->count; i++)
        if (!strcmp(hold->items[i], name))
            return true;
    return false;
}

const char *ox_sole_input(const ox_value_info *inputs, size_t count, const ox_texts *hold)
{
    const char *floating = NULL, *any = NULL;
    size_t floats = 0, all = 0;
    for (size_t i = 0; i < count; i++) {
        if (is_held(hold, inputs[i].name))
            continue;
        any = inputs[i].name;
        all++;
        if (!ox_type_is_float(inputs[i].type))
            continue;
        floating = inputs[i].name;
        floats++;
    }
    return floats == 1 ? floating : all == 1 ? any : NULL;
}
