/* Arrays: ownership, shapes, and conversion between element types. */
#include "array.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ox_array_free(ox_array *array)
{
    free(array->name);
    free(array->file);
    free(array->data);
    *array = (ox_array){.name = NULL};
}

void ox_arrays_free(ox_arrays *arrays)
{
    for (size_t i = 0; i < arrays->count; i++) {
        ox_array_free(&arrays->items[i]);
    }
    free(arrays->items);
    *arrays = (ox_arrays){NULL, 0};
}

bool ox_arrays_add(ox_arrays *arrays, ox_array *array, ox_error *err)
{
    ox_array *items = ox_cli_resize(arrays->items, arrays->count + 1, sizeof *arrays->items, err);
    if (!items) {
        ox_array_free(array);
        return false;
    }
    arrays->items = items;
    items[arrays->count++] = *array;
    *array = (ox_array){.name = NULL};
    return true;
}

ox_array *ox_arrays_find_joined(const ox_arrays *arrays, const char *first, const char *second,
                                const char *third)
{
    for (size_t i = 0; i < arrays->count; i++) {
        const char *name = arrays->items[i].name;
        if (name && ox_cli_is_joined(name, first, second, third)) {
            return &arrays->items[i];
        }
    }
    return NULL;
}

ox_array *ox_arrays_find(const ox_arrays *arrays, const char *name)
{
    return ox_arrays_find_joined(arrays, name, "", "");
}

bool ox_array_count(const int64_t *dims, int rank, size_t size, size_t *count)
{
    /* A 0 makes the product 0, but the others must fit all the same. */
    size_t n = 1, checked = size ? size : 1;
    for (int i = 0; i < rank; i++) {
        if (dims[i] < 0 || (uint64_t)dims[i] > SIZE_MAX / 2) {
            return false;
        }
        size_t dim = (size_t)dims[i];
        if (dim && checked > SIZE_MAX / 2 / dim) {
            return false;
        }
        checked *= dim ? dim : 1;
        n *= dim;
    }
    *count = n;
    return true;
}

size_t ox_array_elements(const ox_array *array, int from)
{
    size_t n = 1;
    for (int i = from; i < array->rank; i++) {
        n *= (size_t)array->dims[i];
    }
    return n;
}

bool ox_array_allocate(ox_array *array, ox_error *err)
{
    size_t count, size = ox_type_size(array->type);
    if (!size || !ox_array_count(array->dims, array->rank, size, &count)) {
        return ox_cli_error(err, OX_MEMORY, "%s: too large",
                            array->file   ? array->file
                            : array->name ? array->name
                                          : "array");
    }
    array->data = ox_cli_alloc(count, size, err);
    return array->data != NULL;
}

char *ox_array_allocate_text(ox_array *array, size_t bytes, ox_error *err)
{
    size_t count;
    array->type = OX_STRING;
    if (!ox_array_count(array->dims, array->rank, sizeof(char *), &count) ||
        bytes > SIZE_MAX / 2 - 1) {
        ox_cli_error(err, OX_MEMORY, "%s: too large", array->file ? array->file : "array");
        return NULL;
    }
    array->data = ox_cli_alloc(count * sizeof(char *) + bytes + 1, 1, err);
    return array->data ? (char *)array->data + count * sizeof(char *) : NULL;
}

bool ox_array_from_tensor(ox_array *array, const ox_tensor *tensor, ox_error *err)
{
    *array = (ox_array){.type = tensor->type, .rank = tensor->rank};
    const char *name = tensor->name ? tensor->name : "output";
    if (tensor->rank > OX_RANK_MAX) {
        return ox_cli_error(err, OX_UNSUPPORTED, "\"%s\": %d axes", name, tensor->rank);
    }
    if (!ox_type_size(tensor->type) || tensor->type == OX_STRING) {
        return ox_cli_error(err, OX_UNSUPPORTED, "\"%s\": elements of type %s", name,
                            ox_type_name(tensor->type));
    }
    for (int i = 0; i < tensor->rank; i++) {
        array->dims[i] = tensor->dims[i];
    }
    array->name = ox_cli_copy(name, err);
    if (!array->name || !ox_array_allocate(array, err)) {
        ox_array_free(array);
        return false;
    }
    memcpy(array->data, tensor->data, ox_array_elements(array, 0) * ox_type_size(array->type));
    return true;
}

ox_tensor ox_array_tensor(const ox_array *array)
{
    return (ox_tensor){.name = array->name,
                       .type = array->type,
                       .rank = array->rank,
                       .dims = array->dims,
                       .data = array->data};
}

bool ox_cli_type_is_float(ox_type type)
{
    return type == OX_FLOAT || type == OX_DOUBLE || type == OX_FLOAT16 || type == OX_BFLOAT16;
}

bool ox_type_is_whole(ox_type type)
{
    return type == OX_BOOL || type == OX_INT8 || type == OX_INT16 || type == OX_INT32 ||
           type == OX_INT64 || type == OX_UINT8 || type == OX_UINT16 || type == OX_UINT32 ||
           type == OX_UINT64;
}

/* ---- half precision -------------------------------------------------------------------- */

static double half_to_double(uint16_t half)
{
    int exponent = (half >> 10) & 31;
    double fraction = half & 1023, value;
    if (exponent == 31) {
        value = fraction > 0 ? (double)NAN : (double)INFINITY;
    } else if (exponent == 0) {
        value = ldexp(fraction, -24);
    } else {
        value = ldexp(fraction + 1024, exponent - 25);
    }
    return half & 0x8000 ? -value : value;
}

/* Rounds to nearest, ties to even, as nearbyint does in the default rounding mode. */
static uint16_t double_to_half(double value)
{
    unsigned sign = signbit(value) ? 0x8000U : 0;
    double size = fabs(value);
    if (isnan(value)) {
        return (uint16_t)(sign | 0x7e00);
    }
    if (size >= 65520) {
        return (uint16_t)(sign | 0x7c00);
    }
    int exponent = 0;
    frexp(size, &exponent);
    if (size < ldexp(1, -14)) { /* subnormal: steps of 2^-24; a carry gives the first normal */
        return (uint16_t)(sign | (unsigned)nearbyint(ldexp(size, 24)));
    }
    unsigned fraction = (unsigned)nearbyint(ldexp(size, 11 - exponent)); /* in [1024, 2048] */
    return (uint16_t)(sign | (((unsigned)(exponent + 14) << 10) + fraction - 1024));
}

static double bfloat_to_double(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return (double)value;
}

static uint16_t double_to_bfloat(double value)
{
    float narrow = (float)value;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    if (isnan(value)) {
        return (uint16_t)(bits >> 16 | 0x40);
    }
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* ---- elements -------------------------------------------------------------------------- */

double ox_array_at(const ox_array *array, size_t i)
{
    const void *data = array->data;
    switch (array->type) {
    case OX_FLOAT: return (double)((const float *)data)[i];
    case OX_DOUBLE: return ((const double *)data)[i];
    case OX_FLOAT16: return half_to_double(((const uint16_t *)data)[i]);
    case OX_BFLOAT16: return bfloat_to_double(((const uint16_t *)data)[i]);
    case OX_INT8: return ((const int8_t *)data)[i];
    case OX_INT16: return ((const int16_t *)data)[i];
    case OX_INT32: return ((const int32_t *)data)[i];
    case OX_INT64: return (double)((const int64_t *)data)[i];
    case OX_UINT8: return ((const uint8_t *)data)[i];
    case OX_UINT16: return ((const uint16_t *)data)[i];
    case OX_UINT32: return ((const uint32_t *)data)[i];
    case OX_UINT64: return (double)((const uint64_t *)data)[i];
    case OX_BOOL: return ((const uint8_t *)data)[i] ? 1 : 0;
    default: return (double)NAN;
    }
}

size_t ox_array_outer(const ox_array *array, long axis, size_t samples)
{
    bool there = axis > 0 && axis < array->rank && array->dims[axis] == (int64_t)samples;
    size_t outer = 1;
    for (long d = 0; there && d < axis && array->dims[d] > 0; d++) {
        outer *= (size_t)array->dims[d];
    }
    return outer;
}

double ox_array_of_sample(const ox_array *array, long axis, size_t samples, size_t n, size_t i)
{
    size_t outer = ox_array_outer(array, axis, samples);
    size_t inner = ox_array_elements(array, 0) / samples / outer;
    return ox_array_at(array, (i / inner * samples + n) * inner + i % inner);
}

static void put_float(ox_array *array, size_t i, double value)
{
    switch (array->type) {
    case OX_FLOAT: ((float *)array->data)[i] = (float)value; break;
    case OX_DOUBLE: ((double *)array->data)[i] = value; break;
    case OX_FLOAT16: ((uint16_t *)array->data)[i] = double_to_half(value); break;
    default: ((uint16_t *)array->data)[i] = double_to_bfloat(value); break;
    }
}

/* Largest value of a whole type as magnitude of its positive and negative side. */
static void limits(ox_type type, uint64_t *positive, uint64_t *negative)
{
    bool is_signed = type == OX_INT8 || type == OX_INT16 || type == OX_INT32 || type == OX_INT64;
    int bits = 8 * (int)ox_type_size(type);
    if (type == OX_BOOL) {
        bits = 1;
    }
    *positive = UINT64_MAX >> (64 - bits + (is_signed ? 1 : 0));
    *negative = is_signed ? *positive + 1 : 0;
}

/* Reads element i as sign and magnitude; false where it is not a whole number of 64 bits. */
static bool get_whole(const ox_array *array, size_t i, bool *minus, uint64_t *magnitude)
{
    if (array->type == OX_UINT64) {
        *minus = false;
        *magnitude = ((const uint64_t *)array->data)[i];
        return true;
    }
    if (array->type == OX_INT64) {
        int64_t value = ((const int64_t *)array->data)[i];
        *minus = value < 0;
        *magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
        return true;
    }
    double value = ox_array_at(array, i);
    if (!(fabs(value) < 18446744073709551616.0) || value != floor(value)) {
        return false;
    }
    *minus = value < 0;
    *magnitude = (uint64_t)fabs(value);
    return true;
}

static bool put_whole(ox_array *array, size_t i, bool minus, uint64_t magnitude)
{
    uint64_t positive, negative;
    limits(array->type, &positive, &negative);
    if (magnitude > (minus ? negative : positive)) {
        return false;
    }
    uint64_t bits = minus ? 0 - magnitude : magnitude; /* two's complement, cut to its width */
    switch (ox_type_size(array->type)) {
    case 1: ((uint8_t *)array->data)[i] = (uint8_t)bits; break;
    case 2: ((uint16_t *)array->data)[i] = (uint16_t)bits; break;
    case 4: ((uint32_t *)array->data)[i] = (uint32_t)bits; break;
    default: ((uint64_t *)array->data)[i] = bits; break;
    }
    return true;
}

bool ox_array_convertible(ox_type from, ox_type to)
{
    if (from == to) {
        return true;
    }
    bool number = ox_cli_type_is_float(from) || ox_type_is_whole(from);
    return (number && ox_cli_type_is_float(to)) || (ox_type_is_whole(from) && ox_type_is_whole(to));
}

bool ox_array_convert(ox_array *array, ox_type type, bool whole, ox_error *err)
{
    if (array->type == type) {
        return true;
    }
    const char *file = array->file ? array->file : "array";
    bool allowed = whole && ox_cli_type_is_float(array->type) && ox_type_is_whole(type);
    if (array->type == OX_STRING) {
        return ox_cli_error(err, OX_ARGUMENT,
                            "%s: text where input \"%s\" takes %s: encode categories as whole "
                            "numbers",
                            file, array->name ? array->name : "", ox_type_name(type));
    }
    if (!allowed && !ox_array_convertible(array->type, type)) {
        return ox_cli_error(err, OX_ARGUMENT, "%s: %s where input \"%s\" takes %s", file,
                            ox_type_name(array->type), array->name ? array->name : "",
                            ox_type_name(type));
    }
    ox_array to = *array;
    to.type = type;
    if (!ox_array_allocate(&to, err)) {
        return false;
    }
    size_t count = ox_array_elements(array, 0);
    for (size_t i = 0; i < count; i++) {
        bool minus = false, good = true;
        uint64_t magnitude = 0;
        if (ox_cli_type_is_float(type)) {
            put_float(&to, i, ox_array_at(array, i));
        } else {
            good = get_whole(array, i, &minus, &magnitude) && put_whole(&to, i, minus, magnitude);
        }
        if (!good) {
            char where[256];
            ox_index_text(where, sizeof where, array->dims, array->rank, i);
            free(to.data);
            return ox_cli_error(err, OX_ARGUMENT, "%s: %.17g at %s does not fit %s", file,
                                ox_array_at(array, i), where, ox_type_name(type));
        }
    }
    free(array->data);
    *array = to;
    return true;
}

/* ---- text ------------------------------------------------------------------------------ */

char *ox_dims_text(char *text, size_t size, const int64_t *dims, int rank,
                   const char *const *symbols)
{
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < rank && used < size; i++) {
        const char *comma = i ? "," : "";
        const char *symbol = symbols && symbols[i] && symbols[i][0] ? symbols[i] : "?";
        int n = dims[i] < 0
                    ? snprintf(text + used, size - used, "%s%s", comma, symbol)
                    : snprintf(text + used, size - used, "%s%lld", comma, (long long)dims[i]);
        used += n < 0 ? 0 : (size_t)n;
    }
    if (used < size) {
        snprintf(text + used, size - used, "]");
    }
    return text;
}

char *ox_index_text(char *text, size_t size, const int64_t *dims, int rank, size_t index)
{
    int64_t at[OX_RANK_MAX];
    for (int i = rank - 1; i >= 0; i--) {
        at[i] = (int64_t)(index % (size_t)dims[i]);
        index /= (size_t)dims[i];
    }
    return ox_dims_text(text, size, at, rank, NULL);
}

bool ox_arrays_widen(ox_arrays *arrays, ox_error *err)
{
    for (size_t i = 0; i < arrays->count; i++) {
        if (arrays->items[i].type == OX_BFLOAT16 &&
            !ox_array_convert(&arrays->items[i], OX_FLOAT, false, err)) {
            return false;
        }
    }
    return true;
}
