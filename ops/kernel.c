/* Making and running kernels, and what ONNX Runtime asks of an operator. */
#include "kernel.h"

#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
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

static OrtStatus *ORT_API_CALL create(const OrtCustomOp *base, const OrtApi *api,
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
    OrtStatus *status = op->read == NULL ? NULL : op->read(op, info, k->attributes);
    if (status != NULL) {
        free(k);
        return status;
    }
    *made = k;
    return NULL;
}

static void ORT_API_CALL destroy(void *made)
{
    free(made);
}

/* ---- what is refused ----------------------------------------------------------------------- */

OrtStatus *ops_fail(const ops_op *op, const char *format, ...)
{
    char message[512];
    int size = snprintf(message, sizeof message, "onnxexplainer.%s: ", op->name);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message + size, sizeof message - (size_t)size, format, arguments);
    va_end(arguments);
    return op->api->CreateStatus(ORT_INVALID_ARGUMENT, message);
}

/* "[2,3]", cut off where there is no room. */
static void write_dims(int rank, const int64_t *dims, char *to, size_t room)
{
    int at = snprintf(to, room, "[");
    for (int d = 0; d < rank && (size_t)at < room; d++) {
        at += snprintf(to + at, room - (size_t)at, "%s%" PRId64, d > 0 ? "," : "", dims[d]);
    }
    if ((size_t)at < room) {
        snprintf(to + at, room - (size_t)at, "]");
    }
}

OrtStatus *ops_misfit(const ops_call *c, int i, const char *name, const char *wanted)
{
    char dims[160], number[32];
    write_dims(c->in[i].rank, c->in[i].dims, dims, sizeof dims);
    snprintf(number, sizeof number, "input %d", i);
    return ops_fail(c->op, "shapes do not fit: %s is %s, %s", name != NULL ? name : number, dims,
                    wanted);
}

OrtStatus *ops_meet(const ops_call *c, int count, int *rank, int64_t *dims)
{
    int stray = ops_broadcast(count, c->in, rank, dims);
    if (stray >= 0) {
        return ops_misfit(c, stray, NULL, "which does not broadcast with those before it");
    }
    return ops_size_fits(*rank, dims) ? NULL : ops_fail(c->op, "the inputs make too large a shape");
}

/* ---- running ------------------------------------------------------------------------------- */

static ONNXTensorElementDataType ORT_API_CALL input_type(const OrtCustomOp *base, size_t i)
{
    const ops_op *op = (const ops_op *)base;
    return i < (size_t)(op->inputs - op->integers) ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT
                                                   : ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
}

/* Reads the shape of input i, and checks it and the type. */
static OrtStatus *read_shape(const ops_call *c, size_t i, const OrtTensorTypeAndShapeInfo *info,
                             ops_operand *o)
{
    const OrtApi *api = c->api;
    ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    size_t rank = 0;
    OrtStatus *status = api->GetTensorElementType(info, &type);
    if (status == NULL && type != input_type(&c->op->base, i)) {
        status = ops_fail(c->op, "input %zu is of another type", i);
    }
    if (status == NULL) {
        status = api->GetDimensionsCount(info, &rank);
    }
    if (status == NULL && rank > OPS_RANK) {
        status =
            ops_fail(c->op, "input %zu has %zu axes, which are more than %d", i, rank, OPS_RANK);
    }
    if (status == NULL) {
        o->rank = (int)rank;
        status = api->GetDimensions(info, o->dims, rank);
    }
    if (status == NULL && !ops_size_fits(o->rank, o->dims)) {
        status = ops_misfit(c, (int)i, NULL, "which is too large");
    }
    return status;
}

static OrtStatus *read_operand(const ops_call *c, size_t i, const OrtValue *value, ops_operand *o)
{
    static const int64_t nothing = 0; /* empty tensors may have no data */
    const OrtApi *api = c->api;
    OrtTensorTypeAndShapeInfo *info;
    OrtStatus *status = api->GetTensorTypeAndShape(value, &info);
    if (status != NULL) {
        return status;
    }
    status = read_shape(c, i, info, o);
    api->ReleaseTensorTypeAndShapeInfo(info);
    void *data = NULL;
    if (status == NULL) {
        status = api->GetTensorMutableData((OrtValue *)(uintptr_t)value, &data);
    }
    o->data = data != NULL ? data : &nothing;
    return status;
}

static OrtStatus *read_inputs(ops_call *c)
{
    size_t count;
    OrtStatus *status = c->api->KernelContext_GetInputCount(c->context, &count);
    if (status == NULL && count > (size_t)c->op->inputs) {
        return ops_fail(c->op, "%zu inputs, of which it takes %d", count, c->op->inputs);
    }
    for (size_t i = 0; status == NULL && i < (size_t)c->op->inputs; i++) {
        const OrtValue *value = NULL;
        if (i < count) {
            status = c->api->KernelContext_GetInput(c->context, i, &value);
        }
        if (status == NULL && value != NULL) {
            status = read_operand(c, i, value, &c->in[i]);
        } else if (status == NULL && i < (size_t)c->op->needed) {
            status = ops_fail(c->op, "input %zu is missing", i);
        }
    }
    return status;
}

OrtStatus *ops_output_at(ops_call *c, int i, int rank, const int64_t *dims)
{
    static float nothing; /* empty tensors may have no data */
    OrtValue *value;
    void *data = NULL;
    if (!ops_size_fits(rank, dims)) {
        return ops_fail(c->op, "the inputs make too large a shape");
    }
    OrtStatus *status =
        c->api->KernelContext_GetOutput(c->context, (size_t)i, dims, (size_t)rank, &value);
    if (status == NULL) {
        status = c->api->GetTensorMutableData(value, &data);
    }
    c->out = data != NULL ? data : &nothing;
    return status;
}

OrtStatus *ops_output(ops_call *c, int rank, const int64_t *dims)
{
    return ops_output_at(c, 0, rank, dims);
}

OrtStatus *ops_two_outputs(ops_call *c, int rank, const int64_t *dims)
{
    OrtStatus *status = ops_output_at(c, 1, rank, dims);
    c->second = c->out;
    return status != NULL ? status : ops_output(c, rank, dims);
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

static OrtStatus *ORT_API_CALL compute(void *made, OrtKernelContext *context)
{
    const kernel *k = made;
    ops_call c = {
        .api = k->api, .op = k->op, .isa = k->isa, .attributes = k->attributes, .context = context};
    OrtStatus *status = read_inputs(&c);
    return status != NULL ? status : k->op->run(&c);
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
    int outputs = ((const ops_op *)op)->outputs;
    return outputs == 0 ? 1 : (size_t)outputs;
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
    (void)inputs;
    (void)outputs;
}

/* The output may take the place of input 0. ONNX Runtime reads and releases, but writes nothing. */
static size_t ORT_API_CALL in_place(int **inputs, int **outputs)
{
    static int first_of_all;
    *inputs = &first_of_all;
    *outputs = &first_of_all;
    return 1;
}

void ops_op_init(ops_op *op)
{
    OrtCustomOp *b = &op->base;
    b->GetName = name;
    b->GetExecutionProviderType = provider;
    b->GetInputType = input_type;
    b->GetInputTypeCount = input_count;
    b->GetOutputType = output_type;
    b->GetOutputTypeCount = output_count;
    b->KernelDestroy = destroy;
    b->GetInputCharacteristic = input_kind;
    b->GetOutputCharacteristic = output_kind;
    b->GetInputMemoryType = memory;
    b->CreateKernelV2 = create;
    b->KernelComputeV2 = compute;
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
