/* Memory, signals, threads and libraries of POSIX. */
#define _GNU_SOURCE /* dladdr */
#define _DARWIN_C_SOURCE
#include "os.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

/* ---- memory ----------------------------------------------------------------------------- */

void *ox_os_map(int fd, size_t size)
{
    void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    return data == MAP_FAILED ? NULL : data;
}

/* Sets errno. */
static bool take_room(int fd, size_t size)
{
#if defined(__APPLE__) || defined(__EMSCRIPTEN__)
    return ftruncate(fd, (off_t)size) == 0;
#else
    errno = posix_fallocate(fd, 0, (off_t)size);
    return errno == 0;
#endif
}

void *ox_os_map_nameless(const char *folder, size_t size)
{
    int fd = ox_os_open_nameless(folder);
    void *data = fd >= 0 && take_room(fd, size)
                     ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                     : MAP_FAILED;
    int number = errno;
    if (fd >= 0) {
        close(fd);
    }
    errno = number;
    return data == MAP_FAILED ? NULL : data;
}

void ox_os_unmap(void *data, size_t size)
{
    munmap(data, size);
}

void ox_os_drop(const void *mapping, size_t mapped, const void *data, size_t size)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)mapping;
    uintptr_t from = (uintptr_t)data / page * page, to = ((uintptr_t)data + size) / page * page;
    if (to > from && from >= start && to <= start + mapped) {
        madvise((void *)from, to - from, MADV_DONTNEED);
    }
}

/* The number of kilobytes behind `key` in a file of /proc, in bytes; 0 where there is none. */
static uint64_t read_proc(const char *path, const char *key)
{
    char text[8192];
    size_t used = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (ssize_t got = fd < 0 ? 0 : 1; got > 0 && used < sizeof text - 1; used += (size_t)got) {
        got = read(fd, text + used, sizeof text - 1 - used);
        if (got < 0) {
            break;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    text[used] = '\0';
    size_t length = strlen(key);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) == 0 && line[length] == ':') {
            return strtoull(line + length + 1, NULL, 10) * 1024;
        }
    }
    return 0;
}

uint64_t ox_os_memory_most(void)
{
    /* getrusage counts the program that started us */
    uint64_t bytes = read_proc("/proc/self/status", "VmHWM");
    struct rusage usage;
    if (bytes == 0 && getrusage(RUSAGE_SELF, &usage) == 0) {
#if defined(__APPLE__)
        bytes = (uint64_t)usage.ru_maxrss;
#else
        bytes = (uint64_t)usage.ru_maxrss * 1024;
#endif
    }
    return bytes;
}

uint64_t ox_os_memory_now(void)
{
    return read_proc("/proc/self/status", "VmRSS");
}

uint64_t ox_os_memory_free(void)
{
    return read_proc("/proc/meminfo", "MemAvailable");
}

/* ---- the process ------------------------------------------------------------------------ */

static const char *cut_message;
static int cut_code;

static void report_cut(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (info->si_code == BUS_ADRERR && write(STDERR_FILENO, cut_message, strlen(cut_message)) > 0) {
        _exit(cut_code);
    }
    signal(number, SIG_DFL);
}

/* Else the next file that is opened gets the number of a standard stream, and what is printed. */
static bool fill_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        int way = fd == STDIN_FILENO ? O_WRONLY : O_RDONLY;
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", way) != fd) {
            return false;
        }
    }
    return true;
}

/* glibc keeps blocks of up to the largest size that was freed, as long as there is anything behind
 * them: with 2.41 a session that folds took 1.8 times what it takes where those are given back, for
 * up to a quarter more of processor time where it runs once. */
static void give_back_blocks(void)
{
#if defined(__GLIBC__)
    enum { LARGE = 1 << 20 };
    /* there are no other threads yet: NOLINTNEXTLINE(concurrency-mt-unsafe) */
    mallopt(M_MMAP_THRESHOLD, LARGE);
#endif
}

bool ox_os_begin(const char *cut, int code)
{
    give_back_blocks();
    struct sigaction action = {.sa_sigaction = report_cut, .sa_flags = SA_SIGINFO};
    cut_message = cut;
    cut_code = code;
    sigaction(SIGBUS, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    return fill_standard();
}

static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
enum { ENDING = sizeof ending / sizeof *ending };

static pthread_t writer; /* the thread that writes; a handler has no other way to know it */

/* ONNX Runtime has threads that block nothing: what reaches them is passed on. */
static void pass_on(int number)
{
#ifdef __EMSCRIPTEN__ /* one thread, and nobody who sends signals */
    (void)number;
#else
    pthread_kill(writer, number);
#endif
}

/* Sets what signals do that are not ignored. */
static void take_signals(struct sigaction *before, const struct sigaction *action, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sigaction(ending[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN) {
            sigaction(ending[i], action, NULL);
        }
    }
}

void ox_os_hold(ox_os_held *held, bool none)
{
    struct sigaction pass = {.sa_handler = pass_on};
    sigset_t set;
    sigemptyset(&set);
    held->count = none ? 0 : ENDING;
    for (size_t i = 0; i < held->count; i++) {
        sigaddset(&set, ending[i]);
    }
    writer = pthread_self();
    pthread_sigmask(SIG_BLOCK, &set, &held->mask);
    take_signals(held->actions, &pass, held->count);
}

void ox_os_let(const ox_os_held *held)
{
    for (size_t i = 0; i < held->count; i++) {
        sigaction(ending[i], &held->actions[i], NULL);
    }
    pthread_sigmask(SIG_SETMASK, &held->mask, NULL);
}

bool ox_os_is_to_end(void)
{
    sigset_t pending;
    if (sigpending(&pending) != 0) {
        return false;
    }
    for (size_t i = 0; i < ENDING; i++) {
        struct sigaction action;
        if (sigismember(&pending, ending[i]) == 1 && sigaction(ending[i], NULL, &action) == 0 &&
            action.sa_handler != SIG_IGN) {
            return true;
        }
    }
    return false;
}

static volatile sig_atomic_t noted;

static void note(int number)
{
    noted = number;
}

void ox_os_watch(ox_os_held *before)
{
    struct sigaction action = {.sa_handler = note, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    noted = 0;
    take_signals(before->actions, &action, ENDING);
}

int ox_os_watched(void)
{
    return noted;
}

void ox_os_unwatch(const ox_os_held *before)
{
    for (size_t i = 0; i < ENDING; i++) {
        sigaction(ending[i], &before->actions[i], NULL);
    }
}

const char *ox_os_reason(int number, char *room, size_t size)
{
#if defined(__GLIBC__) /* with _GNU_SOURCE it returns the text */
    const char *text = strerror_r(number, room, size);
    if (text != room) {
        snprintf(room, size, "%s", text);
    }
#else
    if (strerror_r(number, room, size) != 0) {
        snprintf(room, size, "error %d", number);
    }
#endif
    return room;
}

long ox_os_process(void)
{
    return (long)getpid();
}

/* The lines of the first processor that do not change, and how many there are. */
void ox_os_processor(char *text, size_t size)
{
    static const char *const lines[] = {"model name", "flags", "Features", "CPU part"};
    enum { COUNT = sizeof lines / sizeof *lines };
    char line[4096];
    bool seen[COUNT] = {false};
    size_t used = 0, processors = 0;
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        processors += strncmp(line, "processor", 9) == 0;
        for (size_t i = 0; i < COUNT; i++) {
            if (!seen[i] && strncmp(line, lines[i], strlen(lines[i])) == 0 && used < size) {
                seen[i] = true;
                used += (size_t)snprintf(text + used, size - used, "%s", line);
            }
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    struct utsname of;
    if (used < size && uname(&of) == 0) {
        snprintf(text + used, size - used, "%s %s %zu", of.sysname, of.machine, processors);
    }
}

bool ox_os_random(void *data, size_t size)
{
    return getentropy(data, size) == 0;
}

double ox_os_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

struct ox_os_mutex {
    pthread_mutex_t mutex;
};

ox_os_mutex *ox_os_mutex_new(void)
{
    ox_os_mutex *m = malloc(sizeof *m);
    if (m != NULL && pthread_mutex_init(&m->mutex, NULL) != 0) {
        free(m);
        return NULL;
    }
    return m;
}

void ox_os_mutex_lock(ox_os_mutex *m)
{
    pthread_mutex_lock(&m->mutex);
}

void ox_os_mutex_unlock(ox_os_mutex *m)
{
    pthread_mutex_unlock(&m->mutex);
}

void ox_os_mutex_free(ox_os_mutex *m)
{
    if (m != NULL) {
        pthread_mutex_destroy(&m->mutex);
        free(m);
    }
}

/* ---- libraries -------------------------------------------------------------------------- */

#ifdef __EMSCRIPTEN__ /* a program of one part */
void *ox_os_library_open(const char *path, char *why, size_t size)
{
    (void)path;
    snprintf(why, size, "cannot be opened");
    return NULL;
}

void *ox_os_library_symbol(void *library, const char *name)
{
    (void)library;
    (void)name;
    return NULL;
}

bool ox_os_library_path(char *path, size_t size)
{
    (void)path;
    (void)size;
    return false;
}
#else
void *ox_os_library_open(const char *path, char *why, size_t size)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        const char *text = dlerror();
        snprintf(why, size, "%s", text != NULL ? text : "cannot be opened");
    }
    return library;
}

void *ox_os_library_symbol(void *library, const char *name)
{
    return dlsym(library, name);
}

bool ox_os_library_path(char *path, size_t size)
{
    static const char here[] = "";
    Dl_info info;
    if (dladdr(here, &info) == 0 || info.dli_fname == NULL) {
        return false;
    }
    int length = snprintf(path, size, "%s", info.dli_fname);
    return length > 0 && (size_t)length < size;
}
#endif
