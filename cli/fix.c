/* --fix=NAME=VALUE: constants in place of inputs, in their type and shape. */
#include "fix.h"

#include "npy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool refuse_name(const ox_model *model, const char *spec, ox_error *err)
{
    char all[256] = "none";
    size_t count, used = 0;
    const ox_value_info *inputs = ox_inputs(model, &count);
    for (size_t i = 0; i < count && used < sizeof all; i++) {
        int n = snprintf(all + used, sizeof all - used, "%s\"%s\"", i ? ", " : "", inputs[i].name);
        used += n < 0 ? 0 : (size_t)n;
    }
    return ox_cli_error(err, OX_ARGUMENT,
                        "--fix=%s: not of the form NAME=VALUE with the name of an input: %s", spec,
                        all);
}

/* The input that the spec starts with, and its value; the longest name, as names may hold '='. */
static const ox_value_info *find_input(const ox_model *model, const char *spec, const char **value)
{
    size_t count, longest = 0;
    const ox_value_info *inputs = ox_inputs(model, &count), *found = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(inputs[i].name);
        if (!strncmp(spec, inputs[i].name, length) && spec[length] == '=' &&
            (!found || length > longest)) {
            found = &inputs[i];
            longest = length;
            *value = spec + length + 1;
        }
    }
    return found;
}

static size_t count_numbers(const char *text)
{
    size_t count = 1;
    for (; *text; text++) {
        count += *text == ',';
    }
    return count;
}

/* One number, or a truth value; the text after it, NULL where there is none. */
static const char *read_number(const char *text, bool whole, int64_t *integer, double *number)
{
    static const char *const truths[] = {"false", "true"};
    for (int i = 0; i < 2; i++) {
        size_t length = strlen(truths[i]);
        if (!strncmp(text, truths[i], length)) {
            *integer = i;
            *number = i;
            return text + length;
        }
    }
    char *end;
    errno = 0;
    if (whole) {
        *integer = strtoll(text, &end, 10);
    } else {
        *number = strtod(text, &end);
    }
    return end == text || (whole && errno) ? NULL : end;
}

/* Fills `array` of int64 or double. */
static bool read_numbers(ox_array *array, const char *text, size_t count, bool whole)
{
    for (size_t i = 0; i < count; i++) {
        int64_t integer = 0;
        double number = 0;
        text = read_number(text, whole, &integer, &number);
        if (!text || *text != (i + 1 < count ? ',' : '\0')) {
            return false;
        }
        if (whole) {
            ((int64_t *)array->data)[i] = integer;
        } else {
            ((double *)array->data)[i] = number;
        }
        text++;
    }
    return true;
}

/* The input's shape for `count` numbers; its free dimensions are 1 but for the last of them. */
static bool take_shape(ox_array *array, const ox_value_info *info, size_t count)
{
    int free_axis = -1;
    int64_t others = 1;
    array->rank = info->rank < 0 ? count > 1 : info->rank;
    for (int d = 0; d < array->rank; d++) {
        bool is_free = info->rank < 0 || info->dims[d] < 0;
        array->dims[d] = is_free ? 1 : info->dims[d];
        free_axis = is_free ? d : free_axis;
        if (array->dims[d] < 1 || array->dims[d] > (int64_t)count) {
            return false;
        }
        others *= array->dims[d];
        if (others > (int64_t)count) {
            return false;
        }
    }
    if (free_axis >= 0 && (int64_t)count % others == 0) {
        array->dims[free_axis] = (int64_t)count / others;
        others = (int64_t)count;
    }
    return others == (int64_t)count;
}

/* Numbers to a bool tensor. */
static bool to_truth(ox_array *array, ox_error *err)
{
    size_t count = ox_array_elements(array, 0);
    ox_array to = *array;
    to.type = OX_BOOL;
    if (!ox_array_allocate(&to, err)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        double number = ox_array_at(array, i);
        if (number != 0 && number != 1) {
            free(to.data);
            return ox_cli_error(err, OX_ARGUMENT, "%s: %g is neither true nor false", array->file,
                                number);
        }
        ((uint8_t *)to.data)[i] = number != 0;
    }
    free(array->data);
    array->data = to.data;
    array->type = OX_BOOL;
    return true;
}

/* Cuts a list at its commas; a sole text is taken with those it has. */
static bool read_words(ox_array *array, const char *text, size_t count, ox_error *err)
{
    char *to = ox_array_allocate_text(array, strlen(text) + 1, err);
    for (size_t i = 0; to && i < count; i++) {
        size_t length = count > 1 ? strcspn(text, ",") : strlen(text);
        ((char **)array->data)[i] = to;
        memcpy(to, text, length);
        to += length + 1; /* zeros are there */
        text += length + 1;
    }
    return to != NULL;
}

/* Whether an input takes one text. */
static bool is_one(const ox_value_info *info)
{
    bool one = info->rank >= 0;
    for (int d = 0; one && d < info->rank; d++) {
        one = info->dims[d] == 1;
    }
    return one;
}

static bool read_text(ox_array *array, const ox_value_info *info, const char *text, ox_error *err)
{
    bool words = info->type == OX_STRING;
    size_t count = words && is_one(info) ? 1 : count_numbers(text);
    char dims[256] = "[...]";
    if (info->rank >= 0) {
        ox_dims_text(dims, sizeof dims, info->dims, info->rank, info->symbols);
    }
    if (info->rank > OX_RANK_MAX || !take_shape(array, info, count)) {
        return ox_cli_error(err, OX_ARGUMENT, "%s: %zu values for input \"%s\" of shape %s",
                            array->file, count, info->name, dims);
    }
    if (words) {
        return read_words(array, text, count, err);
    }
    bool whole = !ox_cli_type_is_float(info->type);
    array->type = whole ? OX_INT64 : OX_DOUBLE;
    if (!ox_array_allocate(array, err)) {
        return false;
    }
    return read_numbers(array, text, count, whole) ||
           ox_cli_error(err, OX_ARGUMENT, "%s: not %s, as input \"%s\" takes %s", array->file,
                        whole ? "whole numbers" : "numbers", info->name, ox_type_name(info->type));
}

static bool read_value(ox_array *array, const ox_value_info *info, const char *spec,
                       const char *value, ox_error *err)
{
    if (!ox_type_size(info->type)) {
        return ox_cli_error(err, OX_UNSUPPORTED, "--fix=%s: input \"%s\" takes no numbers", spec,
                            info->name);
    }
    if (ox_cli_has_suffix(value, ".npy") && !ox_npy_read_file(value, array, err)) {
        return false;
    }
    free(array->file);
    free(array->name);
    array->file = ox_cli_format(err, "--fix=%s", spec);
    array->name = array->file ? ox_cli_copy(info->name, err) : NULL;
    if (!array->name || (!array->data && !read_text(array, info, value, err))) {
        return false;
    }
    return info->type == OX_BOOL && array->type != OX_BOOL
               ? to_truth(array, err)
               : ox_array_convert(array, info->type, false, err);
}

bool ox_fix_load(const ox_model *model, const ox_texts *specs, ox_arrays *arrays, ox_error *err)
{
    for (size_t i = 0; i < specs->count; i++) {
        const char *spec = specs->items[i], *value = NULL;
        ox_array array = {.name = NULL};
        const ox_value_info *info = find_input(model, spec, &value);
        bool good =
            info ? read_value(&array, info, spec, value, err) : refuse_name(model, spec, err);
        if (!good) {
            ox_array_free(&array);
            return false;
        }
        if (!ox_arrays_add(arrays, &array, err)) {
            return false;
        }
    }
    return true;
}
