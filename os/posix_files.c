/* Files and folders of POSIX: Linux, with what it has beyond it, macOS, and WebAssembly by
 * emscripten.
 */
#define _GNU_SOURCE /* flock, O_PATH, O_TMPFILE, fopencookie */
#define _DARWIN_C_SOURCE
#include "os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__APPLE__)
#define CHANGED st_mtimespec
#else
#define CHANGED st_mtim
#endif
#if !defined(O_PATH)
#define O_PATH O_RDONLY
#endif

/* ---- what a path stands for ------------------------------------------------------------- */

static bool describe(bool good, const struct stat *s, ox_os_info *info)
{
    if (good) {
        mode_t kind = s->st_mode & S_IFMT;
        *info = (ox_os_info){
            .kind = kind == S_IFREG   ? OX_OS_FILE
                    : kind == S_IFDIR ? OX_OS_FOLDER
                                      : OX_OS_OTHER,
            .device = (uint64_t)s->st_dev,
            .inode = (uint64_t)s->st_ino,
            .size = (uint64_t)s->st_size,
            .links = (uint64_t)s->st_nlink,
            .seconds = (int64_t)s->CHANGED.tv_sec,
            .nanoseconds = (int64_t)s->CHANGED.tv_nsec,
            .owner = s->st_uid,
            .group = s->st_gid,
            .mode = s->st_mode & 0777,
        };
    }
    return good;
}

bool ox_os_stat(const char *path, ox_os_info *info)
{
    struct stat s;
    return describe(stat(path, &s) == 0, &s, info);
}

bool ox_os_entry(const char *path, ox_os_info *info)
{
    struct stat s;
    return describe(lstat(path, &s) == 0, &s, info);
}

bool ox_os_stat_of(int fd, ox_os_info *info)
{
    struct stat s;
    return describe(fstat(fd, &s) == 0, &s, info);
}

bool ox_os_same(const ox_os_info *a, const ox_os_info *b)
{
    return a->device == b->device && a->inode == b->inode;
}

bool ox_os_is_mine(const ox_os_info *info)
{
    return info->owner == geteuid();
}

const ox_os_char *ox_os_native(const char *path, ox_os_char room[OX_OS_PATH])
{
    (void)room;
    return path;
}

const char *ox_os_last_separator(const char *path)
{
    return strrchr(path, '/');
}

bool ox_os_is_absolute(const char *path)
{
    return path[0] == '/';
}

bool ox_os_real_path(const char *path, char *real)
{
    char *found = realpath(path, NULL);
    bool fits = found != NULL && strlen(found) < OX_OS_PATH;
    if (fits) {
        strcpy(real, found);
    } else if (found != NULL) {
        errno = ENAMETOOLONG;
    }
    free(found);
    return fits;
}

bool ox_os_read_link(const char *path, char *to)
{
    ssize_t size = readlink(path, to, OX_OS_PATH - 1);
    to[size > 0 ? size : 0] = '\0';
    return size >= 0;
}

bool ox_os_can_read(const char *path)
{
    return access(path, R_OK) == 0;
}

bool ox_os_can_write(const char *path)
{
    return access(path, W_OK) == 0;
}

bool ox_os_rename(const char *from, const char *to)
{
    return rename(from, to) == 0;
}

bool ox_os_make_folder(const char *path)
{
    return mkdir(path, 0777) == 0;
}

bool ox_os_remove_folder(const char *path)
{
    return rmdir(path) == 0;
}

const char *ox_os_temporary(void)
{
    const char *folder = getenv("TMPDIR");
    return folder != NULL && folder[0] != '\0' ? folder : "/tmp";
}

bool ox_os_caches(char path[OX_OS_PATH])
{
    const char *folder = getenv("XDG_CACHE_HOME"), *below = "";
    if (folder == NULL || folder[0] != '/') { /* of another path the standard says to take none */
        folder = getenv("HOME");
#if defined(__APPLE__)
        below = "/Library/Caches";
#else
        below = "/.cache";
#endif
    }
    bool there = folder != NULL && folder[0] == '/';
    int length = there ? snprintf(path, OX_OS_PATH, "%s%s", folder, below) : 0;
    return length > 0 && length < OX_OS_PATH;
}

/* ---- files ------------------------------------------------------------------------------ */

int ox_os_open(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC);
}

int ox_os_open_file(const char *path)
{
    return open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
}

int ox_os_open_existing(const char *path)
{
    return open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
}

int ox_os_duplicate(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

bool ox_os_close(int fd)
{
    return close(fd) == 0;
}

int64_t ox_os_read(int fd, void *data, size_t size)
{
    return read(fd, data, size);
}

int64_t ox_os_write(int fd, const void *data, size_t size)
{
    return write(fd, data, size);
}

bool ox_os_seek(int fd, uint64_t position)
{
    return lseek(fd, (off_t)position, SEEK_SET) >= 0;
}

bool ox_os_truncate(int fd, uint64_t size)
{
    return ftruncate(fd, (off_t)size) == 0;
}

/* Some file systems cannot sync, and say so by EINVAL. */
bool ox_os_sync(int fd)
{
    return fsync(fd) == 0 || errno == EINVAL;
}

bool ox_os_keep_permissions(int fd, const ox_os_info *of)
{
    bool given = fchown(fd, of->owner, of->group) == 0 || fchown(fd, (uid_t)-1, of->group) == 0;
    (void)given;
    return fchmod(fd, (mode_t)of->mode) == 0;
}

bool ox_os_lock_used(int fd)
{
    return flock(fd, LOCK_SH) == 0;
}

bool ox_os_lock_unused(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB) == 0;
}

bool ox_os_lock(int fd)
{
    int code;
    do {
        code = flock(fd, LOCK_EX);
    } while (code != 0 && errno == EINTR);
    return code == 0;
}

int ox_os_open_nameless(const char *folder)
{
#if defined(O_TMPFILE)
    int made = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (made >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) {
        return made;
    }
#endif
    char path[OX_OS_PATH]; /* older file systems */
    int length = snprintf(path, sizeof path, "%s/onnxexplainer-XXXXXX", folder);
    if (length < 0 || (size_t)length >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = mkstemp(path);
    if (fd >= 0) {
        unlink(path);
    }
    return fd;
}

bool ox_os_is_terminal(int fd)
{
    return isatty(fd) == 1;
}

struct ox_os_stream {
    ox_os_sink sink;
    uint64_t position;
    FILE *file;
};

static bool seek_stream(ox_os_stream *s, int64_t offset, int whence)
{
    if (whence == SEEK_END) {
        return false;
    }
    uint64_t to = (uint64_t)offset + (whence == SEEK_CUR ? s->position : 0);
    if (to != s->position && !s->sink.seek(s->sink.user, to)) {
        return false;
    }
    s->position = to;
    return true;
}

#if defined(__APPLE__)
static int write_cookie(void *cookie, const char *data, int size)
{
    ox_os_stream *s = cookie;
    bool good = s->sink.write(s->sink.user, data, (size_t)size);
    s->position += good ? (uint64_t)size : 0;
    return good ? size : -1;
}

static fpos_t seek_cookie(void *cookie, fpos_t offset, int whence)
{
    ox_os_stream *s = cookie;
    return seek_stream(s, offset, whence) ? (fpos_t)s->position : -1;
}

static FILE *open_cookie(ox_os_stream *s)
{
    return funopen(s, NULL, write_cookie, seek_cookie, NULL);
}
#else
static ssize_t write_cookie(void *cookie, const char *data, size_t size)
{
    ox_os_stream *s = cookie;
    bool good = s->sink.write(s->sink.user, data, size);
    s->position += good ? size : 0;
    return good ? (ssize_t)size : 0;
}

static int seek_cookie(void *cookie, off64_t *offset, int whence)
{
    ox_os_stream *s = cookie;
    if (!seek_stream(s, *offset, whence)) {
        return -1;
    }
    *offset = (off64_t)s->position;
    return 0;
}

static FILE *open_cookie(ox_os_stream *s)
{
    return fopencookie(s, "wb",
                       (cookie_io_functions_t){.write = write_cookie, .seek = seek_cookie});
}
#endif

ox_os_stream *ox_os_stream_open(ox_os_sink sink)
{
    ox_os_stream *s = calloc(1, sizeof *s);
    if (s != NULL) {
        s->sink = sink;
        s->file = open_cookie(s);
    }
    if (s != NULL && s->file == NULL) {
        free(s);
        return NULL;
    }
    return s;
}

FILE *ox_os_stream_file(ox_os_stream *stream)
{
    return stream->file;
}

bool ox_os_stream_close(ox_os_stream *stream)
{
    bool good = fclose(stream->file) == 0;
    free(stream);
    return good;
}

/* ---- folders ---------------------------------------------------------------------------- */

struct ox_os_folder {
    int fd;
};

static ox_os_folder *take_folder(int fd)
{
    ox_os_folder *f = fd < 0 ? NULL : malloc(sizeof *f);
    if (f != NULL) {
        f->fd = fd;
    } else if (fd >= 0) {
        close(fd);
        errno = ENOMEM;
    }
    return f;
}

ox_os_folder *ox_os_folder_open(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == EACCES) { /* may be written all the same */
        fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    return take_folder(fd);
}

ox_os_folder *ox_os_folder_open_in(const ox_os_folder *f, const char *name)
{
    return take_folder(openat(f->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

void ox_os_folder_close(ox_os_folder *f)
{
    if (f != NULL) {
        close(f->fd);
        free(f);
    }
}

bool ox_os_folder_stat(const ox_os_folder *f, ox_os_info *info)
{
    return ox_os_stat_of(f->fd, info);
}

bool ox_os_folder_entry(const ox_os_folder *f, const char *name, ox_os_info *info)
{
    struct stat s;
    return describe(fstatat(f->fd, name, &s, AT_SYMLINK_NOFOLLOW) == 0, &s, info);
}

size_t ox_os_folder_name_limit(const ox_os_folder *f)
{
    long limit = fpathconf(f->fd, _PC_NAME_MAX);
    return limit > 0 ? (size_t)limit : 0;
}

int ox_os_folder_read(const ox_os_folder *f, const char *name)
{
    return openat(f->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

int ox_os_folder_create(const ox_os_folder *f, const char *name, bool secret)
{
    return openat(f->fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, secret ? 0600 : 0666);
}

bool ox_os_folder_rename(const ox_os_folder *f, const char *from, const char *to)
{
    return renameat(f->fd, from, f->fd, to) == 0;
}

bool ox_os_folder_remove(const ox_os_folder *f, const char *name)
{
    return unlinkat(f->fd, name, 0) == 0;
}

bool ox_os_folder_remove_folder(const ox_os_folder *f, const char *name)
{
    return unlinkat(f->fd, name, AT_REMOVEDIR) == 0;
}

bool ox_os_folder_sync(const ox_os_folder *f)
{
    return ox_os_sync(f->fd);
}

bool ox_os_folder_lock_used(const ox_os_folder *f)
{
    return ox_os_lock_used(f->fd);
}

bool ox_os_folder_lock_unused(const ox_os_folder *f)
{
    return ox_os_lock_unused(f->fd);
}

ox_os_folder *ox_os_folder_make_unique(char *path)
{
    if (mkdtemp(path) == NULL) {
        return NULL;
    }
    ox_os_folder *f = take_folder(open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (f == NULL) {
        int number = errno;
        rmdir(path);
        errno = number;
    }
    return f;
}

ox_os_list *ox_os_list_open(const char *path)
{
    return (ox_os_list *)opendir(path);
}

ox_os_list *ox_os_list_of(const ox_os_folder *f)
{
    int fd = openat(f->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    if (list == NULL && fd >= 0) {
        close(fd);
    }
    return (ox_os_list *)list;
}

const char *ox_os_list_next(ox_os_list *list)
{
    errno = 0;
    const struct dirent *entry = readdir((DIR *)list);
    return entry == NULL ? NULL : entry->d_name;
}

void ox_os_list_again(ox_os_list *list)
{
    rewinddir((DIR *)list);
}

void ox_os_list_close(ox_os_list *list)
{
    if (list != NULL) {
        closedir((DIR *)list);
    }
}
