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

/* Calls visit for every node of the subgraphs in `a`, and of those inside them. model/body.c. */
typedef void (*ox_body_visit)(void *user, const char *domain, const char *op);
void ox_model_visit_body(const ox_attr *a, ox_body_visit visit, void *user);

/* Gives every node of n's subgraphs to `respell`, which puts it, respelled or not, into the graph
 * that it is in; n has the result. model/lift.c. */
typedef void (*ox_respell_node)(void *user, ox_node *n);
void ox_model_lift_bodies(const ox_model *m, ox_node *n, ox_respell_node respell, void *user);

#endif
