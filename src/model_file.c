/* Model files: mapped for reading, and written whole or not at all, with the weights in a second
 * file where one cannot or should not hold them. */
#define _XOPEN_SOURCE 700 /* realpath */
#include "model_proto.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "table.h"

/* Tensors smaller than this stay in the model; larger than that start on a page. */
enum { EXTERNAL_BYTES = 1024, PAGE_BYTES = 64 * 1024, PAGE = 4096, LINE = 64 };

/* Weights used in the main graph and in a body are worth a second file from here on. */
enum { DUPLICATE_BYTES = 1 << 20 };

/* Kept activations of references are from here on: mapped, they are in memory once. */
enum { KEPT_BYTES = 16 << 20 };

/* "PATH: cannot VERB: no space left on device". */
static bool file_error(ox_error *err, const char *path, const char *verb, int number)
{
    char reason[128] = "";
    if (strerror_r(number, reason, sizeof reason) != 0) {
        snprintf(reason, sizeof reason, "error %d", number);
    }
    reason[0] = (char)tolower((unsigned char)reason[0]);
    ox_code code = number == ENOMEM ? OX_MEMORY : OX_IO;
    return ox_error_set(err, code, "%s: cannot %s: %s", path, verb, reason);
}

/* ---- reading ---------------------------------------------------------------------------- */

typedef struct contents {
    void *data;
    size_t size;
    void *mapping; /* NULL where it was not mapped */
} contents;

/* Pipes and the like. */
static bool read_stream(ox_arena *a, int fd, contents *out)
{
    size_t room = 1 << 16;
    uint8_t *data = ox_arena_try_alloc(a, room);
    ssize_t got = 1;
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
        got = read(fd, data + out->size, room - out->size);
        out->size += got > 0 ? (size_t)got : 0;
    }
    errno = data == NULL ? ENOMEM : errno;
    out->data = data;
    return data != NULL && got == 0;
}

static bool load(ox_arena *a, const char *path, contents *out, ox_error *err)
{
    *out = (contents){NULL, 0, NULL};
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool good = fd >= 0 && fstat(fd, &info) == 0;
    if (good && S_ISREG(info.st_mode) && info.st_size > 0) {
        out->size = (size_t)info.st_size;
        out->data = mmap(NULL, out->size, PROT_READ, MAP_PRIVATE, fd, 0);
        good = out->data != MAP_FAILED;
        out->mapping = good ? out->data : NULL;
    } else if (good) {
        good = read_stream(a, fd, out);
    }
    if (!good) {
        file_error(err, path, "read", errno);
    }
    if (fd >= 0) {
        close(fd);
    }
    return good;
}

/* The folder that a path lies in, in the arena. NULL without memory. */
static char *folder_of(ox_arena *a, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash == NULL ? 1 : slash == path ? 1 : (size_t)(slash - path);
    char *folder = ox_arena_try_alloc(a, length + 1);
    if (folder != NULL) {
        memcpy(folder, slash == NULL ? "." : path, length);
        folder[length] = '\0';
    }
    return folder;
}

ox_model *ox_read(const char *path, ox_error *err)
{
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
        m = ox_parse(c.data, c.size, folder, &inner);
        if (m == NULL) {
            ox_error_set(err, inner.code, "%s: %s", path, inner.message);
        }
        if (c.mapping != NULL) {
            munmap(c.mapping, c.size);
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
    const ox_graph *graph; /* that has it first */
} blob;

typedef struct job {
    const ox_model *m;
    ox_arena *a;
    const char *name; /* of the second file; NULL: there can be none */
    ox_file file;
    blob *blobs;
    size_t blob_count;
    bool external;
} job;

static bool has_external_source(const ox_model *m)
{
    for (; m != NULL; m = m->source) {
        if (m->mapping_count > 0) {
            return true;
        }
    }
    return false;
}

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

/* The blob of every tensor that can be moved, NULL for the small; and how many bytes there are
 * in a body as well as outside of it. */
static blob **collect(job *j, size_t *duplicates)
{
    ox_table table = {.arena = j->a};
    blob **of = ox_arena_alloc(j->a, j->file.tensor_count, sizeof *of);
    *duplicates = 0;
    for (size_t i = 0; i < j->file.tensor_count; i++) {
        const ox_placed *p = &j->file.tensors[i];
        const ProtobufCBinaryData *raw = &p->tensor->raw_data;
        if (!p->tensor->has_raw_data || raw->len < EXTERNAL_BYTES) {
            continue;
        }
        uint64_t hash = ox_hash(OX_HASH_START, &raw->data, sizeof raw->data);
        of[i] = find_blob(&table, hash, raw);
        if (of[i] == NULL) {
            of[i] = ox_arena_alloc(j->a, 1, sizeof **of);
            *of[i] = (blob){.data = raw->data, .size = raw->len, .graph = p->graph};
            ox_table_add(&table, hash, of[i]);
        } else if (of[i]->graph != p->graph) {
            *duplicates += raw->len;
        }
    }
    return of;
}

static Onnx__StringStringEntryProto *entry(ox_arena *a, const char *key, const char *value)
{
    Onnx__StringStringEntryProto *e = ox_proto_new(a, &onnx__string_string_entry_proto__descriptor);
    e->key = ox_arena_string(a, key);
    e->value = ox_arena_string(a, value);
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
static void lay_out(job *j, blob **of)
{
    size_t end = 0;
    for (size_t i = 0; i < j->file.tensor_count; i++) {
        blob *b = of[i];
        if (b == NULL) {
            continue;
        }
        bool is_new = b->graph != NULL;
        if (is_new) {
            size_t align = b->size >= PAGE_BYTES ? PAGE : LINE;
            b->offset = (end + align - 1) / align * align;
            end = b->offset + b->size;
            b->graph = NULL;
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
    size_t duplicates = 0;
    blob **of = collect(j, &duplicates);
    const ProtobufCMessage *message = &j->file.proto->base;
    bool too_large = protobuf_c_message_get_packed_size(message) > INT32_MAX;
    if (j->name == NULL && too_large) {
        ox_fail(j->a, OX_UNSUPPORTED, "the model exceeds 2 GB and needs a second file");
    }
    bool better_outside = duplicates > DUPLICATE_BYTES || j->m->kept_bytes > KEPT_BYTES;
    if (j->name != NULL && (too_large || better_outside || has_external_source(j->m))) {
        lay_out(j, of);
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
    job j = {.m = model, .a = ox_arena_new()};
    if (j.a == NULL) {
        return ox_error_set(err, OX_MEMORY, "out of memory");
    }
    bool good = ox_arena_try(j.a, prepare, &j, err);
    watched w = {sink, user, false};
    if (good && !ox_proto_pack(j.a, &j.file.proto->base, watch, &w)) {
        good = w.stopped ? ox_error_set(err, OX_IO, "cannot write the model")
                         : ox_error_set(err, OX_MEMORY, "out of memory");
    }
    ox_arena_free(j.a);
    return good;
}

static bool to_file(void *user, const void *data, size_t size)
{
    return fwrite(data, 1, size, user) == size;
}

static bool write_blobs(const job *j, FILE *f)
{
    static const unsigned char zeros[PAGE] = {0};
    size_t end = 0;
    for (size_t i = 0; i < j->blob_count; i++) {
        const blob *b = &j->blobs[i];
        if (!to_file(f, zeros, b->offset - end) || !to_file(f, b->data, b->size)) {
            return false;
        }
        end = b->offset + b->size;
    }
    return true;
}

/* Writes the model, or its second file, and closes. False with errno set on failure. */
static bool write_and_close(const job *j, FILE *f, bool blobs)
{
    if (f == NULL) {
        return false;
    }
    errno = 0;
    bool good = blobs ? write_blobs(j, f) : ox_proto_pack(j->a, &j->file.proto->base, to_file, f);
    int number = errno != 0 ? errno : ENOMEM;
    if (fclose(f) != 0) {
        number = good ? errno : number;
        good = false;
    }
    errno = number;
    return good;
}

enum { PATH_ROOM = PATH_MAX + 64 };

/* Writes under another name in the same folder, which is left in `beside`; "" on failure. */
static bool write_beside(const job *j, const char *path, bool blobs, char *beside)
{
    FILE *f = NULL;
    errno = EEXIST;
    for (int i = 0; f == NULL && errno == EEXIST && i < 1000; i++) {
        snprintf(beside, PATH_ROOM, "%s.%ld-%d.tmp", path, (long)getpid(), i);
        f = fopen(beside, "wbx");
    }
    bool made = f != NULL, good = write_and_close(j, f, blobs);
    int number = errno;
    if (made && !good) {
        remove(beside);
    }
    if (!good) {
        beside[0] = '\0';
    }
    errno = number;
    return good;
}

/* Whether the model's weights are mapped from `path`: replacing it would take them from the model
 * that they belong to. */
static bool is_mapped(const ox_model *m, const char *path)
{
    struct stat mine, theirs;
    for (; m != NULL && stat(path, &mine) == 0; m = m->source) {
        for (size_t i = 0; i < m->mapping_count; i++) {
            if (stat(m->mappings[i].path, &theirs) == 0 && theirs.st_dev == mine.st_dev &&
                theirs.st_ino == mine.st_ino) {
                return true;
            }
        }
    }
    return false;
}

/* The second file comes first, so that a model never stands without its weights. */
static bool write_files(const job *j, const char *path, const char *data_path, ox_error *err)
{
    char model[PATH_ROOM] = "", data[PATH_ROOM] = "";
    bool good = (!j->external || write_beside(j, data_path, true, data)) &&
                write_beside(j, path, false, model) &&
                (!j->external || rename(data, data_path) == 0) && rename(model, path) == 0;
    if (good) {
        return true;
    }
    file_error(err, path, "write", errno);
    if (data[0] != '\0') {
        remove(data);
    }
    if (model[0] != '\0') {
        remove(model);
    }
    return false;
}

static bool write_model(job *j, const char *path, ox_error *err)
{
    char target[PATH_MAX], data_path[PATH_ROOM];
    struct stat info;
    bool exists = stat(path, &info) == 0;
    /* Links stay links. */
    if (!exists || realpath(path, target) == NULL) {
        if (strlen(path) >= sizeof target) {
            return file_error(err, path, "write", ENAMETOOLONG);
        }
        snprintf(target, sizeof target, "%s", path);
    }
    bool special = exists && !S_ISREG(info.st_mode);
    const char *slash = strrchr(target, '/');
    snprintf(data_path, sizeof data_path, "%s.data", target);
    j->name = special ? NULL : data_path + (slash == NULL ? 0 : slash + 1 - target);
    ox_error inner = {.code = OX_OK};
    if (!ox_arena_try(j->a, prepare, j, &inner)) {
        return ox_error_set(err, inner.code, "%s: %s", path, inner.message);
    }
    if (special) {
        return write_and_close(j, fopen(path, "wb"), false) ||
               file_error(err, path, "write", errno);
    }
    if (is_mapped(j->m, target) || (j->external && is_mapped(j->m, data_path))) {
        return ox_error_set(err, OX_ARGUMENT, "%s: holds weights of the model that is explained",
                            is_mapped(j->m, target) ? target : data_path);
    }
    return write_files(j, target, data_path, err);
}

bool ox_write(const ox_model *model, const char *path, ox_error *err)
{
    job j = {.m = model, .a = ox_arena_new()};
    if (j.a == NULL) {
        return ox_error_set(err, OX_MEMORY, "out of memory");
    }
    bool good = write_model(&j, path, err);
    ox_arena_free(j.a);
    return good;
}
