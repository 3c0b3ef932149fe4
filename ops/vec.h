/* A vector of floats in the registers of the instruction set that a file is compiled for: AVX-512,
 * AVX2 with FMA, NEON, or one float. Masks come from comparisons. vec_max and vec_min give their
 * second operand where one is not a number. */
#ifndef OPS_VEC_H
#define OPS_VEC_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(OPS_AVX512)
#include <immintrin.h>

#define VEC_WIDTH 16
typedef __m512 vec;
typedef __mmask16 vec_mask;

#define VEC static inline
VEC vec vec_set(float a)
{
    return _mm512_set1_ps(a);
}
VEC vec vec_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
VEC void vec_store(float *p, vec a)
{
    _mm512_storeu_ps(p, a);
}
VEC vec vec_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}
VEC vec vec_sub(vec a, vec b)
{
    return _mm512_sub_ps(a, b);
}
VEC vec vec_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}
VEC vec vec_div(vec a, vec b)
{
    return _mm512_div_ps(a, b);
}
VEC vec vec_sqrt(vec a)
{
    return _mm512_sqrt_ps(a);
}
/* a b + c */
VEC vec vec_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}
VEC vec vec_min(vec a, vec b)
{
    return _mm512_min_ps(a, b);
}
VEC vec vec_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}
VEC vec vec_abs(vec a)
{
    return _mm512_abs_ps(a);
}
VEC vec vec_round(vec a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
VEC vec_mask vec_less(vec a, vec b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
VEC vec_mask vec_equal(vec a, vec b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}
VEC vec vec_select(vec_mask mask, vec a, vec b)
{
    return _mm512_mask_blend_ps(mask, b, a);
}
/* a 2^n of a whole n in [-252, 254] */
VEC vec vec_scale(vec a, vec n)
{
    return _mm512_scalef_ps(a, n);
}
VEC __mmask16 vec_first(size_t count)
{
    return (__mmask16)((1U << count) - 1);
}
/* As below. */
VEC vec vec_load_part(const float *p, size_t count)
{
    return _mm512_maskz_loadu_ps(vec_first(count), p);
}
VEC void vec_store_part(float *p, vec a, size_t count)
{
    _mm512_mask_storeu_ps(p, vec_first(count), a);
}
VEC float vec_total(vec a)
{
    return _mm512_reduce_add_ps(a);
}
VEC float vec_largest(vec a)
{
    return _mm512_reduce_max_ps(a);
}
#define VEC_PARTS

#elif defined(OPS_AVX2)
#include <immintrin.h>

#define VEC_WIDTH 8
typedef __m256 vec;
typedef __m256 vec_mask;

#define VEC static inline
VEC vec vec_set(float a)
{
    return _mm256_set1_ps(a);
}
VEC vec vec_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
VEC void vec_store(float *p, vec a)
{
    _mm256_storeu_ps(p, a);
}
VEC vec vec_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}
VEC vec vec_sub(vec a, vec b)
{
    return _mm256_sub_ps(a, b);
}
VEC vec vec_mul(vec a, vec b)
{
    return _mm256_mul_ps(a, b);
}
VEC vec vec_div(vec a, vec b)
{
    return _mm256_div_ps(a, b);
}
VEC vec vec_sqrt(vec a)
{
    return _mm256_sqrt_ps(a);
}
VEC vec vec_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}
VEC vec vec_min(vec a, vec b)
{
    return _mm256_min_ps(a, b);
}
VEC vec vec_max(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}
VEC vec vec_abs(vec a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), a);
}
VEC vec vec_round(vec a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
VEC vec_mask vec_less(vec a, vec b)
{
    return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}
VEC vec_mask vec_equal(vec a, vec b)
{
    return _mm256_cmp_ps(a, b, _CMP_EQ_OQ);
}
VEC vec vec_select(vec_mask mask, vec a, vec b)
{
    return _mm256_blendv_ps(b, a, mask);
}
/* 2^n */
VEC vec vec_power(__m256i n)
{
    __m256i biased = _mm256_add_epi32(n, _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
VEC vec vec_scale(vec a, vec n)
{
    __m256i all = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(all, 1);
    return vec_mul(vec_mul(a, vec_power(half)), vec_power(_mm256_sub_epi32(all, half)));
}
VEC __m256i vec_first(size_t count)
{
    const __m256i at = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), at);
}
VEC vec vec_load_part(const float *p, size_t count)
{
    return _mm256_maskload_ps(p, vec_first(count));
}
VEC void vec_store_part(float *p, vec a, size_t count)
{
    _mm256_maskstore_ps(p, vec_first(count), a);
}
VEC float vec_total(vec a)
{
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
VEC float vec_largest(vec a)
{
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}
#define VEC_PARTS

#elif defined(OPS_NEON)
#include <arm_neon.h>

#define VEC_WIDTH 4
typedef float32x4_t vec;
typedef uint32x4_t vec_mask;

#define VEC static inline
VEC vec vec_set(float a)
{
    return vdupq_n_f32(a);
}
VEC vec vec_load(const float *p)
{
    return vld1q_f32(p);
}
VEC void vec_store(float *p, vec a)
{
    vst1q_f32(p, a);
}
VEC vec vec_add(vec a, vec b)
{
    return vaddq_f32(a, b);
}
VEC vec vec_sub(vec a, vec b)
{
    return vsubq_f32(a, b);
}
VEC vec vec_mul(vec a, vec b)
{
    return vmulq_f32(a, b);
}
VEC vec vec_div(vec a, vec b)
{
    return vdivq_f32(a, b);
}
VEC vec vec_sqrt(vec a)
{
    return vsqrtq_f32(a);
}
VEC vec vec_fma(vec a, vec b, vec c)
{
    return vfmaq_f32(c, a, b);
}
VEC vec_mask vec_less(vec a, vec b)
{
    return vcltq_f32(a, b);
}
VEC vec_mask vec_equal(vec a, vec b)
{
    return vceqq_f32(a, b);
}
VEC vec vec_select(vec_mask mask, vec a, vec b)
{
    return vbslq_f32(mask, a, b);
}
VEC vec vec_min(vec a, vec b)
{
    return vec_select(vec_less(a, b), a, b);
}
VEC vec vec_max(vec a, vec b)
{
    return vec_select(vec_less(b, a), a, b);
}
VEC vec vec_abs(vec a)
{
    return vabsq_f32(a);
}
VEC vec vec_round(vec a)
{
    return vrndnq_f32(a);
}
VEC vec vec_power(int32x4_t n)
{
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
}
VEC vec vec_scale(vec a, vec n)
{
    int32x4_t all = vcvtq_s32_f32(n), half = vshrq_n_s32(all, 1);
    return vec_mul(vec_mul(a, vec_power(half)), vec_power(vsubq_s32(all, half)));
}

#else

#define VEC_WIDTH 1
typedef float vec;
typedef int vec_mask;

#define VEC static inline
VEC vec vec_set(float a)
{
    return a;
}
VEC vec vec_load(const float *p)
{
    return *p;
}
VEC void vec_store(float *p, vec a)
{
    *p = a;
}
VEC vec vec_add(vec a, vec b)
{
    return a + b;
}
VEC vec vec_sub(vec a, vec b)
{
    return a - b;
}
VEC vec vec_mul(vec a, vec b)
{
    return a * b;
}
VEC vec vec_div(vec a, vec b)
{
    return a / b;
}
VEC vec vec_sqrt(vec a)
{
    return sqrtf(a);
}
VEC vec vec_fma(vec a, vec b, vec c)
{
    return a * b + c;
}
VEC vec vec_min(vec a, vec b)
{
    return a < b ? a : b;
}
VEC vec vec_max(vec a, vec b)
{
    return a > b ? a : b;
}
VEC vec vec_abs(vec a)
{
    return a < 0 ? -a : a + 0.0F;
}
/* Of abs a < 2^22; compilers make vectors of this. */
VEC vec vec_round(vec a)
{
    return (a + 12582912.0F) - 12582912.0F;
}
VEC vec_mask vec_less(vec a, vec b)
{
    return a < b;
}
VEC vec_mask vec_equal(vec a, vec b)
{
    return a == b;
}
VEC vec vec_select(vec_mask mask, vec a, vec b)
{
    return mask ? a : b;
}
VEC vec vec_power(int32_t n)
{
    int32_t bits = (n + 127) * (1 << 23);
    float power;
    memcpy(&power, &bits, sizeof power);
    return power;
}
VEC vec vec_scale(vec a, vec n)
{
    int32_t all = n == n ? (int32_t)n : 0, half = all / 2; /* a is NaN where n is */
    return a * vec_power(half) * vec_power(all - half);
}
#endif

#if !defined(VEC_PARTS)
/* The first `count` < VEC_WIDTH numbers, zeros after them. */
VEC vec vec_load_part(const float *p, size_t count)
{
    float whole[VEC_WIDTH] = {0};
    memcpy(whole, p, count * sizeof *p);
    return vec_load(whole);
}
VEC void vec_store_part(float *p, vec a, size_t count)
{
    float whole[VEC_WIDTH];
    vec_store(whole, a);
    memcpy(p, whole, count * sizeof *p);
}
VEC float vec_total(vec a)
{
    float whole[VEC_WIDTH], sum = 0;
    vec_store(whole, a);
    for (int k = 0; k < VEC_WIDTH; k++) {
        sum += whole[k];
    }
    return sum;
}
VEC float vec_largest(vec a)
{
    float whole[VEC_WIDTH];
    vec_store(whole, a);
    float all = whole[0];
    for (int k = 1; k < VEC_WIDTH; k++) {
        all = whole[k] > all ? whole[k] : all;
    }
    return all;
}
#endif

#endif
