/* Sums along one axis: MeanFlow(m, x, x0), the mean of m (x - x0) over the references, the first
 * axis of x0; and sums over the channels, the third axis from behind, which stays with length 1. */
#include "kernel.h"

#include <math.h>
#include <string.h>

static double gain(const float *v)
{
    return (double)v[0] * ((double)v[1] - (double)v[2]);
}

static double scaled(const float *v)
{
    return (double)v[0] * (double)v[1];
}

static double gain_square(const float *v)
{
    double d = (double)v[1] - (double)v[2];
    return (double)v[0] * d * d;
}

static double relu_gain_square(const float *v)
{
    return gain_square((const float[]){v[0], fmaxf(v[1], 0), fmaxf(v[2], 0)});
}

static double mid_square(const float *v)
{
    double mid = ((double)v[1] + (double)v[2]) / 2;
    return (double)v[0] * mid * mid;
}

typedef struct sum {
    ops_call *c;
    int rank, axis;
    const int64_t *dims;
    bool mean;
    double (*term)(const float *v);
} sum;

/* Element i of the output, in double precision: what tests trust. */
static void naive(void *user, size_t i)
{
    const sum *own = user;
    double total = 0;
    for (int64_t r = 0; r < own->dims[own->axis]; r++) {
        float v[3];
        for (int k = 0; k < own->c->op->inputs; k++) {
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
        total += own->term(v);
    }
    own->c->out[i] = (float)(own->mean ? total / (double)own->dims[own->axis] : total);
}

/* Into the output, which is made: of `count` numbers. */
static OrtStatus *add_up(sum *own, size_t count)
{
    ops_call *c = own->c;
    if (count == 0) {
        return NULL;
    }
    if (own->dims[own->axis] == 0) { /* as ReduceMean does */
        memset(c->out, 0, count * sizeof *c->out);
        return NULL;
    }
    if (c->isa == &ops_naive) {
        return ops_run(c, count, naive, own);
    }
    ops_task task = {.isa = c->isa,
                     .flow = c->op->flow,
                     .m2 = -1,
                     .axis = own->axis,
                     .mean = own->mean,
                     .out = c->out};
    ops_task_plan(&task, c->op->inputs, c->in, own->rank, own->dims);
    return ops_run(c, task.chunks * task.parts, ops_task_run, &task);
}

static OrtStatus *run_mean(ops_call *c)
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
    sum own = {c, rank, axis, dims, true, gain};
    return status != NULL ? status : add_up(&own, count);
}

static double (*term_of(ops_id flow))(const float *v)
{
    return flow == OPS_add_scaled             ? scaled
           : flow == OPS_add_gain_square      ? gain_square
           : flow == OPS_add_relu_gain_square ? relu_gain_square
                                              : mid_square;
}

static OrtStatus *run_channels(ops_call *c)
{
    int rank;
    int64_t dims[OPS_RANK], left[OPS_RANK];
    OrtStatus *status = ops_meet(c, c->op->inputs, &rank, dims);
    if (status != NULL) {
        return status;
    }
    if (rank < 3) {
        return ops_misfit(c, 0, NULL, "which has no axis of channels before two others");
    }
    size_t count = 1;
    for (int d = 0; d < rank; d++) {
        left[d] = d == rank - 3 ? 1 : dims[d];
        count *= (size_t)left[d];
    }
    status = ops_output(c, rank, left);
    sum own = {c, rank, rank - 3, dims, false, term_of(c->op->flow)};
    return status != NULL ? status : add_up(&own, count);
}

#define CHANNELS(row, text, count)                                                                 \
    {                                                                                              \
        .name = text, .flow = OPS_add_##row, .needed = (count), .inputs = (count),                 \
        .shape = OPS_CHANNELS, .run = run_channels                                                 \
    }

size_t ops_sums(ops_op *to)
{
    static const ops_op table[] = {
        {.name = "MeanFlow",
         .flow = OPS_add_product,
         .needed = 3,
         .inputs = 3,
         .shape = OPS_MEAN,
         .run = run_mean},
        CHANNELS(scaled, "ChannelSum", 2),
        CHANNELS(gain_square, "ChannelSumOfGains", 3),
        CHANNELS(relu_gain_square, "ChannelSumOfReluGains", 3),
        CHANNELS(mid_square, "ChannelSumOfMids", 3),
    };
    if (to != NULL) {
        memcpy(to, table, sizeof table);
    }
    return sizeof table / sizeof table[0];
}
