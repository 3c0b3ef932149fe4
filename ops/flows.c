/* Rows of the flows, compiled once for each instruction set (see CMakeLists.txt).
 *
 * A slope takes its operands as v[0] = m, v[1] = x, v[2] = x0, ...; the forms are those of the
 * model-local functions, so that both round alike where a ratio of small differences is taken. */
#include "ops.h"
#include "vec_math.h"

#define TINY 1e-37F           /* added to what may be 0 */
#define LITTLE 1.2345678e-30F /* a difference that is never met by chance */

/* ---- parts --------------------------------------------------------------------------------- */

static inline vec half(vec a)
{
    return vec_mul(a, vec_set(0.5F));
}

static inline vec mean(vec a, vec b)
{
    return vec_add(half(a), half(b));
}

/* tanh(d)/d, d = (x - x0)/2 */
static inline vec half_tanh_ratio(vec x, vec x0)
{
    return vec_tanh_ratio(vec_add(vec_sub(half(x), half(x0)), vec_set(LITTLE)));
}

/* ---- straight pieces ----------------------------------------------------------------------- */

/* P/(P - M) */
static inline vec slope_relu(const vec *v)
{
    vec above = vec_max(vec_max(v[1], vec_set(0)), v[2]);
    vec below = vec_min(vec_min(v[1], vec_set(-TINY)), v[2]);
    return vec_div(above, vec_sub(above, below));
}

static inline vec slope_mul(const vec *v)
{
    return mean(v[1], v[2]);
}

/* ---- exponentials -------------------------------------------------------------------------- */

/* tanh(d/2)/d (y + y0 - 2 y y0) */
static inline vec slope_sigmoid(const vec *v)
{
    vec rest = vec_sub(vec_set(0.5F), v[3]);
    return vec_mul(half_tanh_ratio(v[1], v[2]), vec_fma(v[4], rest, half(v[3])));
}

/* The Sigmoid of z = alpha x, where s = y/x spares the exponential. */
static inline vec swish_gate(vec x, vec y, vec z)
{
    vec near = vec_fma(z, vec_set(0.25F), vec_set(0.5F));
    return vec_select(vec_less(vec_abs(z), vec_set(1e-4F)), near, vec_div(y, x));
}

/* s0 + z ds/dz */
static inline vec slope_swish(const vec *v)
{
    vec z = vec_mul(v[1], v[5]), z0 = vec_mul(v[2], v[5]);
    vec s = swish_gate(v[1], v[3], z), s0 = swish_gate(v[2], v[4], z0);
    vec rest = vec_mul(z, vec_sub(vec_set(0.5F), s));
    return vec_fma(half_tanh_ratio(z, z0), vec_fma(s0, rest, half(vec_mul(z, s))), s0);
}

/* The product of x and s = 1/(1 + e), e = e^-x: mid(s) + mid(x) ds/d, with ds = s s0 (e0 - e), or
 * where that cancels ds/d = s s0 (e + e0) tanh(d/2)/d. Beyond -40 s is as good as 0. */
static inline vec slope_swish_alone(const vec *v)
{
    vec x = v[1], x0 = v[2], d = vec_sub(x, x0), h = half(d), one = vec_set(1);
    vec most = vec_set(40);
    vec e = vec_exp(vec_min(most, vec_sub(vec_set(0), x)));
    vec e0 = vec_exp(vec_min(most, vec_sub(vec_set(0), x0)));
    vec sum = vec_add(e, e0), both = vec_mul(vec_add(one, e), vec_add(one, e0));
    vec near = vec_mul(half(sum), vec_tanh_near(vec_mul(h, h)));
    vec far = vec_div(vec_sub(e0, e), d);
    vec ds = vec_select(vec_less(vec_abs(h), vec_set(0.625F)), near, far);
    return vec_div(vec_fma(mean(x, x0), ds, vec_fma(sum, vec_set(0.5F), one)), both);
}

/* ---- rows ---------------------------------------------------------------------------------- */

/* Nothing that a row reads is written before it is read: out may be any of the operands. */
#if VEC_WIDTH > 1
#define INDEPENDENT
#elif defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

#define ROW(id, operands, result)                                                                  \
    static void row_##id(size_t count, float *out, const float *const *in)                         \
    {                                                                                              \
        const float *p[operands];                                                                  \
        memcpy(p, in, sizeof p);                                                                   \
        size_t i = 0;                                                                              \
        INDEPENDENT                                                                                \
        for (; i + VEC_WIDTH <= count; i += VEC_WIDTH) {                                           \
            vec v[operands];                                                                       \
            for (int k = 0; k < operands; k++) {                                                   \
                v[k] = vec_load(p[k] + i);                                                         \
            }                                                                                      \
            vec_store(out + i, result);                                                            \
        }                                                                                          \
        if (i < count) {                                                                           \
            vec v[operands];                                                                       \
            for (int k = 0; k < operands; k++) {                                                   \
                v[k] = vec_load_part(p[k] + i, count - i);                                         \
            }                                                                                      \
            vec_store_part(out + i, result, count - i);                                            \
        }                                                                                          \
    }
#define FLOW(v_, id, name, operands) ROW(id, operands, vec_mul(v[0], slope_##id(v)))

OPS_FLOWS(FLOW, 0)
FLOW(0, swish_alone, "", 3)
ROW(add, 2, vec_add(v[0], v[1]))
ROW(multiply, 2, vec_mul(v[0], v[1]))

#define JOIN(a, b) a##b
#define ISA(name) JOIN(ops_, name)
#define TEXT(name) #name
#define QUOTE(name) TEXT(name)
#define ENTRY(v, id, name, operands) row_##id,

const ops_isa ISA(OPS_ISA) = {QUOTE(OPS_ISA), {OPS_FLOWS(ENTRY, 0) OPS_PARTS(ENTRY, 0)}};
