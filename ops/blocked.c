/* Operators on the blocked layout: Blocked*Flow and BlockedInterleave, as ONNX Runtime sees them.
 */
#include "blocked.h"
#include "kernel.h"

#include <string.h>

enum { AXES = 4, MOST_PARTS = 9 };

typedef struct attributes {
    const ops_blocked *isa;
    ops_pool pool;
    int64_t size[2], steps[2]; /* of BlockedInterleave */
    int64_t block, targets;
} attributes;

/* One run of a kernel. */
typedef struct call {
    ops_call *c;
    const attributes *k;
    const ops_operand *in;
    int64_t dims[AXES]; /* of the output */
    size_t samples, references;
} call;

/* ---- roles ------------------------------------------------------------------------------ */

static size_t plane_size(const ops_operand *o)
{
    return (size_t)(o->dims[2] * o->dims[3]);
}

/* The row of an operand for multiplier i: one each, one a target and sample, one a sample, or one
 * for all. */
static size_t row_of(const call *c, const ops_operand *o, size_t i)
{
    size_t rows = (size_t)o->dims[0], all = (size_t)c->dims[0], sample = i % c->samples;
    return rows == all                   ? i
           : rows * c->references == all ? i / (all / (size_t)c->k->targets) * c->samples + sample
           : rows == c->samples          ? sample
                                         : 0;
}

static const float *plane_of(const call *c, const ops_operand *o, size_t row, size_t channel)
{
    size_t block = (size_t)c->k->block, blocks = (size_t)o->dims[1] / block;
    const float *data = o->data;
    return data == NULL ? NULL : data + (row * blocks + channel) * plane_size(o) * block;
}

/* m, x and x0 are inputs 0 to 2; sets samples, references, and rows of the output. */
static OrtStatus *find_roles(call *c)
{
    const ops_operand *m = &c->in[0], *x = &c->in[1], *x0 = &c->in[2];
    c->samples = (size_t)x->dims[0];
    c->references = (size_t)x0->dims[0];
    int64_t all = x->dims[0] * x0->dims[0], rows = all * c->k->targets;
    bool fits = all > 0 && x->dims[1] == x0->dims[1] && x->dims[1] % c->k->block == 0 &&
                plane_size(x) == plane_size(x0) && m->dims[1] == x->dims[1];
    for (size_t i = 0; fits && i < OPS_INPUTS; i++) {
        int64_t n = c->in[i].dims[0];
        bool role = i == 2 || c->in[i].data == NULL || n == rows || n == rows / x0->dims[0] ||
                    n == x->dims[0] || n == 1;
        fits = fits && role;
    }
    if (!fits && all > 0) {
        return ops_fail(c->c, "shapes do not fit");
    }
    memcpy(c->dims, x->dims, sizeof c->dims);
    c->dims[0] = rows;
    return NULL;
}

/* Runs part(c, i) for every plane of blocks. */
static OrtStatus *run_planes(call *c, void (*part)(void *user, size_t i))
{
    return ops_run(c->c, (size_t)(c->dims[0] * (c->dims[1] / c->k->block)), part, c);
}

/* ---- flows ------------------------------------------------------------------------------ */

static void plane_task(call *c, size_t i, ops_plane *p)
{
    size_t blocks = (size_t)(c->dims[1] / c->k->block), row = i / blocks, channel = i % blocks;
    size_t reference = row / c->samples % c->references;
    const ops_operand *in = c->in;
    *p = (ops_plane){
        .places = plane_size(&in[1]),
        .block = (size_t)c->k->block,
        .m = plane_of(c, &in[0], row_of(c, &in[0], row), channel),
        .x = plane_of(c, &in[1], row % c->samples, channel),
        .x0 = plane_of(c, &in[2], reference, channel),
        .thin = plane_size(&in[0]) == 1 && plane_size(&in[1]) != 1,
    };
    if (c->c->op->inputs > 3) {
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
    p.out = c->c->out + i * p.places * p.block;
    if (strcmp(c->c->op->name, "BlockedReluFlow") == 0) {
        c->k->isa->relu(&p);
    } else {
        c->k->isa->swish(&p);
    }
}

static OrtStatus *run_flow(call *c)
{
    OrtStatus *status = find_roles(c);
    const ops_operand *scale = &c->in[3], *add = &c->in[4], *acc = &c->in[5];
    bool fits = (scale->data == NULL || plane_size(scale) == 1) &&
                (add->data == NULL || plane_size(add) == 1) &&
                (acc->data == NULL || plane_size(acc) == plane_size(&c->in[1])) &&
                (plane_size(&c->in[0]) == 1 || plane_size(&c->in[0]) == plane_size(&c->in[1]));
    if (status == NULL && !fits) {
        return ops_fail(c->c, "shapes do not fit");
    }
    status = status != NULL ? status : ops_output(c->c, AXES, c->dims);
    return status != NULL ? status : run_planes(c, flow_part);
}

static void sum_part(void *user, size_t i)
{
    call *c = user;
    ops_plane p;
    plane_task(c, i, &p);
    p.out = c->c->out + i * p.block;
    c->k->isa->sum(&p);
}

static OrtStatus *run_sum(call *c)
{
    OrtStatus *status = find_roles(c);
    c->dims[2] = c->dims[3] = 1;
    status = status != NULL ? status : ops_output(c->c, AXES, c->dims);
    return status != NULL ? status : run_planes(c, sum_part);
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
    c->k->isa->pool(&g, c->c->out + i * p.places * p.block, p.m, p.x, p.x0);
}

static OrtStatus *run_pool(call *c)
{
    OrtStatus *status = find_roles(c);
    status = status != NULL ? status : ops_output(c->c, AXES, c->dims);
    return status != NULL ? status : run_planes(c, pool_part);
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
    float *out = c->c->out + index * height * width * block;
    for (size_t row = 0; row < height; row++) {
        for (size_t j = 0; j < across; j++) {
            const ops_operand *part = &c->in[row % down * across + j];
            const float *from = part->data;
            if (from != NULL) {
                from += (index * plane_size(part) + row / down * (size_t)part->dims[3]) * block;
            }
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
    const ops_operand *any = NULL;
    for (int64_t i = 0; i < steps[0] * steps[1]; i++) {
        const ops_operand *part = &c->in[i];
        any = part->data != NULL ? part : any;
        int64_t row = i / steps[1], column = i % steps[1];
        bool fits = part->data == NULL || (part->dims[2] * steps[0] + row >= size[0] &&
                                           part->dims[3] * steps[1] + column >= size[1]);
        if (!fits) {
            return ops_fail(c->c, "shapes do not fit");
        }
    }
    if (any == NULL) {
        return ops_fail(c->c, "an input is missing");
    }
    c->dims[0] = any->dims[0];
    c->dims[1] = any->dims[1];
    c->dims[2] = size[0];
    c->dims[3] = size[1];
    OrtStatus *status = ops_output(c->c, AXES, c->dims);
    return status != NULL ? status : run_planes(c, interleave_part);
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

static bool read_attributes(const OrtApi *api, const OrtKernelInfo *info, void *to)
{
    attributes *k = to;
    *k = (attributes){.isa = choose(), .block = 16, .targets = 1};
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
    return k->block > 0 && k->targets > 0 && k->block % (int64_t)k->isa->width == 0 &&
           k->steps[0] > 0 && k->steps[1] > 0 && k->steps[0] <= MOST_PARTS &&
           k->steps[1] <= MOST_PARTS / k->steps[0] && k->pool.stride[0] > 0 &&
           k->pool.stride[1] > 0 && k->pool.dilation[0] > 0 && k->pool.dilation[1] > 0;
}

static OrtStatus *run(ops_call *c, OrtStatus *(*run_call)(call *c))
{
    for (int i = 0; i < c->op->inputs; i++) {
        if (c->in[i].data != NULL && c->in[i].rank != AXES) {
            return ops_fail(c, "four axes are wanted");
        }
    }
    call own = {.c = c, .k = c->attributes, .in = c->in};
    return run_call(&own);
}

static OrtStatus *flow(ops_call *c)
{
    return run(c, run_flow);
}

static OrtStatus *sum(ops_call *c)
{
    return run(c, run_sum);
}

static OrtStatus *pool(ops_call *c)
{
    return run(c, run_pool);
}

static OrtStatus *interleave(ops_call *c)
{
    return run(c, run_interleave);
}

#define BLOCKED .attributes = sizeof(attributes), .read = read_attributes

size_t ops_blocks(ops_op *to)
{
    static const ops_op table[] = {
        {.name = "BlockedReluFlow",
         .needed = 3,
         .inputs = 6,
         .in_place = true,
         .run = flow,
         BLOCKED},
        {.name = "BlockedSwishFlow",
         .needed = 3,
         .inputs = 6,
         .in_place = true,
         .run = flow,
         BLOCKED},
        {.name = "BlockedSumFlow", .needed = 3, .inputs = 3, .run = sum, BLOCKED},
        {.name = "BlockedMaxPoolFlow", .needed = 3, .inputs = 3, .run = pool, BLOCKED},
        {.name = "BlockedInterleave", .inputs = MOST_PARTS, .run = interleave, BLOCKED},
    };
    if (to != NULL) {
        memcpy(to, table, sizeof table);
    }
    return sizeof table / sizeof table[0];
}
