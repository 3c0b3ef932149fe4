/* Rows of Softmax and what is like it, compiled once for each instruction set.
 *
 * With l = log softmax(x) and the logarithmic means L = dy/dl = tanh(dl/2)/dl (y + y0) of both
 * sides' probabilities: Softmax L (m - sum(m L)/sum(L)), LogSoftmax m - sum(m) L/sum(L), LogSumExp
 * m L/sum(L). in[3] is NULL where m is a single number for the whole row. */
#include "variant.h"
#include "vec_math.h"

#include <float.h>
#include <math.h>

#define LITTLE 1.2345678e-30F /* a difference that is never met by chance */

/* Numbers [i, i + VEC_WIDTH) of `count`, with `pad` after the last. */
static inline vec load(const float *p, size_t i, size_t count, float pad)
{
    if (i + VEC_WIDTH <= count) {
        return vec_load(p + i);
    }
    float whole[VEC_WIDTH];
    for (size_t k = 0; k < VEC_WIDTH; k++) {
        whole[k] = i + k < count ? p[i + k] : pad;
    }
    return vec_load(whole);
}

static inline void store(float *p, size_t i, size_t count, vec a)
{
    if (i + VEC_WIDTH <= count) {
        vec_store(p + i, a);
    } else {
        vec_store_part(p + i, a, count - i);
    }
}

static inline vec multiplier(const float *const *in, size_t i, size_t count)
{
    return in[3] == NULL ? vec_set(in[0][0]) : load(in[0], i, count, 0);
}

static inline double total(vec a)
{
    float parts[VEC_WIDTH];
    vec_store(parts, a);
    double sum = 0;
    for (int k = 0; k < VEC_WIDTH; k++) {
        sum += parts[k];
    }
    return sum;
}

/* One side: e^(x - shift) sums up to e^log_sum. */
typedef struct side {
    float shift, log_sum, scale;
} side;

static float largest(const float *x, size_t count)
{
    vec most = vec_set(-INFINITY);
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        most = vec_max(most, load(x, i, count, -INFINITY));
    }
    float parts[VEC_WIDTH], all = -INFINITY;
    vec_store(parts, most);
    for (int k = 0; k < VEC_WIDTH; k++) {
        all = parts[k] > all || parts[k] != parts[k] ? parts[k] : all;
    }
    return all;
}

/* Sums of many are taken in short stretches. */
#define STRETCH ((size_t)64 * VEC_WIDTH)

static side measure(const float *x, size_t count)
{
    float shift = largest(x, count);
    double sum = 0;
    for (size_t begin = 0; begin < count; begin += STRETCH) {
        size_t end = count - begin < STRETCH ? count : begin + STRETCH;
        vec part = vec_set(0);
        for (size_t i = begin; i < end; i += VEC_WIDTH) {
            vec d = vec_sub(load(x, i, count, -INFINITY), vec_set(shift));
            part = vec_add(part, vec_exp(d));
        }
        sum += total(part);
    }
    return (side){shift, (float)log(sum), (float)(1 / sum)};
}

/* Writes L; sums up L, and m L. */
static void logarithmic_mean(size_t count, float *out, const float *const *in, double *sum,
                             double *weighted)
{
    side s = measure(in[1], count), s0 = measure(in[2], count);
    vec lowest = vec_set(-FLT_MAX), half = vec_set(0.5F);
    *sum = *weighted = 0;
    for (size_t begin = 0; begin < count; begin += STRETCH) {
        size_t end = count - begin < STRETCH ? count : begin + STRETCH;
        vec part = vec_set(0), part_weighted = vec_set(0);
        for (size_t i = begin; i < end; i += VEC_WIDTH) {
            vec x = vec_sub(load(in[1], i, count, -INFINITY), vec_set(s.shift));
            vec x0 = vec_sub(load(in[2], i, count, -INFINITY), vec_set(s0.shift));
            vec l = vec_mul(vec_max(lowest, vec_sub(x, vec_set(s.log_sum))), half);
            vec l0 = vec_mul(vec_max(lowest, vec_sub(x0, vec_set(s0.log_sum))), half);
            vec d = vec_add(vec_sub(l, l0), vec_set(LITTLE));
            vec y = vec_mul(vec_exp(x), vec_set(0.5F * s.scale));
            vec middle = vec_fma(vec_exp(x0), vec_set(0.5F * s0.scale), y);
            vec mean = vec_mul(vec_tanh_ratio(d), middle);
            part = vec_add(part, mean);
            part_weighted = vec_fma(mean, multiplier(in, i, count), part_weighted);
            store(out, i, count, mean);
        }
        *sum += total(part);
        *weighted += total(part_weighted);
    }
}

void OPS_VARIANT(row_softmax)(size_t count, float *out, const float *const *in)
{
    double sum, weighted;
    logarithmic_mean(count, out, in, &sum, &weighted);
    vec level = vec_set((float)(weighted / sum));
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        vec mean = load(out, i, count, 0);
        store(out, i, count, vec_mul(mean, vec_sub(multiplier(in, i, count), level)));
    }
}

void OPS_VARIANT(row_log_softmax)(size_t count, float *out, const float *const *in)
{
    double sum, weighted, m = in[3] == NULL ? (double)in[0][0] * (double)count : 0;
    logarithmic_mean(count, out, in, &sum, &weighted);
    for (size_t begin = 0; in[3] != NULL && begin < count; begin += STRETCH) {
        size_t end = count - begin < STRETCH ? count : begin + STRETCH;
        vec part = vec_set(0);
        for (size_t i = begin; i < end; i += VEC_WIDTH) {
            part = vec_add(part, load(in[0], i, count, 0));
        }
        m += total(part);
    }
    vec share = vec_set((float)(-m / sum));
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        store(out, i, count, vec_fma(load(out, i, count, 0), share, multiplier(in, i, count)));
    }
}

void OPS_VARIANT(row_log_sum_exp)(size_t count, float *out, const float *const *in)
{
    double sum, weighted;
    logarithmic_mean(count, out, in, &sum, &weighted);
    vec share = vec_set((float)(1 / sum));
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        vec q = vec_mul(load(out, i, count, 0), share);
        store(out, i, count, vec_mul(multiplier(in, i, count), q));
    }
}
