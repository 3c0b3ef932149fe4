/* Making and running kernels, and what ONNX Runtime asks of an operator. */
#include "kernel.h"
#include "rows.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct kernel {
    const OrtApi *api;
    const ops_op *op;
    const ops_isa *isa;
} kernel;

/* ---- making -------------------------------------------------------------------------------- */

static void *ORT_API_CALL create(const OrtCustomOp *op, const OrtApi *api,
                                 const OrtKernelInfo *info)
{
    (void)info;
    kernel *k = malloc(sizeof *k);
    if (k != NULL) {
        *k = (kernel){api, (const ops_op *)op, ops_isa_choose()};
    }
    return k;
}

static OrtStatus *ORT_API_CALL create_or_fail(const OrtCustomOp *op, const OrtApi *api,
                                              const OrtKernelInfo *info, void **made)
{
    *made = create(op, api, info);
    return *made == NULL ? api->CreateStatus(ORT_FAIL, "onnxexplainer: out of memory") : NULL;
}

static void ORT_API_CALL destroy(void *made)
{
    free(made);
}

/* ---- running ------------------------------------------------------------------------------- */

static OrtStatus *fail(const kernel *k, const char *reason)
{
    char message[160];
    snprintf(message, sizeof message, "onnxexplainer.%s: %s", k->op->name, reason);
    return k->api->CreateStatus(ORT_INVALID_ARGUMENT, message);
}

/* Reads the shape and the data of a tensor. */
static OrtStatus *read_operand(const kernel *k, const OrtValue *value, ops_operand *o)
{
    const OrtApi *api = k->api;
    OrtTensorTypeAndShapeInfo *info;
    OrtStatus *status = api->GetTensorTypeAndShape(value, &info);
    if (status != NULL) {
        return status;
    }
    size_t rank = 0;
    status = api->GetDimensionsCount(info, &rank);
    if (status == NULL && rank > OPS_RANK) {
        status = fail(k, "too many axes");
    }
    if (status == NULL) {
        o->rank = (int)rank;
        status = api->GetDimensions(info, o->dims, rank);
    }
    api->ReleaseTensorTypeAndShapeInfo(info);
    void *data = NULL;
    if (status == NULL) {
        status = api->GetTensorMutableData((OrtValue *)value, &data);
    }
    o->data = data;
    return status;
}

/* Reads input i; *present is set to whether there is one. */
static OrtStatus *read_input(const kernel *k, OrtKernelContext *context, size_t count, int i,
                             ops_operand *o, bool *present)
{
    const OrtValue *value = NULL;
    if ((size_t)i < count) {
        OrtStatus *status = k->api->KernelContext_GetInput(context, (size_t)i, &value);
        if (status != NULL) {
            return status;
        }
    }
    *present = value != NULL;
    if (value == NULL) {
        return i < k->op->needed ? fail(k, "an input is missing") : NULL;
    }
    return read_operand(k, value, o);
}

/* Reads all inputs as operands of a task. */
static OrtStatus *read_inputs(const kernel *k, OrtKernelContext *context, ops_task *t,
                              ops_operand *operands, int *operand_count)
{
    const ops_op *op = k->op;
    size_t count;
    OrtStatus *status = k->api->KernelContext_GetInputCount(context, &count);
    *operand_count = 0;
    for (int i = 0; status == NULL && i < op->inputs; i++) {
        bool present;
        status = read_input(k, context, count, i, &operands[*operand_count], &present);
        if (status == NULL && present) {
            int *extra = i < op->operands  ? NULL
                         : i < op->needed  ? &t->m2
                         : i == op->needed ? &t->scale
                                           : &t->acc;
            if (extra != NULL) {
                *extra = *operand_count;
            }
            ++*operand_count;
        }
    }
    return status;
}

/* Runs all parts, on ONNX Runtime's threads where it offers them. */
static OrtStatus *run_parts(const kernel *k, const OrtKernelContext *context, size_t count,
                            void (*run)(void *task, size_t i), void *task)
{
#if ORT_API_VERSION >= 17
    if (count > 1 && k->op->base.version >= 17) {
        return k->api->KernelContext_ParallelFor(context, run, count, 0, task);
    }
#endif
    (void)k;
    (void)context;
    for (size_t i = 0; i < count; i++) {
        run(task, i);
    }
    return NULL;
}

static OrtStatus *make_output(const kernel *k, OrtKernelContext *context, int rank,
                              const int64_t *dims, float **out)
{
    OrtValue *value;
    OrtStatus *status = k->api->KernelContext_GetOutput(context, 0, dims, (size_t)rank, &value);
    void *data = NULL;
    if (status == NULL) {
        status = k->api->GetTensorMutableData(value, &data);
    }
    *out = data;
    return status;
}

static OrtStatus *ORT_API_CALL compute_or_fail(void *made, OrtKernelContext *context)
{
    const kernel *k = made;
    ops_task task = {.isa = k->isa, .flow = k->op->flow, .m2 = -1, .scale = -1, .acc = -1};
    ops_rows rows = {.row = k->isa->rows[k->op->flow]};
    ops_operand operands[OPS_MOST];
    int count, rank;
    int64_t dims[OPS_RANK];
    OrtStatus *status = read_inputs(k, context, &task, operands, &count);
    if (status != NULL) {
        return status;
    }
    if (!ops_broadcast(count, operands, task.acc, &rank, dims) ||
        (k->op->along_axis && !ops_rows_plan(&rows, operands, rank, dims))) {
        return fail(k, "shapes do not fit");
    }
    status = make_output(k, context, rank, dims, k->op->along_axis ? &rows.out : &task.out);
    if (status != NULL) {
        return status;
    }
    if (k->op->along_axis) {
        return run_parts(k, context, rows.parts, ops_rows_run, &rows);
    }
    bool any = ops_task_plan(&task, count, operands, rank, dims);
    return any ? run_parts(k, context, task.chunks * task.parts, ops_task_run, &task) : NULL;
}

/* Before version 16 there is no way to tell of an error but to leave the output out. */
static void ORT_API_CALL compute(void *made, OrtKernelContext *context)
{
    const kernel *k = made;
    OrtStatus *status = k == NULL ? NULL : compute_or_fail(made, context);
    if (status != NULL) {
        k->api->ReleaseStatus(status);
    }
}

/* ---- what an operator is ------------------------------------------------------------------- */

static const char *ORT_API_CALL name(const OrtCustomOp *op)
{
    return ((const ops_op *)op)->name;
}

static const char *ORT_API_CALL provider(const OrtCustomOp *op)
{
    (void)op;
    return "CPUExecutionProvider";
}

static ONNXTensorElementDataType ORT_API_CALL type(const OrtCustomOp *op, size_t i)
{
    (void)op;
    (void)i;
    return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
}

static size_t ORT_API_CALL input_count(const OrtCustomOp *op)
{
    return (size_t)((const ops_op *)op)->inputs;
}

static size_t ORT_API_CALL output_count(const OrtCustomOp *op)
{
    (void)op;
    return 1;
}

static OrtCustomOpInputOutputCharacteristic ORT_API_CALL input_kind(const OrtCustomOp *op, size_t i)
{
    return i < (size_t)((const ops_op *)op)->needed ? INPUT_OUTPUT_REQUIRED : INPUT_OUTPUT_OPTIONAL;
}

static OrtCustomOpInputOutputCharacteristic ORT_API_CALL output_kind(const OrtCustomOp *op,
                                                                     size_t i)
{
    (void)op;
    (void)i;
    return INPUT_OUTPUT_REQUIRED;
}

static OrtMemType ORT_API_CALL memory(const OrtCustomOp *op, size_t i)
{
    (void)op;
    (void)i;
    return OrtMemTypeDefault;
}

static int ORT_API_CALL first(const OrtCustomOp *op)
{
    (void)op;
    return 1;
}

static int ORT_API_CALL last(const OrtCustomOp *op)
{
    (void)op;
    return INT_MAX;
}

static void ORT_API_CALL release(int *inputs, int *outputs)
{
    free(inputs);
    free(outputs);
}

/* The output may take the place of m. */
static size_t ORT_API_CALL in_place(int **inputs, int **outputs)
{
    *inputs = calloc(1, sizeof **inputs);
    *outputs = calloc(1, sizeof **outputs);
    if (*inputs == NULL || *outputs == NULL) {
        release(*inputs, *outputs);
        return 0;
    }
    return 1;
}

void ops_op_init(ops_op *op)
{
    OrtCustomOp *b = &op->base;
    b->CreateKernel = create;
    b->GetName = name;
    b->GetExecutionProviderType = provider;
    b->GetInputType = type;
    b->GetInputTypeCount = input_count;
    b->GetOutputType = type;
    b->GetOutputTypeCount = output_count;
    b->KernelCompute = compute;
    b->KernelDestroy = destroy;
    b->GetInputCharacteristic = input_kind;
    b->GetOutputCharacteristic = output_kind;
    b->GetInputMemoryType = memory;
#if ORT_API_VERSION >= 16
    b->CreateKernelV2 = create_or_fail;
    b->KernelComputeV2 = compute_or_fail;
#endif
#if ORT_API_VERSION >= 17
    if (op->inputs == op->needed) { /* an input left out makes 1.17 to 1.20 at least crash */
        b->InferOutputShapeFn = ops_infer_shape;
    }
    b->GetStartVersion = first;
    b->GetEndVersion = last;
#endif
#if ORT_API_VERSION >= 18
    if (!op->along_axis) { /* those write before they have read all */
        b->GetMayInplace = in_place;
        b->ReleaseMayInplace = release;
    }
#endif
}
