/* Rows of the flows, compiled once for each instruction set (see CMakeLists.txt). */
#include "num_vec.h"
#include "variant.h"

/* ---- rows ---------------------------------------------------------------------------------- */

/* Nothing that a row reads is written before it is read: out may be any of the operands. */
#if VEC_WIDTH == 1 && !defined(__clang__)
#define INDEPENDENT _Pragma("GCC ivdep")
#else
#define INDEPENDENT
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
#define KERNEL_FLOW(id, name, y, count, ...)                                                       \
    ROW(id, OX_OPERANDS(y, count), vec_mul(v[0], slope_##id(&OPS_PAIR(y, count))))
#include "base/flows.inc"

#define UNIT_ROW(id, name, y, count_of)                                                            \
    static void unit_row_##id(size_t count, float *out, float *second, const float *const *in)     \
    {                                                                                              \
        enum { OPERANDS = OX_UNIT_OPERANDS(y, count_of) };                                         \
        const float *p[OPERANDS];                                                                  \
        memcpy(p, in, sizeof p);                                                                   \
        size_t i = 0;                                                                              \
        INDEPENDENT                                                                                \
        for (; i + VEC_WIDTH <= count; i += VEC_WIDTH) {                                           \
            vec v[OPERANDS];                                                                       \
            for (int k = 0; k < OPERANDS; k++) {                                                   \
                v[k] = vec_load(p[k] + i);                                                         \
            }                                                                                      \
            flows f = THROUGH_UNIT(id, y, count_of);                                               \
            vec_store(out + i, f.m);                                                               \
            vec_store(second + i, f.q);                                                            \
        }                                                                                          \
        if (i < count) {                                                                           \
            vec v[OPERANDS];                                                                       \
            for (int k = 0; k < OPERANDS; k++) {                                                   \
                v[k] = vec_load_part(p[k] + i, count - i);                                         \
            }                                                                                      \
            flows f = THROUGH_UNIT(id, y, count_of);                                               \
            vec_store_part(out + i, f.m, count - i);                                               \
            vec_store_part(second + i, f.q, count - i);                                            \
        }                                                                                          \
    }
#define THROUGH_UNIT(id, y, count)                                                                 \
    flows_of(&OPS_UNIT_PAIR(y, count), v[0], num_mul(v[1], v[2]),                                  \
             unit_##id(&OPS_UNIT_PAIR(y, count), num_mul(v[5 + 2 * (y)], v[6 + 2 * (y)])))
OX_UNITS(UNIT_ROW)

ROW(add, 2, vec_add(v[0], v[1]))
ROW(add_product, 4, vec_fma(v[0], vec_sub(v[1], v[2]), v[3]))
ROW(add_scaled, 3, vec_fma(v[0], v[1], v[2]))
ROW(add_gain_square, 4, vec_fma(v[0], num_square(vec_sub(v[1], v[2])), v[3]))
ROW(add_relu_gain_square, 4,
    vec_fma(v[0], num_square(vec_sub(num_relu(v[1]), num_relu(v[2]))), v[3]))
ROW(add_mid_square, 4, vec_fma(v[0], num_square(num_mean(v[1], v[2])), v[3]))

#define ENTRY(id, ...) row_##id,
#define UNIT_ENTRY(id, ...) unit_row_##id,
#define AXIS_ENTRY(id, ...) OPS_VARIANT(row_##id),

const ops_isa OPS_VARIANT(ops) = {OPS_QUOTE(OPS_ISA),
                                  {
#define KERNEL_FLOW ENTRY
#include "base/flows.inc"
                                      OX_AXIS_FLOWS(AXIS_ENTRY) OX_NORM_FLOWS(AXIS_ENTRY)
                                          OPS_PARTS(ENTRY)},
                                  {OX_UNITS(UNIT_ENTRY)},
                                  OPS_VARIANT(share),
                                  OPS_VARIANT(attention_room),
                                  OPS_VARIANT(attention)};
