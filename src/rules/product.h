/* Operators of two operands: what their rules share. */
#ifndef OX_RULES_PRODUCT_H
#define OX_RULES_PRODUCT_H

#include "rules/rules.h"

/* An operand as the sample and as the reference have it; the same where it does not vary. */
typedef struct ox_operand {
    ox_val x, x0;
    bool varies;
} ox_operand;

/* rules/operand.c */

/* Input i in its own type, in the type of the multipliers, and in that of the rule, where there is
 * no multiplier yet. */
ox_operand ox_operand_raw(ox_ctx *c, size_t i);
ox_operand ox_operand_of(ox_ctx *c, size_t i);
ox_operand ox_operand_in(ox_ctx *c, size_t i);

/* Stands for infinity where that would leave nothing of a difference, or 0 times infinity; and v
 * cut to it on both sides. */
double ox_huge(ox_type type);
ox_val ox_finite(ox_val v);

/* (x + x0) / 2 with one pass over the pairs. */
ox_val ox_mean(ox_val x, ox_val x0);

/* Its factors as a constant of g; NULL where it has none. */
ox_val ox_scaler_scale(const ox_node *n, ox_graph *g, ox_type type);

#endif
