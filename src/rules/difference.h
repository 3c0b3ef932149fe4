/* The difference between sample and reference, as a multiplier meets it. */
#ifndef OX_RULES_DIFFERENCE_H
#define OX_RULES_DIFFERENCE_H

#include "rules/rules.h"

/* x - x0 of v, [.., own shape], for rules that divide by it. What is divided by a small difference
 * is as exact as that is known; and of v = scale u + shift, x - x0 has lost what scale (u - u0), by
 * which the multiplier is multiplied in the end, has not. So operators that multiply by constants,
 * add constants or move values are looked through. */
ox_val ox_difference(ox_ctx *c, ox_val v);

#endif
