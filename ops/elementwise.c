/* `<name>Flow` and `<name>SumFlow` of ops.h, as ONNX Runtime sees them. */
#include "kernel.h"
#include "rows.h"

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

static OrtStatus *run_unit(ops_call *c)
{
    int rank;
    int64_t dims[OPS_RANK];
    OrtStatus *status = ops_meet(c, c->op->inputs, &rank, dims);
    status = status != NULL ? status : ops_two_outputs(c, rank, dims);
    ops_task task = {
        .isa = c->isa,
        .unit = c->isa->units[c->op->unit],
        .m2 = c->op->inputs > c->op->operands ? c->op->operands : -1,
        .axis = -1,
        .out = c->out,
        .second = c->second,
    };
    if (status != NULL || !ops_task_plan(&task, c->op->inputs, c->in, rank, dims)) {
        return status;
    }
    return ops_run(c, task.chunks * task.parts, ops_task_run, &task);
}

static OrtStatus *run_rows(ops_call *c, ops_rows *rows, void (*part)(void *, size_t))
{
    int rank;
    int64_t dims[OPS_RANK];
    OrtStatus *status = ops_meet(c, c->op->inputs, &rank, dims);
    bool norm = c->op->inputs > 3; /* its rows of m have to be whole */
    rows->operands = c->op->inputs;
    rows->row = c->isa->rows[c->op->flow];
    if (status == NULL && (!ops_rows_plan(rows, c->in, rank, dims) || (norm && rows->single))) {
        return ops_misfit(c, 1, norm ? "d" : "l",
                          norm ? "and m, d and d0 have to have the whole last axis, s and s0 none"
                               : "and l and l0 have to have the whole last axis");
    }
    status = status != NULL ? status : ops_output(c, rank, dims);
    rows->out = c->out;
    return status != NULL ? status : ops_run(c, rows->parts, part, rows);
}

static OrtStatus *run_norm_flow(ops_call *c)
{
    ops_rows rows = {0};
    return run_rows(c, &rows, ops_rows_run_plain);
}

static OrtStatus *run_axis_flow(ops_call *c)
{
    ops_rows rows = {.share = c->isa->share};
    OrtStatus *status = run_rows(c, &rows, ops_rows_run_shares);
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

/* Rows of m are read before they are written. */
#define ROWS(id, text, count, function)                                                            \
    {.name = text "Flow", .flow = OPS_##id, INPUTS(count), .in_place = true, .run = (function)},
#define AXIS_FLOW(id, text) ROWS(id, text, 3, run_axis_flow)
#define NORM_FLOW(id, text) ROWS(id, text, 5, run_norm_flow)

#define UNIT_OF(id, text, count, more)                                                             \
    {.name = text,                                                                                 \
     .outputs = 2,                                                                                 \
     .unit = OPS_UNIT_##id,                                                                        \
     .operands = (count),                                                                          \
     INPUTS((count) + (more)),                                                                     \
     .in_place = true,                                                                             \
     .run = run_unit},
#define UNIT(id, text, y, count)                                                                   \
    UNIT_OF(id, text "Unit", OX_UNIT_OPERANDS(y, count), 0)                                        \
    UNIT_OF(id, text "SumUnit", OX_UNIT_OPERANDS(y, count), 2)

size_t ops_elementwise(ops_op *to)
{
    static const ops_op table[] = {
#define KERNEL_FLOW FLOW
#include "base/flows.inc"
        OX_UNITS(UNIT) OX_AXIS_FLOWS(AXIS_FLOW) OX_NORM_FLOWS(NORM_FLOW)};
    if (to != NULL) {
        memcpy(to, table, sizeof table);
    }
    return sizeof table / sizeof table[0];
}
