/* The loops of blocked.c, compiled once for each instruction set (see CMakeLists.txt). */
#include "blocked.h"
#include "num_vec.h"

/* ---- flows ------------------------------------------------------------------------------ */

/* `side` is what a function needs of x alone, x where it needs nothing. */
typedef vec (*slope)(vec x, vec side, vec x0);

static inline vec ramp_beside(vec x, vec side, vec x0)
{
    (void)side;
    return ramp(x, x0);
}

static inline void flow(const ops_plane *p, slope f, bool thin, bool summed)
{
    for (size_t k = 0; k < p->block; k += VEC_WIDTH) {
        vec scale = p->scale == NULL ? vec_set(1) : vec_load(p->scale + k);
        vec add = p->add == NULL ? vec_set(0) : vec_load(p->add + k);
        vec m = thin ? vec_fma(vec_load(p->m + k), scale, add) : add;
        for (size_t i = 0; i < p->places; i++) {
            size_t at = i * p->block + k;
            vec x = vec_load(p->x + at), side = p->side == NULL ? x : vec_load(p->side + at);
            vec slope_here = f(x, side, vec_load(p->x0 + at));
            vec here = thin ? m : vec_fma(vec_load(p->m + at), scale, add);
            vec_store(p->out + at, summed ? vec_fma(here, slope_here, vec_load(p->acc + at))
                                          : vec_mul(here, slope_here));
        }
    }
}

static inline void flow_any(const ops_plane *p, slope f)
{
    if (p->thin) {
        p->acc != NULL ? flow(p, f, true, true) : flow(p, f, true, false);
    } else {
        p->acc != NULL ? flow(p, f, false, true) : flow(p, f, false, false);
    }
}

static void relu(const ops_plane *p)
{
    flow_any(p, ramp_beside);
}

static void swish_side(const float *x, size_t count, float *side)
{
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        vec_store(side + i, swish_down(vec_load(x + i)));
    }
}

static void swish(const ops_plane *p)
{
    flow_any(p, swish_beside);
}

static void sum(const ops_plane *p)
{
    for (size_t k = 0; k < p->block; k += VEC_WIDTH) {
        vec total[4] = {vec_set(0), vec_set(0), vec_set(0), vec_set(0)};
        for (size_t i = 0; i < p->places; i++) {
            size_t at = i * p->block + k;
            vec both = vec_add(vec_load(p->x + at), vec_load(p->x0 + at));
            vec m = vec_load(p->m + (p->thin ? k : at));
            total[i % 4] = vec_fma(m, both, total[i % 4]);
        }
        vec all = vec_add(vec_add(total[0], total[1]), vec_add(total[2], total[3]));
        vec_store(p->out + k, vec_mul(all, vec_set(0.5F)));
    }
}

/* ---- pools ------------------------------------------------------------------------------ */

/* The taps [first, last) of a window along axis a that lie inside. */
static inline void find_taps(const ops_pool *g, int a, int64_t out, int64_t *first, int64_t *last)
{
    int64_t start = out * g->stride[a] - g->pad[a], d = g->dilation[a];
    *first = start < 0 ? (-start + d - 1) / d : 0;
    int64_t room = (g->in[a] - start + d - 1) / d;
    *last = room < g->kernel[a] ? room : g->kernel[a];
}

/* One winner a window gets m (y - y0)/(x - x0): the sample's where y > y0, else the reference's;
 * where both are the same it gets m if it wins on both sides. */
static void window(const ops_pool *g, int64_t row, int64_t column, size_t k, float *out, vec m,
                   const float *x, const float *x0)
{
    int64_t from[2], to[2];
    find_taps(g, 0, row, &from[0], &to[0]);
    find_taps(g, 1, column, &from[1], &to[1]);
    vec y = vec_set(-INFINITY), y0 = y, won = vec_set(-1), won0 = won;
    for (int64_t i = from[0]; i < to[0]; i++) {
        int64_t line = (row * g->stride[0] - g->pad[0] + i * g->dilation[0]) * g->in[1];
        for (int64_t j = from[1]; j < to[1]; j++) {
            int64_t at = line + column * g->stride[1] - g->pad[1] + j * g->dilation[1];
            vec a = vec_load(x + (size_t)at * g->block + k);
            vec a0 = vec_load(x0 + (size_t)at * g->block + k);
            vec tap = vec_set((float)(i * g->kernel[1] + j));
            won = vec_select(vec_less(y, a), tap, won);
            won0 = vec_select(vec_less(y0, a0), tap, won0);
            y = vec_max(y, a);
            y0 = vec_max(y0, a0);
        }
    }
    vec dy = vec_sub(y, y0), zero = vec_set(0);
    vec winner = vec_select(vec_less(y0, y), won, won0);
    for (int64_t i = from[0]; i < to[0]; i++) {
        int64_t line = (row * g->stride[0] - g->pad[0] + i * g->dilation[0]) * g->in[1];
        for (int64_t j = from[1]; j < to[1]; j++) {
            int64_t at = line + column * g->stride[1] - g->pad[1] + j * g->dilation[1];
            size_t place = (size_t)at * g->block + k;
            vec tap = vec_set((float)(i * g->kernel[1] + j));
            vec d = vec_sub(vec_load(x + place), vec_load(x0 + place));
            vec share = vec_select(vec_equal(d, zero), m, vec_div(vec_mul(m, dy), d));
            share = vec_select(vec_equal(winner, tap), share, zero);
            vec_store(out + place, vec_add(vec_load(out + place), share));
        }
    }
}

static void pool(const ops_pool *g, float *out, const float *m, const float *x, const float *x0)
{
    memset(out, 0, (size_t)(g->in[0] * g->in[1]) * g->block * sizeof *out);
    for (int64_t row = 0; row < g->out[0]; row++) {
        for (int64_t column = 0; column < g->out[1]; column++) {
            size_t at = (size_t)(row * g->out[1] + column) * g->block;
            for (size_t k = 0; k < g->block; k += VEC_WIDTH) {
                window(g, row, column, k, out, vec_load(m + at + k), x, x0);
            }
        }
    }
}

#define JOIN(a, b) a##b
#define NAME(isa) JOIN(ops_blocked_, isa)

const ops_blocked NAME(OPS_ISA) = {VEC_WIDTH, relu, swish_side, swish, sum, pool};
