/* Results as a table: names of the columns and text of the cells. */
#include "columns.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const ox_array *ox_shap_of(const ox_arrays *outputs, const ox_signature *signature, size_t input,
                           size_t *targets)
{
    const char *prefix = signature->prefix;
    const ox_array *shap =
        ox_arrays_find_joined(outputs, prefix, signature->inputs[input].name, "_shap");
    if (!shap) {
        return NULL;
    }
    /* The target axis follows the batch axis; without a batch it comes first. */
    const ox_array *target = ox_arrays_find_joined(outputs, prefix, "shap_target", "");
    bool batched = !target || target->rank == 2;
    int own = signature->inputs[input].rank + (signature->references ? 1 : 0);
    bool several = (target && target->rank == 2) || shap->rank == own + 1;
    *targets = several ? (size_t)shap->dims[batched && shap->rank > 1 ? 1 : 0] : 0;
    return shap;
}

/* Names of the features, or groups, of one SHAP output, NULL where they are not known. The list in
 * the metadata runs over all explained inputs. */
static char **features_of(const ox_arrays *outputs, const ox_signature *signature,
                          const ox_array *array, size_t *targets, size_t *width)
{
    size_t before = 0, total = 0;
    bool found = false;
    size_t named = signature->group_count ? signature->group_count : signature->feature_count;
    char **names = signature->group_count ? signature->groups : signature->features;
    for (size_t i = 0; named && i < signature->input_count; i++) {
        size_t k = 0;
        const ox_array *shap = ox_shap_of(outputs, signature, i, &k);
        if (!shap || shap->rank < 1) {
            continue;
        }
        size_t elements = ox_array_elements(shap, 1) / (k ? k : 1);
        if (shap == array) {
            found = true;
            before = total;
            *targets = k;
            *width = elements;
        }
        total += elements;
    }
    return found && total == named ? names + before : NULL;
}

/* "[i:j]" for value `index` of a row, "" where a row has one value. */
static void index_suffix(char *text, size_t size, const ox_array *array, size_t index)
{
    text[0] = 0;
    if (ox_array_elements(array, 1) == 1) {
        return;
    }
    ox_index_text(text, size, array->dims + 1, array->rank - 1, index);
    for (char *c = text; *c; c++) {
        if (*c == ',') {
            *c = ':';
        }
    }
}

static char *column_name(const ox_array *array, size_t index, char **features, size_t targets,
                         size_t width, ox_error *err)
{
    char suffix[256];
    if (features && targets) {
        return ox_cli_format(err, "%s[%zu]:%s", array->name, index / width,
                             features[index % width]);
    }
    if (features) {
        return ox_cli_format(err, "%s:%s", array->name, features[index]);
    }
    index_suffix(suffix, sizeof suffix, array, index);
    return ox_cli_format(err, "%s%s", array->name, suffix);
}

static bool add_columns(ox_columns *columns, const ox_arrays *outputs, const ox_array *array,
                        const ox_signature *signature, ox_error *err)
{
    size_t targets = 0, width = 0, stride = ox_array_elements(array, 1);
    char **features = features_of(outputs, signature, array, &targets, &width);
    for (size_t i = 0; i < stride; i++) {
        ox_column *column = &columns->items[columns->count];
        *column = (ox_column){.array = array, .offset = i, .stride = stride};
        column->name = column_name(array, i, features, targets, width, err);
        if (!column->name) {
            return false;
        }
        columns->count++;
    }
    return true;
}

bool ox_columns_make(ox_columns *columns, const ox_arrays *outputs, const ox_signature *signature,
                     ox_error *err)
{
    *columns = (ox_columns){.items = NULL};
    size_t total = 0;
    for (size_t i = 0; i < outputs->count; i++) {
        const ox_array *array = &outputs->items[i];
        if (array->rank < 1) {
            return ox_cli_error(err, OX_ARGUMENT,
                                "output \"%s\" is no table, it has no axes: write .npz instead",
                                array->name);
        }
        if (array->dims[0] != outputs->items[0].dims[0]) {
            return ox_cli_error(err, OX_ARGUMENT,
                                "outputs \"%s\" and \"%s\" are no table, they differ in rows: "
                                "write .npz instead",
                                outputs->items[0].name, array->name);
        }
        columns->rows = (size_t)array->dims[0];
        total += ox_array_elements(array, 1);
    }
    columns->items = ox_cli_alloc(total, sizeof *columns->items, err);
    bool good = columns->items != NULL;
    for (size_t i = 0; good && i < outputs->count; i++) {
        good = add_columns(columns, outputs, &outputs->items[i], signature, err);
    }
    if (!good) {
        ox_columns_free(columns);
    }
    return good;
}

void ox_columns_free(ox_columns *columns)
{
    for (size_t i = 0; i < columns->count; i++) {
        free(columns->items[i].name);
    }
    free(columns->items);
    *columns = (ox_columns){.items = NULL};
}

double ox_column_number(const ox_column *column, size_t row)
{
    return ox_array_at(column->array, column->offset + row * column->stride);
}

char *ox_column_text(const ox_column *column, size_t row, char text[OX_NUMBER_MAX])
{
    size_t at = column->offset + row * column->stride;
    const ox_array *array = column->array;
    double value = ox_array_at(array, at);
    if (array->type == OX_INT64) {
        snprintf(text, OX_NUMBER_MAX, "%lld", (long long)((const int64_t *)array->data)[at]);
    } else if (array->type == OX_UINT64) {
        snprintf(text, OX_NUMBER_MAX, "%llu",
                 (unsigned long long)((const uint64_t *)array->data)[at]);
    } else {
        for (int digits = 5; digits <= 17; digits++) {
            snprintf(text, OX_NUMBER_MAX, "%.*g", digits, value);
            double back = strtod(text, NULL);
            if (back == value || (array->type != OX_DOUBLE && (float)back == (float)value)) {
                break;
            }
            if (isnan(value)) {
                break;
            }
        }
    }
    return text;
}
