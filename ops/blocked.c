/* Operators on the blocked layout: Blocked*Flow and BlockedInterleave, as ONNX Runtime sees them.
 */
#include "blocked.h"
#include "kernel.h"

#include <inttypes.h>
#include <string.h>

enum { AXES = 4, MOST_PARTS = 9, ROLES = 6 };
enum { M, X, X0 }; /* the inputs that all flows have */

/* Pools stay within: what is made of them does not overflow, and taps are counted in floats. */
#define MOST_STEPS INT32_MAX
#define MOST_TAPS (1 << 24)

/* Floats of a tile, and the most of a block. */
#define MOST_SIDE 8192

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

/* What an operand has beside x [N, C, H, W]. */
typedef struct role {
    const char *name;
    bool flow; /* a row for every multiplier, or every (target, sample): targets are its own */
    bool thin, wide; /* [.., 1, 1]; [.., H, W]; neither: any, as windows */
    bool more;       /* may have more channels than are read */
} role;

static const role flow_roles[ROLES] = {
    {.name = "m", .flow = true, .thin = true, .wide = true},
    {.name = "x", .wide = true},
    {.name = "x0", .wide = true},
    {.name = "scale", .thin = true},
    {.name = "add", .thin = true},
    {.name = "acc", .wide = true, .more = true},
};
static const role pool_roles[ROLES] = {
    {.name = "m", .flow = true},
    {.name = "x", .wide = true},
    {.name = "x0", .wide = true},
};

static bool rows_fit(const call *c, const role *r, int i)
{
    int64_t n = c->in[i].dims[0], all = c->dims[0], references = (int64_t)c->references;
    bool flow = n == all || (references > 0 && n == all / references);
    return i == X || i == X0 || flow || (!r->flow && (n == (int64_t)c->samples || n == 1));
}

static OrtStatus *check_role(const call *c, const role *r, int i)
{
    const ops_operand *o = &c->in[i], *x = &c->in[X];
    bool any = !r->thin && !r->wide, thin = o->dims[2] == 1 && o->dims[3] == 1;
    bool wide = o->dims[2] == x->dims[2] && o->dims[3] == x->dims[3];
    if (!rows_fit(c, r, i)) {
        return ops_misfit(c->c, i, r->name, "rows that are those of no role");
    }
    if (r->more ? o->dims[1] < x->dims[1] || o->dims[1] % c->k->block != 0
                : o->dims[1] != x->dims[1]) {
        return ops_misfit(c->c, i, r->name, "other channels than those of x");
    }
    return any || (r->thin && thin) || (r->wide && wide)
               ? NULL
               : ops_misfit(c->c, i, r->name, "other places than those of x");
}

/* Sets samples, references and the dimensions of the output, those of x for every multiplier;
 * checks that all operands fit their roles. */
static OrtStatus *find_roles(call *c, const role *roles)
{
    const ops_operand *x = &c->in[X];
    c->samples = (size_t)x->dims[0];
    c->references = (size_t)c->in[X0].dims[0];
    memcpy(c->dims, x->dims, sizeof c->dims);
    if (x->dims[1] % c->k->block != 0) {
        return ops_misfit(c->c, X, "x", "channels that are no whole blocks");
    }
    const int64_t rows[] = {c->k->targets, c->in[X0].dims[0], x->dims[0],
                            x->dims[1],    x->dims[2],        x->dims[3]};
    if (!ops_size_fits(6, rows)) {
        return ops_fail(c->c->op, "the inputs make too large a shape");
    }
    c->dims[0] = rows[0] * rows[1] * rows[2];
    for (int i = 0; i < c->c->op->inputs; i++) {
        OrtStatus *status = c->in[i].data == NULL ? NULL : check_role(c, &roles[i], i);
        if (status != NULL) {
            return status;
        }
    }
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

static void relu_part(void *user, size_t i)
{
    call *c = user;
    ops_plane p;
    plane_task(c, i, &p);
    p.out = c->c->out + i * p.places * p.block;
    c->k->isa->relu(&p);
}

static OrtStatus *run_relu(call *c)
{
    OrtStatus *status = find_roles(c, flow_roles);
    status = status != NULL ? status : ops_output(c->c, AXES, c->dims);
    return status != NULL ? status : run_planes(c, relu_part);
}

/* Places of which x and what is made of it stay in the processor's caches near by. */
static size_t tile_places(const call *c)
{
    size_t most = MOST_SIDE / (size_t)c->k->block, places = plane_size(&c->in[X]);
    return places < most ? places : most;
}

static size_t tiles(const call *c)
{
    size_t places = plane_size(&c->in[X]), tile = tile_places(c);
    return tile == 0 ? 0 : (places + tile - 1) / tile;
}

static const float *advance(const float *data, size_t by)
{
    return data == NULL ? NULL : data + by;
}

/* One tile of a plane of one sample beside all references and targets: what is made of the sample
 * is made once. */
static void swish_part(void *user, size_t i)
{
    call *c = user;
    size_t count = tiles(c), blocks = (size_t)(c->dims[1] / c->k->block), tile = tile_places(c);
    if (count == 0 || blocks == 0) {
        return;
    }
    size_t first = i % count * tile, channel = i / count % blocks, sample = i / count / blocks;
    float side[MOST_SIDE];
    for (size_t row = sample; row < (size_t)c->dims[0]; row += c->samples) {
        size_t plane = row * blocks + channel;
        ops_plane p;
        plane_task(c, plane, &p);
        size_t at = first * p.block, places = p.places;
        p.out = c->c->out + plane * places * p.block + at;
        p.places = places - first < tile ? places - first : tile;
        p.x = advance(p.x, at);
        p.x0 = advance(p.x0, at);
        p.m = p.thin ? p.m : advance(p.m, at);
        p.acc = advance(p.acc, at);
        if (row == sample) {
            c->k->isa->swish_side(p.x, p.places * p.block, side);
        }
        p.side = side;
        c->k->isa->swish(&p);
    }
}

static OrtStatus *run_swish(call *c)
{
    OrtStatus *status = find_roles(c, flow_roles);
    status = status != NULL ? status : ops_output(c->c, AXES, c->dims);
    if (status != NULL || c->dims[0] == 0) {
        return status;
    }
    size_t blocks = (size_t)(c->dims[1] / c->k->block);
    return ops_run(c->c, c->samples * blocks * tiles(c), swish_part, c);
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
    OrtStatus *status = find_roles(c, flow_roles);
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

/* Every window begins inside, or in the padding before. */
static OrtStatus *check_windows(const call *c)
{
    const ops_pool *g = &c->k->pool;
    for (int a = 0; a < 2; a++) {
        int64_t windows = c->in[M].dims[2 + a], size = c->in[X].dims[2 + a];
        if (windows > 0 && (windows - 1) > (size + g->pad[a] - 1) / g->stride[a]) {
            return ops_misfit(c->c, M, "m", "more windows than x has room for");
        }
    }
    return NULL;
}

static OrtStatus *run_pool(call *c)
{
    OrtStatus *status = find_roles(c, pool_roles);
    status = status != NULL ? status : check_windows(c);
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

/* Part i has the rows and columns of the output that it is asked for. */
static bool reaches(const call *c, int64_t i)
{
    const int64_t *size = c->k->size, *steps = c->k->steps;
    const ops_operand *part = &c->in[i];
    return part->dims[2] * steps[0] + i / steps[1] >= size[0] &&
           part->dims[3] * steps[1] + i % steps[1] >= size[1];
}

/* Sets the dimensions of the output; checks all parts. */
static OrtStatus *find_parts(call *c)
{
    const ops_operand *any = NULL;
    for (int i = 0; i < c->c->op->inputs; i++) {
        const ops_operand *part = &c->in[i];
        if (part->data == NULL) {
            continue;
        }
        any = any == NULL ? part : any;
        if (i >= c->k->steps[0] * c->k->steps[1]) {
            return ops_misfit(c->c, i, NULL, "a part beyond the steps");
        }
        if (part->dims[0] != any->dims[0] || part->dims[1] != any->dims[1]) {
            return ops_misfit(c->c, i, NULL, "other rows or channels than the first part");
        }
        if (part->dims[1] % c->k->block != 0) {
            return ops_misfit(c->c, i, NULL, "channels that are no whole blocks");
        }
        if (!reaches(c, i)) {
            return ops_misfit(c->c, i, NULL, "too small for what is put together");
        }
    }
    if (any == NULL) {
        return ops_fail(c->c->op, "every part is missing");
    }
    memcpy(c->dims, any->dims, 2 * sizeof *c->dims);
    memcpy(c->dims + 2, c->k->size, 2 * sizeof *c->dims);
    return NULL;
}

static OrtStatus *run_interleave(call *c)
{
    OrtStatus *status = find_parts(c);
    status = status != NULL ? status : ops_output(c->c, AXES, c->dims);
    return status != NULL ? status : run_planes(c, interleave_part);
}

/* ---- attributes ------------------------------------------------------------------------- */

/* `count` integers from `least` to `most`; `tune` writes all that a kernel has. */
static OrtStatus *read_ints(const ops_op *op, const OrtKernelInfo *info, const char *name,
                            int64_t least, int64_t most, size_t count, int64_t *out)
{
    size_t size = count;
    OrtStatus *status = count == 1
                            ? op->api->KernelInfoGetAttribute_int64(info, name, out)
                            : op->api->KernelInfoGetAttributeArray_int64(info, name, out, &size);
    if (status != NULL || size != count) {
        if (status != NULL) {
            op->api->ReleaseStatus(status);
        }
        return ops_fail(op, "attribute %s is missing, or not %zu %s", name, count,
                        count == 1 ? "integer" : "integers");
    }
    for (size_t i = 0; i < count; i++) {
        if (out[i] < least || out[i] > most) {
            return ops_fail(op, "attribute %s has %" PRId64 ", outside %" PRId64 " to %" PRId64,
                            name, out[i], least, most);
        }
    }
    return NULL;
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

static OrtStatus *read_block(const ops_op *op, const OrtKernelInfo *info, attributes *k)
{
    k->isa = choose();
    OrtStatus *status = read_ints(op, info, "block", 1, MOST_SIDE, 1, &k->block);
    if (status == NULL && k->block % (int64_t)k->isa->width != 0) {
        return ops_fail(op, "attribute block is %" PRId64 ", no multiple of %zu as on this machine",
                        k->block, k->isa->width);
    }
    return status;
}

static OrtStatus *read_flow(const ops_op *op, const OrtKernelInfo *info, void *to)
{
    attributes *k = to;
    OrtStatus *status = read_block(op, info, k);
    return status != NULL ? status : read_ints(op, info, "targets", 1, OPS_SIZE, 1, &k->targets);
}

static OrtStatus *read_pool(const ops_op *op, const OrtKernelInfo *info, void *to)
{
    ops_pool *g = &((attributes *)to)->pool;
    const struct {
        const char *name;
        int64_t least;
        size_t count;
        int64_t *out;
    } all[] = {{"kernel_shape", 1, 2, g->kernel},
               {"strides", 1, 2, g->stride},
               {"dilations", 1, 2, g->dilation},
               {"pads", 0, 4, g->pad}};
    OrtStatus *status = read_flow(op, info, to);
    for (size_t i = 0; status == NULL && i < sizeof all / sizeof all[0]; i++) {
        status =
            read_ints(op, info, all[i].name, all[i].least, MOST_STEPS, all[i].count, all[i].out);
    }
    if (status == NULL && g->kernel[0] > MOST_TAPS / g->kernel[1]) {
        return ops_fail(op, "attribute kernel_shape has more than %d taps", MOST_TAPS);
    }
    return status;
}

static OrtStatus *read_interleave(const ops_op *op, const OrtKernelInfo *info, void *to)
{
    attributes *k = to;
    OrtStatus *status = read_block(op, info, k);
    status = status != NULL ? status : read_ints(op, info, "size", 0, OPS_SIZE, 2, k->size);
    status = status != NULL ? status : read_ints(op, info, "steps", 1, MOST_PARTS, 2, k->steps);
    if (status == NULL && k->steps[0] * k->steps[1] > MOST_PARTS) {
        return ops_fail(op, "attribute steps has more than %d parts", MOST_PARTS);
    }
    return status;
}

/* ---- kernels ---------------------------------------------------------------------------- */

static OrtStatus *run(ops_call *c, OrtStatus *(*run_call)(call *c))
{
    for (int i = 0; i < c->op->inputs; i++) {
        if (c->in[i].data != NULL && c->in[i].rank != AXES) {
            return ops_misfit(c, i, NULL, "not of four axes");
        }
    }
    call own = {.c = c, .k = c->attributes, .in = c->in};
    return run_call(&own);
}

static OrtStatus *relu(ops_call *c)
{
    return run(c, run_relu);
}

static OrtStatus *swish(ops_call *c)
{
    return run(c, run_swish);
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

#define BLOCKED(reads) .attributes = sizeof(attributes), .read = (reads)

size_t ops_blocks(ops_op *to)
{
    static const ops_op table[] = {
        {.name = "BlockedReluFlow",
         .needed = 3,
         .inputs = 6,
         .in_place = true,
         .run = relu,
         BLOCKED(read_flow)},
        {.name = "BlockedSwishFlow",
         .needed = 3,
         .inputs = 6,
         .in_place = true,
         .run = swish,
         BLOCKED(read_flow)},
        {.name = "BlockedSumFlow", .needed = 3, .inputs = 3, .run = sum, BLOCKED(read_flow)},
        {.name = "BlockedMaxPoolFlow", .needed = 3, .inputs = 3, .run = pool, BLOCKED(read_pool)},
        {.name = "BlockedInterleave",
         .inputs = MOST_PARTS,
         .run = interleave,
         BLOCKED(read_interleave)},
    };
    if (to != NULL) {
        memcpy(to, table, sizeof table);
    }
    return sizeof table / sizeof table[0];
}
