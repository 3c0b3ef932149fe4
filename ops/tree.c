/* TreeFlow: what the features get of some leaves of an ensemble of trees, for all pairs of samples
 * and references (src/rules/trees_flow.c has the formula, src/base/ours.h the operands).
 *
 * Of each leaf and reference a bit says for each feature of the path whether the reference is
 * outside of its ranges; so of the sample. Where both have a bit in common, the pair gets nothing;
 * else the numbers of bits give the weights, P is where the reference's bits are, M the sample's.
 * References lie in rows. */
#include "tree.h"
#include "kernel.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define PIECE ((size_t)1 << 20) /* leaves and references that are worth a thread */

typedef struct forest {
    ops_call *c;
    const ops_tree_rows *rows;
    size_t targets, batch, samples, refs, values; /* K, B, N, R, F */
    size_t leaves, sides, ranges, adds, columns;  /* L, D, J, T, C */
    size_t m_refs;                                /* 1 where m is the same for all */
    const float *acc;                             /* NULL where it is one number */
    float start;
    size_t *places;     /* [L, D]: columns of the features */
    float *weights;     /* [2, D + 1, D + 1]: by b, then a */
    size_t part, parts; /* samples at a time, of each b */
    atomic_bool failed;
} forest;

/* ---- operands ------------------------------------------------------------------------------ */

static const float *numbers(const forest *f, int i)
{
    return f->c->in[i].data;
}

static const int64_t *whole(const forest *f, int i)
{
    return f->c->in[i].data;
}

/* The dimensions that an operand is to have; -1: any. */
static OrtStatus *need(const forest *f, int i, const char *name, int rank, const int64_t *dims,
                       const char *wanted)
{
    const ops_operand *o = &f->c->in[i];
    bool good = o->rank == rank;
    for (int d = 0; good && d < rank; d++) {
        good = dims[d] < 0 || dims[d] == o->dims[d];
    }
    return good ? NULL : ops_misfit(f->c, i, name, wanted);
}

#define NEED(i, name, wanted, ...)                                                                 \
    need(f, i, name, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]){__VA_ARGS__}, \
         wanted)

static OrtStatus *check_leaves(forest *f)
{
    const ops_operand *in = f->c->in;
    OrtStatus *status = NEED(OX_TREE_FEATURE, "feature", "not of two axes", -1, -1);
    if (status != NULL) {
        return status;
    }
    int64_t leaves = in[OX_TREE_FEATURE].dims[0], sides = in[OX_TREE_FEATURE].dims[1];
    if (sides < 1 || sides > OX_TREE_SIDES) {
        return ops_misfit(f->c, OX_TREE_FEATURE, "feature", "of none or more than 32 a leaf");
    }
    status = NEED(OX_TREE_BOUNDS, "bounds", "not three for each feature", 3, -1, leaves * sides);
    status = status != NULL
                 ? status
                 : NEED(OX_TREE_VALUE, "value", "of other leaves than feature", leaves, -1);
    status = status != NULL ? status
                            : NEED(OX_TREE_WEIGHTS, "weights", "not three for each number of sides",
                                   3, sides + 1, sides + 1);
    status = status != NULL ? status : NEED(OX_TREE_COLUMNS, "columns", "not of one axis", -1);
    if (status == NULL) {
        f->leaves = (size_t)leaves;
        f->sides = (size_t)sides;
        f->ranges = (size_t)in[OX_TREE_BOUNDS].dims[1];
        f->adds = (size_t)in[OX_TREE_VALUE].dims[1];
        f->columns = (size_t)in[OX_TREE_COLUMNS].dims[0];
    }
    return status;
}

static OrtStatus *check_pairs(forest *f, int64_t *dims)
{
    const ops_operand *in = f->c->in;
    OrtStatus *status = NEED(OX_TREE_X, "x", "not of three axes", -1, -1, -1);
    if (status != NULL) {
        return status;
    }
    int64_t batch = in[OX_TREE_X].dims[0], samples = in[OX_TREE_X].dims[1];
    int64_t values = in[OX_TREE_X].dims[2];
    status = NEED(OX_TREE_X0, "x0", "other features or pairs than x", batch, -1, values);
    status = status != NULL ? status
                            : NEED(OX_TREE_M, "m", "other samples or targets than x and value", -1,
                                   batch, -1, samples, (int64_t)f->adds);
    if (status != NULL) {
        return status;
    }
    int64_t refs = in[OX_TREE_X0].dims[1], of_m = in[OX_TREE_M].dims[2];
    if (of_m != 1 && of_m != refs) {
        return ops_misfit(f->c, OX_TREE_M, "m", "other references than x0");
    }
    const int64_t all[] = {in[OX_TREE_M].dims[0], batch, refs, samples, (int64_t)f->columns};
    memcpy(dims, all, sizeof all);
    f->targets = (size_t)all[0];
    f->batch = (size_t)batch;
    f->refs = (size_t)refs;
    f->samples = (size_t)samples;
    f->values = (size_t)values;
    f->m_refs = (size_t)of_m;
    return ops_size_fits(5, dims) ? NULL : ops_fail(f->c->op, "the inputs make too large a shape");
}

static OrtStatus *check_acc(forest *f, const int64_t *dims)
{
    const ops_operand *acc = &f->c->in[OX_TREE_ACC];
    if (acc->rank == 0) {
        f->start = *(const float *)acc->data;
        return NULL;
    }
    f->acc = acc->data;
    return need(f, OX_TREE_ACC, "acc", 5, dims, "no number and of another shape than the output");
}

/* The column of each feature, which rise. */
static OrtStatus *find_places(forest *f)
{
    const int64_t *feature = whole(f, OX_TREE_FEATURE), *columns = whole(f, OX_TREE_COLUMNS);
    for (size_t i = 0; i < f->leaves * f->sides; i++) {
        size_t low = 0, high = f->columns;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (columns[middle] < feature[i]) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        bool inside = feature[i] >= 0 && (uint64_t)feature[i] < f->values;
        if (!inside || low == f->columns || columns[low] != feature[i]) {
            return ops_fail(f->c->op, "a feature lies outside");
        }
        f->places[i] = low;
    }
    return NULL;
}

/* ---- one b --------------------------------------------------------------------------------- */

/* References as rows, and what is room for one thread. */
typedef struct room {
    float *x0;     /* [columns, R] */
    uint32_t *r;   /* [L, R] */
    int32_t *a;    /* [L, R] */
    uint32_t *any; /* [L]: bits of any reference */
    float *sums;   /* [columns, R] */
    float *c, *u, *w;
} room;

static void give_back(room *own)
{
    free(own->x0);
    free(own->r);
    free(own->a);
    free(own->any);
    free(own->sums);
    free(own->c);
}

static bool take_room(const forest *f, room *own)
{
    size_t refs = f->refs, columns = f->columns, leaves = f->leaves;
    own->x0 = calloc(refs, columns * sizeof *own->x0);
    own->r = calloc(refs, leaves * sizeof *own->r);
    own->a = calloc(refs, leaves * sizeof *own->a);
    own->any = calloc(leaves + 1, sizeof *own->any);
    own->sums = calloc(refs, columns * sizeof *own->sums);
    own->c = calloc(refs, 3 * sizeof *own->c);
    if (own->x0 == NULL || own->r == NULL || own->a == NULL || own->any == NULL ||
        own->sums == NULL || own->c == NULL) {
        give_back(own);
        return false;
    }
    own->u = own->c + refs;
    own->w = own->u + refs;
    return true;
}

/* Bounds of side d of leaf l; `step` numbers lie between those of its ranges. */
static const float *bounds(const forest *f, size_t kind, size_t l, size_t d)
{
    size_t step = f->leaves * f->sides;
    return numbers(f, OX_TREE_BOUNDS) + kind * f->ranges * step + l * f->sides + d;
}

static void mark_references(const forest *f, size_t b, const room *own)
{
    const float *x0 = numbers(f, OX_TREE_X0) + b * f->refs * f->values;
    const int64_t *columns = whole(f, OX_TREE_COLUMNS);
    size_t refs = f->refs, step = f->leaves * f->sides;
    for (size_t c = 0; c < f->columns; c++) {
        bool there = columns[c] >= 0 && (uint64_t)columns[c] < f->values;
        for (size_t i = 0; there && i < refs; i++) {
            own->x0[c * refs + i] = x0[i * f->values + (size_t)columns[c]];
        }
    }
    for (size_t l = 0; l < f->leaves; l++) {
        for (size_t d = 0; d < f->sides; d++) {
            bool missing = f->ranges > 0 && *bounds(f, 2, l, d) > 0;
            f->rows->mark(refs, own->x0 + f->places[l * f->sides + d] * refs, f->ranges,
                          bounds(f, 0, l, d), bounds(f, 1, l, d), step, missing, UINT32_C(1) << d,
                          own->r + l * refs, own->a + l * refs);
        }
        for (size_t i = 0; i < refs; i++) {
            own->any[l] |= own->r[l * refs + i];
        }
    }
}

/* The bits of one row of values. */
static uint32_t marks(const forest *f, const float *x, size_t l)
{
    const int64_t *feature = whole(f, OX_TREE_FEATURE) + l * f->sides;
    size_t step = f->leaves * f->sides;
    uint32_t bits = 0;
    for (size_t d = 0; d < f->sides; d++) {
        float v = x[feature[d]];
        bool inside = v != v && f->ranges > 0 && *bounds(f, 2, l, d) > 0;
        const float *low = bounds(f, 0, l, d), *high = bounds(f, 1, l, d);
        for (size_t k = 0; k < f->ranges; k++) {
            inside = inside || (v >= low[k * step] && v <= high[k * step]);
        }
        bits |= inside ? 0 : UINT32_C(1) << d;
    }
    return bits;
}

static size_t count_bits(uint32_t bits)
{
    size_t count = 0;
    for (; bits != 0; bits &= bits - 1) {
        count++;
    }
    return count;
}

/* m times what the leaf adds to each target, for all references. */
static void write_factors(const forest *f, size_t k, size_t b, size_t n, size_t l, float *c)
{
    const float *value = numbers(f, OX_TREE_VALUE) + l * f->adds;
    const float *m = numbers(f, OX_TREE_M);
    for (size_t i = 0; i < f->m_refs; i++) {
        const float *own = m + (((k * f->batch + b) * f->m_refs + i) * f->samples + n) * f->adds;
        c[i] = 0;
        for (size_t t = 0; t < f->adds; t++) {
            c[i] += own[t] * value[t];
        }
    }
    for (size_t i = f->m_refs; i < f->refs; i++) {
        c[i] = c[0];
    }
}

static void add_leaf(const forest *f, size_t k, size_t b, size_t n, size_t l, ops_tree_pass *p,
                     const room *own)
{
    const size_t *places = f->places + l * f->sides;
    write_factors(f, k, b, n, l, own->c);
    for (size_t d = 0; d < f->sides; d++) {
        float *sum = own->sums + places[d] * f->refs;
        if ((p->x >> d & 1) != 0) {
            f->rows->take(p, own->c, sum);
        } else if ((own->any[l] >> d & 1) != 0) {
            f->rows->add(p, d, own->c, sum);
        }
    }
}

static void write_sums(const forest *f, size_t k, size_t b, size_t n, const float *sums)
{
    for (size_t i = 0; i < f->refs; i++) {
        size_t at = (((k * f->batch + b) * f->refs + i) * f->samples + n) * f->columns;
        for (size_t c = 0; c < f->columns; c++) {
            float before = f->acc != NULL ? f->acc[at + c] : f->start;
            f->c->out[at + c] = before + sums[c * f->refs + i];
        }
    }
}

static void explain(const forest *f, size_t b, size_t n, const room *own)
{
    const float *x = numbers(f, OX_TREE_X) + (b * f->samples + n) * f->values;
    size_t table = f->sides + 1;
    for (size_t k = 0; k < f->targets; k++) {
        memset(own->sums, 0, f->columns * f->refs * sizeof *own->sums);
        for (size_t l = 0; l < f->leaves; l++) {
            uint32_t bits = marks(f, x, l);
            size_t outside = count_bits(bits);
            ops_tree_pass p = {.refs = f->refs, .sides = f->sides, .x = bits, .u = own->u};
            p.w = own->w;
            p.r = own->r + l * f->refs;
            p.a = own->a + l * f->refs;
            p.won = f->weights + outside * table;
            p.lost = p.won + table * table;
            if (f->rows->weigh(&p)) {
                add_leaf(f, k, b, n, l, &p, own);
            }
        }
        write_sums(f, k, b, n, own->sums);
    }
}

/* Some samples of one b. */
static void run_part(void *user, size_t i)
{
    forest *f = user;
    size_t b = i / f->parts, first = i % f->parts * f->part;
    size_t end = first + f->part < f->samples ? first + f->part : f->samples;
    room own;
    if (!take_room(f, &own)) {
        atomic_store(&f->failed, true);
        return;
    }
    mark_references(f, b, &own);
    for (size_t n = first; n < end; n++) {
        explain(f, b, n, &own);
    }
    give_back(&own);
}

/* ---- the naive twin ------------------------------------------------------------------------ */

/* One pair and leaf, in double precision. */
static void add_naive(const forest *f, double c, const float *x, const float *x0, size_t l,
                      double *sums)
{
    uint32_t here = marks(f, x, l), there = marks(f, x0, l);
    size_t table = f->sides + 1, a = count_bits(there), b = count_bits(here);
    const float *won = numbers(f, OX_TREE_WEIGHTS), *lost = won + table * table;
    for (size_t d = 0; d < f->sides && (here & there) == 0; d++) {
        double *sum = &sums[f->places[l * f->sides + d]];
        *sum += (there >> d & 1) != 0 ? c * (double)won[a * table + b] : 0;
        *sum -= (here >> d & 1) != 0 ? c * (double)lost[a * table + b] : 0;
    }
}

/* Pair i of [K, B, R, N]. */
static void run_naive(void *user, size_t i)
{
    forest *f = user;
    size_t n = i % f->samples, r = i / f->samples % f->refs;
    size_t b = i / f->samples / f->refs % f->batch, k = i / f->samples / f->refs / f->batch;
    const float *x = numbers(f, OX_TREE_X) + (b * f->samples + n) * f->values;
    const float *x0 = numbers(f, OX_TREE_X0) + (b * f->refs + r) * f->values;
    double *sums = calloc(f->columns + 1, sizeof *sums);
    float *c = calloc(f->refs + 1, sizeof *c);
    if (sums == NULL || c == NULL) {
        atomic_store(&f->failed, true);
    }
    for (size_t l = 0; sums != NULL && c != NULL && l < f->leaves; l++) {
        write_factors(f, k, b, n, l, c);
        add_naive(f, (double)c[r], x, x0, l, sums);
    }
    for (size_t j = 0; sums != NULL && j < f->columns; j++) {
        float before = f->acc != NULL ? f->acc[i * f->columns + j] : f->start;
        f->c->out[i * f->columns + j] = (float)((double)before + sums[j]);
    }
    free(sums);
    free(c);
}

/* ---- all of them --------------------------------------------------------------------------- */

static const ops_tree_rows *rows_of(const ops_isa *isa)
{
#if defined(OPS_X86)
    if (isa == &ops_avx512) {
        return &ops_tree_avx512;
    }
    if (isa == &ops_avx2) {
        return &ops_tree_avx2;
    }
#elif defined(OPS_ARM)
    if (isa == &ops_neon) {
        return &ops_tree_neon;
    }
#endif
    return isa == &ops_naive ? NULL : &ops_tree_plain;
}

/* Weights by b first, as the rows of a sample look them up by a. */
static bool prepare(forest *f)
{
    size_t table = f->sides + 1;
    const float *given = numbers(f, OX_TREE_WEIGHTS);
    f->places = calloc(f->leaves * f->sides + 1, sizeof *f->places);
    f->weights = calloc(2 * table * table, sizeof *f->weights);
    for (size_t i = 0; f->weights != NULL && i < 2 * table * table; i++) {
        size_t kind = i / (table * table), b = i / table % table, a = i % table;
        f->weights[i] = given[(kind * table + a) * table + b];
    }
    return f->places != NULL && f->weights != NULL;
}

static OrtStatus *compute(forest *f)
{
    if (f->rows == NULL) {
        return ops_run(f->c, f->targets * f->batch * f->refs * f->samples, run_naive, f);
    }
    size_t each = f->leaves * f->refs + 1;
    f->part = PIECE / each + 1;
    f->parts = (f->samples + f->part - 1) / f->part;
    return ops_run(f->c, f->batch * f->parts, run_part, f);
}

static OrtStatus *run(ops_call *c)
{
    forest own = {.c = c, .rows = rows_of(c->isa)}, *f = &own;
    int64_t dims[5];
    OrtStatus *status = check_leaves(f);
    status = status != NULL ? status : check_pairs(f, dims);
    status = status != NULL ? status : check_acc(f, dims);
    if (status != NULL) {
        return status;
    }
    if (!prepare(f)) {
        status = ops_fail(c->op, "out of memory");
    }
    status = status != NULL ? status : find_places(f);
    status = status != NULL ? status : ops_output(c, 5, dims);
    bool some = f->targets * f->batch * f->refs * f->samples * f->columns > 0;
    if (status == NULL && some) {
        status = compute(f);
    }
    if (status == NULL && f->failed) {
        status = ops_fail(c->op, "out of memory");
    }
    free(f->places);
    free(f->weights);
    return status;
}

size_t ops_trees(ops_op *to)
{
    if (to != NULL) {
        *to = (ops_op){.name = "TreeFlow",
                       .needed = OX_TREE_INPUTS,
                       .inputs = OX_TREE_INPUTS,
                       .integers = 2,
                       .in_place = true,
                       .run = run};
    }
    return 1;
}
