/* Operators on the blocked layout: Blocked*Flow and BlockedInterleave, as ONNX Runtime sees them.
 */
#include "blocked_ops.h"

#include <stdlib.h>
#include <string.h>

#include "blocked.h"
#include "ops.h"

enum { MOST_INPUTS = 10, AXES = 4 };

typedef struct op op;
typedef struct call call;

struct op {
    OrtCustomOp base; /* first: ONNX Runtime hands it back */
    const char *name;
    size_t needed, inputs;
    bool in_place; /* the output may take the place of input 0 */
    OrtStatus *(*run)(call *c);
};

typedef struct kernel {
    const OrtApi *api;
    const op *op;
    const ops_blocked *isa;
    ops_pool pool;
    int64_t size[2], steps[2]; /* of BlockedInterleave */
    int64_t block, targets;
} kernel;

typedef struct operand {
    const float *data; /* NULL: left out */
    int64_t dims[AXES];
} operand;

/* One run of a kernel. */
struct call {
    const kernel *k;
    OrtKernelContext *context;
    operand in[MOST_INPUTS];
    int64_t dims[AXES]; /* of the output */
    float *out;
    size_t samples, references;
};

static OrtStatus *fail(const call *c, const char *message)
{
    char text[200] = "onnxexplainer.";
    strncat(text, c->k->op->name, 60);
    strcat(text, ": ");
    strncat(text, message, 100);
    return c->k->api->CreateStatus(ORT_INVALID_ARGUMENT, text);
}

/* ---- inputs and output ------------------------------------------------------------------- */

static OrtStatus *read_operand(const OrtApi *api, const OrtValue *value, operand *o)
{
    OrtTensorTypeAndShapeInfo *info;
    OrtStatus *status = api->GetTensorTypeAndShape(value, &info);
    size_t rank = 0;
    if (status != NULL) {
        return status;
    }
    status = api->GetDimensionsCount(info, &rank);
    if (status == NULL && rank != AXES) {
        status = api->CreateStatus(ORT_INVALID_ARGUMENT, "onnxexplainer: four axes are wanted");
    }
    if (status == NULL) {
        status = api->GetDimensions(info, o->dims, AXES);
    }
    api->ReleaseTensorTypeAndShapeInfo(info);
    void *data = NULL;
    if (status == NULL) {
        status = api->GetTensorMutableData((OrtValue *)(uintptr_t)value, &data);
    }
    o->data = data;
    return status;
}

static OrtStatus *read_inputs(call *c)
{
    const OrtApi *api = c->k->api;
    size_t count = 0;
    OrtStatus *status = api->KernelContext_GetInputCount(c->context, &count);
    for (size_t i = 0; status == NULL && i < count && i < MOST_INPUTS; i++) {
        const OrtValue *value = NULL;
        status = api->KernelContext_GetInput(c->context, i, &value);
        if (status == NULL && value != NULL) {
            status = read_operand(api, value, &c->in[i]);
        }
    }
    return status;
}

static OrtStatus *make_output(call *c)
{
    const OrtApi *api = c->k->api;
    OrtValue *value = NULL;
    OrtStatus *status = api->KernelContext_GetOutput(c->context, 0, c->dims, AXES, &value);
    void *out = NULL;
    if (status == NULL) {
        status = api->GetTensorMutableData(value, &out);
    }
    c->out = out;
    return status;
}

/* Runs part(c, i) for i < count, in the threads of the session. */
static OrtStatus *run_parts(call *c, void (*part)(void *user, size_t i), size_t count)
{
#if ORT_API_VERSION >= 17
    if (c->k->op->base.version >= 17) {
        return c->k->api->KernelContext_ParallelFor(c->context, part, count, 0, c);
    }
#endif
    for (size_t i = 0; i < count; i++) {
        part(c, i);
    }
    return NULL;
}

/* ---- roles ------------------------------------------------------------------------------ */

static size_t plane_size(const operand *o)
{
    return (size_t)(o->dims[2] * o->dims[3]);
}

/* The row of an operand for multiplier i: one each, one a target and sample, one a sample, or one
 * for all. */
static size_t row_of(const call *c, const operand *o, size_t i)
{
    size_t rows = (size_t)o->dims[0], all = (size_t)c->dims[0], sample = i % c->samples;
    return rows == all                   ? i
           : rows * c->references == all ? i / (all / (size_t)c->k->targets) * c->samples + sample
           : rows == c->samples          ? sample
                                         : 0;
}

static const float *plane_of(const call *c, const operand *o, size_t row, size_t channel)
{
    size_t block = (size_t)c->k->block, blocks = (size_t)o->dims[1] / block;
    return o->data == NULL ? NULL : o->data + (row * blocks + channel) * plane_size(o) * block;
}

/* m, x and x0 are inputs 0 to 2; sets samples, references, and rows of the output. */
static OrtStatus *find_roles(call *c)
{
    const operand *m = &c->in[0], *x = &c->in[1], *x0 = &c->in[2];
    for (size_t i = 0; i < c->k->op->needed; i++) {
        if (c->in[i].data == NULL && c->in[i].dims[0] != 0) {
            return fail(c, "an input is missing");
        }
    }
    c->samples = (size_t)x->dims[0];
    c->references = (size_t)x0->dims[0];
    int64_t all = x->dims[0] * x0->dims[0], rows = all * c->k->targets;
    bool fits = all > 0 && x->dims[1] == x0->dims[1] && x->dims[1] % c->k->block == 0 &&
                plane_size(x) == plane_size(x0) && m->dims[1] == x->dims[1];
    for (size_t i = 0; fits && i < MOST_INPUTS; i++) {
        int64_t n = c->in[i].dims[0];
        bool role = i == 2 || c->in[i].data == NULL || n == rows || n == rows / x0->dims[0] ||
                    n == x->dims[0] || n == 1;
        fits = fits && role;
    }
    if (!fits && all > 0) {
        return fail(c, "shapes do not fit");
    }
    memcpy(c->dims, x->dims, sizeof c->dims);
    c->dims[0] = rows;
    return NULL;
}

/* ---- flows ------------------------------------------------------------------------------ */

static void plane_task(call *c, size_t i, ops_plane *p)
{
    size_t blocks = (size_t)(c->dims[1] / c->k->block), row = i / blocks, channel = i % blocks;
    size_t reference = row / c->samples % c->references;
    const operand *in = c->in;
    *p = (ops_plane){
        .places = plane_size(&in[1]),
        .block = (size_t)c->k->block,
        .m = plane_of(c, &in[0], row_of(c, &in[0], row), channel),
        .x = plane_of(c, &in[1], row % c->samples, channel),
        .x0 = plane_of(c, &in[2], reference, channel),
        .thin = plane_size(&in[0]) == 1 && plane_size(&in[1]) != 1,
    };
    if (c->k->op->inputs > 3) {
        p->scale = plane_of(c, &in[3], row_of(c, &in[3], row), channel);
        p->add = plane_of(c, &in[4], row_of(c, &in[4], row), channel);
        p->acc = plane_of(c, &in[5], row_of(c, &in[5], row), channel);
    }
}

static void flow_part(void *user, size_t i)
{
    call *c = user;
    ops_plane p;
    plane_task(c, i, &p);
    p.out = c->out + i * p.places * p.block;
    if (strcmp(c->k->op->name, "BlockedReluFlow") == 0) {
        c->k->isa->relu(&p);
    } else {
        c->k->isa->swish(&p);
    }
}

static size_t plane_count(const call *c)
{
    return (size_t)(c->dims[0] * (c->dims[1] / c->k->block));
}

static OrtStatus *run_flow(call *c)
{
    OrtStatus *status = find_roles(c);
    const operand *scale = &c->in[3], *add = &c->in[4], *acc = &c->in[5];
    bool fits = (scale->data == NULL || plane_size(scale) == 1) &&
                (add->data == NULL || plane_size(add) == 1) &&
                (acc->data == NULL || plane_size(acc) == plane_size(&c->in[1])) &&
                (plane_size(&c->in[0]) == 1 || plane_size(&c->in[0]) == plane_size(&c->in[1]));
    if (status == NULL && !fits) {
        return fail(c, "shapes do not fit");
    }
    status = status != NULL ? status : make_output(c);
    return status != NULL ? status : run_parts(c, flow_part, plane_count(c));
}

static void sum_part(void *user, size_t i)
{
    call *c = user;
    ops_plane p;
    plane_task(c, i, &p);
    p.out = c->out + i * p.block;
    c->k->isa->sum(&p);
}

static OrtStatus *run_sum(call *c)
{
    OrtStatus *status = find_roles(c);
    c->dims[2] = c->dims[3] = 1;
    status = status != NULL ? status : make_output(c);
    return status != NULL ? status : run_parts(c, sum_part, plane_count(c));
}

/* ---- pools ------------------------------------------------------------------------------ */

static void pool_part(void *user, size_t i)
{
    call *c = user;
    ops_plane p;
    plane_task(c, i, &p);
    ops_pool g = c->k->pool;
    for (int a = 0; a < 2; a++) {
        g.in[a] = c->in[1].dims[2 + a];
        g.out[a] = c->in[0].dims[2 + a];
    }
    g.block = p.block;
    c->k->isa->pool(&g, c->out + i * p.places * p.block, p.m, p.x, p.x0);
}

static OrtStatus *run_pool(call *c)
{
    OrtStatus *status = find_roles(c);
    status = status != NULL ? status : make_output(c);
    return status != NULL ? status : run_parts(c, pool_part, plane_count(c));
}

/* ---- phases ----------------------------------------------------------------------------- */

/* Input i * steps[1] + j has what belongs to rows i, i + steps[0], .. and columns j, ..; zeros
 * where it is left out. */
static void interleave_part(void *user, size_t index)
{
    call *c = user;
    size_t block = (size_t)c->k->block, size = block * sizeof(float);
    size_t height = (size_t)c->dims[2], width = (size_t)c->dims[3];
    size_t down = (size_t)c->k->steps[0], across = (size_t)c->k->steps[1];
    float *out = c->out + index * height * width * block;
    for (size_t row = 0; row < height; row++) {
        for (size_t j = 0; j < across; j++) {
            const operand *part = &c->in[row % down * across + j];
            const float *from =
                part->data == NULL
                    ? NULL
                    : part->data +
                          (index * plane_size(part) + row / down * (size_t)part->dims[3]) * block;
            for (size_t column = j; column < width; column += across) {
                float *to = out + (row * width + column) * block;
                if (from == NULL) {
                    memset(to, 0, size);
                } else {
                    memcpy(to, from + column / across * block, size);
                }
            }
        }
    }
}

static OrtStatus *run_interleave(call *c)
{
    const int64_t *size = c->k->size, *steps = c->k->steps;
    const operand *any = NULL;
    for (int64_t i = 0; i < steps[0] * steps[1]; i++) {
        const operand *part = &c->in[i];
        any = part->data != NULL ? part : any;
        int64_t row = i / steps[1], column = i % steps[1];
        bool fits = part->data == NULL || (part->dims[2] * steps[0] + row >= size[0] &&
                                           part->dims[3] * steps[1] + column >= size[1]);
        if (!fits) {
            return fail(c, "shapes do not fit");
        }
    }
    if (any == NULL) {
        return fail(c, "an input is missing");
    }
    c->dims[0] = any->dims[0];
    c->dims[1] = any->dims[1];
    c->dims[2] = size[0];
    c->dims[3] = size[1];
    OrtStatus *status = make_output(c);
    return status != NULL ? status : run_parts(c, interleave_part, plane_count(c));
}

/* ---- kernels ---------------------------------------------------------------------------- */

static void read_ints(const OrtApi *api, const OrtKernelInfo *info, const char *name, int64_t *out,
                      size_t count)
{
    int64_t found[8];
    size_t size = 8;
    OrtStatus *status = api->KernelInfoGetAttributeArray_int64(info, name, found, &size);
    if (status == NULL && size >= count) {
        memcpy(out, found, count * sizeof *out);
    }
    if (status != NULL) {
        api->ReleaseStatus(status);
    }
}

static void read_int(const OrtApi *api, const OrtKernelInfo *info, const char *name, int64_t *out)
{
    OrtStatus *status = api->KernelInfoGetAttribute_int64(info, name, out);
    if (status != NULL) {
        api->ReleaseStatus(status);
    }
}

static const ops_blocked *choose(void)
{
    const ops_isa *isa = ops_isa_choose();
#if defined(OPS_X86)
    if (isa == &ops_avx512) {
        return &ops_blocked_avx512;
    }
    if (isa == &ops_avx2) {
        return &ops_blocked_avx2;
    }
#elif defined(OPS_ARM)
    if (isa == &ops_neon) {
        return &ops_blocked_neon;
    }
#endif
    return isa == &ops_naive ? &ops_blocked_naive : &ops_blocked_plain;
}

static void *ORT_API_CALL create(const OrtCustomOp *base, const OrtApi *api,
                                 const OrtKernelInfo *info)
{
    kernel *k = calloc(1, sizeof *k);
    if (k == NULL) {
        return NULL;
    }
    *k = (kernel){.api = api, .op = (const op *)base, .isa = choose(), .block = 16, .targets = 1};
    for (int a = 0; a < 2; a++) {
        k->pool.stride[a] = k->pool.dilation[a] = k->steps[a] = 1;
    }
    read_int(api, info, "block", &k->block);
    read_int(api, info, "targets", &k->targets);
    read_ints(api, info, "kernel_shape", k->pool.kernel, 2);
    read_ints(api, info, "strides", k->pool.stride, 2);
    read_ints(api, info, "pads", k->pool.pad, 2);
    read_ints(api, info, "dilations", k->pool.dilation, 2);
    read_ints(api, info, "size", k->size, 2);
    read_ints(api, info, "steps", k->steps, 2);
    return k;
}

static OrtStatus *ORT_API_CALL create_or_fail(const OrtCustomOp *base, const OrtApi *api,
                                              const OrtKernelInfo *info, void **out)
{
    kernel *k = create(base, api, info);
    *out = k;
    if (k == NULL) {
        return api->CreateStatus(ORT_FAIL, "onnxexplainer: out of memory");
    }
    bool good = k->block > 0 && k->targets > 0 && k->block % (int64_t)k->isa->width == 0 &&
                k->steps[0] > 0 && k->steps[1] > 0 && k->steps[0] * k->steps[1] <= MOST_INPUTS &&
                k->pool.stride[0] > 0 && k->pool.stride[1] > 0 && k->pool.dilation[0] > 0 &&
                k->pool.dilation[1] > 0;
    return good ? NULL
                : api->CreateStatus(ORT_INVALID_ARGUMENT,
                                    "onnxexplainer: attributes that this machine cannot serve");
}

static void ORT_API_CALL destroy(void *k)
{
    free(k);
}

static OrtStatus *ORT_API_CALL compute(void *k, OrtKernelContext *context)
{
    call c = {.k = k, .context = context};
    OrtStatus *status = read_inputs(&c);
    return status != NULL ? status : c.k->op->run(&c);
}

static void ORT_API_CALL compute_or_drop(void *k, OrtKernelContext *context)
{
    OrtStatus *status = compute(k, context);
    if (status != NULL) {
        ((const kernel *)k)->api->ReleaseStatus(status);
    }
}

/* ---- what operators are ------------------------------------------------------------------- */

static const char *ORT_API_CALL get_name(const OrtCustomOp *o)
{
    return ((const op *)o)->name;
}

static const char *ORT_API_CALL get_provider(const OrtCustomOp *o)
{
    (void)o;
    return "CPUExecutionProvider";
}

static ONNXTensorElementDataType ORT_API_CALL get_type(const OrtCustomOp *o, size_t i)
{
    (void)o;
    (void)i;
    return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
}

static size_t ORT_API_CALL get_input_count(const OrtCustomOp *o)
{
    return ((const op *)o)->inputs;
}

static size_t ORT_API_CALL get_output_count(const OrtCustomOp *o)
{
    (void)o;
    return 1;
}

static OrtCustomOpInputOutputCharacteristic ORT_API_CALL get_input_kind(const OrtCustomOp *o,
                                                                        size_t i)
{
    return i < ((const op *)o)->needed ? INPUT_OUTPUT_REQUIRED : INPUT_OUTPUT_OPTIONAL;
}

static OrtCustomOpInputOutputCharacteristic ORT_API_CALL get_output_kind(const OrtCustomOp *o,
                                                                         size_t i)
{
    (void)o;
    (void)i;
    return INPUT_OUTPUT_REQUIRED;
}

static OrtMemType ORT_API_CALL get_memory(const OrtCustomOp *o, size_t i)
{
    (void)o;
    (void)i;
    return OrtMemTypeDefault;
}

static int ORT_API_CALL get_first(const OrtCustomOp *o)
{
    (void)o;
    return 1;
}

static int ORT_API_CALL get_last(const OrtCustomOp *o)
{
    (void)o;
    return INT_MAX;
}

static size_t ORT_API_CALL get_in_place(int **inputs, int **outputs)
{
    *inputs = calloc(1, sizeof **inputs);
    *outputs = calloc(1, sizeof **outputs);
    return *inputs != NULL && *outputs != NULL;
}

static void ORT_API_CALL release_in_place(int *inputs, int *outputs)
{
    free(inputs);
    free(outputs);
}

static const op ops[] = {
    {.name = "BlockedReluFlow", .needed = 3, .inputs = 6, .in_place = true, .run = run_flow},
    {.name = "BlockedSwishFlow", .needed = 3, .inputs = 6, .in_place = true, .run = run_flow},
    {.name = "BlockedSumFlow", .needed = 3, .inputs = 3, .run = run_sum},
    {.name = "BlockedMaxPoolFlow", .needed = 3, .inputs = 3, .run = run_pool},
    {.name = "BlockedInterleave", .needed = 0, .inputs = 9, .run = run_interleave},
};

OrtStatus *ops_blocked_add(const OrtApi *api, unsigned version, OrtCustomOpDomain *domain)
{
    op *added = malloc(sizeof ops); /* sessions point to them: they are never released */
    if (added == NULL) {
        return api->CreateStatus(ORT_FAIL, "onnxexplainer: out of memory");
    }
    memcpy(added, ops, sizeof ops);
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        added[i].base = (OrtCustomOp){
            .version = version,
            .CreateKernel = create,
            .GetName = get_name,
            .GetExecutionProviderType = get_provider,
            .GetInputType = get_type,
            .GetInputTypeCount = get_input_count,
            .GetOutputType = get_type,
            .GetOutputTypeCount = get_output_count,
            .KernelCompute = compute_or_drop,
            .KernelDestroy = destroy,
            .GetInputCharacteristic = get_input_kind,
            .GetOutputCharacteristic = get_output_kind,
            .GetInputMemoryType = get_memory,
            .CreateKernelV2 = create_or_fail,
            .KernelComputeV2 = compute,
            .GetStartVersion = get_first,
            .GetEndVersion = get_last,
            .GetMayInplace = ops[i].in_place ? get_in_place : NULL,
            .ReleaseMayInplace = ops[i].in_place ? release_in_place : NULL,
        };
        OrtStatus *status = api->CustomOpDomain_Add(domain, &added[i].base);
        if (status != NULL) {
            return status;
        }
    }
    return NULL;
}
