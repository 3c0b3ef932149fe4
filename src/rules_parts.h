/* Decompositions of mathematical operators, Fourier transforms and attention: what they share
 * beyond rules_made.h. */
#ifndef OX_RULES_PARTS_H
#define OX_RULES_PARTS_H

#include "rules_made.h"

/* Input i, at least float32 where it is floating-point; gives up where it is left out or its rank
 * is not in [least, most]. */
ox_val ox_part_ranked(const ox_node *n, size_t i, int least, int most);

/* y in the type of output i. */
ox_val ox_part_result(const ox_node *n, size_t i, ox_val y);

/* `axis` counted from the end; gives up where it is out of range. */
int ox_part_axis(const ox_node *n, int64_t axis, int rank);

/* Whether the node has output i, with a name. */
bool ox_part_has_output(const ox_node *n, size_t i);

/* 0, 1, ..., count - 1 in the type of `like`, as [count, 1, ...] with `ones` axes of length 1. */
ox_val ox_part_range(ox_val like, int64_t count, int ones);

#endif
