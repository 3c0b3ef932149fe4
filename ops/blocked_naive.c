/* The naive twins of the blocked kernels: one number at a time, in double precision.
 * ONNXEXPLAINER_ISA=naive runs them; tests compare. */
#include <math.h>
#include <string.h>

#include "blocked.h"
#include "num_double.h"

static void flow(const ops_plane *p, double (*slope)(double x, double x0))
{
    for (size_t i = 0; i < p->places * p->block; i++) {
        size_t k = i % p->block;
        double m = (double)p->m[p->thin ? k : i];
        m = m * (p->scale != NULL ? (double)p->scale[k] : 1);
        m = m + (p->add != NULL ? (double)p->add[k] : 0);
        double y = m * slope((double)p->x[i], (double)p->x0[i]);
        p->out[i] = (float)(y + (p->acc != NULL ? (double)p->acc[i] : 0));
    }
}

static void relu(const ops_plane *p)
{
    flow(p, ramp);
}

/* Nothing is needed. */
static void swish_side(const float *x, size_t count, float *side)
{
    memcpy(side, x, count * sizeof *x);
}

static void swish(const ops_plane *p)
{
    flow(p, swish_of);
}

static void sum(const ops_plane *p)
{
    for (size_t k = 0; k < p->block; k++) {
        double total = 0;
        for (size_t i = k; i < p->places * p->block; i += p->block) {
            double m = (double)p->m[p->thin ? k : i];
            total += m * ((double)p->x[i] + (double)p->x0[i]) / 2;
        }
        p->out[k] = (float)total;
    }
}

/* The place of tap (i, j) of a window, -1 outside. */
static int64_t tap(const ops_pool *g, int64_t row, int64_t column, int64_t i, int64_t j)
{
    int64_t y = row * g->stride[0] - g->pad[0] + i * g->dilation[0];
    int64_t x = column * g->stride[1] - g->pad[1] + j * g->dilation[1];
    return y < 0 || y >= g->in[0] || x < 0 || x >= g->in[1] ? -1 : y * g->in[1] + x;
}

/* The first of the largest of a window. */
static size_t winner(const ops_pool *g, int64_t row, int64_t column, size_t k, const float *x)
{
    size_t best = SIZE_MAX;
    for (int64_t i = 0; i < g->kernel[0]; i++) {
        for (int64_t j = 0; j < g->kernel[1]; j++) {
            int64_t at = tap(g, row, column, i, j);
            size_t place = (size_t)at * g->block + k;
            if (at >= 0 && (best == SIZE_MAX || x[place] > x[best])) {
                best = place;
            }
        }
    }
    return best;
}

static void pool(const ops_pool *g, float *out, const float *m, const float *x, const float *x0)
{
    memset(out, 0, (size_t)(g->in[0] * g->in[1]) * g->block * sizeof *out);
    for (size_t i = 0; i < (size_t)(g->out[0] * g->out[1]) * g->block; i++) {
        int64_t at = (int64_t)(i / g->block), row = at / g->out[1], column = at % g->out[1];
        size_t won = winner(g, row, column, i % g->block, x);
        size_t won0 = winner(g, row, column, i % g->block, x0);
        if (won == SIZE_MAX) {
            continue;
        }
        double dy = (double)x[won] - (double)x0[won0];
        size_t place = dy > 0 ? won : won0;
        double gap = (double)x[place] - (double)x0[place];
        double share = gap != 0 ? dy / gap : 1;
        out[place] += (float)((double)m[i] * share);
    }
}

const ops_blocked ops_blocked_naive = {1, relu, swish_side, swish, sum, pool};
