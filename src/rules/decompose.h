/* What decompositions share: the operators that a composite one is made of are written over its
 * inputs' values in the lifted graph. */
#ifndef OX_RULES_MADE_H
#define OX_RULES_MADE_H

#include "rules/rules.h"
#include "shape/shape.h"

_Noreturn void ox_made_fail(const ox_node *n, const char *message);

/* Input i, in float32 where it is narrower; NULL where it is left out. ox_made_ranked gives up
 * where it is left out or its rank is not known, ox_made_of_rank also where that is not in
 * [least, most]. */
ox_val ox_made_input(const ox_node *n, size_t i);
ox_val ox_made_ranked(const ox_node *n, size_t i);
ox_val ox_made_of_rank(const ox_node *n, size_t i, int least, int most);

/* y in the type of output i. */
ox_val ox_made_result(const ox_node *n, size_t i, ox_val y);

/* Whether the node has output i, with a name. */
bool ox_made_has_output(const ox_node *n, size_t i);

/* Static dimension `axis` of v, or the number of elements of v's axes from `first` on; gives up
 * where it is not known. */
int64_t ox_made_size(const ox_node *n, ox_val v, int axis);
int64_t ox_made_count(const ox_node *n, ox_val v, int first);

/* v [c] as [c, 1, ..], with `after` axes behind it. */
ox_val ox_made_column(ox_val v, int after);

/* 0, 1, ..., count - 1 in the type of `like`, as [count, 1, ...] with `ones` axes of length 1. */
ox_val ox_made_range(ox_val like, int64_t count, int ones);

/* 0, 1, .. along an axis of v, which may be free: int64. */
ox_val ox_made_counted(ox_val v, int axis);

/* The sum of a and b, each of which may be NULL. */
ox_val ox_made_plus(ox_val a, ox_val b);

/* x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2. rules/contrib.c */
ox_val ox_made_fast_gelu(ox_val x);

/* Stands for output i of n, which is `exact` but for rounding and saturation. rules/quantize.c */
ox_val ox_made_rounded(const ox_node *n, size_t i, ox_val exact);

#endif
