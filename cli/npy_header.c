/* The header of .npy, a Python dict. */
#include "npy_header.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH_MAX = 1 << 24 }; /* characters of a text */

static bool is_little_endian(void)
{
    const uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first == 1;
}

/* ---- the dict -------------------------------------------------------------------------- */

static void skip_space(const char **c)
{
    while (**c == ' ' || **c == '\t' || **c == '\n' || **c == '\r') {
        ++*c;
    }
}

static bool take(const char **c, char wanted)
{
    skip_space(c);
    if (**c != wanted) {
        return false;
    }
    ++*c;
    return true;
}

static bool take_word(const char **c, const char *word)
{
    skip_space(c);
    size_t length = strlen(word);
    if (strncmp(*c, word, length) != 0) {
        return false;
    }
    *c += length;
    return true;
}

static bool take_string(const char **c, char *text, size_t size)
{
    skip_space(c);
    char quote = **c;
    if (quote != '\'' && quote != '"') {
        return false;
    }
    const char *end = strchr(*c + 1, quote);
    if (!end || (size_t)(end - *c) > size) {
        return false;
    }
    size_t length = (size_t)(end - *c) - 1;
    memcpy(text, *c + 1, length);
    text[length] = 0;
    *c = end + 1;
    return true;
}

static bool take_shape(const char **c, ox_npy_dict *h)
{
    if (!take(c, '(')) {
        return false;
    }
    bool comma = true;
    h->rank = 0;
    while (!take(c, ')')) {
        if (!comma || h->rank == OX_RANK_MAX || **c < '0' || **c > '9') {
            return false;
        }
        int64_t dim = 0;
        for (; **c >= '0' && **c <= '9'; ++*c) {
            if (dim > (INT64_MAX - 9) / 10) {
                return false;
            }
            dim = dim * 10 + (**c - '0');
        }
        if (**c == 'L') { /* Python 2 */
            ++*c;
        }
        h->dims[h->rank++] = dim;
        comma = take(c, ',');
    }
    return h->rank != 1 || comma; /* (3) is a number, not a tuple */
}

/* The number that a type ends with; 0 where it is none, or none that an element can have. */
static int width_of(const char *digits)
{
    int width = 0;
    for (; *digits >= '0' && *digits <= '9' && width < WIDTH_MAX; digits++) {
        width = 10 * width + *digits - '0';
    }
    return *digits || width > WIDTH_MAX ? 0 : width;
}

static bool take_type(const char **c, ox_npy_dict *h, const char *file, ox_error *err)
{
    char text[32];
    if (take(c, '[')) {
        return ox_cli_error(err, OX_INVALID, "%s: structured arrays are not supported", file);
    }
    if (!take_string(c, text, sizeof text)) {
        return ox_cli_error(err, OX_INVALID, "%s: not a .npy file: broken header", file);
    }
    const char *order = strchr("<>|=", text[0]);
    const char *code = text[0] && order ? text + 1 : text;
    h->kind = code[0];
    h->bytes = code[0] ? width_of(code + 1) * (code[0] == 'U' ? OX_NPY_UNIT : 1) : 0;
    h->swapped = text[0] == (is_little_endian() ? '>' : '<');
    return true;
}

bool ox_npy_parse(const char *text, ox_npy_dict *h, const char *file, ox_error *err)
{
    bool type = false, order = false, shape = false;
    const char *c = text;
    bool good = take(&c, '{');
    while (good && !take(&c, '}')) {
        char key[32];
        good = take_string(&c, key, sizeof key) && take(&c, ':');
        if (!good) {
            break;
        }
        if (!strcmp(key, "descr") && !type) {
            if (!take_type(&c, h, file, err)) {
                return false;
            }
            type = true;
        } else if (!strcmp(key, "fortran_order") && !order) {
            h->fortran = take_word(&c, "True");
            good = order = h->fortran || take_word(&c, "False");
        } else if (!strcmp(key, "shape") && !shape) {
            good = shape = take_shape(&c, h);
        } else {
            good = false;
        }
        if (good && !take(&c, ',')) {
            good = take(&c, '}');
            break;
        }
    }
    skip_space(&c);
    if (!good || *c || !type || !order || !shape) {
        return ox_cli_error(err, OX_INVALID, "%s: not a .npy file: broken header", file);
    }
    return true;
}

ox_type ox_npy_type(char kind, int bytes)
{
    switch (kind) {
    case 'f':
        return bytes == 4 ? OX_FLOAT : bytes == 8 ? OX_DOUBLE : bytes == 2 ? OX_FLOAT16 : OX_NONE;
    case 'i':
        return bytes == 1   ? OX_INT8
               : bytes == 2 ? OX_INT16
               : bytes == 4 ? OX_INT32
               : bytes == 8 ? OX_INT64
                            : OX_NONE;
    case 'u':
        return bytes == 1   ? OX_UINT8
               : bytes == 2 ? OX_UINT16
               : bytes == 4 ? OX_UINT32
               : bytes == 8 ? OX_UINT64
                            : OX_NONE;
    case 'b': return bytes == 1 ? OX_BOOL : OX_NONE;
    case 'S':
    case 'U': return bytes > 0 ? OX_STRING : OX_NONE;
    default: return OX_NONE;
    }
}

/* ---- writing --------------------------------------------------------------------------- */

size_t ox_npy_header(const ox_array *array, char text[OX_NPY_HEADER_MAX])
{
    char kind = array->type == OX_BOOL              ? 'b'
                : array->type == OX_BFLOAT16        ? 0
                : ox_cli_type_is_float(array->type) ? 'f'
                : array->type == OX_UINT8 || array->type == OX_UINT16 || array->type == OX_UINT32 ||
                        array->type == OX_UINT64
                    ? 'u'
                : ox_type_is_whole(array->type) ? 'i'
                                                : 0;
    if (!kind) {
        return 0;
    }
    int bytes = (int)ox_type_size(array->type);
    char order = bytes == 1 ? '|' : is_little_endian() ? '<' : '>';
    memset(text, ' ', OX_NPY_HEADER_MAX);
    size_t used = 10;
    used += (size_t)snprintf(text + used, OX_NPY_HEADER_MAX - used,
                             "{'descr': '%c%c%d', 'fortran_order': False, 'shape': (", order, kind,
                             bytes);
    for (int i = 0; i < array->rank; i++) {
        used += (size_t)snprintf(text + used, OX_NPY_HEADER_MAX - used, "%s%lld", i ? ", " : "",
                                 (long long)array->dims[i]);
    }
    used += (size_t)snprintf(text + used, OX_NPY_HEADER_MAX - used, "%s), }",
                             array->rank == 1 ? "," : "");
    size_t total = (used + 1 + 63) / 64 * 64;
    memset(text + used, ' ', total - used);
    text[total - 1] = '\n';
    memcpy(text, "\x93NUMPY\x01\x00", 8);
    text[8] = (char)((total - 10) & 255);
    text[9] = (char)((total - 10) >> 8);
    return total;
}
