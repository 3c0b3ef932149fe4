/* Temporary folders: locked while they are used, so that the next run finds those of killed ones.
 */
#define _GNU_SOURCE /* flock, through output.h; mkdtemp */
#include "base/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/output.h"

static const char PREFIX[] = "onnxexplainer-", RANDOM[] = "XXXXXX";

static DIR *list_folder(int fd)
{
    int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = again < 0 ? NULL : fdopendir(again);
    if (list == NULL && again >= 0) {
        close(again);
    }
    return list;
}

/* Removes the files in it; there are no folders. */
static void empty_folder(int fd)
{
    DIR *list = list_folder(fd);
    for (const struct dirent *e; list != NULL && (e = readdir(list)) != NULL;) {
        unlinkat(fd, e->d_name, 0);
    }
    if (list != NULL) {
        closedir(list);
    }
}

static bool is_scratch(const char *name)
{
    size_t length = strlen(PREFIX);
    return strncmp(name, PREFIX, length) == 0 && strlen(name + length) == strlen(RANDOM);
}

static void remove_left(int parent, const char *name)
{
    struct stat info;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    if (fstat(fd, &info) == 0 && info.st_uid == geteuid() && ox_lock_unused(fd)) {
        empty_folder(fd);
        unlinkat(parent, name, AT_REMOVEDIR);
    }
    close(fd);
}

static void sweep(const char *parent)
{
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : list_folder(fd);
    for (const struct dirent *e; list != NULL && (e = readdir(list)) != NULL;) {
        if (is_scratch(e->d_name)) {
            remove_left(fd, e->d_name);
        }
    }
    if (list != NULL) {
        closedir(list);
    }
    if (fd >= 0) {
        close(fd);
    }
}

/* Also false, with errno 0, where it was removed before it was locked. */
static bool make(ox_scratch *s)
{
    struct stat info;
    if (mkdtemp(s->path) == NULL) {
        return false;
    }
    s->fd = open(s->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (s->fd < 0 || !ox_lock_used(s->fd) || fstat(s->fd, &info) != 0) {
        int number = errno;
        rmdir(s->path);
        errno = number;
        return false;
    }
    errno = 0;
    return info.st_nlink > 0;
}

bool ox_scratch_open(ox_scratch *s, ox_error *err)
{
    const char *parent = getenv("TMPDIR");
    parent = parent != NULL && parent[0] != '\0' ? parent : "/tmp";
    size_t room = strlen(parent) + 1 + sizeof PREFIX + sizeof RANDOM;
    *s = (ox_scratch){malloc(room), -1};
    if (s->path == NULL) {
        return ox_error_set(err, OX_MEMORY, "out of memory");
    }
    sweep(parent);
    for (int i = 0; i < 16; i++) {
        snprintf(s->path, room, "%s/%s%s", parent, PREFIX, RANDOM);
        if (make(s)) {
            return true;
        }
        if (errno != 0) {
            break;
        }
        close(s->fd);
        s->fd = -1;
    }
    ox_file_error(err, parent, "write", errno != 0 ? errno : EEXIST);
    if (s->fd >= 0) {
        close(s->fd);
    }
    free(s->path);
    return false;
}

void ox_scratch_close(ox_scratch *s)
{
    empty_folder(s->fd);
    rmdir(s->path);
    close(s->fd);
    free(s->path);
}
