/* What a command took: time and memory. */
#include "stats.h"

#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

double ox_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double ox_peak_memory(void)
{
    unsigned long long kilobytes = 0;
    char line[128];
    FILE *file = fopen("/proc/self/status", "r"); /* getrusage counts the program that started us */
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "VmHWM: %llu", &kilobytes) == 1) {
            break;
        }
    }
    if (file) {
        fclose(file);
    }
    struct rusage usage;
    if (!kilobytes && !getrusage(RUSAGE_SELF, &usage)) {
        kilobytes = (unsigned long long)usage.ru_maxrss;
    }
    return (double)kilobytes / 1024;
}
