/* Whole numbers that are made of the number that a sample has in its batch: by these a node picks
 * for each sample from its own part of what holds all of them. */
#ifndef OX_RULES_OWN_H
#define OX_RULES_OWN_H

#include "graph/graph.h"

/* Whether each of the numbers is times * n and what knows nothing of n, the sample's own number. */
bool ox_own_numbers(ox_val v, int64_t times);

/* Whether it is n itself. */
bool ox_own_number(ox_val v);

/* The numbers [.., 1] at a place of tuples that are joined along their last axis; NULL where they
 * are not joined so. */
ox_val ox_own_part(ox_val tuples, int64_t place);

#endif
