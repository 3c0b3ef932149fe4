/* Values that are cut into parts by several nodes. */
#ifndef OX_RULES_CUT_H
#define OX_RULES_CUT_H

#include "graph/graph.h"

/* Finds the Slices and Gathers of every value: ox_side.last_cut. */
void ox_cut_find(ox_graph *g);

/* The result of n, a Slice or Gather, as that of a Split that makes all parts of its input; NULL
 * where there are no others. */
ox_val ox_cut_part(const ox_node *n);

#endif
