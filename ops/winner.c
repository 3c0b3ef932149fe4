/* WinnerFlow(m, x, x0, at, at0): of every window of a pool one position gets m (y - y0)/(x - x0),
 * the sample's winner where y > y0, else the reference's; all of m where x == x0 there.
 *
 * m, at and at0 are [.., windows], x and x0 [.., positions]; the axes before broadcast. Those at
 * the front along which only m varies, as the targets, share what a window finds. */
#include "kernel.h"

#include <stdatomic.h>
#include <string.h>

enum { M, X, X0, AT, AT0, INPUTS };

#define BLOCK 256  /* windows of which the shares are kept */
#define PIECE 8192 /* numbers that are worth a thread */

typedef struct winners {
    ops_call *c;
    size_t windows, positions;
    int shared, rank; /* axes before the last: at the front, in all */
    size_t dims[OPS_RANK], strides[INPUTS][OPS_RANK];
    size_t repeats, planes; /* along the shared axes, and the others */
    size_t part;            /* planes that are done at a time */
    atomic_bool outside;    /* an index that is none was seen */
} winners;

/* Whom the windows of a block pay, and how much for each unit of m. */
typedef struct block {
    size_t count;
    size_t winner[BLOCK];
    float share[BLOCK];
} block;

/* ---- one plane ----------------------------------------------------------------------------- */

static bool lie_inside(const winners *w, const int64_t *at, size_t count)
{
    bool good = true;
    for (size_t i = 0; i < count; i++) {
        good = good && at[i] >= 0 && (uint64_t)at[i] < w->positions;
    }
    return good;
}

static void find(block *b, const float *x, const float *x0, const int64_t *at, const int64_t *at0)
{
    for (size_t i = 0; i < b->count; i++) {
        float y = x[at[i]], y0 = x0[at0[i]];
        size_t winner = (size_t)(y > y0 ? at[i] : at0[i]);
        float gap = x[winner] - x0[winner];
        b->winner[i] = winner;
        b->share[i] = gap == 0 ? 1 : (y - y0) / gap;
    }
}

/* Where operand k starts for a plane, and for one of the repeats. */
static size_t start(const winners *w, int k, size_t repeat, size_t plane)
{
    size_t at = 0;
    for (int d = w->rank - 1; d >= 0; d--) {
        size_t *rest = d < w->shared ? &repeat : &plane;
        at += *rest % w->dims[d] * w->strides[k][d];
        *rest /= w->dims[d];
    }
    return at;
}

/* Plane i, for all repeats. False where an index is none. */
static bool pay(const winners *w, size_t i)
{
    const ops_operand *in = w->c->in;
    const float *m = in[M].data;
    const float *x = (const float *)in[X].data + start(w, X, 0, i);
    const float *x0 = (const float *)in[X0].data + start(w, X0, 0, i);
    const int64_t *at = (const int64_t *)in[AT].data + start(w, AT, 0, i);
    const int64_t *at0 = (const int64_t *)in[AT0].data + start(w, AT0, 0, i);
    for (size_t r = 0; r < w->repeats; r++) {
        memset(w->c->out + (r * w->planes + i) * w->positions, 0, w->positions * sizeof *x);
    }
    for (size_t begin = 0; begin < w->windows; begin += BLOCK) {
        block b;
        b.count = w->windows - begin < BLOCK ? w->windows - begin : BLOCK;
        if (!lie_inside(w, at + begin, b.count) || !lie_inside(w, at0 + begin, b.count)) {
            return false;
        }
        find(&b, x, x0, at + begin, at0 + begin);
        for (size_t r = 0; r < w->repeats; r++) {
            const float *from = m + start(w, M, r, i) + begin;
            float *out = w->c->out + (r * w->planes + i) * w->positions;
            for (size_t k = 0; k < b.count; k++) {
                out[b.winner[k]] += from[k] * b.share[k];
            }
        }
    }
    return true;
}

/* The same one window at a time, in double precision until it is added: what tests trust. */
static bool pay_naive(const winners *w, size_t i)
{
    const ops_operand *in = w->c->in;
    for (size_t r = 0; r < w->repeats; r++) {
        float *out = w->c->out + (r * w->planes + i) * w->positions;
        memset(out, 0, w->positions * sizeof *out);
        for (size_t k = 0; k < w->windows; k++) {
            double m = ((const float *)in[M].data)[start(w, M, r, i) + k];
            const float *x = (const float *)in[X].data + start(w, X, r, i);
            const float *x0 = (const float *)in[X0].data + start(w, X0, r, i);
            int64_t at = ((const int64_t *)in[AT].data)[start(w, AT, r, i) + k];
            int64_t at0 = ((const int64_t *)in[AT0].data)[start(w, AT0, r, i) + k];
            if (!lie_inside(w, &at, 1) || !lie_inside(w, &at0, 1)) {
                return false;
            }
            int64_t winner = x[at] > x0[at0] ? at : at0;
            double dy = (double)x[at] - (double)x0[at0];
            double dx = (double)x[winner] - (double)x0[winner];
            out[winner] += (float)(m * (dx == 0 ? 1 : dy / dx));
        }
    }
    return true;
}

static void run_part(void *user, size_t i)
{
    winners *w = user;
    bool (*const one)(const winners *, size_t) = w->c->isa == &ops_naive ? pay_naive : pay;
    size_t end = (i + 1) * w->part < w->planes ? (i + 1) * w->part : w->planes;
    for (size_t plane = i * w->part; plane < end; plane++) {
        if (!one(w, plane)) {
            atomic_store(&w->outside, true);
        }
    }
}

/* ---- all of them --------------------------------------------------------------------------- */

static size_t last(const ops_operand *o)
{
    return (size_t)o->dims[o->rank - 1];
}

/* The axes before the last, on their own, and the last: windows or positions. Gives the dimensions
 * of the output, without the last. */
static OrtStatus *check(winners *w, ops_operand *outer, int64_t *dims)
{
    static const char *const names[] = {"m", "x", "x0", "at", "at0"};
    const ops_operand *in = w->c->in;
    for (int k = 0; k < INPUTS; k++) {
        outer[k] = in[k];
        if (outer[k].rank-- == 0) {
            return ops_misfit(w->c, k, names[k], "without a last axis");
        }
    }
    w->windows = last(&in[M]);
    w->positions = last(&in[X]);
    for (int k = X0; k < INPUTS; k++) {
        if (last(&in[k]) != (k == X0 ? w->positions : w->windows)) {
            return ops_misfit(w->c, k, names[k],
                              k == X0 ? "other positions than those of x"
                                      : "other windows than those of m");
        }
    }
    int stray = ops_broadcast(INPUTS, outer, &w->rank, dims);
    if (stray >= 0) {
        return ops_misfit(w->c, stray, names[stray],
                          "which does not broadcast with those before it");
    }
    return NULL;
}

/* Fills in the loops; gives the dimensions of the output. */
static OrtStatus *plan(winners *w, int *rank, int64_t *dims)
{
    ops_operand outer[INPUTS];
    const ops_operand *in = w->c->in;
    OrtStatus *status = check(w, outer, dims);
    if (status != NULL) {
        return status;
    }
    *rank = w->rank + 1;
    dims[w->rank] = (int64_t)w->positions;
    if (!ops_size_fits(*rank, dims)) {
        return ops_fail(w->c->op, "the inputs make too large a shape");
    }
    bool alone = true;
    w->repeats = w->planes = 1;
    for (int d = 0; d < w->rank; d++) {
        for (int k = X; k < INPUTS; k++) {
            alone = alone && ops_length(&outer[k], w->rank, d) == 1;
        }
        w->dims[d] = (size_t)dims[d];
        w->shared += alone;
        *(alone ? &w->repeats : &w->planes) *= w->dims[d];
    }
    for (int k = 0; k < INPUTS; k++) {
        size_t size = last(&in[k]);
        for (int d = w->rank - 1; d >= 0; d--) {
            size_t n = (size_t)ops_length(&outer[k], w->rank, d);
            w->strides[k][d] = n == 1 ? 0 : size;
            size *= n;
        }
    }
    return NULL;
}

static OrtStatus *run(ops_call *c)
{
    winners w = {.c = c};
    int rank;
    int64_t dims[OPS_RANK];
    OrtStatus *status = plan(&w, &rank, dims);
    status = status != NULL ? status : ops_output(c, rank, dims);
    if (status != NULL || w.repeats == 0 || w.planes == 0) {
        return status;
    }
    size_t size = w.repeats * (w.positions + w.windows);
    w.part = size < PIECE ? PIECE / (size + 1) + 1 : 1;
    status = ops_run(c, (w.planes + w.part - 1) / w.part, run_part, &w);
    return status == NULL && w.outside ? ops_fail(c->op, "an index lies outside") : status;
}

size_t ops_winners(ops_op *to)
{
    if (to != NULL) {
        *to = (ops_op){.name = "WinnerFlow",
                       .needed = INPUTS,
                       .inputs = INPUTS,
                       .integers = 2,
                       .shape = OPS_WINNER,
                       .run = run};
    }
    return 1;
}
