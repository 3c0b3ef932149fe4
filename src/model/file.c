/* Model files: read from files and streams, and written whole or not at all, with the weights in a
 * second file where one cannot hold them, or on request. */
#include "base/check.h"
#include "model/proto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/output.h"
#include "base/table.h"

/* Tensors smaller than this stay in the model; larger than that start on a page. PIECE: bytes that
 * are written before they are dropped from memory. */
enum { EXTERNAL_BYTES = 1024, PAGE_BYTES = 64 * 1024, PAGE = 4096, LINE = 64, PIECE = 4 << 20 };

/* ---- reading ---------------------------------------------------------------------------- */

typedef struct contents {
    uint8_t *data;
    size_t size;
} contents;

/* Reads to the end. Not mapped: a file that is cut meanwhile shall not end the process. */
static bool read_all(ox_arena *a, int fd, size_t expected, contents *out)
{
    size_t room = expected + 1; /* for the read that finds the end */
    uint8_t *data = ox_arena_try_alloc(a, room);
    int64_t got = 1;
    while (data != NULL && got > 0) {
        if (out->size == room) {
            uint8_t *larger = room > SIZE_MAX / 4 ? NULL : ox_arena_try_alloc(a, 2 * room);
            if (larger != NULL) {
                memcpy(larger, data, room);
            }
            data = larger;
            room *= 2;
            continue;
        }
        got = ox_os_read(fd, data + out->size, room - out->size);
        out->size += got > 0 ? (size_t)got : 0;
    }
    errno = data == NULL ? ENOMEM : errno;
    out->data = data;
    return data != NULL && got == 0;
}

static bool load(ox_arena *a, const char *path, contents *out, ox_error *err)
{
    enum { STREAM = 1 << 16 };
    *out = (contents){NULL, 0};
    ox_os_info info;
    int fd = ox_os_open(path);
    bool good = fd >= 0 && ox_os_stat_of(fd, &info);
    if (good) {
        bool known = info.kind == OX_OS_FILE && info.size > 0 && info.size < SIZE_MAX;
        good = read_all(a, fd, known ? (size_t)info.size : STREAM, out);
    }
    if (!good) {
        ox_file_error(err, path, "read", errno);
    }
    if (fd >= 0) {
        ox_os_close(fd);
    }
    return good;
}

/* The folder that a path lies in, in the arena. NULL without memory. */
static char *folder_of(ox_arena *a, const char *path)
{
    const char *slash = ox_os_last_separator(path);
    size_t length = slash == NULL ? 1 : slash == path ? 1 : (size_t)(slash - path);
    char *folder = ox_arena_try_alloc(a, length + 1);
    if (folder != NULL) {
        memcpy(folder, slash == NULL ? "." : path, length);
        folder[length] = '\0';
    }
    return folder;
}

/* External data may also lie beside the file that a linked model really is. */
static char *real_folder_of(ox_arena *a, const char *path)
{
    char real[OX_OS_PATH];
    return ox_os_real_path(path, real) ? folder_of(a, real) : NULL;
}

ox_model *ox_read(const char *path, ox_error *err)
{
    return ox_read_limited(path, 0, err);
}

ox_model *ox_read_limited(const char *path, uint64_t limit, ox_error *err)
{
    if (!ox_check_given("path", path, err)) {
        return NULL;
    }
    ox_arena *a = ox_arena_new();
    char *folder = a == NULL ? NULL : folder_of(a, path);
    if (folder == NULL) {
        ox_arena_free(a);
        ox_error_set(err, OX_MEMORY, "out of memory");
        return NULL;
    }
    contents c;
    ox_model *m = NULL;
    if (load(a, path, &c, err)) {
        ox_error inner = {.code = OX_OK};
        m = ox_parse_linked(c.data, c.size, folder, real_folder_of(a, path), limit, &inner);
        if (m == NULL) {
            ox_error_set(err, inner.code, "%s: %s", path, inner.message);
        }
    }
    ox_arena_free(a);
    return m;
}

/* ---- external data ---------------------------------------------------------------------- */

/* Weights with a place in the second file; those in several places have one entry. */
typedef struct blob {
    const void *data;
    size_t size, offset;
    bool placed;
} blob;

typedef struct job {
    const ox_model *m;
    ox_arena *a;
    char *name; /* of the second file, known when it is written; NULL: there can be none */
    ox_file file;
    blob *blobs;
    size_t blob_count;
    bool split; /* although one file holds it */
    bool external;
} job;

static blob *find_blob(const ox_table *table, uint64_t hash, const ProtobufCBinaryData *raw)
{
    size_t at = OX_TABLE_START;
    for (blob *b; (b = ox_table_next(table, hash, &at)) != NULL;) {
        if (b->data == raw->data && b->size == raw->len) {
            return b;
        }
    }
    return NULL;
}

/* The blob of every tensor that can be moved, NULL for the small. */
static blob **collect(job *j)
{
    ox_table table = {.arena = j->a};
    blob **of = ox_arena_alloc(j->a, j->file.tensor_count, sizeof *of);
    for (size_t i = 0; i < j->file.tensor_count; i++) {
        const Onnx__TensorProto *t = j->file.tensors[i].tensor;
        const ProtobufCBinaryData *raw = &t->raw_data;
        if (!t->has_raw_data || raw->len < EXTERNAL_BYTES) {
            continue;
        }
        uint64_t hash = ox_hash(0, &raw->data, sizeof raw->data);
        of[i] = find_blob(&table, hash, raw);
        if (of[i] == NULL) {
            of[i] = ox_arena_alloc(j->a, 1, sizeof **of);
            *of[i] = (blob){.data = raw->data, .size = raw->len};
            ox_table_add(&table, hash, of[i]);
        }
    }
    return of;
}

static Onnx__StringStringEntryProto *entry(ox_arena *a, const char *key, char *value)
{
    Onnx__StringStringEntryProto *e = ox_proto_new(a, &onnx__string_string_entry_proto__descriptor);
    e->key = ox_arena_string(a, key);
    e->value = value;
    return e;
}

static void move_out(job *j, Onnx__TensorProto *t, const blob *b)
{
    t->has_raw_data = false;
    t->raw_data = (ProtobufCBinaryData){0, NULL};
    t->has_data_location = true;
    t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    t->n_external_data = 3;
    t->external_data = ox_arena_alloc(j->a, 3, sizeof *t->external_data);
    t->external_data[0] = entry(j->a, "location", j->name);
    t->external_data[1] = entry(j->a, "offset", ox_arena_format(j->a, "%zu", b->offset));
    t->external_data[2] = entry(j->a, "length", ox_arena_format(j->a, "%zu", b->size));
}

/* Gives every blob its place, in the order of first use. */
static void lay_out(job *j)
{
    blob **of = collect(j);
    size_t end = 0;
    for (size_t i = 0; i < j->file.tensor_count; i++) {
        blob *b = of[i];
        if (b == NULL) {
            continue;
        }
        if (!b->placed) {
            size_t align = b->size >= PAGE_BYTES ? PAGE : LINE;
            b->offset = (end + align - 1) / align * align;
            end = b->offset + b->size;
            b->placed = true;
            j->blobs = ox_arena_grow(j->a, j->blobs, j->blob_count, sizeof *j->blobs);
            j->blobs[j->blob_count++] = *b;
        }
        move_out(j, j->file.tensors[i].tensor, b);
    }
}

static void prepare(void *user)
{
    job *j = user;
    ox_model_build(j->a, j->m, &j->file);
    ox_model_share(j->a, &j->file);
    const ProtobufCMessage *message = &j->file.proto->base;
    bool too_large = protobuf_c_message_get_packed_size(message) > INT32_MAX;
    if (j->name == NULL && too_large) {
        ox_fail(j->a, OX_UNSUPPORTED, "the model exceeds 2 GB and needs a second file");
    }
    if (j->name != NULL && (too_large || j->split)) {
        lay_out(j);
        if (protobuf_c_message_get_packed_size(message) > INT32_MAX) {
            ox_fail(j->a, OX_UNSUPPORTED, "the model exceeds 2 GB without its weights");
        }
    }
    j->external = j->blob_count > 0;
}

/* ---- writing ---------------------------------------------------------------------------- */

/* A sink that remembers whether it was the one to stop. */
typedef struct watched {
    ox_sink sink;
    void *user;
    bool stopped;
} watched;

static bool watch(void *user, const void *data, size_t size)
{
    watched *w = user;
    w->stopped = !w->sink(w->user, data, size);
    return !w->stopped;
}

bool ox_serialize(const ox_model *model, ox_sink sink, void *user, ox_error *err)
{
    if (!ox_check_given("model", model, err)) {
        return false;
    }
    if (sink == NULL) {
        return ox_error_set(err, OX_ARGUMENT, "sink: none given (NULL)");
    }
    job j = {.m = model, .a = ox_arena_new()};
    if (j.a == NULL) {
        return ox_error_set(err, OX_MEMORY, "out of memory");
    }
    bool good = ox_arena_try(j.a, prepare, &j, err);
    watched w = {sink, user, false};
    if (good && !ox_proto_pack(j.a, model, &j.file.proto->base, watch, &w)) {
        good = w.stopped ? ox_error_set(err, OX_IO, "cannot write the model")
                         : ox_error_set(err, OX_MEMORY, "out of memory");
    }
    ox_arena_free(j.a);
    return good;
}

/* Eight bytes at a time, for many: FNV-1a's product, folded so that high bits reach low ones. */
static uint64_t hash_contents(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    size_t i = 0;
    for (; i + sizeof hash <= size; i += sizeof hash) {
        uint64_t word;
        memcpy(&word, bytes + i, sizeof word);
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    return ox_checksum(hash, bytes + i, size - i);
}

/* Writes contents, dropping them from memory as it goes; false where that fails. */
static bool write_blob(const job *j, ox_output *out, const blob *b, uint64_t *hash)
{
    const unsigned char *bytes = b->data;
    for (size_t at = 0; at < b->size; at += PIECE) {
        size_t size = b->size - at < PIECE ? b->size - at : PIECE;
        if (!ox_output_write_data(out, bytes + at, size)) {
            return false;
        }
        *hash = hash_contents(*hash, bytes + at, size);
        ox_model_drop(j->m, bytes + at, size);
    }
    return true;
}

/* Writes the second file, and puts its name, which comes from its contents, where they are used. */
static bool write_blobs(const job *j, ox_output *out)
{
    static const unsigned char zeros[PAGE] = {0};
    uint64_t hash = OX_CHECKSUM_START;
    size_t end = 0;
    for (size_t i = 0; i < j->blob_count; i++) {
        const blob *b = &j->blobs[i];
        hash = ox_checksum(hash, &b->offset, sizeof b->offset);
        if (!ox_output_write_data(out, zeros, b->offset - end) || !write_blob(j, out, b, &hash)) {
            return false;
        }
        end = b->offset + b->size;
    }
    ox_output_name_data(out, hash);
    strcpy(j->name, out->data_name);
    return true;
}

static bool is_source(const ox_model *m, const ox_os_info *file)
{
    bool found = false;
    for (size_t i = 0; m != NULL && i < m->mapping_count; i++) {
        const ox_mapping *map = &m->mappings[i];
        found = found || (map->path[0] != '\0' && ox_os_same(&map->file, file));
    }
    for (size_t i = 0; m != NULL && i < m->source_count; i++) {
        found = found || is_source(m->sources[i], file);
    }
    return found;
}

bool ox_uses(const ox_model *model, const char *path)
{
    ox_os_info info;
    return path != NULL && ox_os_stat(path, &info) && is_source(model, &info);
}

static bool is_no_source(void *user, const ox_os_info *file)
{
    return !is_source(user, file);
}

static void make_name(void *user)
{
    job *j = user;
    j->name = ox_arena_alloc(j->a, OX_NAME_ROOM, 1);
}

static bool write_model(job *j, ox_output *out, ox_error *err)
{
    ox_error inner = {.code = OX_OK};
    bool has_place = out->folder != NULL, good = true; /* beside a pipe there is none */
    if (has_place) {
        good = ox_arena_try(j->a, make_name, j, &inner);
    }
    if (has_place && good) {
        ox_output_name_data(out, 0); /* of the length that the name will have */
        strcpy(j->name, out->data_name);
        out->data_name[0] = '\0';
    }
    if (!good || !ox_arena_try(j->a, prepare, j, &inner)) {
        return ox_error_set(err, inner.code, "%s: %s", out->path, inner.message);
    }
    if (j->external && (!ox_output_add_data(out, err) || !write_blobs(j, out))) {
        return false;
    }
    return ox_proto_pack(j->a, j->m, &j->file.proto->base, ox_output_write, out) ||
           ox_error_set(err, OX_MEMORY, "out of memory");
}

static bool write_file(const ox_model *model, const char *path, bool split, bool temporary,
                       ox_error *err)
{
    if (ox_uses(model, path)) {
        return ox_error_set(err, OX_ARGUMENT, "%s: holds weights of the model that is written",
                            path);
    }
    job j = {.m = model, .a = ox_arena_new(), .split = split};
    if (j.a == NULL) {
        return ox_error_set(err, OX_MEMORY, "out of memory");
    }
    ox_output *out = ox_output_open(path, err);
    bool good = out != NULL;
    if (good) {
        out->temporary = temporary;
        out->may_go = is_no_source;
        out->user = (void *)(uintptr_t)model;
        good = ox_output_close(out, write_model(&j, out, err), err);
    }
    ox_arena_free(j.a);
    return good;
}

static bool write_given(const ox_model *model, const char *path, bool split, ox_error *err)
{
    return ox_check_given("model", model, err) && ox_check_given("path", path, err) &&
           write_file(model, path, split, false, err);
}

bool ox_write(const ox_model *model, const char *path, ox_error *err)
{
    return write_given(model, path, false, err);
}

bool ox_write_split(const ox_model *model, const char *path, ox_error *err)
{
    return write_given(model, path, true, err);
}

bool ox_write_temporary(const ox_model *model, const char *path, ox_error *err)
{
    return write_file(model, path, false, true, err);
}
