/* `<name>Flow` and `<name>SumFlow` of ops.h, as ONNX Runtime sees them. */
#include "kernel.h"
#include "rows.h"

#include <stdlib.h>
#include <string.h>

static OrtStatus *run_flow(ops_call *c)
{
    const ops_op *op = c->op;
    int rank;
    int64_t dims[OPS_RANK];
    OrtStatus *status = ops_meet(c, op->inputs, &rank, dims);
    status = status != NULL ? status : ops_output(c, rank, dims);
    ops_task task = {
        .isa = c->isa,
        .flow = op->flow,
        .m2 = op->inputs > op->operands ? op->operands : -1,
        .axis = -1,
        .out = c->out,
    };
    if (status != NULL || !ops_task_plan(&task, op->inputs, c->in, rank, dims)) {
        return status;
    }
    return ops_run(c, task.chunks * task.parts, ops_task_run, &task);
}

/* Both sides first, each row of them once. */
static OrtStatus *run_rows(ops_call *c, ops_rows *r)
{
    size_t numbers = r->sizes[1] + r->sizes[2];
    float *room = malloc(2 * numbers * sizeof *room);
    if (room == NULL) {
        return c->op->api->CreateStatus(ORT_FAIL, "onnxexplainer: out of memory");
    }
    r->l[1] = room;
    r->l[2] = r->l[1] + r->sizes[1];
    r->y[1] = r->l[2] + r->sizes[2];
    r->y[2] = r->y[1] + r->sizes[1];
    OrtStatus *status = ops_run(c, ops_rows_sides(r), ops_rows_side, r);
    status = status != NULL ? status : ops_run(c, r->parts, ops_rows_run, r);
    free(room);
    return status;
}

static OrtStatus *run_axis_flow(ops_call *c)
{
    ops_rows rows = {.operands = 3, .row = c->isa->rows[c->op->flow], .side = c->isa->side};
    int rank;
    int64_t dims[OPS_RANK];
    OrtStatus *status = ops_meet(c, c->op->inputs, &rank, dims);
    if (status == NULL && !ops_rows_plan(&rows, c->in, rank, dims)) {
        return ops_misfit(c, 1, "x", "and x and x0 have to have the whole last axis");
    }
    status = status != NULL ? status : ops_output(c, rank, dims);
    rows.out = c->out;
    return status != NULL || rows.parts == 0 ? status : run_rows(c, &rows);
}

/* Rows of an operator of which m is whole. */
static OrtStatus *run_whole_rows(ops_call *c, ops_rows *rows, void (*part)(void *, size_t))
{
    int rank;
    int64_t dims[OPS_RANK];
    OrtStatus *status = ops_meet(c, c->op->inputs, &rank, dims);
    rows->operands = c->op->inputs;
    rows->row = c->isa->rows[c->op->flow];
    if (status == NULL && (!ops_rows_plan(rows, c->in, rank, dims) || rows->single)) {
        return ops_misfit(c, 0, "m",
                          rows->operands > 3
                              ? "and m, d and d0 have to have the whole last axis alone"
                              : "and all have to have the whole last axis");
    }
    status = status != NULL ? status : ops_output(c, rank, dims);
    rows->out = c->out;
    return status != NULL ? status : ops_run(c, rows->parts, part, rows);
}

static OrtStatus *run_norm_flow(ops_call *c)
{
    ops_rows rows = {0};
    return run_whole_rows(c, &rows, ops_rows_run_plain);
}

static OrtStatus *run_share_flow(ops_call *c)
{
    ops_rows rows = {.share = c->isa->share};
    OrtStatus *status = run_whole_rows(c, &rows, ops_rows_run_shares);
    return status == NULL && atomic_load(&rows.without_memory)
               ? c->op->api->CreateStatus(ORT_FAIL, "onnxexplainer: out of memory")
               : status;
}

/* `<name>Flow`, and `<name>SumFlow` with a second multiplier as its last input. */
#define INPUTS(count) .needed = (count), .inputs = (count), .shape = OPS_BROADCAST
#define FLOW(id, text, y, count, ...)                                                              \
    {.name = text "Flow",                                                                          \
     .flow = OPS_##id,                                                                             \
     .operands = OX_OPERANDS(y, count),                                                            \
     INPUTS(OX_OPERANDS(y, count)),                                                                \
     .in_place = true,                                                                             \
     .run = run_flow},                                                                             \
        {.name = text "SumFlow",                                                                   \
         .flow = OPS_##id,                                                                         \
         .operands = OX_OPERANDS(y, count),                                                        \
         INPUTS(OX_OPERANDS(y, count) + 1),                                                        \
         .in_place = true,                                                                         \
         .run = run_flow},

/* These write before they have read all, and so not in the place of m. */
#define AXIS_FLOW(id, text)                                                                        \
    {.name = text "Flow", .flow = OPS_##id, INPUTS(3), .run = run_axis_flow},

/* Rows of m are read before they are written. */
#define WHOLE(id, text, count, function)                                                           \
    {.name = text "Flow", .flow = OPS_##id, INPUTS(count), .in_place = true, .run = (function)},
#define SHARE_FLOW(id, text) WHOLE(id, text, 3, run_share_flow)
#define NORM_FLOW(id, text) WHOLE(id, text, 5, run_norm_flow)

size_t ops_elementwise(ops_op *to)
{
    static const ops_op table[] = {
#define KERNEL_FLOW FLOW
#include "base/flows.inc"
        OX_AXIS_FLOWS(AXIS_FLOW) OX_SHARE_FLOWS(SHARE_FLOW) OX_NORM_FLOWS(NORM_FLOW)};
    if (to != NULL) {
        memcpy(to, table, sizeof table);
    }
    return sizeof table / sizeof table[0];
}
