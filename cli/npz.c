/* .npz through libzip, which reads stored and deflated entries and checks their sums. */
#define _XOPEN_SOURCE 700 /* mkstemp, fseeko */
#include "npz.h"

#include "npy.h"
#include "os.h"
#include "output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

/* ---- reading --------------------------------------------------------------------------- */

typedef struct entry {
    zip_file_t *file;
    const char *label;
} entry;

static int64_t read_entry(void *user, void *into, size_t size, ox_error *err)
{
    entry *e = user;
    int64_t got = zip_fread(e->file, into, size);
    if (got < 0) {
        ox_cli_error(err, OX_INVALID, "%s: %s", e->label, zip_file_strerror(e->file));
    }
    return got;
}

/* Deflate shrinks at most about a thousandfold: an entry cannot hold more than that. */
static uint64_t bytes_in(zip_t *zip, zip_uint64_t index)
{
    zip_stat_t info;
    zip_stat_init(&info);
    if (zip_stat_index(zip, index, 0, &info) || !(info.valid & ZIP_STAT_SIZE) ||
        !(info.valid & ZIP_STAT_COMP_SIZE)) {
        return UINT64_MAX;
    }
    return info.size / 1100 > info.comp_size ? 0 : info.size;
}

/* Entries lie side by side. Where they share bytes, a small file holds any number of large arrays,
 * and together they are longer than the file. */
static bool check_overlap(zip_t *zip, zip_uint64_t count, const char *path, ox_error *err)
{
    ox_os_info file;
    bool regular = ox_os_stat(path, &file) && file.kind == OX_OS_FILE;
    uint64_t left = regular ? file.size : UINT64_MAX;
    for (zip_uint64_t i = 0; i < count; i++) {
        zip_stat_t info;
        zip_stat_init(&info);
        uint64_t size = zip_stat_index(zip, i, 0, &info) || !(info.valid & ZIP_STAT_COMP_SIZE)
                            ? 0
                            : info.comp_size;
        if (size > left) {
            return ox_cli_error(err, OX_INVALID, "%s: its entries overlap", path);
        }
        left -= size;
    }
    return true;
}

static bool read_array(zip_t *zip, zip_uint64_t index, const char *name, const char *label,
                       ox_arrays *arrays, ox_error *err)
{
    entry e = {.file = zip_fopen_index(zip, index, 0), .label = label};
    if (!e.file) {
        return ox_cli_error(err, OX_INVALID, "%s: %s", label, zip_strerror(zip));
    }
    ox_array array;
    bool good = ox_npy_read(read_entry, &e, label, bytes_in(zip, index), &array, err);
    zip_fclose(e.file);
    if (!good) {
        return false;
    }
    array.name = ox_cli_copy(name, err);
    if (!array.name) {
        ox_array_free(&array);
        return false;
    }
    return ox_arrays_add(arrays, &array, err);
}

static bool read_all(zip_t *zip, const char *path, ox_arrays *arrays, ox_error *err)
{
    zip_int64_t count = zip_get_num_entries(zip, 0);
    bool good = count > 0 || ox_cli_error(err, OX_INVALID, "%s: no arrays in it", path);
    good = good && check_overlap(zip, (zip_uint64_t)count, path, err);
    for (zip_uint64_t i = 0; good && i < (zip_uint64_t)count; i++) {
        const char *file = zip_get_name(zip, i, 0);
        if (!file) {
            return ox_cli_error(err, OX_INVALID, "%s: %s", path, zip_strerror(zip));
        }
        if (!ox_cli_has_suffix(file, ".npy")) {
            return ox_cli_error(err, OX_INVALID, "%s: entry \"%s\" is not a .npy", path, file);
        }
        char *name = ox_cli_format(err, "%.*s", (int)(strlen(file) - 4), file);
        char *label = ox_cli_format(err, "%s: %s", path, file);
        good = name && label && read_array(zip, i, name, label, arrays, err);
        free(name);
        free(label);
    }
    return good;
}

/* Opens the archive in the file, or in `bytes` where they were read already. */
static zip_t *open_archive(const char *path, const ox_bytes *bytes, ox_error *err)
{
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *source = bytes ? zip_source_buffer_create(bytes->data, bytes->size, 0, &error)
                                 : zip_source_file_create(path, 0, -1, &error);
    zip_t *zip = source ? zip_open_from_source(source, ZIP_RDONLY, &error) : NULL;
    int code = zip_error_code_zip(&error);
    errno = code == ZIP_ER_NOENT    ? ENOENT
            : code == ZIP_ER_MEMORY ? ENOMEM
                                    : zip_error_code_system(&error);
    if (zip) {
        return zip;
    }
    zip_source_free(source);
    if (code == ZIP_ER_NOZIP || code == ZIP_ER_INCONS) {
        ox_cli_error(err, OX_INVALID, "%s: not a .npz file", path);
    } else if (errno) {
        ox_cli_system_error(err, path, "read");
    } else {
        ox_cli_error(err, OX_IO, "%s: cannot read: %s", path, zip_error_strerror(&error));
    }
    zip_error_fini(&error);
    return NULL;
}

static bool read_archive(const char *path, const ox_bytes *bytes, ox_arrays *arrays, ox_error *err)
{
    zip_t *zip = open_archive(path, bytes, err);
    bool good = zip && read_all(zip, path, arrays, err);
    if (zip) {
        zip_discard(zip);
    }
    if (!good) {
        ox_arrays_free(arrays);
    }
    return good;
}

bool ox_npz_read(const char *path, const ox_bytes *bytes, ox_arrays *arrays, ox_error *err)
{
    *arrays = (ox_arrays){NULL, 0};
    if (bytes || !ox_cli_is_stream(path)) {
        return read_archive(path, bytes, arrays, err);
    }
    ox_bytes all; /* what is no file cannot be sought in */
    all.data = ox_cli_read_file(path, &all.size, err);
    bool good = all.data && read_archive(path, &all, arrays, err);
    free(all.data);
    return good;
}

/* ---- writing --------------------------------------------------------------------------- */

static bool add_array(zip_t *zip, const ox_array *array, char *header, bool compress, ox_error *err)
{
    size_t header_size = ox_npy_header(array, header);
    if (!header_size) {
        return ox_cli_error(err, OX_UNSUPPORTED, "\"%s\": %s has no .npy spelling", array->name,
                            ox_type_name(array->type));
    }
    size_t bytes = ox_array_elements(array, 0) * ox_type_size(array->type);
    zip_buffer_fragment_t fragments[2] = {
        {.data = (zip_uint8_t *)header, .length = header_size},
        {.data = array->data, .length = bytes},
    };
    char *name = ox_cli_format(err, "%s.npy", array->name);
    if (!name) {
        return false;
    }
    zip_source_t *source = zip_source_buffer_fragment(zip, fragments, 2, 0);
    zip_int64_t index = source ? zip_file_add(zip, name, source, ZIP_FL_ENC_UTF_8) : -1;
    free(name);
    if (index < 0) {
        zip_source_free(source);
        return ox_cli_error(err, OX_IO, "\"%s\": %s", array->name, zip_strerror(zip));
    }
    /* A fixed time, the first that zip knows, keeps equal results equal files. */
    int method = compress ? ZIP_CM_DEFLATE : ZIP_CM_STORE;
    if (zip_file_set_dostime(zip, (zip_uint64_t)index, 0, 33, 0) != 0 ||
        zip_set_file_compression(zip, (zip_uint64_t)index, method, 1) != 0) {
        return ox_cli_error(err, OX_IO, "\"%s\": %s", array->name, zip_strerror(zip));
    }
    return true;
}

/* A stream as libzip wants it. */
typedef struct target {
    FILE *file;
    zip_error_t error;
} target;

static zip_int64_t seek_target(target *t, void *data, zip_uint64_t size)
{
    zip_int64_t at = ftello(t->file);
    zip_int64_t to =
        at < 0 ? -1
               : zip_source_seek_compute_offset((zip_uint64_t)at, INT64_MAX, data, size, &t->error);
    return to < 0 || fseeko(t->file, (off_t)to, SEEK_SET) ? -1 : 0;
}

static zip_int64_t write_target(void *user, void *data, zip_uint64_t size, zip_source_cmd_t command)
{
    target *t = user;
    zip_int64_t done = 0;
    errno = 0;
    switch (command) {
    case ZIP_SOURCE_SUPPORTS: return ZIP_SOURCE_SUPPORTS_WRITABLE;
    case ZIP_SOURCE_ERROR: return zip_error_to_data(&t->error, data, size);
    case ZIP_SOURCE_STAT: /* there is none yet */
    case ZIP_SOURCE_OPEN: zip_error_set(&t->error, ZIP_ER_READ, ENOENT); return -1;
    case ZIP_SOURCE_WRITE:
        done = fwrite(data, 1, (size_t)size, t->file) == size ? (zip_int64_t)size : -1;
        break;
    case ZIP_SOURCE_SEEK_WRITE: done = seek_target(t, data, size); break;
    case ZIP_SOURCE_TELL_WRITE: done = ftello(t->file); break;
    default: break;
    }
    if (done < 0) {
        zip_error_set(&t->error, ZIP_ER_WRITE, errno);
    }
    return done;
}

/* Writes the archive; messages speak of `path`. */
static bool write_archive(FILE *file, const char *path, const ox_arrays *arrays, bool compress,
                          ox_error *err)
{
    /* libzip reads the headers when it closes. */
    char *headers = ox_cli_alloc(arrays->count, OX_NPY_HEADER_MAX, err);
    if (!headers) {
        return false;
    }
    target t = {.file = file};
    zip_error_t error;
    zip_error_init(&t.error);
    zip_error_init(&error);
    zip_source_t *source = zip_source_function_create(write_target, &t, &error);
    zip_t *zip = source ? zip_open_from_source(source, ZIP_CREATE | ZIP_TRUNCATE, &error) : NULL;
    bool good = zip || ox_cli_error(err, OX_IO, "%s: %s", path, zip_error_strerror(&error));
    if (!zip) {
        zip_source_free(source);
    }
    for (size_t i = 0; good && i < arrays->count; i++) {
        good = add_array(zip, &arrays->items[i], headers + i * OX_NPY_HEADER_MAX, compress, err);
    }
    if (good && zip_close(zip) != 0) {
        errno = zip_error_code_system(zip_get_error(zip));
        good = errno > 0 ? ox_cli_system_error(err, path, "write")
                         : ox_cli_error(err, OX_IO, "%s: %s", path, zip_strerror(zip));
    } else if (good) {
        zip = NULL;
    }
    if (zip) {
        zip_discard(zip);
    }
    zip_error_fini(&t.error);
    zip_error_fini(&error);
    free(headers);
    return good;
}

static bool copy_file(FILE *from, const char *path, FILE *to, ox_error *err)
{
    char block[1 << 16];
    bool good = fseek(from, 0, SEEK_SET) == 0;
    size_t got = 0;
    do {
        got = good ? fread(block, 1, sizeof block, from) : 0;
    } while (got > 0 && fwrite(block, 1, got, to) == got);
    return (good && !ferror(from)) || ox_cli_system_error(err, path, "read");
}

/* libzip needs a file to seek in: for pipes and devices the archive is made in one that has no name
 * any more. */
static bool write_through(FILE *to, const ox_arrays *arrays, bool compress, ox_error *err)
{
    const char *path = ox_os_temporary();
    int fd = ox_os_open_nameless(path);
    FILE *file = fd >= 0 ? fdopen(fd, "w+b") : NULL;
    bool good = file || ox_cli_system_error(err, path, "write");
    good = good && write_archive(file, path, arrays, compress, err) &&
           (!fflush(file) || ox_cli_system_error(err, path, "write")) &&
           copy_file(file, path, to, err);
    if (file) {
        fclose(file);
    } else if (fd >= 0) {
        ox_os_close(fd);
    }
    return good;
}

bool ox_npz_write(const char *path, const ox_arrays *arrays, bool compress, ox_error *err)
{
    ox_sheet out;
    if (!ox_sheet_begin(&out, path, err)) {
        return false;
    }
    bool good = out.direct ? write_through(out.file, arrays, compress, err)
                           : write_archive(out.file, path, arrays, compress, err);
    return ox_sheet_end(&out, good, err);
}
