/* What a command took: time and memory. */
#define _GNU_SOURCE
#include "stats.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

double ox_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

uint64_t ox_proc_kilobytes(const char *path, const char *key)
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
    text[used] = 0;
    size_t length = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, key, length) && line[length] == ':') {
            return strtoull(line + length + 1, NULL, 10);
        }
    }
    return 0;
}

double ox_peak_memory(void)
{
    /* getrusage counts the program that started us */
    uint64_t kilobytes = ox_proc_kilobytes("/proc/self/status", "VmHWM");
    struct rusage usage;
    if (!kilobytes && !getrusage(RUSAGE_SELF, &usage)) {
        kilobytes = (uint64_t)usage.ru_maxrss;
    }
    return (double)kilobytes / 1024;
}
