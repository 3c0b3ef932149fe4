/* Rows of Softmax and what is like it, compiled once for each instruction set.
 *
 * With l = log softmax(x) and the logarithmic means L = dy/dl of both sides' probabilities: Softmax
 * L (m - sum(m L)/sum(L)), LogSoftmax m - sum(m) L/sum(L), LogSumExp m L/sum(L). What belongs to
 * one side, l and y = e^l, is computed once for each row of it. A row of a pair takes m, l, l0, m
 * once more or NULL where it is a single number for the whole row, y and y0. */
#include "variant.h"
#include "vec_math.h"
#include "vec_row.h"

#include <float.h>
#include <math.h>

#define LITTLE 1.2345678e-30F /* a difference that is never met by chance */

#define FEW 8 /* numbers that are added up one by one */

/* What load gives, with -infinity after the last. */
static inline vec load_exponents(const float *p, size_t i, size_t count)
{
    static const float places[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    if (i + VEC_WIDTH <= count) {
        return vec_load(p + i);
    }
    vec_mask there = vec_less(vec_load(places), vec_set((float)(count - i)));
    return vec_select(there, vec_load_part(p + i, count - i), vec_set(-INFINITY));
}

static inline vec multiplier(const float *const *in, size_t i, size_t count)
{
    return in[4] == NULL ? vec_set(in[0][0]) : load(in[0], i, count);
}

/* ---- shares --------------------------------------------------------------------------------- */

/* L = tanh(d)/d (y + y0)/2 with d = (l - l0)/2, which is (y - y0)/(l - l0) where that does not
 * cancel. */
static inline vec slope_of(vec dl, vec y, vec y0, vec middle)
{
    vec d = vec_add(vec_mul(dl, vec_set(0.5F)), vec_set(LITTLE));
    vec near = vec_mul(vec_tanh_near(vec_mul(d, d)), middle);
    vec_mask is_near = vec_less(vec_abs(d), vec_set(0.625F));
    return vec_select(is_near, near, vec_div(vec_sub(y, y0), dl));
}

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

/* The sum of the means, where it is not there already, and that of m L; both of m alone. */
typedef struct share_sums {
    double mean, weighted, m;
} share_sums;

static inline share_sums share_sums_of(size_t count, const float *const *in)
{
    share_sums sums = {0};
    if (count <= FEW) {
        float mean = 0, both = 0, m = 0;
        for (size_t i = 0; i < count; i++) {
            float of_m = in[0][in[4] == NULL ? 0 : i];
            mean += in[1][i];
            both += of_m * in[1][i];
            m += of_m;
        }
        return (share_sums){in[2] == NULL ? (double)mean : (double)in[2][0], (double)both,
                            (double)m};
    }
    for (size_t begin = 0; begin < count; begin += STRETCH) {
        size_t end = count - begin < STRETCH ? count : begin + STRETCH;
        vec of_mean = vec_set(0), of_both = vec_set(0), of_m = vec_set(0);
        for (size_t i = begin; i < end; i += VEC_WIDTH) {
            vec mean = load(in[1], i, count), m = multiplier(in, i, count);
            of_mean = vec_add(of_mean, mean);
            of_both = vec_fma(m, mean, of_both);
            of_m = vec_add(of_m, m);
        }
        sums.mean += (double)vec_total(of_mean);
        sums.weighted += (double)vec_total(of_both);
        sums.m += (double)vec_total(of_m);
    }
    sums.mean = in[2] == NULL ? sums.mean : (double)in[2][0];
    return sums;
}

void OPS_VARIANT(row_softmax)(size_t count, float *out, const float *const *in)
{
    share_sums sums = share_sums_of(count, in);
    vec level = vec_set((float)(sums.weighted / sums.mean));
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        vec m = vec_sub(multiplier(in, i, count), level);
        store(out, i, count, vec_mul(m, load(in[1], i, count)));
    }
}

void OPS_VARIANT(row_log_softmax)(size_t count, float *out, const float *const *in)
{
    share_sums sums = share_sums_of(count, in);
    double m = in[4] == NULL ? (double)in[0][0] * (double)count : sums.m;
    vec share = vec_set((float)(-m / sums.mean));
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        store(out, i, count, vec_fma(load(in[1], i, count), share, multiplier(in, i, count)));
    }
}

void OPS_VARIANT(row_log_sum_exp)(size_t count, float *out, const float *const *in)
{
    vec share = vec_set((float)(1 / share_sums_of(count, in).mean));
    for (size_t i = 0; i < count; i += VEC_WIDTH) {
        vec q = vec_mul(load(in[1], i, count), share);
        store(out, i, count, vec_mul(multiplier(in, i, count), q));
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
