/* Output files that appear whole or not at all. One is written beside its place, synced, and
 * renamed to it. While it is written it is locked; a lock ends with the process, so that the next
 * run for the same path can tell what a killed one left behind, and removes it.
 *
 * A model with a second file is replaced by one rename all the same: the second file is named after
 * its contents, so that the model before keeps its own until the new one stands. */
#define _GNU_SOURCE /* flock, O_PATH */
#include "base/output.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/check.h"
#include "base/table.h"

/* PIECE: bytes between two looks at the signals. */
enum { LINKS = 40, PIECE = 1 << 20, ATTEMPTS = 1000, HASH_DIGITS = 16 };

/* Longest of ".HASH.data" and ".PID-N.tmp". */
enum { SUFFIX = 1 + HASH_DIGITS + 5, NAME_LIMIT = 255, STEM_LIMIT = NAME_LIMIT - SUFFIX };

bool ox_file_error(ox_error *err, const char *path, const char *verb, int number)
{
    char reason[128] = "";
    snprintf(reason, sizeof reason, "%s", strerror(number));
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

/* ---- locks ------------------------------------------------------------------------------ */

bool ox_lock_used(int fd)
{
    return flock(fd, LOCK_SH) == 0;
}

bool ox_lock_unused(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB) == 0;
}

/* Whether `name` is that file still. */
static bool is_there(const ox_output *o, int fd, const char *name)
{
    struct stat mine, there;
    return fstat(fd, &mine) == 0 && fstatat(o->folder, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
           mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
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
    struct stat info;
    int fd = openat(o->folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    if (ox_lock_unused(fd) && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
        is_there(o, fd, name) &&
        (!data || (is_there(o, o->main.fd, o->name) && o->may_go(o->user, &info)))) {
        unlinkat(o->folder, name, 0);
    }
    close(fd);
}

static void sweep(const ox_output *o, bool data)
{
    int fd = openat(o->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    if (list == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    for (const struct dirent *e; (e = readdir(list)) != NULL;) {
        if (data ? is_data(o, e->d_name) && strcmp(e->d_name, o->data_name) != 0
                 : is_temporary(o, e->d_name)) {
            remove_left(o, e->d_name, data);
        }
    }
    closedir(list);
}

/* ---- opening ---------------------------------------------------------------------------- */

/* The descriptor that a path like /dev/stdout stands for, -1 for others. To open it would begin a
 * file anew that a shell has redirected to. */
static int own_descriptor(const char *path)
{
    static const char *const folders[] = {"/dev/fd/", "/proc/self/fd/"};
    if (strcmp(path, "/dev/stdout") == 0) {
        return STDOUT_FILENO;
    }
    if (strcmp(path, "/dev/stderr") == 0) {
        return STDERR_FILENO;
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
    struct stat info;
    return path != NULL &&
           (own_descriptor(path) >= 0 || (stat(path, &info) == 0 && !S_ISREG(info.st_mode)));
}

static bool open_direct(ox_output *o)
{
    int own = own_descriptor(o->path);
    o->main.fd =
        own >= 0 ? fcntl(own, F_DUPFD_CLOEXEC, 0) : open(o->path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
    return o->main.fd >= 0 || fail(o, errno);
}

/* Follows the links at the end of o->path, also to what does not exist; false for a circle. */
static bool follow_links(ox_output *o)
{
    const char *path = o->path;
    for (int i = 0; i < LINKS; i++) {
        const char *slash = strrchr(path, '/');
        size_t length = slash == NULL ? 0 : (size_t)(slash + 1 - path);
        o->folder_path = length == 0 ? ox_arena_string(o->arena, ".")
                                     : ox_arena_copy(o->arena, path, length + 1, 1);
        o->folder_path[length == 0 ? 1 : length] = '\0';
        o->name = ox_arena_string(o->arena, path + length);
        char to[PATH_MAX];
        ssize_t size = readlink(path, to, sizeof to - 1);
        if (size < 0) {
            return errno == EINVAL || errno == ENOENT || fail(o, errno);
        }
        to[size] = '\0';
        path = ox_arena_format(o->arena, "%s%s", to[0] == '/' || length == 0 ? "" : o->folder_path,
                               to);
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
    long limit = fpathconf(o->folder, _PC_NAME_MAX);
    size_t most = limit > 0 && limit < NAME_LIMIT ? (size_t)limit : NAME_LIMIT;
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

/* The new file belongs to whom the old one does, as far as the system lets us. */
static bool keep_permissions(const ox_output *o, int fd)
{
    const struct stat *b = &o->before;
    bool given = fchown(fd, b->st_uid, b->st_gid) == 0 || fchown(fd, (uid_t)-1, b->st_gid) == 0;
    (void)given;
    return fchmod(fd, b->st_mode & 0777) == 0;
}

/* Makes the file under a name that no other has, and locks it. */
static bool open_beside(ox_output *o, ox_output_file *f)
{
    struct stat info;
    for (int i = 0; i < ATTEMPTS; i++) {
        snprintf(f->beside, sizeof f->beside, "%.*s.%ld-%d.tmp", STEM_LIMIT, o->stem,
                 (long)getpid(), i);
        int fd = openat(o->folder, f->beside, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
                        o->exists ? 0600 : 0666);
        if (fd < 0 && errno == EEXIST) {
            continue;
        }
        if (fd < 0) {
            f->beside[0] = '\0';
            return fail(o, errno);
        }
        ox_lock_used(fd);
        if (fstat(fd, &info) == 0 && info.st_nlink == 0) { /* removed before it was locked */
            close(fd);
            continue;
        }
        f->fd = fd;
        return !o->exists || keep_permissions(o, fd) || fail(o, errno);
    }
    f->beside[0] = '\0';
    return fail(o, EEXIST);
}

static bool open_place(ox_output *o)
{
    if (o->name[0] == '\0') {
        return fail(o, o->path[0] == '\0' ? ENOENT : EISDIR);
    }
    o->folder = open(o->folder_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (o->folder < 0 && errno == EACCES) { /* may be written all the same */
        o->folder = open(o->folder_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    if (o->folder < 0) {
        return fail(o, errno);
    }
    o->exists = fstatat(o->folder, o->name, &o->before, AT_SYMLINK_NOFOLLOW) == 0;
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
    *o = (ox_output){.arena = a, .path = (char *)(uintptr_t)path, .folder = -1};
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

/* Whether the process is to end: the signal waits for the caller to let it through. */
static bool is_to_end(void)
{
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
    sigset_t pending;
    if (sigpending(&pending) != 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++) {
        struct sigaction action;
        if (sigismember(&pending, ending[i]) == 1 && sigaction(ending[i], NULL, &action) == 0 &&
            action.sa_handler != SIG_IGN) {
            return true;
        }
    }
    return false;
}

static bool write_out(ox_output *o, int fd, const unsigned char *data, size_t size)
{
    while (size > 0 && o->number == 0) {
        if (is_to_end()) {
            return fail(o, EINTR);
        }
        ssize_t done = write(fd, data, size < PIECE ? size : PIECE);
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
    return o != NULL && flush(o, &o->main) &&
           (lseek(o->main.fd, (off_t)position, SEEK_SET) >= 0 || fail(o, errno));
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

/* Some file systems cannot sync, and say so by EINVAL. */
static bool sync_out(ox_output *o, int fd)
{
    return o->temporary || fsync(fd) == 0 || errno == EINVAL || errno == EBADF || fail(o, errno);
}

static bool rename_file(ox_output *o, ox_output_file *f, const char *name)
{
    if (renameat(o->folder, f->beside, o->folder, name) != 0) {
        return fail(o, errno);
    }
    f->beside[0] = '\0';
    return sync_out(o, o->folder);
}

/* Data first: until the model follows, the one before has its own under another name. Where that
 * is the same name the contents are the same, and the lock keeps another run, which may know no
 * model that uses it any more, from removing it meanwhile. */
static bool rename_both(ox_output *o)
{
    int held = -1;
    if (o->data.fd >= 0) {
        held = openat(o->folder, o->data_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (held >= 0) {
            ox_lock_used(held);
        }
    }
    bool good = (o->data.fd < 0 || rename_file(o, &o->data, o->data_name)) &&
                rename_file(o, &o->main, o->name);
    bool is_new = held < 0 && o->data.fd >= 0 && o->data.beside[0] == '\0';
    if (o->main.beside[0] != '\0' && is_new && is_there(o, o->data.fd, o->data_name)) {
        unlinkat(o->folder, o->data_name, 0); /* no model has come to use it */
    }
    if (held >= 0) {
        close(held);
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
    if (o->folder < 0) {
        return true;
    }
    if (is_to_end()) {
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
        unlinkat(o->folder, f->beside, 0);
    }
    if (f->fd >= 0 && close(f->fd) != 0 && o->folder < 0) {
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
    if (o->folder >= 0) {
        close(o->folder);
    }
    if (o->number != 0) {
        good = ox_file_error(err, o->path, "write", o->number);
    }
    ox_arena_free(o->arena);
    return good;
}
