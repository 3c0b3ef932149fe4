/* Flows along the last axis. */
#include "rows.h"

#include <stdlib.h>
#include <string.h>

#define PIECE 8192 /* numbers that are worth a thread */
#define SHORT 1024 /* length of a row that goes on the stack */
#define FEW 256    /* length of rows of which several are taken together */

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
    }
    r->single = ops_length(&operands[0], rank, rank - 1) != dims[rank - 1];
    r->part = r->length < PIECE ? (PIECE + r->length) / (r->length + 1) : 1;
    r->parts = r->length == 0 ? 0 : (r->count + r->part - 1) / r->part;
    return true;
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

/* Room for what is made of l and l0, and for rows of them that are taken together. */
typedef struct share_room {
    float few[4][SHORT], *mean, *middle;
} share_room;

/* Rows beyond what lies on the stack are worth an allocation. False without memory. */
static bool make_room(const ops_rows *r, share_room *room)
{
    bool fits = r->length <= SHORT;
    room->mean = fits ? room->few[0] : malloc(2 * r->length * sizeof(float));
    room->middle = room->mean == NULL ? NULL : room->mean + (fits ? SHORT : r->length);
    return room->mean != NULL;
}

/* How many short rows from p on, `left` at most, follow each other along the innermost loop. */
static size_t rows_together(const ops_rows *r, const position *p, size_t left)
{
    int d = r->rank - 1;
    bool repeats = d >= 0 && r->strides[1][d] == 0 && r->strides[2][d] == 0;
    if (d < 0 || r->length > FEW || repeats) {
        return 1;
    }
    size_t most = r->dims[d] - p->at[d] < left ? r->dims[d] - p->at[d] : left;
    return most < SHORT / r->length ? most : SHORT / r->length;
}

/* `together` rows of operand k in one piece. */
static const float *in_one_piece(const ops_rows *r, int k, const position *p, size_t together,
                                 float *room)
{
    const float *from = r->data[k] + p->offset[k];
    size_t stride = r->rank == 0 ? 0 : r->strides[k][r->rank - 1];
    if (together == 1 || stride == r->length) {
        return from;
    }
    for (size_t row = 0; row < together; row++) {
        memcpy(room + row * r->length, from + row * stride, r->length * sizeof *room);
    }
    return room;
}

void ops_rows_run_shares(void *rows, size_t i)
{
    ops_rows *r = rows;
    size_t end = (i + 1) * r->part < r->count ? (i + 1) * r->part : r->count;
    size_t made[2] = {SIZE_MAX, SIZE_MAX}, together;
    position p = position_of(r, i * r->part);
    share_room room;
    float sum = 0;
    if (!make_room(r, &room)) {
        atomic_store(&r->without_memory, true);
        return;
    }
    for (size_t row = i * r->part; row < end; row += together) {
        together = rows_together(r, &p, end - row);
        if (together > 1 || made[0] != p.offset[1] || made[1] != p.offset[2]) {
            memcpy(made, p.offset + 1, sizeof made);
            sum = (float)r->share(together * r->length, room.mean, room.middle,
                                  in_one_piece(r, 1, &p, together, room.few[2]),
                                  in_one_piece(r, 2, &p, together, room.few[3]));
        }
        for (size_t k = 0; k < together; k++, next(r, &p)) {
            const float *m = r->data[0] + p.offset[0];
            const float *const in[] = {m, room.mean + k * r->length, together > 1 ? NULL : &sum,
                                       room.middle + k * r->length, r->single ? NULL : m};
            r->row(r->length, r->out + (row + k) * r->length, in);
        }
        made[0] = together > 1 ? SIZE_MAX : made[0];
    }
    if (room.mean != room.few[0]) {
        free(room.mean);
    }
}
