/* A progress bar on standard error. */
#ifndef OX_CLI_PROGRESS_H
#define OX_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct ox_progress {
    bool shown;
    size_t total;
    int percent; /* last drawn */
} ox_progress;

/* Draws where standard error is a terminal; `force` and `never` override. */
ox_progress ox_progress_begin(size_t total, bool force, bool never);
void ox_progress_step(ox_progress *progress, size_t done);

/* Wipes the bar. */
void ox_progress_end(ox_progress *progress);

#endif
