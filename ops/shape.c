/* The shape of a kernel's output, so that ONNX Runtime can plan with it. */
#include "broadcast.h"
#include "kernel.h"

#include <string.h>

#if ORT_API_VERSION >= 17
#define OPS_WHOLE 3 /* operands that are as large as the output, or nearly: m, x, x0 */

typedef struct shape {
    size_t rank;
    int64_t dims[OPS_RANK];          /* -1 where it is not known */
    const char *names[OPS_RANK];     /* of those, "" for none */
    OrtTensorTypeAndShapeInfo *info; /* owns the names; of an input, the context owns it */
} shape;

static OrtStatus *read_shape(const OrtApi *api, OrtShapeInferContext *context, size_t i, shape *s,
                             bool *known)
{
    OrtStatus *status = api->ShapeInferContext_GetInputTypeShape(context, i, &s->info);
    if (status == NULL) {
        status = api->GetDimensionsCount(s->info, &s->rank);
    }
    if (status != NULL || s->rank > OPS_RANK) { /* the kernel refuses it */
        s->rank = 0;
        *known = false;
        return status;
    }
    status = api->GetDimensions(s->info, s->dims, s->rank);
    return status != NULL ? status : api->GetSymbolicDimensions(s->info, s->names, s->rank);
}

/* Adds axis d, counted from the end, of s to that of the output: a known length above 1 stands
 * above all, and of two that are not known only those of the same name are the same. False where
 * they do not fit, which the kernel refuses. */
static bool merge(shape *out, const shape *s, size_t d)
{
    int64_t *to = &out->dims[out->rank - d];
    const char **name = &out->names[out->rank - d];
    int64_t n = s->dims[s->rank - d];
    const char *other = s->names[s->rank - d];
    if (n == 1 || *to > 1 || *to == 0) {
        return n < 0 || n == 1 || n == *to;
    }
    if (n >= 0 || *to == 1) {
        *to = n;
        *name = n < 0 ? other : "";
    } else if (strcmp(*name, other) != 0) {
        *name = "";
    }
    return true;
}

/* Leaves out axis d, counted from the end. */
static void drop(shape *s, size_t d)
{
    size_t at = s->rank - d;
    s->rank--;
    memmove(s->dims + at, s->dims + at + 1, (s->rank - at) * sizeof *s->dims);
    memmove(s->names + at, s->names + at + 1, (s->rank - at) * sizeof *s->names);
}

static OrtStatus *write_shape(const OrtApi *api, OrtShapeInferContext *context, size_t i, shape *s)
{
    OrtStatus *status = api->CreateTensorTypeAndShapeInfo(&s->info);
    if (status == NULL) {
        status = api->SetTensorElementType(s->info, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT);
    }
    if (status == NULL) {
        status = api->SetDimensions(s->info, s->dims, s->rank);
    }
    if (status == NULL) {
        status = api->SetSymbolicDimensions(s->info, s->names, s->rank);
    }
    if (status == NULL) {
        status = api->ShapeInferContext_SetOutputTypeShape(context, i, s->info);
    }
    return status;
}

/* Merges the shapes of the inputs into `out`. False where one is not known: ONNX Runtime gives it
 * as that of a scalar, which m, x and x0 hardly are. */
static OrtStatus *merge_inputs(const ops_op *op, OrtShapeInferContext *context, shape *out,
                               bool *known)
{
    const OrtApi *api = op->api;
    size_t count, axis = 0;
    OrtStatus *status = api->ShapeInferContext_GetInputCount(context, &count);
    *known = *known && count == (size_t)op->inputs;
    for (size_t i = 0; status == NULL && *known && i < count; i++) {
        shape s = {0};
        status = read_shape(api, context, i, &s, known);
        if (status == NULL && s.rank == 0 && i < OPS_WHOLE) {
            *known = false;
        }
        for (; out->rank < s.rank; out->rank++) {
            memmove(out->dims + 1, out->dims, out->rank * sizeof *out->dims);
            memmove(out->names + 1, out->names, out->rank * sizeof *out->names);
            out->dims[0] = 1;
            out->names[0] = "";
        }
        bool windows = op->shape == OPS_WINNER && i != 1 && i != 2; /* in the place of positions */
        for (size_t d = op->shape == OPS_MATRICES ? 3 : windows ? 2 : 1; d <= s.rank; d++) {
            *known = merge(out, &s, d) && *known;
        }
        axis = s.rank;
    }
    if (op->shape == OPS_MEAN && *known && status == NULL) {
        drop(out, axis);
    }
    if (op->shape == OPS_CHANNELS) {
        *known = *known && out->rank >= 3;
        if (*known) {
            out->dims[out->rank - 3] = 1;
            out->names[out->rank - 3] = "";
        }
    }
    return status;
}

/* The last two axes are those of input i. */
static OrtStatus *take_matrix(const ops_op *op, OrtShapeInferContext *context, size_t i, shape *out,
                              bool *known)
{
    shape s = {0};
    OrtStatus *status = read_shape(op->api, context, i, &s, known);
    *known = *known && s.rank >= 2 && out->rank >= 2;
    for (size_t d = 1; status == NULL && *known && d <= 2; d++) {
        out->dims[out->rank - d] = s.dims[s.rank - d];
        out->names[out->rank - d] = s.names[s.rank - d];
    }
    return status;
}

OrtStatus *ORT_API_CALL ops_infer_shape(const OrtCustomOp *base, OrtShapeInferContext *context)
{
    const ops_op *op = (const ops_op *)base;
    shape out = {0};
    bool known = true;
    OrtStatus *status = merge_inputs(op, context, &out, &known);
    size_t outputs = base->GetOutputTypeCount(base);
    for (size_t i = 0; status == NULL && known && i < outputs; i++) {
        if (op->shape == OPS_MATRICES) {
            status = take_matrix(op, context, i + 1, &out, &known);
        }
        for (size_t d = 0; d < out.rank; d++) {
            known = known && (out.dims[d] >= 0 || out.names[d][0] != '\0');
        }
        if (status == NULL && known) {
            status = write_shape(op->api, context, i, &out);
            op->api->ReleaseTensorTypeAndShapeInfo(out.info);
        }
    }
    return status;
}
#else
/* An empty file is not C. */
typedef int ops_no_shapes;
#endif
