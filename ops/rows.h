/* Flows along the last axis: m, x and x0 broadcast over the axes before it. */
#ifndef OPS_ROWS_H
#define OPS_ROWS_H

#include "broadcast.h"

#include <stdatomic.h>

#define OPS_ROWS_MOST 5 /* operands */

typedef struct ops_rows {
    int operands; /* m, two of rows, and others of one number a row */
    ops_row row;
    float *out;
    size_t length, count;             /* of a row, of rows */
    bool single;                      /* m has one number a row */
    const float *data[OPS_ROWS_MOST]; /* of m, x and x0 */
    ops_share share;
    int rank; /* of the axes before the last */
    size_t dims[OPS_RANK], strides[OPS_ROWS_MOST][OPS_RANK];
    size_t part, parts; /* rows that are done at a time */
    atomic_bool without_memory;
} ops_rows;

/* Fills in all but `operands`, `row` and `out` for operands that give these dimensions. False where
 * x and x0 do not have the whole last axis, or others more than one number of it. */
bool ops_rows_plan(ops_rows *r, const ops_operand *operands, int rank, const int64_t *dims);

/* Does part i of `parts`: rows that need nothing before, m being whole. */
void ops_rows_run_plain(void *rows, size_t i);

/* The same of shares: what l and l0 make is done once for rows of m that follow each other. */
void ops_rows_run_shares(void *rows, size_t i);

#endif
