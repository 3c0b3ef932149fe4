/* Making and running kernels, and what ONNX Runtime asks of an operator. */
#include "kernel.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct kernel {
    const OrtApi *api;
    const ops_op *op;
    const ops_isa *isa;
    max_align_t attributes[];
} kernel;

/* ---- making -------------------------------------------------------------------------------- */

static OrtStatus *ORT_API_CALL create_or_fail(const OrtCustomOp *base, const OrtApi *api,
                                              const OrtKernelInfo *info, void **made)
{
    const ops_op *op = (const ops_op *)base;
    kernel *k = calloc(1, sizeof *k + op->attributes);
    *made = NULL;
    if (k == NULL) {
        return api->CreateStatus(ORT_FAIL, "onnxexplainer: out of memory");
    }
    k->api = api;
    k->op = op;
    k->isa = ops_isa_choose();
    if (op->read != NULL && !op->read(api, info, k->attributes)) {
        free(k);
        return api->CreateStatus(ORT_INVALID_ARGUMENT,
                                 "onnxexplainer: attributes that this machine cannot serve");
    }
    *made = k;
    return NULL;
}

/* Before version 16 there is no way to tell of an error but to leave the kernel out. */
static void *ORT_API_CALL create(const OrtCustomOp *op, const OrtApi *api,
                                 const OrtKernelInfo *info)
{
    void *made;
    OrtStatus *status = create_or_fail(op, api, info, &made);
    if (status != NULL) {
        api->ReleaseStatus(status);
    }
    return made;
}

static void ORT_API_CALL destroy(void *made)
{
    free(made);
}

/* ---- running ------------------------------------------------------------------------------- */

OrtStatus *ops_fail(const ops_call *c, const char *reason)
{
    char message[160];
    snprintf(message, sizeof message, "onnxexplainer.%s: %s", c->op->name, reason);
    return c->api->CreateStatus(ORT_INVALID_ARGUMENT, message);
}

/* Reads the shape and the data of a tensor. */
static OrtStatus *read_operand(const ops_call *c, const OrtValue *value, ops_operand *o)
{
    const OrtApi *api = c->api;
    OrtTensorTypeAndShapeInfo *info;
    OrtStatus *status = api->GetTensorTypeAndShape(value, &info);
    if (status != NULL) {
        return status;
    }
    size_t rank = 0;
    status = api->GetDimensionsCount(info, &rank);
    if (status == NULL && rank > OPS_RANK) {
        status = ops_fail(c, "too many axes");
    }
    if (status == NULL) {
        o->rank = (int)rank;
        status = api->GetDimensions(info, o->dims, rank);
    }
    api->ReleaseTensorTypeAndShapeInfo(info);
    void *data = NULL;
    if (status == NULL) {
        status = api->GetTensorMutableData((OrtValue *)(uintptr_t)value, &data);
    }
    o->data = data;
    return status;
}

static OrtStatus *read_inputs(ops_call *c)
{
    size_t count;
    OrtStatus *status = c->api->KernelContext_GetInputCount(c->context, &count);
    for (size_t i = 0; status == NULL && i < (size_t)c->op->inputs; i++) {
        const OrtValue *value = NULL;
        if (i < count) {
            status = c->api->KernelContext_GetInput(c->context, i, &value);
        }
        if (status == NULL && value != NULL) {
            status = read_operand(c, value, &c->in[i]);
        } else if (status == NULL && i < (size_t)c->op->needed) {
            status = ops_fail(c, "an input is missing");
        }
    }
    return status;
}

OrtStatus *ops_output(ops_call *c, int rank, const int64_t *dims)
{
    OrtValue *value;
    OrtStatus *status = c->api->KernelContext_GetOutput(c->context, 0, dims, (size_t)rank, &value);
    void *data = NULL;
    if (status == NULL) {
        status = c->api->GetTensorMutableData(value, &data);
    }
    c->out = data;
    return status;
}

OrtStatus *ops_run(const ops_call *c, size_t count, void (*part)(void *user, size_t i), void *user)
{
#if ORT_API_VERSION >= 17
    if (count > 1 && c->op->base.version >= 17) {
        return c->api->KernelContext_ParallelFor(c->context, part, count, 0, user);
    }
#endif
    for (size_t i = 0; i < count; i++) {
        part(user, i);
    }
    return NULL;
}

static OrtStatus *ORT_API_CALL compute_or_fail(void *made, OrtKernelContext *context)
{
    const kernel *k = made;
    ops_call c = {
        .api = k->api, .op = k->op, .isa = k->isa, .attributes = k->attributes, .context = context};
    OrtStatus *status = read_inputs(&c);
    return status != NULL ? status : k->op->run(&c);
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

static ONNXTensorElementDataType ORT_API_CALL input_type(const OrtCustomOp *base, size_t i)
{
    const ops_op *op = (const ops_op *)base;
    return i < (size_t)(op->inputs - op->integers) ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT
                                                   : ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
}

static ONNXTensorElementDataType ORT_API_CALL output_type(const OrtCustomOp *op, size_t i)
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

/* The output may take the place of input 0. */
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
    b->GetInputType = input_type;
    b->GetInputTypeCount = input_count;
    b->GetOutputType = output_type;
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
    if (op->shape != OPS_UNKNOWN &&
        op->inputs == op->needed) { /* an input left out makes 1.17 to 1.20 at least crash */
        b->InferOutputShapeFn = ops_infer_shape;
    }
    b->GetStartVersion = first;
    b->GetEndVersion = last;
#endif
#if ORT_API_VERSION >= 18
    if (op->in_place) {
        b->GetMayInplace = in_place;
        b->ReleaseMayInplace = release;
    }
#endif
}
