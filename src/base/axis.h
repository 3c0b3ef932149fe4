/* Axes and positions along them, as ONNX counts: from the end where negative. */
#ifndef OX_AXIS_H
#define OX_AXIS_H

#include <stdbool.h>
#include <stdint.h>

/* Axes that a value of a file has at most: more are damage or malice. */
enum { OX_FILE_RANK = 64 };

/* The axis counted from the front, -1 where it is not in [-rank, rank). */
int ox_axis_front(int64_t axis, int rank);

int64_t ox_clamp(int64_t number, int64_t low, int64_t high);

/* What Slice takes of an axis: positions first, first + step, .. */
typedef struct ox_run {
    int64_t first, step, count;
} ox_run;

/* Of an axis of length `size`; start and end are counted from the end where negative, then clamped.
 * The step is neither 0 nor INT64_MIN. */
ox_run ox_run_of(int64_t size, int64_t start, int64_t end, int64_t step);

#endif
