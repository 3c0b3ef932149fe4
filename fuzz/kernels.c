/* Hands kernels operands that fit, changed as the bytes say: lengths, ranks, types, what is left
 * out, attributes, numbers and indices. Two runs that differ in what stood in the output before
 * have the same bits. */
#include "kernel_trial.h"

#include "draw.h"
#include "wire.h"

OrtStatus *ORT_API_CALL RegisterCustomOps(OrtSessionOptions *options, const OrtApiBase *base);

enum { VALUES = 16 };

static const float special[VALUES] = {0,     -0.0F,  1,       -1,     0.5F, 2, 1e-40F, -1e-40F,
                                      1e30F, -1e30F, 3.4e38F, 1e-20F, 3,    7, 0,      1};

/* ---- changes ------------------------------------------------------------------------------- */

static int64_t draw_number(fuzz_draws *d)
{
    switch (fuzz_below(d, 4)) {
    case 0: return fuzz_int64(d);
    case 1: return (int64_t)((uint64_t)1 << fuzz_below(d, 64));
    default: return (int64_t)fuzz_below(d, 40) - 4;
    }
}

static void change_operand(operand *o, fuzz_draws *d)
{
    OrtTensorTypeAndShapeInfo *info = &o->info;
    bool whole = info->type == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
    switch (fuzz_below(d, 8)) {
    case 0: o->given = false; break;
    case 1: info->rank = fuzz_below(d, FAKE_RANK + 1); break;
    case 2:
        info->type =
            whole ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT : ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
        break;
    case 3: o->fixed[fuzz_below(d, FAKE_INTS)] = draw_number(d); break;
    case 4: o->below = draw_number(d); break;
    default: info->dims[fuzz_below(d, info->rank + 1) % FAKE_RANK] = draw_number(d);
    }
}

static void change_attribute(OrtKernelInfo *info, fuzz_draws *d)
{
    if (info->count == 0) {
        return;
    }
    fake_attribute *a = &info->attributes[fuzz_below(d, info->count)];
    switch (fuzz_below(d, 6)) {
    case 0: a->name = NULL; break;
    case 1: a->count = fuzz_below(d, FAKE_INTS + 1); break;
    default: a->ints[fuzz_below(d, FAKE_INTS)] = draw_number(d);
    }
}

static void change(trial *t, fuzz_draws *d)
{
    for (size_t n = fuzz_below(d, 6); n > 0; n--) {
        size_t kind = fuzz_below(d, 8);
        if (kind == 0) {
            t->count = fuzz_below(d, FAKE_INPUTS + 1);
        } else if (kind < 3) {
            change_attribute(&t->info, d);
        } else if (t->count > 0) {
            change_operand(&t->in[fuzz_below(d, t->count)], d);
        }
    }
}

/* ---- runs ---------------------------------------------------------------------------------- */

static void *fill(const operand *o, size_t size, const fuzz_draws *values, size_t i)
{
    bool whole = o->info.type == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
    void *data = malloc(size * (whole ? sizeof(int64_t) : sizeof(float)) + (size == 0));
    int64_t bound = o->below == 0 ? 1 : o->below;
    for (size_t k = 0; data != NULL && k < size; k++) {
        size_t at = values->left == 0 ? 0 : (k + i) % values->left;
        uint8_t byte = values->left == 0 ? (uint8_t)k : values->bytes[at];
        if (whole) {
            ((int64_t *)data)[k] = o->as_fixed ? o->fixed[k % FAKE_INTS] : byte % bound;
        } else {
            ((float *)data)[k] = byte < 128 ? (float)(byte % 16) / 4 : special[byte % VALUES];
        }
    }
    return data;
}

/* False where there is an error. */
static bool run(const trial *t, const char *isa, const fuzz_draws *values, int pattern,
                OrtValue *out)
{
    setenv("ONNXEXPLAINER_ISA", isa, 1);
    void *kernel = NULL;
    OrtStatus *status = t->op->CreateKernelV2(t->op, &fake_api, &t->info, &kernel);
    OrtValue made[FAKE_INPUTS] = {{.data = NULL}};
    OrtKernelContext context = {.count = t->count, .pattern = (unsigned char)pattern};
    for (size_t i = 0; status == NULL && i < t->count; i++) {
        int64_t n = fake_size(&t->in[i].info);
        made[i].info = t->in[i].info;
        made[i].data = n < 0 ? NULL : fill(&t->in[i], (size_t)n, values, i);
        context.in[i] = t->in[i].given ? &made[i] : NULL;
    }
    status = status != NULL ? status : t->op->KernelComputeV2(kernel, &context);
    bool done = status == NULL;
    if (done && context.out[t->op->GetOutputTypeCount(t->op) - 1].info.type == 0) {
        abort();
    }
    if (!done && status->message[0] == '\0') {
        abort();
    }
    free(status);
    for (size_t i = 0; i < t->count; i++) {
        free(made[i].data);
    }
    if (kernel != NULL) {
        t->op->KernelDestroy(kernel);
    }
    memcpy(out, context.out, sizeof context.out);
    return done;
}

static bool same_output(const OrtValue *a, const OrtValue *b)
{
    size_t size = (size_t)fake_size(&a->info);
    return (int64_t)size == fake_size(&b->info) &&
           (size == 0 || memcmp(a->data, b->data, size * sizeof(float)) == 0);
}

static void infer(const trial *t)
{
    OrtShapeInferContext context = {.count = t->count};
    if (t->op->InferOutputShapeFn == NULL) {
        return;
    }
    for (size_t i = 0; i < t->count; i++) {
        if (!t->in[i].given) {
            return;
        }
        context.in[i] = t->in[i].info;
    }
    free(t->op->InferOutputShapeFn(t->op, &context));
}

/* Tensors that ONNX Runtime could have but this does not: between FAKE_SIZE and what is refused. */
static bool is_large(const trial *t)
{
    bool large = false;
    for (size_t i = 0; i < t->count; i++) {
        double size = 1;
        for (size_t d = 0; d < t->in[i].info.rank; d++) {
            size *= (double)t->in[i].info.dims[d];
        }
        large = large || (size > FAKE_SIZE && size < 0x1p48);
    }
    return large;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const sets[] = {"naive", "plain", "avx2", "best"};
    if (fake_domain.count == 0 && RegisterCustomOps(NULL, &fake_base) != NULL) {
        abort();
    }
    fuzz_draws d = {data, size};
    size_t which = (size_t)fuzz_byte(&d) << 8;
    which |= fuzz_byte(&d);
    trial t = {.op = fake_domain.ops[which % fake_domain.count]};
    if (!make_trial(&t, (int)fuzz_below(&d, FORMS))) {
        make_trial(&t, 0);
    }
    const char *isa = sets[fuzz_below(&d, 4)];
    change(&t, &d);
    if (is_large(&t)) {
        return 0;
    }
    OrtValue a[FAKE_OUTPUTS], b[FAKE_OUTPUTS];
    bool one = run(&t, isa, &d, 0xAB, a), other = run(&t, isa, &d, 0x54, b), same = one == other;
    for (size_t i = 0; i < FAKE_OUTPUTS; i++) {
        same = same && (!one || a[i].info.type == 0 || same_output(&a[i], &b[i]));
        free(a[i].data);
        free(b[i].data);
    }
    if (!same) {
        fprintf(stderr, "%s: not all of the output is written\n", name_of(&t));
        abort();
    }
    infer(&t);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
    (void)seed;
    return LLVMFuzzerMutate(data, size, room);
}
