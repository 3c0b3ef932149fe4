/* Flows along the last axis. */
#include "rows.h"

#define PIECE 8192 /* numbers that are worth a thread */

bool ops_rows_plan(ops_rows *r, const ops_operand *operands, int rank, const int64_t *dims)
{
    if (rank == 0) {
        return false;
    }
    r->rank = rank - 1;
    r->length = (size_t)dims[rank - 1];
    r->count = 1;
    for (int d = 0; d < r->rank; d++) {
        r->dims[d] = (size_t)dims[d];
        r->count *= r->dims[d];
    }
    for (int k = 0; k < 3; k++) {
        int64_t last = ops_length(&operands[k], rank, rank - 1);
        if (k > 0 && last != dims[rank - 1]) {
            return false;
        }
        r->data[k] = operands[k].data;
        size_t size = (size_t)last;
        for (int d = r->rank - 1; d >= 0; d--) {
            size_t n = (size_t)ops_length(&operands[k], rank, d);
            r->strides[k][d] = n == 1 ? 0 : size;
            size *= n;
        }
    }
    r->single = ops_length(&operands[0], rank, rank - 1) != dims[rank - 1];
    r->part = r->length < PIECE ? (PIECE + r->length) / (r->length + 1) : 1;
    r->parts = r->length == 0 ? 0 : (r->count + r->part - 1) / r->part;
    return true;
}

void ops_rows_run(void *rows, size_t i)
{
    const ops_rows *r = rows;
    size_t end = (i + 1) * r->part < r->count ? (i + 1) * r->part : r->count;
    for (size_t row = i * r->part; row < end; row++) {
        const float *in[4] = {r->data[0], r->data[1], r->data[2], r->data[0]};
        size_t rest = row;
        for (int d = r->rank - 1; d >= 0; d--) {
            for (int k = 0; k < 3; k++) {
                in[k] += rest % r->dims[d] * r->strides[k][d];
            }
            rest /= r->dims[d];
        }
        in[3] = r->single ? NULL : in[0];
        r->row(r->length, r->out + row * r->length, in);
    }
}
