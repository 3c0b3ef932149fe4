/* The table of older spellings, and how a node is respelled. */
#ifndef OX_LIFT_RESPELL_H
#define OX_LIFT_RESPELL_H

#include "model/model.h"

/* Puts what `n` says into the graph in the spelling of the working opset. `n` is not in the graph,
 * its outputs have no producer yet, and it may be changed; `opset` is the one it is written in.
 * Added nodes take their names from the scope, which the caller sets. */
typedef void (*ox_respell)(ox_node *n, int64_t opset);

typedef struct ox_respelling {
    const char *domain, *op;
    int64_t since; /* first opset of the domain in which the spelling need not change */
    ox_respell respell;
} ox_respelling;

/* The row of an operator that is outdated at `opset`, NULL where there is none. */
const ox_respelling *ox_respell_find(const char *domain, const char *op, int64_t opset);

#endif
