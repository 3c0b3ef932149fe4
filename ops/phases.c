/* Interleave<rows>x<columns>(parts.., shape): planes of which each part has every rows-th row and
 * every columns-th column; Spread<rows>x<columns>At<row>x<column>(part, shape): the same of a
 * single part, with zeros around. `shape` is int64 [4], its first two 0 or what the parts have.
 * Names that end with "Cut" leave out what is beyond the shape. */
#include "kernel.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MOST_PARTS = OPS_INPUTS - 1 };

typedef struct planes {
    const ops_call *c;
    const float *parts[MOST_PARTS]; /* of a plane, row by row; NULL for zeros */
    size_t size, columns;           /* of a plane of a part */
    size_t height, width;           /* of the output */
} planes;

/* One of `across` columns of the output, from the row of a part. */
static void put_apart(float *out, size_t width, size_t across, const float *from)
{
    for (size_t i = 0, column = 0; column < width; i++, column += across) {
        out[column] = from[i];
    }
}

static void put_pairs(float *out, size_t width, const float *a, const float *b)
{
    for (size_t i = 0; i < width / 2; i++) {
        out[2 * i] = a[i];
        out[2 * i + 1] = b[i];
    }
    if (width % 2 != 0) {
        out[width - 1] = a[width / 2];
    }
}

static void run_plane(void *user, size_t i)
{
    const planes *p = user;
    size_t down = (size_t)p->c->op->steps[0], across = (size_t)p->c->op->steps[1];
    for (size_t row = 0; row < p->height; row++) {
        float *out = p->c->out + (i * p->height + row) * p->width;
        size_t from = i * p->size + row / down * p->columns;
        const float *const *parts = p->parts + row % down * across;
        if (across == 2 && parts[0] != NULL && parts[1] != NULL) {
            put_pairs(out, p->width, parts[0] + from, parts[1] + from);
            continue;
        }
        bool whole = true;
        for (size_t k = 0; k < across; k++) {
            whole = whole && parts[k] != NULL;
        }
        if (!whole) {
            memset(out, 0, p->width * sizeof *out);
        }
        for (size_t k = 0; k < across && k < p->width; k++) {
            if (parts[k] != NULL) {
                put_apart(out + k, p->width - k, across, parts[k] + from);
            }
        }
    }
}

/* The same number by number: what tests trust. */
static void run_plane_naive(void *user, size_t i)
{
    const planes *p = user;
    size_t down = (size_t)p->c->op->steps[0], across = (size_t)p->c->op->steps[1];
    for (size_t row = 0; row < p->height; row++) {
        for (size_t column = 0; column < p->width; column++) {
            const float *part = p->parts[row % down * across + column % across];
            size_t at = i * p->size + row / down * p->columns + column / across;
            p->c->out[(i * p->height + row) * p->width + column] = part == NULL ? 0 : part[at];
        }
    }
}

/* The dimensions of the output: those of the first part times the steps, which the shape repeats,
 * or cuts off. */
static OrtStatus *find_dims(const ops_call *c, int64_t *dims)
{
    const ops_op *op = c->op;
    const int last = op->inputs - 1;
    const ops_operand *part = &c->in[0], *shape = &c->in[last];
    if (shape->rank != 1 || shape->dims[0] != 4) {
        return ops_misfit(c, last, "the shape", "not four numbers");
    }
    for (int k = 0; k < last; k++) {
        if (c->in[k].rank != 4 || memcmp(c->in[k].dims, part->dims, 4 * sizeof *dims) != 0) {
            return ops_misfit(c, k, NULL, "not four axes that all parts have");
        }
    }
    const int64_t *wanted = shape->data;
    for (int d = 0; d < 4; d++) {
        int64_t full = part->dims[d] * (d < 2 ? 1 : op->steps[d - 2]);
        bool cut = d >= 2 && op->cut;
        if (cut ? wanted[d] < 0 || wanted[d] > full : wanted[d] != full && (d >= 2 || wanted[d])) {
            return ops_fail(op, "shapes do not fit: axis %d is to have %" PRId64 ", of %" PRId64, d,
                            wanted[d], full);
        }
        dims[d] = d < 2 ? full : wanted[d];
    }
    return NULL;
}

static OrtStatus *run(ops_call *c)
{
    const ops_op *op = c->op;
    int64_t dims[4];
    OrtStatus *status = find_dims(c, dims);
    status = status != NULL ? status : ops_output(c, 4, dims);
    if (status != NULL) {
        return status;
    }
    planes p = {
        .c = c,
        .size = (size_t)(c->in[0].dims[2] * c->in[0].dims[3]),
        .columns = (size_t)c->in[0].dims[3],
        .height = (size_t)dims[2],
        .width = (size_t)dims[3],
    };
    for (int k = 0; k < op->inputs - 1; k++) {
        p.parts[op->at[0] * op->steps[1] + op->at[1] + k] = c->in[k].data;
    }
    size_t count = (size_t)(dims[0] * dims[1]);
    if (p.height == 0 || p.width == 0) {
        return NULL;
    }
    return ops_run(c, count, c->isa == &ops_naive ? run_plane_naive : run_plane, &p);
}

/* ---- names --------------------------------------------------------------------------------- */

/* An operator and what cuts off: adds both to `to`, from `count` on. */
static size_t add(ops_op *to, size_t count, const char *name, ops_op op)
{
    for (int cut = 0; to != NULL && cut < 2; cut++) {
        to[count + (size_t)cut] = op;
        to[count + (size_t)cut].cut = cut;
        snprintf(to[count + (size_t)cut].name, sizeof op.name, "%s%s", name, cut ? "Cut" : "");
    }
    return count + 2;
}

static size_t add_steps(ops_op *to, size_t count, int rows, int columns)
{
    char name[56];
    ops_op op = {.integers = 1, .run = run, .steps = {rows, columns}};
    op.needed = op.inputs = rows * columns + 1;
    snprintf(name, sizeof name, "Interleave%dx%d", rows, columns);
    count = add(to, count, name, op);
    op.needed = op.inputs = 2;
    for (op.at[0] = 0; op.at[0] < rows && rows > 1 && columns > 1; op.at[0]++) {
        for (op.at[1] = 0; op.at[1] < columns; op.at[1]++) {
            snprintf(name, sizeof name, "Spread%dx%dAt%dx%d", rows, columns, op.at[0], op.at[1]);
            count = add(to, count, name, op);
        }
    }
    return count;
}

/* Steps along one axis alone are few; along two, all of which the parts have room. */
size_t ops_phases(ops_op *to)
{
    size_t count = 0;
    for (int rows = 1; rows <= MOST_PARTS; rows++) {
        for (int columns = 1; rows * columns <= MOST_PARTS; columns++) {
            int steps = rows * columns;
            if (steps > 1 && (steps <= 3 || (rows > 1 && columns > 1))) {
                count = add_steps(to, count, rows, columns);
            }
        }
    }
    return count;
}
