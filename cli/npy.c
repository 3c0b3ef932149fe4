/* Reading .npy: a magic number, a header that is a Python dict, the elements. Files are untrusted:
 * every length is checked before it is believed. */
#define _XOPEN_SOURCE 700 /* fseeko */
#include "npy.h"
#include "npy_header.h"
#include "os.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_LIMIT = 1 << 16 };

/* ---- elements -------------------------------------------------------------------------- */

static void swap_bytes(unsigned char *data, size_t count, size_t size)
{
    for (size_t i = 0; i < count; i++, data += size) {
        for (size_t a = 0, b = size - 1; a < b; a++, b--) {
            unsigned char byte = data[a];
            data[a] = data[b];
            data[b] = byte;
        }
    }
}

/* Replaces column-major elements of `size` bytes by row-major ones. */
static bool reorder(ox_array *array, size_t size, ox_error *err)
{
    size_t count = ox_array_elements(array, 0);
    char *to = ox_cli_alloc(count, size, err);
    if (!to) {
        return false;
    }
    size_t strides[OX_RANK_MAX], at[OX_RANK_MAX] = {0}, stride = 1, from = 0;
    for (int i = 0; i < array->rank; i++) {
        strides[i] = stride;
        stride *= (size_t)array->dims[i];
    }
    for (size_t n = 0; n < count; n++) {
        memcpy(to + n * size, (const char *)array->data + from * size, size);
        for (int i = array->rank - 1; i >= 0; i--) {
            from += strides[i];
            if (++at[i] < (size_t)array->dims[i]) {
                break;
            }
            from -= strides[i] * at[i];
            at[i] = 0;
        }
    }
    free(array->data);
    array->data = to;
    return true;
}

/* ---- text ------------------------------------------------------------------------------ */

/* A character as UTF-8, in up to OX_NPY_UNIT bytes; returns how many, 0 for what is no character.
 */
static size_t put_utf8(char *to, uint32_t c)
{
    static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t bytes = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : c < 0x110000 ? 4 : 0;
    if (c == 0 || (c >= 0xd800 && c < 0xe000)) {
        return 0;
    }
    for (size_t i = bytes; i-- > 1; c >>= 6) {
        to[i] = (char)(0x80 | (c & 0x3f));
    }
    if (bytes) {
        to[0] = (char)(first[bytes] | c);
    }
    return bytes;
}

/* Bytes of an element without the zeros that fill it up. */
static size_t used_bytes(const char *element, size_t size, size_t unit)
{
    static const char zeros[OX_NPY_UNIT] = {0};
    while (size > 0 && !memcmp(element + size - unit, zeros, unit)) {
        size -= unit;
    }
    return size;
}

/* Writes an element of kind S or U as text and returns its end; NULL for what is no text. */
static char *put_text(char *to, const char *element, size_t size, char kind)
{
    if (kind == 'S') {
        size_t used = used_bytes(element, size, 1);
        if (memchr(element, 0, used)) {
            return NULL;
        }
        memcpy(to, element, used);
        return to + used;
    }
    size_t used = used_bytes(element, size, OX_NPY_UNIT);
    for (size_t i = 0; i < used; i += OX_NPY_UNIT) {
        uint32_t c;
        memcpy(&c, element + i, OX_NPY_UNIT);
        size_t bytes = put_utf8(to, c);
        if (!bytes) {
            return NULL;
        }
        to += bytes;
    }
    return to;
}

/* Elements of `size` bytes become text. */
static bool read_texts(ox_array *array, size_t size, char kind, ox_error *err)
{
    size_t count = ox_array_elements(array, 0);
    const char *from = array->data;
    ox_array texts = *array;
    char *to = ox_array_allocate_text(&texts, count * (size + 1), err); /* in half of memory */
    for (size_t i = 0; to && i < count; i++) {
        ((char **)texts.data)[i] = to;
        to = put_text(to, from + i * size, size, kind);
        if (!to) {
            free(texts.data);
            return ox_cli_error(err, OX_INVALID, "%s: element %zu is no text", array->file, i);
        }
        *to++ = 0;
    }
    if (to) {
        free(array->data);
        array->data = texts.data;
    }
    return to != NULL;
}

/* ---- reading --------------------------------------------------------------------------- */

/* Exactly `size` bytes, or an error. */
static bool fill(ox_npy_source source, void *user, const char *file, void *into, size_t size,
                 ox_error *err)
{
    for (size_t done = 0; done < size;) {
        int64_t got = source(user, (char *)into + done, size - done, err);
        if (got < 0) {
            return false;
        }
        if (got == 0) {
            return ox_cli_error(err, OX_INVALID, "%s: truncated: %zu bytes missing", file,
                                size - done);
        }
        done += (size_t)got;
    }
    return true;
}

static bool read_header(ox_npy_source source, void *user, const char *file, ox_npy_dict *h,
                        ox_error *err)
{
    unsigned char start[12];
    int64_t got = 0;
    for (int64_t n = 0; got < 8; got += n) {
        n = source(user, start + got, (size_t)(8 - got), err);
        if (n < 0) {
            return false;
        }
        if (n == 0) {
            break;
        }
    }
    if (got < 8 || memcmp(start, "\x93NUMPY", 6) != 0) {
        return ox_cli_error(err, OX_INVALID, "%s: not a .npy file", file);
    }
    if (start[6] < 1 || start[6] > 3) {
        return ox_cli_error(err, OX_INVALID, "%s: .npy version %d is not supported", file,
                            start[6]);
    }
    size_t length_bytes = start[6] == 1 ? 2 : 4, length = 0;
    if (!fill(source, user, file, start + 8, length_bytes, err)) {
        return false;
    }
    for (size_t i = length_bytes; i-- > 0;) {
        length = length << 8 | start[8 + i];
    }
    if (length > HEADER_LIMIT) {
        return ox_cli_error(err, OX_INVALID, "%s: header of %zu bytes", file, length);
    }
    char *text = ox_cli_alloc(length + 1, 1, err);
    bool good =
        text && fill(source, user, file, text, length, err) && ox_npy_parse(text, h, file, err);
    free(text);
    return good;
}

static bool refuse_type(char kind, const char *file, ox_error *err)
{
    const char *why = kind == 'O' ? "an array of Python objects, which only pickle reads: save "
                                    "it by array.astype(str), numbers by "
                                    "array.astype(numpy.float32)"
                                  : "element type is none of float16/32/64, integers, bool, text";
    return ox_cli_error(err, OX_INVALID, "%s: %s", file, why);
}

/* Elements as the header says; `array` owns nothing on failure. */
static bool read_elements(ox_npy_source source, void *user, const char *file, const ox_npy_dict *h,
                          uint64_t available, ox_array *array, ox_error *err)
{
    *array = (ox_array){.type = ox_npy_type(h->kind, h->bytes), .rank = h->rank};
    if (array->type == OX_NONE) {
        return refuse_type(h->kind, file, err);
    }
    memcpy(array->dims, h->dims, sizeof h->dims);
    bool text = array->type == OX_STRING;
    size_t count = 0, size = (size_t)h->bytes;
    if (!ox_array_count(array->dims, array->rank, size, &count) || count * size > available) {
        return ox_cli_error(err, OX_INVALID, "%s: truncated: fewer bytes than its shape says",
                            file);
    }
    array->file = ox_cli_copy(file, err);
    array->data = array->file ? ox_cli_alloc(count, size, err) : NULL;
    bool good = array->data && fill(source, user, file, array->data, count * size, err);
    if (good && h->swapped) {
        swap_bytes(array->data, h->kind == 'U' ? count * size / OX_NPY_UNIT : count,
                   h->kind == 'U' ? OX_NPY_UNIT : size);
    }
    if (good && array->type == OX_BOOL) {
        for (size_t i = 0; i < count; i++) {
            ((uint8_t *)array->data)[i] = ((uint8_t *)array->data)[i] != 0;
        }
    }
    good = good && (!h->fortran || array->rank < 2 || reorder(array, size, err)) &&
           (!text || read_texts(array, size, h->kind, err));
    if (!good) {
        ox_array_free(array);
    }
    return good;
}

bool ox_npy_read(ox_npy_source source, void *user, const char *file, uint64_t available,
                 ox_array *array, ox_error *err)
{
    ox_npy_dict h = {.kind = 0};
    if (!read_header(source, user, file, &h, err) ||
        !read_elements(source, user, file, &h, available, array, err)) {
        return false;
    }
    char extra;
    int64_t more = source(user, &extra, 1, err);
    if (more > 0) {
        ox_cli_error(err, OX_INVALID, "%s: more bytes than its shape says", file);
    }
    if (more != 0) {
        ox_array_free(array);
    }
    return more == 0;
}

static int64_t read_file(void *user, void *into, size_t size, ox_error *err)
{
    size_t got = fread(into, 1, size, user);
    if (!got && ferror((FILE *)user)) {
        ox_cli_system_error(err, "a .npy file", "read");
        return -1;
    }
    return (int64_t)got;
}

static int64_t read_bytes(void *user, void *into, size_t size, ox_error *err)
{
    ox_bytes *left = user;
    (void)err;
    size = size < left->size ? size : left->size;
    memcpy(into, left->data, size);
    left->data += size;
    left->size -= size;
    return (int64_t)size;
}

bool ox_npy_read_bytes(const char *path, const ox_bytes *bytes, ox_array *array, ox_error *err)
{
    ox_bytes left = *bytes;
    return ox_npy_read(read_bytes, &left, path, left.size, array, err);
}

/* The file and its size, UINT64_MAX where it has none. NULL and err on failure. */
static FILE *open_file(const char *path, uint64_t *size, ox_error *err)
{
    ox_os_info info;
    FILE *file = fopen(path, "rb");
    bool good = file && ox_os_stat_of(fileno(file), &info);
    if (good && info.kind == OX_OS_FOLDER) {
        errno = EISDIR;
        good = false;
    }
    if (!good) {
        ox_cli_system_error(err, path, "read");
        if (file) {
            fclose(file);
        }
        return NULL;
    }
    *size = info.kind == OX_OS_FILE ? info.size : UINT64_MAX;
    return file;
}

bool ox_npy_read_file(const char *path, ox_array *array, ox_error *err)
{
    if (!strcmp(path, "-")) {
        return ox_npy_read(read_file, stdin, "standard input", UINT64_MAX, array, err);
    }
    uint64_t size;
    FILE *file = open_file(path, &size, err);
    bool good = file && ox_npy_read(read_file, file, path, size, array, err);
    if (file) {
        fclose(file);
    }
    return good;
}

/* ---- some rows of a file --------------------------------------------------------------- */

struct ox_npy {
    FILE *file;
    char *path;
    ox_npy_dict header;
    off_t start; /* of the elements */
    size_t row;  /* bytes of one */
};

static bool find_rows(ox_npy *npy, uint64_t size, ox_error *err)
{
    ox_npy_dict *h = &npy->header;
    size_t count = 0, bytes = (size_t)h->bytes;
    if (!read_header(read_file, npy->file, npy->path, h, err)) {
        return false;
    }
    npy->start = ftello(npy->file);
    if (ox_npy_type(h->kind, h->bytes) == OX_NONE) {
        return refuse_type(h->kind, npy->path, err);
    }
    bytes = (size_t)h->bytes;
    if (!ox_array_count(h->dims, h->rank, bytes, &count) ||
        (uint64_t)npy->start + count * bytes != size) {
        return ox_cli_error(err, OX_INVALID, "%s: its size is not what its shape says", npy->path);
    }
    if (h->fortran && h->rank > 1) {
        return ox_cli_error(err, OX_UNSUPPORTED,
                            "%s: in column-major order, which has no rows to read one after "
                            "another: save it by numpy.ascontiguousarray",
                            npy->path);
    }
    npy->row = h->rank && h->dims[0] ? count / (size_t)h->dims[0] * bytes : count * bytes;
    return true;
}

ox_npy *ox_npy_open(const char *path, ox_error *err)
{
    uint64_t size = 0;
    ox_npy *npy = ox_cli_alloc(1, sizeof *npy, err);
    if (!npy) {
        return NULL;
    }
    npy->path = ox_cli_copy(path, err);
    npy->file = npy->path ? open_file(path, &size, err) : NULL;
    if (npy->file && find_rows(npy, size, err)) {
        return npy;
    }
    ox_npy_close(npy);
    return NULL;
}

void ox_npy_close(ox_npy *npy)
{
    if (npy && npy->file) {
        fclose(npy->file);
    }
    if (npy) {
        free(npy->path);
    }
    free(npy);
}

size_t ox_npy_rows(const ox_npy *npy)
{
    return npy->header.rank ? (size_t)npy->header.dims[0] : 1;
}

bool ox_npy_read_rows(ox_npy *npy, size_t first, size_t count, ox_array *array, ox_error *err)
{
    ox_npy_dict h = npy->header;
    if (h.rank) {
        h.dims[0] = (int64_t)count;
    }
    if (fseeko(npy->file, npy->start + (off_t)(first * npy->row), SEEK_SET)) {
        return ox_cli_system_error(err, npy->path, "read");
    }
    return read_elements(read_file, npy->file, npy->path, &h, UINT64_MAX, array, err);
}
