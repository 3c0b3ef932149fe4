/* Kernels on ONNX Runtime's blocked layout, for models that `tune` has written: values [B, C', H,
 * W] are stored as [B, C'/b, H, W, b].
 *
 * Leading axes meet by roles. With K targets, R references and N samples there are B = K R N
 * multipliers; multiplier i belongs to sample i % N and reference (i / N) % R. An operand has a row
 * for every multiplier, for every (target, sample), for every sample, or one for all. */
#ifndef OPS_BLOCKED_H
#define OPS_BLOCKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One plane [H, W, b] of a flow: out = (m scale + add) slope(x, x0) + acc. */
typedef struct ops_plane {
    size_t places, block;
    float *out;
    const float *m; /* one number a channel where `thin` */
    const float *x, *x0;
    const float *side;  /* what swish_side made of x */
    const float *scale; /* [b] or NULL */
    const float *add;   /* [b] or NULL */
    const float *acc;   /* [H, W, b] or NULL */
    bool thin;
} ops_plane;

/* Windows of a pool: `out` and `in` are heights and widths. */
typedef struct ops_pool {
    int64_t in[2], out[2], kernel[2], stride[2], dilation[2];
    int64_t pad[4]; /* before, then behind */
    size_t block;
} ops_pool;

/* For one instruction set. */
typedef struct ops_blocked {
    size_t width; /* of a vector; divides the block */
    void (*relu)(const ops_plane *p);
    void (*swish_side)(const float *x, size_t count, float *side); /* for swish */
    void (*swish)(const ops_plane *p);
    void (*sum)(const ops_plane *p); /* [b]: the sum over places of m (x + x0)/2 */
    void (*pool)(const ops_pool *g, float *out, const float *m, const float *x, const float *x0);
} ops_blocked;

extern const ops_blocked ops_blocked_naive; /* in double precision: what tests trust */
extern const ops_blocked ops_blocked_plain;
extern const ops_blocked ops_blocked_neon;
extern const ops_blocked ops_blocked_avx2;
extern const ops_blocked ops_blocked_avx512;

#endif
