/* A progress bar: one line that is drawn over, and wiped at the end. */
#include "progress.h"

#include "os.h"

#include <stdio.h>

enum { WIDTH = 40 };

ox_progress ox_progress_begin(size_t total, bool force, bool never)
{
    bool shown = !never && (force || ox_os_is_terminal(OX_OS_ERRORS));
    ox_progress progress = {.shown = shown, .total = total, .percent = -1};
    ox_progress_step(&progress, 0);
    return progress;
}

void ox_progress_step(ox_progress *progress, size_t done)
{
    if (!progress->shown || !progress->total) {
        return;
    }
    int percent = (int)(100.0 * (double)done / (double)progress->total);
    if (percent == progress->percent) {
        return;
    }
    progress->percent = percent;
    char bar[WIDTH + 1];
    for (int i = 0; i < WIDTH; i++) {
        bar[i] = i * 100 < percent * WIDTH ? '#' : '.';
    }
    bar[WIDTH] = 0;
    fprintf(stderr, "\r%s %3d%% %zu/%zu", bar, percent, done, progress->total);
    fflush(stderr);
}

void ox_progress_end(ox_progress *progress)
{
    if (progress->shown) {
        fprintf(stderr, "\r%*s\r", WIDTH + 50, "");
    }
    progress->shown = false;
}
