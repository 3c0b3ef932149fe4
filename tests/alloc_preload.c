/* Lets one allocation fail, by LD_PRELOAD: the n-th, ALLOC_FAIL=n, of those asked for by this
 * project's programs and libraries and by the C libraries that it uses for files; ONNX Runtime's
 * own are left alone. Without ALLOC_FAIL, or beyond the last, all are given. ALLOC_COUNT names a
 * file that gets their number. Under the sanitizers it stands before their allocator, else before
 * that of the C library. */
#define _GNU_SOURCE
#undef _FILE_OFFSET_BITS /* both names of each function are needed */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The function that stands behind the one of this name. */
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#ifdef ALLOC_SANITIZED
#define GIVE(name) NEXT(name)
#else /* looking for it would allocate */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
#define GIVE(name) __libc_##name
#endif

static const char *const failing[] = {"libonnxexplainer", "libzip.", "libpng",
                                      "libjpeg",          "libz.",   "libprotobuf-c."};

static atomic_long count;
static long failing_one;
static atomic_bool ended;
static _Thread_local bool told; /* the last dlopen was one that failed here */

static bool is_ours(const void *caller)
{
    struct dl_find_object found;
    if (_dl_find_object((void *)(uintptr_t)caller, &found) != 0) {
        return false;
    }
    const char *path = found.dlfo_link_map->l_name;
    const char *name = strrchr(path, '/');
    bool ours = path[0] == '\0'; /* the program */
    for (size_t i = 0; name != NULL && i < sizeof failing / sizeof *failing; i++) {
        ours = ours || strncmp(name + 1, failing[i], strlen(failing[i])) == 0;
    }
    return ours;
}

/* What counts the lines that ran takes memory at the end, of a library and of the program. */
static void leave(void)
{
    atomic_store(&ended, true);
}

static bool fails(const void *caller)
{
    if (atomic_load(&ended) || !is_ours(caller)) {
        return false;
    }
    long number = atomic_fetch_add(&count, 1) + 1;
    if (number == 1) {
        atexit(leave);
    }
    if (number != failing_one) {
        return false;
    }
    errno = ENOMEM;
    return true;
}

#define FAILS() fails(__builtin_return_address(0))

void *malloc(size_t size)
{
    return FAILS() ? NULL : GIVE(malloc)(size);
}

void *calloc(size_t number, size_t size)
{
    return FAILS() ? NULL : GIVE(calloc)(number, size);
}

void *realloc(void *old, size_t size)
{
    return FAILS() ? NULL : GIVE(realloc)(old, size);
}

char *strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = FAILS() ? NULL : GIVE(malloc)(size);
    return copy == NULL ? NULL : memcpy(copy, text, size);
}

FILE *fopen(const char *path, const char *mode)
{
    return FAILS() ? NULL : NEXT(fopen)(path, mode);
}

FILE *fopen64(const char *path, const char *mode)
{
    return FAILS() ? NULL : NEXT(fopen64)(path, mode);
}

FILE *fdopen(int fd, const char *mode)
{
    return FAILS() ? NULL : NEXT(fdopen)(fd, mode);
}

DIR *fdopendir(int fd)
{
    return FAILS() ? NULL : NEXT(fdopendir)(fd);
}

FILE *fopencookie(void *restrict cookie, const char *restrict mode, cookie_io_functions_t functions)
{
    return FAILS() ? NULL : NEXT(fopencookie)(cookie, mode, functions);
}

DIR *opendir(const char *path)
{
    return FAILS() ? NULL : NEXT(opendir)(path);
}

char *realpath(const char *path, char *resolved)
{
    return FAILS() ? NULL : NEXT(realpath)(path, resolved);
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    return FAILS() ? MAP_FAILED : NEXT(mmap)(at, size, protection, flags, fd, offset);
}

void *mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset)
{
    return FAILS() ? MAP_FAILED : NEXT(mmap64)(at, size, protection, flags, fd, offset);
}

/* Left by a jump, so that the search path of the caller is used. */
void *dlopen(const char *path, int mode)
{
    told = FAILS();
    if (told) {
        return NULL;
    }
    return NEXT(dlopen)(path, mode);
}

int dlclose(void *library)
{
    bool before = atomic_exchange(&ended, true);
    int code = NEXT(dlclose)(library);
    atomic_store(&ended, before);
    return code;
}

char *dlerror(void)
{
    static char message[] = "cannot allocate memory";
    return told ? message : NEXT(dlerror)();
}

__attribute__((constructor)) static void begin(void)
{
    const char *which = getenv("ALLOC_FAIL");
    failing_one = which == NULL ? 0 : strtol(which, NULL, 10);
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("ALLOC_COUNT");
    int fd = path == NULL ? -1 : open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd >= 0) {
        dprintf(fd, "%ld\n", atomic_load(&count));
        close(fd);
    }
}
