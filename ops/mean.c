/* MeanFlow(m, x, x0): the mean of m (x - x0) over the references, the first axis of x0. */
#include "kernel.h"

#include <string.h>

typedef struct mean {
    ops_call *c;
    int rank, axis;
    const int64_t *dims;
} mean;

/* Element i of the output, in double precision: what tests trust. */
static void naive(void *user, size_t i)
{
    const mean *own = user;
    double sum = 0;
    for (int64_t r = 0; r < own->dims[own->axis]; r++) {
        float v[3];
        for (int k = 0; k < 3; k++) {
            const ops_operand *o = &own->c->in[k];
            size_t rest = i, at = 0, size = 1;
            for (int d = own->rank - 1; d >= 0; d--) {
                size_t n = (size_t)ops_length(o, own->rank, d), all = (size_t)own->dims[d];
                size_t here = d == own->axis ? (size_t)r : rest % all;
                rest = d == own->axis ? rest : rest / all;
                at += n == 1 ? 0 : here * size;
                size *= n;
            }
            v[k] = ((const float *)o->data)[at];
        }
        sum += (double)v[0] * ((double)v[1] - (double)v[2]);
    }
    own->c->out[i] = (float)(sum / (double)own->dims[own->axis]);
}

static OrtStatus *run(ops_call *c)
{
    int rank;
    int64_t dims[OPS_RANK], left[OPS_RANK];
    OrtStatus *status = ops_meet(c, 3, &rank, dims);
    if (status != NULL) {
        return status;
    }
    if (c->in[2].rank == 0) {
        return ops_misfit(c, 2, "x0", "without an axis of references");
    }
    int axis = rank - c->in[2].rank;
    size_t count = 1;
    for (int d = 0, k = 0; d < rank; d++) {
        if (d != axis) {
            left[k++] = dims[d];
            count *= (size_t)dims[d];
        }
    }
    status = ops_output(c, rank - 1, left);
    if (status != NULL || count == 0) {
        return status;
    }
    if (dims[axis] == 0) { /* as ReduceMean does */
        memset(c->out, 0, count * sizeof *c->out);
        return NULL;
    }
    if (c->isa == &ops_naive) {
        mean own = {c, rank, axis, dims};
        return ops_run(c, count, naive, &own);
    }
    ops_task task = {.isa = c->isa, .flow = OPS_add_product, .m2 = -1, .axis = axis, .out = c->out};
    ops_task_plan(&task, 3, c->in, rank, dims);
    return ops_run(c, task.chunks * task.parts, ops_task_run, &task);
}

size_t ops_means(ops_op *to)
{
    if (to != NULL) {
        *to = (ops_op){.name = "MeanFlow", .needed = 3, .inputs = 3, .shape = OPS_MEAN, .run = run};
    }
    return 1;
}
