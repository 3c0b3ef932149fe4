/* As much of ONNX Runtime as the kernels call, for tests that hand them what a real one would have
 * refused. Tensors are blocks of their own exact size, so that the address sanitizer sees who reads
 * beyond them; outputs are filled with a pattern first, so that what is not written shows. */
#ifndef FAKE_RUNTIME_H
#define FAKE_RUNTIME_H

#include <onnxruntime_c_api.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAKE_RANK = 40, FAKE_INPUTS = 14, FAKE_OUTPUTS = 3, FAKE_INTS = 8, FAKE_ATTRIBUTES = 8 };

/* Numbers that a tensor has at most; of larger ones the data are NULL. */
#define FAKE_SIZE (1 << 20)

struct OrtTensorTypeAndShapeInfo {
    ONNXTensorElementDataType type;
    size_t rank;
    int64_t dims[FAKE_RANK];
    char names[FAKE_RANK][8]; /* where a length is -1 */
};

struct OrtValue {
    OrtTensorTypeAndShapeInfo info;
    void *data;
};

struct OrtStatus {
    char message[512];
};

typedef struct fake_attribute {
    const char *name; /* NULL where it is missing */
    size_t count;
    int64_t ints[FAKE_INTS];
} fake_attribute;

struct OrtKernelInfo {
    size_t count;
    fake_attribute attributes[FAKE_ATTRIBUTES];
};

struct OrtKernelContext {
    size_t count;
    const OrtValue *in[FAKE_INPUTS]; /* NULL where left out */
    OrtValue out[FAKE_OUTPUTS];      /* of no type before they are made */
    unsigned char pattern;           /* that they are filled with */
    void *place;                     /* of the first, where it takes that of an input, or NULL */
    size_t room;                     /* numbers that the place has */
};

struct OrtShapeInferContext {
    size_t count;
    OrtTensorTypeAndShapeInfo in[FAKE_INPUTS], out[FAKE_OUTPUTS];
    bool known[FAKE_OUTPUTS]; /* was set */
};

static OrtStatus *fake_fail(OrtErrorCode code, const char *message)
{
    (void)code;
    OrtStatus *status = malloc(sizeof *status);
    snprintf(status->message, sizeof status->message, "%s", message);
    return status;
}

static void fake_release_status(OrtStatus *status)
{
    free(status);
}

/* Product of the dimensions; -1 for more than FAKE_SIZE, or a dimension that is none. */
static int64_t fake_size(const OrtTensorTypeAndShapeInfo *info)
{
    int64_t size = 1;
    for (size_t d = 0; d < info->rank; d++) {
        if (info->dims[d] == 0) {
            return 0;
        }
    }
    for (size_t d = 0; d < info->rank; d++) {
        if (info->dims[d] < 0 || info->dims[d] > FAKE_SIZE / size) {
            return -1;
        }
        size *= info->dims[d];
    }
    return size;
}

/* ---- tensors ------------------------------------------------------------------------------- */

static OrtStatus *fake_shape_of(const OrtValue *value, OrtTensorTypeAndShapeInfo **out)
{
    *out = malloc(sizeof **out);
    **out = value->info;
    return NULL;
}

static void fake_release_shape(OrtTensorTypeAndShapeInfo *info)
{
    free(info);
}

static OrtStatus *fake_type(const OrtTensorTypeAndShapeInfo *info, ONNXTensorElementDataType *out)
{
    *out = info->type;
    return NULL;
}

static OrtStatus *fake_rank(const OrtTensorTypeAndShapeInfo *info, size_t *out)
{
    *out = info->rank;
    return NULL;
}

static OrtStatus *fake_dims(const OrtTensorTypeAndShapeInfo *info, int64_t *out, size_t count)
{
    memcpy(out, info->dims, count * sizeof *out);
    return NULL;
}

static OrtStatus *fake_names(const OrtTensorTypeAndShapeInfo *info, const char *out[], size_t count)
{
    for (size_t d = 0; d < count; d++) {
        out[d] = info->names[d];
    }
    return NULL;
}

static OrtStatus *fake_data(OrtValue *value, void **out)
{
    *out = value->data;
    return NULL;
}

static OrtStatus *fake_new_shape(OrtTensorTypeAndShapeInfo **out)
{
    *out = calloc(1, sizeof **out);
    return NULL;
}

static OrtStatus *fake_set_type(OrtTensorTypeAndShapeInfo *info, ONNXTensorElementDataType type)
{
    info->type = type;
    return NULL;
}

static OrtStatus *fake_set_dims(OrtTensorTypeAndShapeInfo *info, const int64_t *dims, size_t count)
{
    info->rank = count;
    memcpy(info->dims, dims, count * sizeof *dims);
    return NULL;
}

static OrtStatus *fake_set_names(OrtTensorTypeAndShapeInfo *info, const char *names[], size_t count)
{
    for (size_t d = 0; d < count; d++) {
        snprintf(info->names[d], sizeof info->names[d], "%s", names[d] == NULL ? "" : names[d]);
    }
    return NULL;
}

/* ---- kernels ------------------------------------------------------------------------------- */

static OrtStatus *fake_input_count(const OrtKernelContext *context, size_t *out)
{
    *out = context->count;
    return NULL;
}

static OrtStatus *fake_input(const OrtKernelContext *context, size_t i, const OrtValue **out)
{
    *out = context->in[i];
    return NULL;
}

static OrtStatus *fake_output(OrtKernelContext *context, size_t i, const int64_t *dims,
                              size_t count, OrtValue **out)
{
    if (i >= FAKE_OUTPUTS || count > FAKE_RANK || context->out[i].info.type != 0) {
        return fake_fail(ORT_FAIL, "an output that cannot be made");
    }
    OrtValue *made = &context->out[i];
    made->info = (OrtTensorTypeAndShapeInfo){.type = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT};
    (void)!fake_set_dims(&made->info, dims, count);
    int64_t size = fake_size(&made->info);
    if (size < 0) {
        return fake_fail(ORT_FAIL, "out of memory");
    }
    if (i == 0 && context->place != NULL && (size_t)size == context->room) {
        made->data = context->place;
    } else if (size > 0) {
        made->data = malloc((size_t)size * sizeof(float));
        memset(made->data, context->pattern, (size_t)size * sizeof(float));
    }
    *out = made;
    return NULL;
}

static OrtStatus *fake_parallel(const OrtKernelContext *context, void (*part)(void *, size_t),
                                size_t total, size_t batches, void *user)
{
    (void)context;
    (void)batches;
    for (size_t i = total; i-- > 0;) { /* in an order of its own */
        part(user, i);
    }
    return NULL;
}

static const fake_attribute *fake_find(const OrtKernelInfo *info, const char *name)
{
    for (size_t i = 0; i < info->count; i++) {
        const fake_attribute *a = &info->attributes[i];
        if (a->name != NULL && strcmp(a->name, name) == 0) {
            return a;
        }
    }
    return NULL;
}

static OrtStatus *fake_int(const OrtKernelInfo *info, const char *name, int64_t *out)
{
    const fake_attribute *a = fake_find(info, name);
    if (a == NULL || a->count != 1) {
        return fake_fail(ORT_FAIL, "no such attribute");
    }
    *out = a->ints[0];
    return NULL;
}

static OrtStatus *fake_ints(const OrtKernelInfo *info, const char *name, int64_t *out, size_t *size)
{
    const fake_attribute *a = fake_find(info, name);
    if (a == NULL || a->count > *size) {
        return fake_fail(ORT_FAIL, "no such attribute, or no room for it");
    }
    *size = a->count;
    memcpy(out, a->ints, a->count * sizeof *out);
    return NULL;
}

/* ---- shapes -------------------------------------------------------------------------------- */

static OrtStatus *fake_infer_count(const OrtShapeInferContext *context, size_t *out)
{
    *out = context->count;
    return NULL;
}

static OrtStatus *fake_infer_input(const OrtShapeInferContext *context, size_t i,
                                   OrtTensorTypeAndShapeInfo **out)
{
    *out = (OrtTensorTypeAndShapeInfo *)(uintptr_t)&context->in[i];
    return NULL;
}

static OrtStatus *fake_infer_output(const OrtShapeInferContext *context, size_t i,
                                    const OrtTensorTypeAndShapeInfo *info)
{
    OrtShapeInferContext *own = (OrtShapeInferContext *)(uintptr_t)context;
    if (i >= FAKE_OUTPUTS) {
        return fake_fail(ORT_FAIL, "an output that is not there");
    }
    own->known[i] = true;
    own->out[i] = *info;
    return NULL;
}

/* ---- registration -------------------------------------------------------------------------- */

/* The operators of the library, in the order in which they were added. */
static struct {
    const OrtCustomOp *ops[1024];
    size_t count;
} fake_domain;

static OrtStatus *fake_new_domain(const char *name, OrtCustomOpDomain **out)
{
    *out = (OrtCustomOpDomain *)&fake_domain;
    return strcmp(name, "onnxexplainer") == 0 ? NULL : fake_fail(ORT_FAIL, "another domain");
}

static OrtStatus *fake_add_op(OrtCustomOpDomain *domain, const OrtCustomOp *op)
{
    (void)domain;
    if (fake_domain.count == sizeof fake_domain.ops / sizeof fake_domain.ops[0]) {
        return fake_fail(ORT_FAIL, "more operators than the test has room for");
    }
    fake_domain.ops[fake_domain.count++] = op;
    return NULL;
}

static OrtStatus *fake_add_domain(OrtSessionOptions *options, OrtCustomOpDomain *domain)
{
    (void)options;
    (void)domain;
    return NULL;
}

/* What sessions want of the operators, NULL: all. */
static const char *volatile fake_wanted;

static OrtStatus *fake_has_entry(const OrtSessionOptions *options, const char *key, int *there)
{
    (void)options;
    *there = fake_wanted != NULL && strcmp(key, "onnxexplainer.kernels") == 0;
    return NULL;
}

static OrtStatus *fake_entry(const OrtSessionOptions *options, const char *key, char *value,
                             size_t *size)
{
    (void)options;
    (void)key;
    const char *wanted = fake_wanted;
    size_t length = wanted == NULL ? 0 : strlen(wanted);
    if (value != NULL && length < *size) {
        memcpy(value, wanted == NULL ? "" : wanted, length + 1);
    }
    *size = length + 1;
    return NULL;
}

static const OrtApi fake_api = {
    .HasSessionConfigEntry = fake_has_entry,
    .GetSessionConfigEntry = fake_entry,
    .CreateStatus = fake_fail,
    .ReleaseStatus = fake_release_status,
    .GetTensorTypeAndShape = fake_shape_of,
    .ReleaseTensorTypeAndShapeInfo = fake_release_shape,
    .GetTensorElementType = fake_type,
    .GetDimensionsCount = fake_rank,
    .GetDimensions = fake_dims,
    .GetSymbolicDimensions = fake_names,
    .GetTensorMutableData = fake_data,
    .CreateTensorTypeAndShapeInfo = fake_new_shape,
    .SetTensorElementType = fake_set_type,
    .SetDimensions = fake_set_dims,
    .SetSymbolicDimensions = fake_set_names,
    .KernelContext_GetInputCount = fake_input_count,
    .KernelContext_GetInput = fake_input,
    .KernelContext_GetOutput = fake_output,
    .KernelContext_ParallelFor = fake_parallel,
    .KernelInfoGetAttribute_int64 = fake_int,
    .KernelInfoGetAttributeArray_int64 = fake_ints,
    .ShapeInferContext_GetInputCount = fake_infer_count,
    .ShapeInferContext_GetInputTypeShape = fake_infer_input,
    .ShapeInferContext_SetOutputTypeShape = fake_infer_output,
    .CreateCustomOpDomain = fake_new_domain,
    .CustomOpDomain_Add = fake_add_op,
    .AddCustomOpDomain = fake_add_domain,
};

static const OrtApi *fake_get_api(uint32_t version)
{
    (void)version;
    return &fake_api;
}

static const char *fake_version(void)
{
    static char text[16];
    snprintf(text, sizeof text, "1.%d.0", ORT_API_VERSION);
    return text;
}

static const OrtApiBase fake_base = {.GetApi = fake_get_api, .GetVersionString = fake_version};

#endif
