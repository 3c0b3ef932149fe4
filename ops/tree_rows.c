/* The loops of tree.c over the references, compiled once for each instruction set (see
 * CMakeLists.txt). They are plain: compilers make vectors of them. */
#include "tree.h"
#include "variant.h"

static bool weigh(const ops_tree_pass *p)
{
    float *restrict u = p->u, *restrict w = p->w;
    const uint32_t *restrict r = p->r;
    const int32_t *restrict a = p->a;
    const float *restrict won = p->won, *restrict lost = p->lost;
    uint32_t x = p->x, some = 0;
    for (size_t i = 0; i < p->refs; i++) {
        some |= (r[i] & x) == 0;
    }
    for (size_t i = 0; some != 0 && i < p->refs; i++) {
        bool counts = (r[i] & x) == 0;
        u[i] = counts ? won[a[i]] : 0;
        w[i] = counts ? lost[a[i]] : 0;
    }
    return some != 0;
}

static void add(const ops_tree_pass *p, size_t d, const float *c, float *sum)
{
    const float *restrict u = p->u, *restrict factor = c;
    const uint32_t *restrict r = p->r;
    float *restrict to = sum;
    uint32_t bit = UINT32_C(1) << d;
    for (size_t i = 0; i < p->refs; i++) {
        float each = factor[i] * u[i];
        to[i] += (r[i] & bit) != 0 ? each : 0;
    }
}

static void take(const ops_tree_pass *p, const float *c, float *sum)
{
    const float *restrict w = p->w, *restrict factor = c;
    float *restrict to = sum;
    for (size_t i = 0; i < p->refs; i++) {
        to[i] -= factor[i] * w[i];
    }
}

static void mark(size_t refs, const float *x, size_t count, const float *low, const float *high,
                 size_t step, bool missing, uint32_t bit, uint32_t *r, int32_t *a)
{
    const float *restrict v = x;
    uint32_t *restrict bits = r;
    int32_t *restrict counts = a;
    for (size_t i = 0; i < refs; i++) {
        bool inside = missing && v[i] != v[i];
        for (size_t k = 0; k < count; k++) {
            inside |= (v[i] >= low[k * step]) & (v[i] <= high[k * step]);
        }
        bits[i] |= inside ? 0 : bit;
        counts[i] += !inside;
    }
}

/* Most features have one range, for which the loop is one that becomes vectors. */
static void mark_one(size_t refs, const float *x, float low, float high, bool missing, uint32_t bit,
                     uint32_t *r, int32_t *a)
{
    const float *restrict v = x;
    uint32_t *restrict bits = r;
    int32_t *restrict counts = a;
    uint32_t nan = missing ? 0 : 1; /* whether NaN is outside */
    for (size_t i = 0; i < refs; i++) {
        uint32_t apart = v[i] != v[i] ? nan : (v[i] < low) | (v[i] > high);
        bits[i] |= apart != 0 ? bit : 0;
        counts[i] += (int32_t)apart;
    }
}

static void mark_any(size_t refs, const float *x, size_t count, const float *low, const float *high,
                     size_t step, bool missing, uint32_t bit, uint32_t *r, int32_t *a)
{
    if (count == 1) {
        mark_one(refs, x, *low, *high, missing, bit, r, a);
    } else {
        mark(refs, x, count, low, high, step, missing, bit, r, a);
    }
}

const ops_tree_rows OPS_VARIANT(ops_tree) = {weigh, add, take, mark_any};
