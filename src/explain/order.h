/* The nodes that multipliers reach. */
#ifndef OX_EXPLAIN_ORDER_H
#define OX_EXPLAIN_ORDER_H

#include "explain/state.h"

/* The nodes that multipliers reach, consumers first. */
struct ox_order {
    ox_node **nodes;
    size_t count;
};

const ox_order *ox_walk_order(ox_explain_state *s);

/* Why no multiplier passes a node that one reaches; NULL where one does. */
const char *ox_walk_missing(ox_explain_state *s, const ox_node *n);

/* The same with the node's name and the way out. */
const char *ox_walk_refusal(ox_explain_state *s, const ox_node *n, const char *why);

#endif
