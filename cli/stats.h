/* What a command took. */
#ifndef OX_STATS_H
#define OX_STATS_H

/* Seconds on a clock that only goes forward. */
double ox_seconds(void);

/* The highest resident size of this process so far, MiB. */
double ox_peak_memory(void);

#endif
