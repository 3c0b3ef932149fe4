/* .npz through libzip, which reads stored and deflated entries and checks their sums. */
#include "npz.h"

#include "npy.h"
#include "output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
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
    for (zip_uint64_t i = 0; good && i < (zip_uint64_t)count; i++) {
        const char *file = zip_get_name(zip, i, 0);
        if (!file || !ox_cli_has_suffix(file, ".npy")) {
            return ox_cli_error(err, OX_INVALID, "%s: entry \"%s\" is not a .npy", path,
                                file ? file : "");
        }
        char *name = ox_cli_format(err, "%.*s", (int)(strlen(file) - 4), file);
        char *label = ox_cli_format(err, "%s: %s", path, file);
        good = name && label && read_array(zip, i, name, label, arrays, err);
        free(name);
        free(label);
    }
    return good;
}

bool ox_npz_read(const char *path, ox_arrays *arrays, ox_error *err)
{
    *arrays = (ox_arrays){NULL, 0};
    int code = 0;
    zip_t *zip = zip_open(path, ZIP_RDONLY, &code);
    if (!zip) {
        if (code == ZIP_ER_NOZIP || code == ZIP_ER_INCONS) {
            return ox_cli_error(err, OX_INVALID, "%s: not a .npz file", path);
        }
        errno = code == ZIP_ER_NOENT ? ENOENT : errno;
        return ox_cli_system_error(err, path, "read");
    }
    bool good = read_all(zip, path, arrays, err);
    zip_discard(zip);
    if (!good) {
        ox_arrays_free(arrays);
    }
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
    zip_file_set_dostime(zip, (zip_uint64_t)index, 0, 33, 0);
    zip_set_file_compression(zip, (zip_uint64_t)index, compress ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 1);
    return true;
}

/* Writes the archive to `path`; messages speak of `shown`. */
static bool write_archive(const char *path, const char *shown, const ox_arrays *arrays,
                          bool compress, ox_error *err)
{
    /* libzip reads the headers when it closes. */
    char *headers = ox_cli_alloc(arrays->count, OX_NPY_HEADER_MAX, err);
    if (!headers) {
        return false;
    }
    int code = 0;
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);
    bool good = zip != NULL;
    if (!good) {
        ox_cli_system_error(err, shown, "write");
    }
    for (size_t i = 0; good && i < arrays->count; i++) {
        good = add_array(zip, &arrays->items[i], headers + i * OX_NPY_HEADER_MAX, compress, err);
    }
    if (good && zip_close(zip) != 0) {
        errno = zip_error_code_system(zip_get_error(zip));
        good = errno > 0 ? ox_cli_system_error(err, shown, "write")
                         : ox_cli_error(err, OX_IO, "%s: %s", shown, zip_strerror(zip));
    } else if (good) {
        zip = NULL;
    }
    if (zip) {
        zip_discard(zip);
    }
    free(headers);
    return good;
}

static bool copy_file(const char *path, FILE *to, ox_error *err)
{
    FILE *from = fopen(path, "rb");
    if (!from) {
        return ox_cli_system_error(err, path, "read");
    }
    char block[1 << 16];
    size_t got;
    while ((got = fread(block, 1, sizeof block, from)) > 0 && fwrite(block, 1, got, to) == got) {
        continue;
    }
    bool good = !ferror(from) || ox_cli_error(err, OX_IO, "%s: cannot be read", path);
    fclose(from);
    return good;
}

/* libzip needs a file to seek in: for pipes and devices the archive is made elsewhere. */
static bool write_through(FILE *to, const ox_arrays *arrays, bool compress, ox_error *err)
{
    const char *folder = getenv("TMPDIR");
    char *path = ox_cli_format(err, "%s/onnxexplainer.XXXXXX", folder ? folder : "/tmp");
    if (!path) {
        return false;
    }
    int fd = mkstemp(path);
    bool good = fd >= 0 || ox_cli_system_error(err, path, "write");
    if (good) {
        close(fd);
        good = write_archive(path, path, arrays, compress, err) && copy_file(path, to, err);
        remove(path);
    }
    free(path);
    return good;
}

bool ox_npz_write(const char *path, const ox_arrays *arrays, bool compress, ox_error *err)
{
    ox_output out;
    if (!ox_output_begin(&out, path, err)) {
        return false;
    }
    bool good = out.beside ? write_archive(out.beside, path, arrays, compress, err)
                           : write_through(out.file, arrays, compress, err);
    return ox_output_end(&out, good, err);
}
