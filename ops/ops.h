/* Kernels, one list of them for the registration, the instruction sets and the naive twins.
 *
 * A flow is the multiplier m times the slope of an elementwise operator. Its operands are m, x, x0
 * and what else the model-local function of the same name takes, in that order; all of them
 * broadcast. A kernel of a flow sees rows of `count` numbers of each operand, and may write over
 * any of them. */
#ifndef OPS_H
#define OPS_H

#include "attention.h"
#include "base/ours.h"

#include <stddef.h>

/* Rows of `<name>Flow` and `<name>SumFlow`, whose last operand is added to m, are each KERNEL_FLOW
 * of base/flows.inc; those of OX_AXIS_FLOWS (base/ours.h) have no sum,
 * and take m, what ops_share gives (means, their sum or NULL, middles), and m once more, or NULL
 * where it is a single number for the whole row. */

/* Rows without a function of their own: a + b, and what is added up to the last operand, a (b - c),
 * a b, a (b - c)^2, the same of Relu of b and c, and a ((b + c)/2)^2. */
#define OPS_PARTS(X)                                                                               \
    X(add, "")                                                                                     \
    X(add_product, "") X(add_scaled, "") X(add_gain_square, "") X(add_relu_gain_square, "")        \
        X(add_mid_square, "")

#define OPS_ID(id, ...) OPS_##id,
typedef enum ops_id {
#define KERNEL_FLOW OPS_ID
#include "base/flows.inc"
    OX_AXIS_FLOWS(OPS_ID) OX_NORM_FLOWS(OPS_ID) OPS_PARTS(OPS_ID) OPS_COUNT
} ops_id;
#undef OPS_ID

#define OPS_UNIT_ID(id, ...) OPS_UNIT_##id,
typedef enum ops_unit_id { OX_UNITS(OPS_UNIT_ID) OPS_UNIT_COUNT } ops_unit_id;
#undef OPS_UNIT_ID

/* The operands v of a flow, by what its row in base/flows.inc says of y and parameters. */
#define OPS_PAIR(has_y, count)                                                                     \
    (pair)                                                                                         \
    {                                                                                              \
        .x = v[1], .x0 = v[2], .y = v[(has_y) ? 3 : 1], .y0 = v[(has_y) ? 4 : 2],                  \
        .a = v[(count) > 0 ? 3 + 2 * (has_y) : 1], .b = v[(count) > 1 ? 4 + 2 * (has_y) : 1]       \
    }

/* The same of a unit: m, Q and V stand for themselves. */
#define OPS_UNIT_PAIR(has_y, count)                                                                \
    (pair)                                                                                         \
    {                                                                                              \
        .x = v[3], .x0 = v[4], .y = v[(has_y) ? 5 : 3], .y0 = v[(has_y) ? 6 : 4],                  \
        .a = v[(count) > 0 ? 7 + 2 * (has_y) : 3], .b = v[(count) > 1 ? 8 + 2 * (has_y) : 3]       \
    }

#define OPS_MOST 14 /* operands of a row */

typedef void (*ops_row)(size_t count, float *out, const float *const *in);

/* Multipliers of x and of its V. */
typedef void (*ops_unit_row)(size_t count, float *out, float *second, const float *const *in);

/* Of l and l0, the logarithms of shares y: writes the logarithmic means, and the halves of y + y0;
 * gives the sum of the means. */
typedef double (*ops_share)(size_t count, float *mean, float *middle, const float *l,
                            const float *l0);

/* The kernels for one instruction set. */
typedef struct ops_isa {
    const char *name;
    ops_row rows[OPS_COUNT];
    ops_unit_row units[OPS_UNIT_COUNT];
    ops_share share;
    ops_attention_room attention_room;
    ops_attention attention;
} ops_isa;

extern const ops_isa ops_naive; /* double precision, straight from the formulas: what tests trust */
extern const ops_isa ops_plain;
extern const ops_isa ops_neon;
extern const ops_isa ops_avx2;
extern const ops_isa ops_avx512;

/* The best that the machine has, or the one that ONNXEXPLAINER_ISA names: naive, plain, neon, avx2
 * or avx512. A name that is not available here is passed over. isa.c */
const ops_isa *ops_isa_choose(void);

#endif
