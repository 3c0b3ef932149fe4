/* What a command took, and what there is. */
#ifndef OX_STATS_H
#define OX_STATS_H

#include <stdint.h>

/* Seconds on a clock that only goes forward. */
double ox_seconds(void);

/* The highest resident size of this process so far, MiB. */
double ox_peak_memory(void);

/* The number of kilobytes behind `key` in a file of /proc, 0 where there is none. Read without
 * allocating: want of memory shall not change how many samples are taken at a time. */
uint64_t ox_proc_kilobytes(const char *path, const char *key);

#endif
