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

ROW(add, 2, vec_add(v[0], v[1]))
ROW(add_product, 4, vec_fma(v[0], vec_sub(v[1], v[2]), v[3]))

#define ENTRY(id, ...) row_##id,
#define AXIS_ENTRY(id, ...) OPS_VARIANT(row_##id),

const ops_isa OPS_VARIANT(ops) = {OPS_QUOTE(OPS_ISA),
                                  {
#define KERNEL_FLOW ENTRY
#include "base/flows.inc"
                                      OX_AXIS_FLOWS(AXIS_ENTRY) OX_NORM_FLOWS(AXIS_ENTRY)
                                          OPS_PARTS(ENTRY)},
                                  OPS_VARIANT(share),
                                  OPS_VARIANT(attention_room),
                                  OPS_VARIANT(attention)};
