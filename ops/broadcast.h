/* Passes over operands that broadcast (NumPy's rules) with kernels that see rows of numbers.
 *
 * Axes along which all operands are stored in one piece, or repeat, are merged, which leaves few
 * loops: m [R, N, C, H, W], x [N, C, H, W] and x0 [R, 1, C, H, W] have [R, N, C H W]. A row is made
 * of the innermost loops. It is cut into chunks, and the outer loops run inside a chunk, so that
 * what is repeated along them stays in the cache. Operands that do not lie in memory as the row
 * does are copied to a buffer a block at a time. */
#ifndef OPS_BROADCAST_H
#define OPS_BROADCAST_H

#include "ops.h"

#include <stdbool.h>
#include <stdint.h>

#define OPS_RANK 32

/* Numbers that a value has at most, where axes of length 0 count as 1: beyond what an address space
 * holds, and small enough for sizes to be multiplied by what kernels multiply them by. */
#define OPS_SIZE ((int64_t)1 << 47)

/* An operand: its data, and its dimensions, which make at most OPS_SIZE numbers. */
typedef struct ops_operand {
    const void *data; /* NULL where it is left out, and there only */
    int rank;
    int64_t dims[OPS_RANK];
} ops_operand;

/* What an elementwise node does: out = (m + m2) slope(...), m2 being operand `m2`, or none where
 * that is -1. With an `axis` that is not -1, the sum of what the flow adds to its last operand
 * along it, or the mean. With a `unit`, both of its results, out and second;
 * the operand behind m2 is added to Q. */
typedef struct ops_task {
    const ops_isa *isa;
    ops_id flow;
    int m2, axis;
    bool mean;
    float *out;
    ops_unit_row unit; /* or NULL */
    float *second;

    int count; /* of all operands */
    const float *data[OPS_MOST];
    size_t length, steps[OPS_MOST]; /* along the axis */
    int rank;                       /* of the merged loops, at least 1 */
    size_t dims[OPS_RANK], strides[OPS_MOST][OPS_RANK];

    int outer;                                              /* number of loops outside the row */
    size_t row, repeats;                                    /* length of a row, number of rows */
    size_t chunk, chunks, part, parts;                      /* of a row; of the rows */
    enum { OPS_DENSE, OPS_SAME, OPS_MIXED } kind[OPS_MOST]; /* in a row */
    bool direct; /* all operands are dense, there is no m2 */
} ops_task;

/* Length of axis d of the operand, seen as having `rank` axes. */
int64_t ops_length(const ops_operand *o, int rank, int d);

/* The dimensions that the operands have together. Gives -1, or the first operand that does not fit
 * those before it. */
int ops_broadcast(int count, const ops_operand *operands, int *rank, int64_t *dims);

/* Whether dimensions are none below 0 and make at most OPS_SIZE numbers. */
bool ops_size_fits(int rank, const int64_t *dims);

/* Fills in the loops of a task for operands that give these dimensions. False for nothing to do. */
bool ops_task_plan(ops_task *t, int count, const ops_operand *operands, int rank,
                   const int64_t *dims);

/* Does part i of `chunks * parts`. */
void ops_task_run(void *task, size_t i);

#endif
