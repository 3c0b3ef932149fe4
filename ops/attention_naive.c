/* The naive twin of attention: one query at a time, in double precision, m through Softmax with
 * mid(v) and with dv/12, as rules/attention_flow.c has it. */
#include "num_double.h"
#include "ops.h"

#include <string.h>

typedef struct twin {
    const ops_attention_pair *p;
    double *mean, *middle, *weight, *change; /* [keys] */
    double *to_k, *to_v;                     /* [width][keys], [keys][depth] */
} twin;

size_t ops_attention_naive_room(const ops_attention_size *s)
{
    return (4 * s->keys + s->width * s->keys + s->keys * s->depth) * sizeof(double) / sizeof(float);
}

static double scale_at(const twin *t, size_t query, size_t key)
{
    const ops_attention_size *s = &t->p->size;
    return t->p->in[OPS_ATTENTION_SCALE][query * s->scale_row + key * s->scale_key];
}

/* v becomes the rule of Softmax of it. */
static void through_softmax(const twin *t, double *v)
{
    double all = 0, weighted = 0;
    for (size_t k = 0; k < t->p->size.keys; k++) {
        all += t->mean[k];
        weighted += t->mean[k] * v[k];
    }
    for (size_t k = 0; k < t->p->size.keys; k++) {
        v[k] = t->mean[k] * (v[k] - weighted / all);
    }
}

static void take_shares(const twin *t, size_t query)
{
    size_t keys = t->p->size.keys;
    for (size_t k = 0; k < keys; k++) {
        double a = fmaxf(t->p->in[OPS_ATTENTION_L][query * keys + k], -FLT_MAX);
        double b = fmaxf(t->p->in[OPS_ATTENTION_L0][query * keys + k], -FLT_MAX);
        t->mean[k] = exp_slope(a, b, exp(a), exp(b));
        t->middle[k] = (exp(a) + exp(b)) / 2;
    }
}

/* What m makes of v's part: mid(v) in `weight`, dv/12 in `change`, through Softmax and the scale.
 */
static void weigh(const twin *t, size_t query)
{
    const ops_attention_size *s = &t->p->size;
    const float *m = t->p->in[OPS_ATTENTION_M] + query * s->depth;
    for (size_t k = 0; k < s->keys; k++) {
        t->weight[k] = t->change[k] = 0;
        for (size_t j = 0; j < s->depth; j++) {
            double v = t->p->in[OPS_ATTENTION_V][k * s->depth + j];
            double v0 = t->p->in[OPS_ATTENTION_V0][k * s->depth + j];
            t->weight[k] += m[j] * (v + v0) / 2;
            t->change[k] += m[j] * (v - v0) / 12;
        }
    }
    through_softmax(t, t->weight);
    through_softmax(t, t->change);
    for (size_t k = 0; k < s->keys; k++) {
        t->weight[k] *= scale_at(t, query, k);
        t->change[k] *= scale_at(t, query, k);
    }
}

static void send_to_products(const twin *t, size_t query)
{
    const ops_attention_size *s = &t->p->size;
    for (size_t j = 0; j < s->width; j++) {
        double q = t->p->in[OPS_ATTENTION_Q][query * s->width + j], sum = 0;
        double q0 = t->p->in[OPS_ATTENTION_Q0][query * s->width + j];
        for (size_t i = 0; i < s->keys; i++) {
            double k = t->p->in[OPS_ATTENTION_K][j * s->keys + i];
            double k0 = t->p->in[OPS_ATTENTION_K0][j * s->keys + i];
            sum += t->weight[i] * (k + k0) / 2 + t->change[i] * (k - k0);
            t->to_k[j * s->keys + i] += t->weight[i] * (q + q0) / 2 + t->change[i] * (q - q0);
        }
        t->p->out[0][query * s->width + j] = (float)sum;
    }
}

/* The shares less what dq dk makes of them, a sixth. */
static void send_to_values(const twin *t, size_t query)
{
    const ops_attention_size *s = &t->p->size;
    for (size_t i = 0; i < s->keys; i++) {
        t->change[i] = 0;
        for (size_t j = 0; j < s->width; j++) {
            double dq = (double)t->p->in[OPS_ATTENTION_Q][query * s->width + j] -
                        t->p->in[OPS_ATTENTION_Q0][query * s->width + j];
            double dk = (double)t->p->in[OPS_ATTENTION_K][j * s->keys + i] -
                        t->p->in[OPS_ATTENTION_K0][j * s->keys + i];
            t->change[i] += dq * dk * scale_at(t, query, i);
        }
    }
    through_softmax(t, t->change);
    for (size_t i = 0; i < s->keys; i++) {
        for (size_t j = 0; j < s->depth; j++) {
            t->to_v[i * s->depth + j] +=
                (t->middle[i] - t->change[i] / 6) * t->p->in[OPS_ATTENTION_M][query * s->depth + j];
        }
    }
}

void ops_attention_naive(const ops_attention_pair *p, float *room)
{
    const ops_attention_size *s = &p->size;
    size_t of_k = s->width * s->keys, of_v = s->keys * s->depth;
    double *to_k = (double *)(void *)room, *to_v = to_k + of_k, *rows = to_v + of_v;
    twin t = {p, rows, rows + s->keys, rows + 2 * s->keys, rows + 3 * s->keys, to_k, to_v};
    memset(to_k, 0, (of_k + of_v) * sizeof *to_k);
    for (size_t query = 0; query < s->queries; query++) {
        take_shares(&t, query);
        weigh(&t, query);
        send_to_products(&t, query);
        send_to_values(&t, query);
    }
    for (size_t i = 0; i < of_k; i++) {
        p->out[1][i] = (float)to_k[i];
    }
    for (size_t i = 0; i < of_v; i++) {
        p->out[2][i] = (float)to_v[i];
    }
}
