/* Flows along the last axis. */
#include "rows.h"

#include <stdlib.h>
#include <string.h>

#define PIECE 8192 /* numbers that are worth a thread */
#define SHORT 1024 /* length of a row that goes on the stack */

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
    for (int k = 0; k < r->operands; k++) {
        int64_t last = ops_length(&operands[k], rank, rank - 1);
        if (k > 0 && last != (k < 3 ? dims[rank - 1] : 1)) {
            return false;
        }
        r->data[k] = operands[k].data;
        size_t size = (size_t)last;
        for (int d = r->rank - 1; d >= 0; d--) {
            size_t n = (size_t)ops_length(&operands[k], rank, d);
            r->strides[k][d] = n == 1 ? 0 : size;
            size *= n;
        }
        r->sizes[k] = size;
    }
    r->single = ops_length(&operands[0], rank, rank - 1) != dims[rank - 1];
    r->part = r->length < PIECE ? (PIECE + r->length) / (r->length + 1) : 1;
    r->parts = r->length == 0 ? 0 : (r->count + r->part - 1) / r->part;
    return true;
}

static size_t side_parts(const ops_rows *r, int k)
{
    size_t rows = r->length == 0 ? 0 : r->sizes[k] / r->length;
    return (rows + r->part - 1) / r->part;
}

size_t ops_rows_sides(const ops_rows *r)
{
    return side_parts(r, 1) + side_parts(r, 2);
}

void ops_rows_side(void *rows, size_t i)
{
    const ops_rows *r = rows;
    size_t first = side_parts(r, 1);
    int k = i < first ? 1 : 2;
    size_t begin = (i - (k == 1 ? 0 : first)) * r->part * r->length;
    size_t end = begin + r->part * r->length;
    end = end < r->sizes[k] ? end : r->sizes[k];
    for (; begin < end; begin += r->length) {
        r->side(r->length, r->l[k] + begin, r->y[k] + begin, r->data[k] + begin);
    }
}

/* Where a row begins in each operand. */
typedef struct position {
    size_t at[OPS_RANK], offset[OPS_ROWS_MOST];
} position;

static position position_of(const ops_rows *r, size_t row)
{
    position p = {.offset = {0}};
    for (int d = r->rank - 1; d >= 0; d--) {
        p.at[d] = row % r->dims[d];
        row /= r->dims[d];
        for (int k = 0; k < r->operands; k++) {
            p.offset[k] += p.at[d] * r->strides[k][d];
        }
    }
    return p;
}

static void next(const ops_rows *r, position *p)
{
    for (int d = r->rank - 1; d >= 0; d--) {
        bool around = ++p->at[d] == r->dims[d];
        for (int k = 0; k < r->operands; k++) {
            p->offset[k] += r->strides[k][d];
            p->offset[k] -= around ? r->dims[d] * r->strides[k][d] : 0;
        }
        if (!around) {
            return;
        }
        p->at[d] = 0;
    }
}

void ops_rows_run(void *rows, size_t i)
{
    const ops_rows *r = rows;
    size_t end = (i + 1) * r->part < r->count ? (i + 1) * r->part : r->count;
    position p = position_of(r, i * r->part);
    for (size_t row = i * r->part; row < end; row++, next(r, &p)) {
        const float *m = r->data[0] + p.offset[0];
        const float *const in[] = {m,
                                   r->l[1] + p.offset[1],
                                   r->l[2] + p.offset[2],
                                   r->single ? NULL : m,
                                   r->y[1] + p.offset[1],
                                   r->y[2] + p.offset[2]};
        r->row(r->length, r->out + row * r->length, in);
    }
}

void ops_rows_run_plain(void *rows, size_t i)
{
    const ops_rows *r = rows;
    size_t end = (i + 1) * r->part < r->count ? (i + 1) * r->part : r->count;
    position p = position_of(r, i * r->part);
    for (size_t row = i * r->part; row < end; row++, next(r, &p)) {
        const float *in[OPS_ROWS_MOST];
        for (int k = 0; k < r->operands; k++) {
            in[k] = r->data[k] + p.offset[k];
        }
        r->row(r->length, r->out + row * r->length, in);
    }
}

/* Room for what is made of a row of l and l0. */
typedef struct share_room {
    float few[2 * SHORT], *mean, *middle;
} share_room;

/* Rows beyond what lies on the stack; those of a part are worth an allocation. False without
 * memory. */
static bool make_room(const ops_rows *r, share_room *room)
{
    room->mean = r->length <= SHORT ? room->few : malloc(2 * r->length * sizeof(float));
    room->middle = room->mean == NULL ? NULL : room->mean + r->length;
    return room->mean != NULL;
}

void ops_rows_run_shares(void *rows, size_t i)
{
    ops_rows *r = rows;
    size_t end = (i + 1) * r->part < r->count ? (i + 1) * r->part : r->count;
    size_t made[2] = {SIZE_MAX, SIZE_MAX};
    position p = position_of(r, i * r->part);
    share_room room;
    float sum = 0;
    if (!make_room(r, &room)) {
        atomic_store(&r->without_memory, true);
        return;
    }
    for (size_t row = i * r->part; row < end; row++, next(r, &p)) {
        if (made[0] != p.offset[1] || made[1] != p.offset[2]) {
            memcpy(made, p.offset + 1, sizeof made);
            sum = (float)r->share(r->length, room.mean, room.middle, r->data[1] + made[0],
                                  r->data[2] + made[1]);
        }
        const float *const in[] = {r->data[0] + p.offset[0], room.mean, &sum, room.middle};
        r->row(r->length, r->out + row * r->length, in);
    }
    if (room.mean != room.few) {
        free(room.mean);
    }
}
