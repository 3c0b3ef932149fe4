/* Rows of Softmax and what is like it, compiled once for each instruction set.
 *
 * With l = log softmax(x) and the logarithmic means L = dy/dl of both sides' probabilities: Softmax
 * L (m - sum(m L)/sum(L)), LogSoftmax m - sum(m) L/sum(L), LogSumExp m L/sum(L). What belongs to
 * one side, l and y = e^l, is computed once for each row of it. A row of a pair takes m, l, l0, m
 * once more or NULL where it is a single number for the whole row, y and y0. */
#include "variant.h"
#include "vec_math.h"

#include <float.h>
#include <math.h>

#define LITTLE 1.2345678e-30F /* a difference that is never met by chance */

/* Sums of many are taken in short stretches. */
#define STRETCH ((size_t)64 * VEC_WIDTH)

/* Numbers [i, i + VEC_WIDTH) of `count`, zeros after the last. */
static inline vec load(const float *p, size_t i, size_t count)
{
    return i + VEC_WIDTH <= count ? vec_load(p + i) : vec_load_part(p + i, count - i);
}

/* The same with -infinity after the last. */
static inline vec load_exponents(const float *p, size_t i, size_t count)
{
    static const float places[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    if (i + VEC_WIDTH <= count) {
        return vec_load(p + i);
    }
    vec_mask there = vec_less(vec_load(places), vec_set((float)(count - i)));
    return vec_select(there, vec_load_part(p + i, count - i), vec_set(-INFINITY));
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
    return in[3] == NULL ? vec_set(in[0][0]) : load(in[0], i, count);
}

/* ---- one side ------------------------------------------------------------------------------ */

static float largest(const float *x, size_t count)
{
    vec most = vec_set(-INFINITY);
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        most = vec_max(most, load_exponents(x, i, count));
    }
    return vec_largest(most);
}

/* Writes e^(x - shift), and sums it up. */
static double powers(size_t count, float *y, const float *x, float shift)
{
    double sum = 0;
    for (size_t begin = 0; begin < count; begin += STRETCH) {
        size_t end = count - begin < STRETCH ? count : begin + STRETCH;
        vec part = vec_set(0);
        for (size_t i = begin; i < end; i += VEC_WIDTH) {
            vec e = vec_exp(vec_sub(load_exponents(x, i, count), vec_set(shift)));
            part = vec_add(part, e);
            store(y, i, count, e);
        }
        sum += (double)vec_total(part);
    }
    return sum;
}

/* Masks of -inf would leave nothing of a difference. */
void OPS_VARIANT(side)(size_t count, float *l, float *y, const float *x)
{
    float shift = largest(x, count);
    double sum = powers(count, y, x, shift);
    vec off = vec_set((float)log(sum)), scale = vec_set((float)(1 / sum));
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        vec from = vec_sub(load(x, i, count), vec_set(shift));
        store(l, i, count, vec_max(vec_set(-FLT_MAX), vec_sub(from, off)));
        store(y, i, count, vec_mul(load(y, i, count), scale));
    }
}

/* ---- pairs --------------------------------------------------------------------------------- */

/* L = tanh(d)/d (y + y0)/2 with d = (l - l0)/2, which is (y - y0)/(l - l0) where that does not
 * cancel. */
static inline vec slope_of(vec dl, vec y, vec y0, vec middle)
{
    vec d = vec_add(vec_mul(dl, vec_set(0.5F)), vec_set(LITTLE));
    vec near = vec_mul(vec_tanh_near(vec_mul(d, d)), middle);
    vec_mask is_near = vec_less(vec_abs(d), vec_set(0.625F));
    return vec_select(is_near, near, vec_div(vec_sub(y, y0), dl));
}

static inline vec mean_of(const float *const *in, size_t i, size_t count)
{
    vec y = load(in[4], i, count), y0 = load(in[5], i, count);
    vec dl = vec_sub(load(in[1], i, count), load(in[2], i, count));
    return slope_of(dl, y, y0, vec_mul(vec_add(y, y0), vec_set(0.5F)));
}

/* Writes L; sums up L, and m L. */
static void logarithmic_mean(size_t count, float *out, const float *const *in, double *sum,
                             double *weighted)
{
    *sum = *weighted = 0;
    for (size_t begin = 0; begin < count; begin += STRETCH) {
        size_t end = count - begin < STRETCH ? count : begin + STRETCH;
        vec part = vec_set(0), part_weighted = vec_set(0);
        for (size_t i = begin; i < end; i += VEC_WIDTH) {
            vec mean = mean_of(in, i, count);
            part = vec_add(part, mean);
            part_weighted = vec_fma(mean, multiplier(in, i, count), part_weighted);
            store(out, i, count, mean);
        }
        *sum += (double)vec_total(part);
        *weighted += (double)vec_total(part_weighted);
    }
}

/* A row that fits into a vector stays there. */
static inline void short_softmax(size_t count, float *out, const float *const *in)
{
    vec mean = mean_of(in, 0, count), m = multiplier(in, 0, count);
    float level = vec_total(vec_mul(mean, m)) / vec_total(mean);
    store(out, 0, count, vec_mul(mean, vec_sub(m, vec_set(level))));
}

void OPS_VARIANT(row_softmax)(size_t count, float *out, const float *const *in)
{
    double sum, weighted;
    if (count <= VEC_WIDTH) {
        short_softmax(count, out, in);
        return;
    }
    logarithmic_mean(count, out, in, &sum, &weighted);
    vec level = vec_set((float)(weighted / sum));
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        vec mean = load(out, i, count);
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
            part = vec_add(part, load(in[0], i, count));
        }
        m += (double)vec_total(part);
    }
    vec share = vec_set((float)(-m / sum));
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        store(out, i, count, vec_fma(load(out, i, count), share, multiplier(in, i, count)));
    }
}

void OPS_VARIANT(row_log_sum_exp)(size_t count, float *out, const float *const *in)
{
    double sum, weighted;
    logarithmic_mean(count, out, in, &sum, &weighted);
    vec share = vec_set((float)(1 / sum));
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        vec q = vec_mul(load(out, i, count), share);
        store(out, i, count, vec_mul(multiplier(in, i, count), q));
    }
}

/* ---- shares -------------------------------------------------------------------------------- */

/* Numbers as logarithms, the lowest after the last: masks of -inf would leave nothing of a
 * difference. */
static inline vec load_logarithms(const float *p, size_t i, size_t count)
{
    return vec_max(vec_set(-FLT_MAX), load_exponents(p, i, count));
}

double OPS_VARIANT(share)(size_t count, float *mean, float *middle, const float *l, const float *l0)
{
    double sum = 0;
    for (size_t begin = 0; begin < count; begin += STRETCH) {
        size_t end = count - begin < STRETCH ? count : begin + STRETCH;
        vec part = vec_set(0);
        for (size_t i = begin; i < end; i += VEC_WIDTH) {
            vec a = load_logarithms(l, i, count), b = load_logarithms(l0, i, count);
            vec y = vec_exp(a), y0 = vec_exp(b), both = vec_mul(vec_add(y, y0), vec_set(0.5F));
            vec slope = slope_of(vec_sub(a, b), y, y0, both);
            part = vec_add(part, slope);
            store(mean, i, count, slope);
            store(middle, i, count, both);
        }
        sum += (double)vec_total(part);
    }
    return sum;
}

/* sum(m L)/sum(L) */
static inline vec level_of(size_t count, const float *const *in)
{
    double weighted = 0;
    for (size_t begin = 0; begin < count; begin += STRETCH) {
        size_t end = count - begin < STRETCH ? count : begin + STRETCH;
        vec part = vec_set(0);
        for (size_t i = begin; i < end; i += VEC_WIDTH) {
            part = vec_fma(load(in[0], i, count), load(in[1], i, count), part);
        }
        weighted += (double)vec_total(part);
    }
    return vec_set((float)(weighted / (double)in[2][0]));
}

void OPS_VARIANT(row_scores)(size_t count, float *out, const float *const *in)
{
    vec level = level_of(count, in);
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        vec m = vec_sub(load(in[0], i, count), level);
        store(out, i, count, vec_mul(m, load(in[1], i, count)));
    }
}

void OPS_VARIANT(row_shares)(size_t count, float *out, const float *const *in)
{
    vec level = level_of(count, in);
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        vec m = vec_sub(load(in[0], i, count), level);
        store(out, i, count, vec_fma(m, load(in[1], i, count), load(in[3], i, count)));
    }
}

/* ---- normalisations ------------------------------------------------------------------------- */

/* Sums of m, of t = d + d0, and of both. */
typedef struct norm_sums {
    double m, t, both;
} norm_sums;

static inline norm_sums norm_sums_of(size_t count, const float *const *in)
{
    norm_sums sums = {0};
    for (size_t begin = 0; begin < count; begin += STRETCH) {
        size_t end = count - begin < STRETCH ? count : begin + STRETCH;
        vec of_m = vec_set(0), of_t = vec_set(0), of_both = vec_set(0);
        for (size_t i = begin; i < end; i += VEC_WIDTH) {
            vec m = load(in[0], i, count);
            vec t = vec_add(load(in[1], i, count), load(in[2], i, count));
            of_m = vec_add(of_m, m);
            of_t = vec_add(of_t, t);
            of_both = vec_fma(m, t, of_both);
        }
        sums.m += (double)vec_total(of_m);
        sums.t += (double)vec_total(of_t);
        sums.both += (double)vec_total(of_both);
    }
    return sums;
}

/* m (1/s + 1/s0)/2 through d/s, and through s = root(mean(d^2)) what sums up to -sum(m t)/(2 s s0).
 */
static inline void norm_row(size_t count, float *out, const float *const *in, bool centred)
{
    double s = (double)in[3][0], s0 = (double)in[4][0], n = (double)count;
    norm_sums sums = norm_sums_of(count, in);
    double direct = 0.5 / s + 0.5 / s0, through = -0.5 * sums.both / s / s0 / (s + s0 + 1e-20) / n;
    double mean = centred ? (direct * sums.m + through * sums.t) / n : 0;
    vec a = vec_set((float)direct), b = vec_set((float)through), off = vec_set((float)-mean);
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        vec t = vec_add(load(in[1], i, count), load(in[2], i, count));
        store(out, i, count, vec_fma(a, load(in[0], i, count), vec_fma(b, t, off)));
    }
}

void OPS_VARIANT(row_root_norm)(size_t count, float *out, const float *const *in)
{
    norm_row(count, out, in, false);
}

void OPS_VARIANT(row_layer_norm)(size_t count, float *out, const float *const *in)
{
    norm_row(count, out, in, true);
}
