/* Loops over operands that broadcast. */
#include "broadcast.h"

#include <string.h>

#define BLOCK 512   /* numbers that are copied at a time, and least length of a row */
#define CHUNK 4096  /* of a row, where rows repeat */
#define PIECE 32768 /* numbers that are worth a thread */
#define STRETCH 16  /* terms of a mean that are added up on their own */

/* ---- shapes -------------------------------------------------------------------------------- */

int64_t ops_length(const ops_operand *o, int rank, int d)
{
    int at = d - (rank - o->rank);
    return at < 0 ? 1 : o->dims[at];
}

int ops_broadcast(int count, const ops_operand *operands, int *rank, int64_t *dims)
{
    *rank = 0;
    for (int k = 0; k < count; k++) {
        *rank = operands[k].rank > *rank ? operands[k].rank : *rank;
    }
    for (int d = 0; d < *rank; d++) {
        dims[d] = 1;
    }
    for (int k = 0; k < count; k++) {
        for (int d = 0; d < *rank; d++) {
            int64_t n = ops_length(&operands[k], *rank, d);
            if (n != 1 && dims[d] != 1 && dims[d] != n) {
                return k;
            }
            dims[d] = n != 1 ? n : dims[d];
        }
    }
    return -1;
}

bool ops_size_fits(int rank, const int64_t *dims)
{
    int64_t size = 1;
    for (int d = 0; d < rank; d++) {
        if (dims[d] < 0 || (dims[d] > 0 && size > OPS_SIZE / dims[d])) {
            return false;
        }
        size *= dims[d] > 0 ? dims[d] : 1;
    }
    return true;
}

/* ---- the plan ------------------------------------------------------------------------------ */

static void add_loop(ops_task *t, size_t n, const size_t *strides)
{
    bool merges = t->rank > 0;
    for (int k = 0; merges && k < t->count; k++) {
        merges = t->strides[k][t->rank - 1] == strides[k] * n;
    }
    if (merges) {
        t->rank--;
        n *= t->dims[t->rank];
    }
    t->dims[t->rank] = n;
    for (int k = 0; k < t->count; k++) {
        t->strides[k][t->rank] = strides[k];
    }
    t->rank++;
}

/* How operand k lies in memory along a row. */
static void classify(ops_task *t, int k)
{
    bool dense = true, same = true;
    size_t size = 1;
    for (int d = t->rank - 1; d >= t->outer; d--) {
        dense = dense && t->strides[k][d] == size;
        same = same && t->strides[k][d] == 0;
        size *= t->dims[d];
    }
    t->kind[k] = dense ? OPS_DENSE : same ? OPS_SAME : OPS_MIXED;
    t->direct = t->direct && dense;
}

static size_t pieces(size_t n, size_t size)
{
    return (n + size - 1) / size;
}

bool ops_task_plan(ops_task *t, int count, const ops_operand *operands, int rank,
                   const int64_t *dims)
{
    size_t total = 1, strides[OPS_RANK][OPS_MOST];
    for (int d = 0; d < rank; d++) {
        total *= d != t->axis ? (size_t)dims[d] : 1;
    }
    if (total == 0) {
        return false;
    }
    t->count = count;
    t->length = t->axis < 0 ? 1 : (size_t)dims[t->axis];
    for (int k = 0; k < count; k++) {
        size_t size = 1;
        t->data[k] = operands[k].data;
        for (int d = rank - 1; d >= 0; d--) {
            size_t n = (size_t)ops_length(&operands[k], rank, d);
            strides[d][k] = n == 1 ? 0 : size;
            size *= n;
        }
        t->steps[k] = t->axis < 0 ? 0 : strides[t->axis][k];
    }
    t->rank = 0;
    for (int d = 0; d < rank; d++) {
        if (dims[d] != 1 && d != t->axis) {
            add_loop(t, (size_t)dims[d], strides[d]);
        }
    }
    if (t->rank == 0) {
        add_loop(t, 1, (const size_t[OPS_MOST]){0});
    }
    t->outer = t->rank - 1;
    t->row = t->dims[t->outer];
    while (t->row < BLOCK && t->outer > 0) {
        t->row *= t->dims[--t->outer];
    }
    t->repeats = total / t->row;
    t->direct = t->m2 < 0;
    for (int k = 0; k < count; k++) {
        classify(t, k);
    }
    t->chunk = t->repeats == 1 && t->length == 1 ? PIECE : CHUNK;
    t->chunks = pieces(t->row, t->chunk);
    size_t wanted = pieces(total * t->length, PIECE);
    t->parts = t->chunks >= wanted ? 1 : pieces(wanted, t->chunks);
    t->part = pieces(t->repeats, t->parts);
    t->parts = pieces(t->repeats, t->part);
    return true;
}

/* ---- a row --------------------------------------------------------------------------------- */

static void fill(float *to, size_t count, float number)
{
    for (size_t i = 0; i < count; i++) {
        to[i] = number;
    }
}

/* Numbers [begin, begin + count) of the row of operand k that starts at `from`. */
static void gather(const ops_task *t, int k, const float *from, size_t begin, size_t count,
                   float *to)
{
    const size_t *strides = t->strides[k];
    size_t at[OPS_RANK], offset = 0;
    for (int d = t->rank - 1; d >= t->outer; d--) {
        at[d] = begin % t->dims[d];
        begin /= t->dims[d];
        offset += at[d] * strides[d];
    }
    int last = t->rank - 1;
    while (count > 0) {
        size_t run = t->dims[last] - at[last];
        run = run < count ? run : count;
        if (strides[last] == 0) {
            fill(to, run, from[offset]);
        } else if (strides[last] == 1) {
            memcpy(to, from + offset, run * sizeof *to);
        } else { /* the axis of a mean lies between */
            for (size_t i = 0; i < run; i++) {
                to[i] = from[offset + i * strides[last]];
            }
        }
        to += run;
        count -= run;
        offset -= at[last] * strides[last];
        at[last] = 0;
        for (int d = last - 1; d >= t->outer; d--) {
            offset += strides[d];
            if (++at[d] < t->dims[d]) {
                break;
            }
            offset -= t->dims[d] * strides[d];
            at[d] = 0;
        }
    }
}

/* out = (m + m2) slope(...), or what the unit makes, where operand k is in[k]. */
static void compute(const ops_task *t, size_t count, float *out, const float **in, float *spare)
{
    const ops_row *rows = t->isa->rows;
    if (t->m2 >= 0) {
        rows[OPS_add](count, spare, (const float *[]){in[0], in[t->m2]});
        in[0] = spare;
    }
    if (t->unit != NULL && t->m2 >= 0) {
        float *q = spare + BLOCK, *one = q + BLOCK;
        rows[OPS_add_scaled](count, q, (const float *[]){in[1], in[2], in[t->m2 + 1]});
        fill(one, count, 1);
        in[1] = q;
        in[2] = one;
    }
    if (t->unit != NULL) {
        t->unit(count, out, t->second + (out - t->out), in);
        return;
    }
    rows[t->flow](count, out, in);
}

/* The chunk [begin, begin + count) of the row of which operand k starts at from[k]. */
static void run_chunk(const ops_task *t, const float *const *from, float *out, size_t begin,
                      size_t count)
{
    const float *in[OPS_MOST];
    if (t->direct) {
        for (int k = 0; k < t->count; k++) {
            in[k] = from[k] + begin;
        }
        compute(t, count, out, in, NULL);
        return;
    }
    float buffers[OPS_MOST][BLOCK], spare[3 * BLOCK];
    for (int k = 0; k < t->count; k++) {
        if (t->kind[k] == OPS_SAME) {
            fill(buffers[k], count < BLOCK ? count : BLOCK, from[k][0]);
        }
    }
    for (size_t end = begin + count; begin < end; begin += BLOCK, out += BLOCK) {
        size_t n = end - begin < BLOCK ? end - begin : BLOCK;
        for (int k = 0; k < t->count; k++) {
            if (t->kind[k] == OPS_MIXED) {
                gather(t, k, from[k], begin, n, buffers[k]);
            }
            in[k] = t->kind[k] == OPS_DENSE ? from[k] + begin : buffers[k];
        }
        compute(t, n, out, in, spare);
    }
}

/* Numbers [begin, begin + n) of operand k, in the buffer where they do not lie in a row. */
static const float *read(const ops_task *t, int k, const float *from, size_t begin, size_t n,
                         float *buffer)
{
    if (t->kind[k] == OPS_DENSE) {
        return from + begin;
    }
    if (t->kind[k] == OPS_SAME) {
        fill(buffer, n, from[0]);
    } else {
        gather(t, k, from, begin, n, buffer);
    }
    return buffer;
}

/* The sum of the flow along the axis, or the mean: terms add up in stretches, and these do. */
static void sum_chunk(const ops_task *t, const float *const *from, float *out, size_t begin,
                      size_t count)
{
    const ops_row *rows = t->isa->rows;
    float buffers[OPS_MOST][BLOCK], part[BLOCK];
    const float *in[OPS_MOST];
    for (size_t end = begin + count; begin < end; begin += BLOCK, out += BLOCK) {
        size_t n = end - begin < BLOCK ? end - begin : BLOCK;
        fill(out, n, 0);
        for (size_t r = 0; r < t->length; r++) {
            for (int k = 0; k < t->count; k++) {
                in[k] = read(t, k, from[k] + r * t->steps[k], begin, n, buffers[k]);
            }
            if (r % STRETCH == 0) {
                fill(part, n, 0);
            }
            in[t->count] = part;
            rows[t->flow](n, part, in);
            if ((r + 1) % STRETCH == 0 || r + 1 == t->length) {
                rows[OPS_add](n, out, (const float *[]){out, part});
            }
        }
        for (size_t i = 0; i < n && t->mean; i++) {
            out[i] /= (float)t->length;
        }
    }
}

void ops_task_run(void *task, size_t i)
{
    const ops_task *t = task;
    size_t begin = i % t->chunks * t->chunk, first = i / t->chunks * t->part;
    size_t count = t->row - begin < t->chunk ? t->row - begin : t->chunk;
    size_t end = first + t->part < t->repeats ? first + t->part : t->repeats;
    for (size_t row = first; row < end; row++) {
        const float *from[OPS_MOST];
        memcpy(from, t->data, sizeof from);
        size_t rest = row;
        for (int d = t->outer - 1; d >= 0; d--) {
            size_t at = rest % t->dims[d];
            rest /= t->dims[d];
            for (int k = 0; k < t->count; k++) {
                from[k] += at * t->strides[k][d];
            }
        }
        float *out = t->out + row * t->row + begin;
        t->axis < 0 ? run_chunk(t, from, out, begin, count) : sum_chunk(t, from, out, begin, count);
    }
}
