/* Output files that appear whole or not at all. One is written beside its place, synced, and
 * renamed to it. While it is written it is locked; a lock ends with the process, so that the next
 * run for the same path can tell what a killed one left behind, and removes it.
 *
 * A model with a second file is replaced by one rename all the same: the second file is named after
 * its contents, so that the model before keeps its own until the new one stands. */
#include "base/output.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/table.h"

/* PIECE: bytes between two looks at the signals. */
enum { LINKS = 40, PIECE = 1 << 20, ATTEMPTS = 1000, HASH_DIGITS = 16 };

/* Longest of ".HASH.data" and ".PID-N.tmp". */
enum { SUFFIX = 1 + HASH_DIGITS + 5, NAME_LIMIT = 255, STEM_LIMIT = NAME_LIMIT - SUFFIX };

bool ox_file_error(ox_error *err, const char *path, const char *verb, int number)
{
    char reason[128];
    ox_os_reason(number, reason, sizeof reason);
    reason[0] = (char)tolower((unsigned char)reason[0]);
    ox_code code = number == ENOMEM ? OX_MEMORY : OX_IO;
    return ox_error_set(err, code, "%s: cannot %s: %s", path[0] == '\0' ? "\"\"" : path, verb,
                        reason);
}

/* Keeps the first reason; returns false. */
static bool fail(ox_output *o, int number)
{
    o->number = o->number == 0 ? number : o->number;
    return false;
}

/* Whether `name` is that file still. */
static bool is_there(const ox_output *o, int fd, const char *name)
{
    ox_os_info mine, there;
    return ox_os_stat_of(fd, &mine) && ox_os_folder_entry(o->folder, name, &there) &&
           ox_os_same(&mine, &there);
}

/* ---- what runs before have left --------------------------------------------------------- */

/* STEM.PID-N.tmp */
static bool is_temporary(const ox_output *o, const char *name)
{
    size_t length = strlen(o->stem);
    if (strncmp(name, o->stem, length) != 0 || name[length] != '.') {
        return false;
    }
    const char *pid = name + length + 1, *dash = pid + strspn(pid, "0123456789");
    const char *end = dash[0] == '-' ? dash + 1 + strspn(dash + 1, "0123456789") : dash;
    return dash > pid && end > dash + 1 && strcmp(end, ".tmp") == 0;
}

/* STEM.HASH.data */
static bool is_data(const ox_output *o, const char *name)
{
    size_t length = strlen(o->stem);
    return strncmp(name, o->stem, length) == 0 && name[length] == '.' &&
           strspn(name + length + 1, "0123456789abcdef") == HASH_DIGITS &&
           strcmp(name + length + 1 + HASH_DIGITS, ".data") == 0;
}

/* Removes a file unless a run is at it. Data goes as long as the model in place is this run's: who
 * writes data holds its lock until the model stands, so what can be locked now is nobody's. */
static void remove_left(const ox_output *o, const char *name, bool data)
{
    ox_os_info info;
    int fd = ox_os_folder_read(o->folder, name);
    if (fd < 0) {
        return;
    }
    if (ox_os_lock_unused(fd) && ox_os_stat_of(fd, &info) && info.kind == OX_OS_FILE &&
        is_there(o, fd, name) &&
        (!data || (is_there(o, o->main.fd, o->name) && o->may_go(o->user, &info)))) {
        ox_os_folder_remove(o->folder, name);
    }
    ox_os_close(fd);
}

static void sweep(const ox_output *o, bool data)
{
    ox_os_list *list = ox_os_list_of(o->folder);
    for (const char *name; list != NULL && (name = ox_os_list_next(list)) != NULL;) {
        if (data ? is_data(o, name) && strcmp(name, o->data_name) != 0 : is_temporary(o, name)) {
            remove_left(o, name, data);
        }
    }
    ox_os_list_close(list);
}

/* ---- opening ---------------------------------------------------------------------------- */

/* The descriptor that a path like /dev/stdout stands for, -1 for others. To open it would begin a
 * file anew that a shell has redirected to. */
static int own_descriptor(const char *path)
{
    static const char *const folders[] = {"/dev/fd/", "/proc/self/fd/"};
    if (strcmp(path, "/dev/stdout") == 0) {
        return OX_OS_OUTPUT;
    }
    if (strcmp(path, "/dev/stderr") == 0) {
        return OX_OS_ERRORS;
    }
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        size_t length = strlen(folders[i]);
        if (strncmp(path, folders[i], length) != 0) {
            continue;
        }
        size_t digits = strspn(path + length, "0123456789");
        return digits > 0 && digits < 7 && path[length + digits] == '\0' ? atoi(path + length) : -1;
    }
    return -1;
}

bool ox_output_is_direct(const char *path)
{
    ox_os_info info;
    return path != NULL &&
           (own_descriptor(path) >= 0 || (ox_os_stat(path, &info) && info.kind != OX_OS_FILE));
}

static bool open_direct(ox_output *o)
{
    int own = own_descriptor(o->path);
    o->main.fd = own >= 0 ? ox_os_duplicate(own) : ox_os_open_existing(o->path);
    return o->main.fd >= 0 || fail(o, errno);
}

/* Follows the links at the end of o->path, also to what does not exist; false for a circle. */
static bool follow_links(ox_output *o)
{
    const char *path = o->path;
    for (int i = 0; i < LINKS; i++) {
        const char *slash = ox_os_last_separator(path);
        size_t length = slash == NULL ? 0 : (size_t)(slash + 1 - path);
        o->folder_path = length == 0 ? ox_arena_string(o->arena, ".")
                                     : ox_arena_copy(o->arena, path, length + 1, 1);
        o->folder_path[length == 0 ? 1 : length] = '\0';
        o->name = ox_arena_string(o->arena, path + length);
        char to[OX_OS_PATH];
        if (!ox_os_read_link(path, to)) {
            return errno == EINVAL || errno == ENOENT || fail(o, errno);
        }
        bool whole = ox_os_is_absolute(to) || length == 0;
        path = ox_arena_format(o->arena, "%s%s", whole ? "" : o->folder_path, to);
    }
    return fail(o, ELOOP);
}

static void find_place(void *user)
{
    ox_output *o = user;
    o->path = ox_arena_string(o->arena, o->path);
    o->main.buffer = ox_arena_alloc(o->arena, OX_OUTPUT_BUFFER, 1);
    if (!ox_output_is_direct(o->path)) {
        follow_links(o);
    }
}

/* Names get endings, for which there may be no room. */
static bool choose_stem(ox_output *o)
{
    size_t limit = ox_os_folder_name_limit(o->folder);
    size_t most = limit > 0 && limit < NAME_LIMIT ? limit : NAME_LIMIT;
    size_t length = strlen(o->name);
    if (length > most) {
        return fail(o, ENAMETOOLONG);
    }
    if (length + SUFFIX <= most) {
        memcpy(o->stem, o->name, length + 1);
    } else {
        uint64_t sum = ox_checksum(OX_CHECKSUM_START, o->name, length);
        snprintf(o->stem, sizeof o->stem, "%016llx", (unsigned long long)sum);
    }
    return true;
}

/* Makes the file under a name that no other has, and locks it. */
static bool open_beside(ox_output *o, ox_output_file *f)
{
    ox_os_info info;
    for (int i = 0; i < ATTEMPTS; i++) {
        snprintf(f->beside, sizeof f->beside, "%.*s.%ld-%d.tmp", STEM_LIMIT, o->stem,
                 ox_os_process(), i);
        int fd = ox_os_folder_create(o->folder, f->beside, o->exists);
        if (fd < 0 && errno == EEXIST) {
            continue;
        }
        if (fd < 0) {
            f->beside[0] = '\0';
            return fail(o, errno);
        }
        ox_os_lock_used(fd);
        if (ox_os_stat_of(fd, &info) && info.links == 0) { /* removed before it was locked */
            ox_os_close(fd);
            continue;
        }
        f->fd = fd;
        return !o->exists || ox_os_keep_permissions(fd, &o->before) || fail(o, errno);
    }
    f->beside[0] = '\0';
    return fail(o, EEXIST);
}

static bool open_place(ox_output *o)
{
    if (o->name[0] == '\0') {
        return fail(o, o->path[0] == '\0' ? ENOENT : EISDIR);
    }
    o->folder = ox_os_folder_open(o->folder_path);
    if (o->folder == NULL) {
        return fail(o, errno);
    }
    o->exists = ox_os_folder_entry(o->folder, o->name, &o->before);
    if (!choose_stem(o)) {
        return false;
    }
    sweep(o, false);
    return open_beside(o, &o->main);
}

ox_output *ox_output_open(const char *path, ox_error *err)
{
    if (!ox_check_given("path", path, err)) {
        return NULL;
    }
    ox_arena *a = ox_arena_new();
    ox_output *o = a == NULL ? NULL : ox_arena_try_alloc(a, sizeof *o);
    if (o == NULL) {
        ox_arena_free(a);
        ox_error_set(err, OX_MEMORY, "out of memory");
        return NULL;
    }
    /* The path is the caller's until find_place has copied it. */
    *o = (ox_output){.arena = a, .path = (char *)(uintptr_t)path};
    o->main.fd = o->data.fd = -1;
    if (!ox_arena_try(a, find_place, o, err)) {
        ox_arena_free(a);
        return NULL;
    }
    bool good = o->number == 0 && (o->name == NULL ? open_direct(o) : open_place(o));
    if (!good) {
        ox_output_close(o, false, err);
        return NULL;
    }
    return o;
}

/* ---- writing ---------------------------------------------------------------------------- */

static bool write_out(ox_output *o, int fd, const unsigned char *data, size_t size)
{
    while (size > 0 && o->number == 0) {
        if (ox_os_is_to_end()) {
            return fail(o, EINTR);
        }
        int64_t done = ox_os_write(fd, data, size < PIECE ? size : PIECE);
        if (done < 0 && errno != EINTR) {
            return fail(o, errno);
        }
        data += done > 0 ? done : 0;
        size -= done > 0 ? (size_t)done : 0;
    }
    return o->number == 0;
}

static bool flush(ox_output *o, ox_output_file *f)
{
    size_t used = f->used;
    f->used = 0;
    return write_out(o, f->fd, f->buffer, used);
}

static bool put(ox_output *o, ox_output_file *f, const void *data, size_t size)
{
    if (size > OX_OUTPUT_BUFFER - f->used && !flush(o, f)) {
        return false;
    }
    if (size > OX_OUTPUT_BUFFER - f->used) {
        return write_out(o, f->fd, data, size);
    }
    if (size > 0) {
        memcpy(f->buffer + f->used, data, size);
        f->used += size;
    }
    return o->number == 0;
}

bool ox_output_write(void *output, const void *data, size_t size)
{
    ox_output *o = output;
    return o != NULL && (data != NULL || size == 0 || fail(o, EFAULT)) &&
           put(o, &o->main, data, size);
}

bool ox_output_seek(ox_output *o, uint64_t position)
{
    return o != NULL && flush(o, &o->main) && (ox_os_seek(o->main.fd, position) || fail(o, errno));
}

/* ---- the data of a model ---------------------------------------------------------------- */

bool ox_output_add_data(ox_output *o, ox_error *err)
{
    o->data.buffer = ox_arena_try_alloc(o->arena, OX_OUTPUT_BUFFER);
    if (o->data.buffer == NULL) {
        return ox_error_set(err, OX_MEMORY, "out of memory");
    }
    return open_beside(o, &o->data) || ox_file_error(err, o->path, "write", o->number);
}

bool ox_output_write_data(void *output, const void *data, size_t size)
{
    ox_output *o = output;
    return put(o, &o->data, data, size);
}

void ox_output_name_data(ox_output *o, uint64_t hash)
{
    snprintf(o->data_name, sizeof o->data_name, "%.*s.%016llx.data", STEM_LIMIT, o->stem,
             (unsigned long long)hash);
}

/* ---- the end ---------------------------------------------------------------------------- */

static bool sync_out(ox_output *o, int fd)
{
    return o->temporary || ox_os_sync(fd) || fail(o, errno);
}

static bool rename_file(ox_output *o, ox_output_file *f, const char *name)
{
    if (!ox_os_folder_rename(o->folder, f->beside, name)) {
        return fail(o, errno);
    }
    f->beside[0] = '\0';
    return o->temporary || ox_os_folder_sync(o->folder) || fail(o, errno);
}

/* Data first: until the model follows, the one before has its own under another name. Where that
 * is the same name the contents are the same, and the lock keeps another run, which may know no
 * model that uses it any more, from removing it meanwhile. */
static bool rename_both(ox_output *o)
{
    int held = -1;
    if (o->data.fd >= 0) {
        held = ox_os_folder_read(o->folder, o->data_name);
        if (held >= 0) {
            ox_os_lock_used(held);
        }
    }
    bool good = (o->data.fd < 0 || rename_file(o, &o->data, o->data_name)) &&
                rename_file(o, &o->main, o->name);
    bool is_new = held < 0 && o->data.fd >= 0 && o->data.beside[0] == '\0';
    if (o->main.beside[0] != '\0' && is_new && is_there(o, o->data.fd, o->data_name)) {
        ox_os_folder_remove(o->folder, o->data_name); /* no model has come to use it */
    }
    if (held >= 0) {
        ox_os_close(held);
    }
    return good;
}

static bool put_in_place(ox_output *o)
{
    ox_output_file *files[] = {&o->data, &o->main};
    for (size_t i = 0; i < 2; i++) {
        ox_output_file *f = files[i];
        if (f->fd >= 0 && (!flush(o, f) || (f->beside[0] != '\0' && !sync_out(o, f->fd)))) {
            return false;
        }
    }
    if (o->folder == NULL) {
        return true;
    }
    if (ox_os_is_to_end()) {
        return fail(o, EINTR);
    }
    if (!rename_both(o)) {
        return false;
    }
    if (o->may_go != NULL) {
        sweep(o, true);
    }
    return true;
}

static void leave(ox_output *o, ox_output_file *f)
{
    if (f->beside[0] != '\0') {
        ox_os_folder_remove(o->folder, f->beside);
    }
    if (f->fd >= 0 && !ox_os_close(f->fd) && o->folder == NULL) {
        fail(o, errno);
    }
}

bool ox_output_close(ox_output *o, bool keep, ox_error *err)
{
    if (!ox_check_given("output", o, err)) {
        return false;
    }
    bool good = keep && o->number == 0 && put_in_place(o);
    leave(o, &o->data);
    leave(o, &o->main);
    ox_os_folder_close(o->folder);
    if (o->number != 0) {
        good = ox_file_error(err, o->path, "write", o->number);
    }
    ox_arena_free(o->arena);
    return good;
}
