/* Contents that are kept in a file in place of memory: a file without a name in TMPDIR, mapped for
 * as long as the model lives. What is written there, or read to be written elsewhere, is dropped
 * from memory again; the system has it in the file. */
#define _GNU_SOURCE /* O_TMPFILE */
#include "model/proto.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/output.h"

/* Smaller contents stay in memory: a mapping is worth some pages. */
enum { SPILLED_BYTES = 1 << 20 };

static int open_nameless(ox_arena *a, const char *folder)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) {
        return fd;
    }
    char *path = ox_arena_format(a, "%s/onnxexplainer-XXXXXX", folder); /* older file systems */
    fd = mkstemp(path);
    if (fd >= 0) {
        unlink(path);
    }
    return fd;
}

/* Room is taken before it is mapped: a full disk is an error here and not a signal later. */
static void *map_nameless(int fd, size_t size)
{
    errno = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)size);
    if (fd < 0 || errno != 0) {
        return MAP_FAILED;
    }
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

void *ox_model_spill(ox_model *m, size_t size)
{
    if (size < SPILLED_BYTES) {
        return ox_arena_alloc(m->arena, size, 1);
    }
    const char *folder = getenv("TMPDIR");
    folder = folder != NULL && folder[0] != '\0' ? folder : "/tmp";
    m->mappings = ox_arena_grow(m->arena, m->mappings, m->mapping_count, sizeof *m->mappings);
    int fd = open_nameless(m->arena, folder);
    void *data = map_nameless(fd, size);
    int number = errno;
    if (fd >= 0) {
        close(fd);
    }
    if (data == MAP_FAILED) {
        ox_error err;
        ox_file_error(&err, folder, "write", number);
        ox_fail(m->arena, err.code, "%s", err.message);
    }
    m->mappings[m->mapping_count++] = (ox_mapping){.path = "", .data = data, .size = size};
    return data;
}

void ox_model_drop(const ox_model *m, const void *data, size_t size)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = (uintptr_t)data / page * page, to = ((uintptr_t)data + size) / page * page;
    for (size_t i = 0; i < m->mapping_count && to > from; i++) {
        uintptr_t start = (uintptr_t)m->mappings[i].data;
        if (from >= start && to <= start + m->mappings[i].size) {
            madvise((void *)from, to - from, MADV_DONTNEED);
        }
    }
    for (size_t i = 0; i < m->source_count && to > from; i++) {
        ox_model_drop(m->sources[i], data, size);
    }
}
